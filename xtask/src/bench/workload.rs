//! A whole tree between two servers: 50,000 files, 2 GiB, with owners and attributes, beside rsync on the same pair.

use super::{Bench, Contender, version};
use crate::workspace;
use anyhow::Result;
use std::process::Command;

const FROM: &str = "/srv/shop/bench";
const TO: &str = "/srv/shop/bench";

/// Sizes as on a shop's disk: most are small, a few are large; some have further names and attributes.
const MAKE: &str = r"python3 - <<'P'
import os, random
random.seed(1); root = '/srv/shop/bench'; block = os.urandom(1 << 20)
for n in range(49950):
    d = f'{root}/d{n // 500:03}/e{n // 50 % 10}'
    if n % 50 == 0: os.makedirs(d, exist_ok=True)
    size = min(int(random.paretovariate(1.1) * 4000), 2000000); at = random.randrange(len(block))
    with open(f'{d}/f{n:05}', 'wb') as f:
        f.write(os.urandom(8)); left = size
        while left > 0: left -= f.write(block[at:at + left] or block[:left]); at = 0
    if n % 100 == 1: os.link(f'{d}/f{n:05}', f'{d}/l{n:05}')
    if n % 100 == 2: os.setxattr(f'{d}/f{n:05}', 'user.note', b'x')
    if n % 3 == 0: os.chown(f'{d}/f{n:05}', 33, 33)
total = sum(os.lstat(os.path.join(p, f)).st_size for p, _, fs in os.walk(root) for f in fs); big = max(0, (2 << 30) - total) // 50
for n in range(50):
    with open(f'{root}/big{n:02}', 'wb') as f:
        left = big
        while left > 0: left -= f.write(block[:left])
P";

/// About a hundredth of it, in many files, and some that come and go.
const CHANGE: &str = r#"cd /srv/shop/bench && find . -name 'f*' -type f | awk 'NR % 100 == 0' | while read f; do head -c 40000 /dev/urandom >>"$f"; done
rm -f d001/e1/*; mkdir fresh.$$; for n in $(seq 50); do echo $n >fresh.$$/$n; done"#;

/// Both servers with the tree on the first.
struct Pair<'a> {
    bench: &'a Bench,
}

impl<'a> Pair<'a> {
    fn furnish(bench: &'a Bench) -> Result<Self> {
        workspace::run(workspace::cargo().args(["build", "--quiet", "--release", "--package", "testkit", "--example", "whole-tree"]))?;
        let pair = Self { bench };
        workspace::run(&mut pair.ssh(1, &format!("rm -rf {FROM}; mkdir -p {FROM}; {MAKE}\nsync"))?)?;
        Ok(pair)
    }

    fn ssh(&self, number: u8, script: &str) -> Result<Command> {
        let rig = &self.bench.rig;
        let mut command = Command::new("ssh");
        command.arg("-i").arg(rig.setting("RIG_SERVER_KEY")?).args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", rig.setting("RIG_SERVER_KNOWN_HOSTS")?));
        command.arg(format!("root@{}", rig.setting(&format!("RIG_SERVER{number}_IP"))?)).arg(script);
        Ok(command)
    }

    fn clear(&self) -> Result<()> {
        workspace::run(&mut self.ssh(2, &format!("rm -rf {TO}; mkdir -p {TO}; sync"))?)
    }

    /// `verified`: what is stored is then compared with what was read.
    fn ours(&self, verified: bool) -> Result<Command> {
        self.clear()?;
        let mut command = Command::new(workspace::target().join("release/examples/whole-tree"));
        command.arg(format!("1:{FROM}")).arg(format!("2:{TO}")).envs(self.bench.rig.settings());
        if !verified {
            command.arg("--copy-only");
        }
        Ok(command)
    }

    /// rsync goes from server to server, where ours goes through us. `verified`: it then compares both sides by their content.
    fn rsync(&self, verified: bool) -> Result<Command> {
        self.clear()?;
        let target = self.bench.rig.setting("RIG_SERVER2_IP")?;
        let shell = "ssh -i /root/bench-key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        let pass = |more: &str| format!("rsync -aHAXS --numeric-ids {more} -e '{shell}' {FROM}/ root@{target}:{TO}/");
        let check = format!("test -z \"$({})\"", pass("--checksum --dry-run --itemize-changes"));
        self.ssh(1, &if verified { format!("{} && {check}", pass("")) } else { pass("") })
    }

    /// The key that rsync needs is lent to the first server.
    fn lend_key(&self) -> Result<()> {
        let key = std::fs::read_to_string(self.bench.rig.setting("RIG_SERVER_KEY")?)?;
        workspace::run(&mut self.ssh(1, &format!("umask 077; cat >/root/bench-key <<'K'\n{key}K"))?)
    }

    fn leave(&self) -> Result<()> {
        workspace::run(&mut self.ssh(1, &format!("rm -rf {FROM} /root/bench-key"))?)?;
        workspace::run(&mut self.ssh(2, &format!("rm -rf {TO}"))?)
    }
}

pub fn whole_tree(bench: &Bench) -> Result<()> {
    let pair = Pair::furnish(bench)?;
    pair.lend_key()?;
    let rsync = version(Command::new("rsync").arg("--version"))?;
    let done = like_for_like(&pair, &rsync);
    pair.leave()?;
    done
}

/// A copy against a copy, then a verified copy against a verified copy; rsync's bare copy stands there too, for who wants to know what our proof costs.
fn like_for_like(pair: &Pair<'_>, rsync: &str) -> Result<()> {
    pair.bench.compare(&[
        Contender { name: "migration-assistant (copy)".to_owned(), aim: None, command: Box::new(|| pair.ours(false)) },
        Contender { name: rsync.to_owned(), aim: Some(1.0), command: Box::new(|| pair.rsync(false)) },
    ])?;
    pair.bench.compare(&[
        Contender { name: "migration-assistant (verified)".to_owned(), aim: None, command: Box::new(|| pair.ours(true)) },
        Contender { name: "rsync, then rsync --checksum (verified)".to_owned(), aim: Some(1.0), command: Box::new(|| pair.rsync(true)) },
        Contender { name: format!("{rsync} (not verified)"), aim: None, command: Box::new(|| pair.rsync(false)) },
    ])
}

/// The passes behind the bulk, when a hundredth has changed: the last one is how long the source stands still.
pub fn cutover(bench: &Bench) -> Result<()> {
    let pair = Pair::furnish(bench)?;
    let to_source: Vec<String> = pair.ssh(1, "")?.get_args().map(|a| a.to_string_lossy().into_owned()).filter(|a| !a.is_empty()).collect();
    let line = format!("ssh {}", to_source.join(" "));
    for _ in 0..bench.runs {
        let mut ours = pair.ours(true)?;
        ours.arg(format!("{line} \"$CHANGE\"")).env("CHANGE", CHANGE);
        workspace::run(&mut ours)?;
    }
    pair.leave()
}
