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

pub fn whole_tree(bench: &Bench) -> Result<()> {
    workspace::run(workspace::cargo().args(["build", "--quiet", "--release", "--package", "testkit", "--example", "whole-tree"]))?;
    let ssh = |number: u8, script: &str| -> Result<Command> {
        let mut command = Command::new("ssh");
        command.arg("-i").arg(bench.rig.setting("RIG_SERVER_KEY")?).args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", bench.rig.setting("RIG_SERVER_KNOWN_HOSTS")?));
        command.arg(format!("root@{}", bench.rig.setting(&format!("RIG_SERVER{number}_IP"))?)).arg(script);
        Ok(command)
    };
    workspace::run(&mut ssh(1, &format!("rm -rf {FROM}; mkdir -p {FROM}; {MAKE}"))?)?;
    let clear = || workspace::run(&mut ssh(2, &format!("rm -rf {TO}; mkdir -p {TO}; sync"))?);
    // rsync goes from server to server; the key it needs is lent to the first.
    let key = std::fs::read_to_string(bench.rig.setting("RIG_SERVER_KEY")?)?;
    workspace::run(&mut ssh(1, &format!("umask 077; cat >/root/bench-key <<'K'\n{key}K"))?)?;
    let target = bench.rig.setting("RIG_SERVER2_IP")?.to_owned();
    let by_rsync = || {
        clear()?;
        let shell = "ssh -i /root/bench-key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        ssh(1, &format!("rsync -aHAXS --numeric-ids -e '{shell}' {FROM}/ root@{target}:{TO}/"))
    };
    let ours = || {
        clear()?;
        let mut command = Command::new(workspace::target().join("release/examples/whole-tree"));
        command.arg(format!("1:{FROM}")).arg(format!("2:{TO}")).envs(bench.rig.settings());
        Ok(command)
    };
    let done = bench.compare(&[
        Contender { name: "migration-assistant (verified)".to_owned(), aim: None, command: Box::new(ours) },
        Contender { name: version(Command::new("rsync").arg("--version"))?, aim: Some(1.0), command: Box::new(by_rsync) },
    ]);
    workspace::run(&mut ssh(1, &format!("rm -rf {FROM} /root/bench-key"))?)?;
    workspace::run(&mut ssh(2, &format!("rm -rf {TO}"))?)?;
    done
}
