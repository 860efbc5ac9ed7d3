//! Files: local → S3 beside rclone and s5cmd, SFTP → local beside rclone and rsync.

use super::measure::{self, Measured};
use super::{Bench, Contender, compare, peers};
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Transfers in flight, for us and for the peers that can be told.
const PARALLEL: usize = 16;

pub fn s3_small(bench: &Bench) -> Result<()> {
    let from = make_files(bench.rig.dir(), 10_000, 64 << 10)?;
    s3(bench, "local -> S3, 10,000 x 64 KiB", &from)
}

pub fn s3_large(bench: &Bench) -> Result<()> {
    let from = make_files(bench.rig.dir(), 4, 256 << 20)?;
    s3(bench, "local -> S3, 4 x 256 MiB", &from)
}

pub fn sftp_small(bench: &Bench) -> Result<()> {
    sftp(bench, "SFTP -> local, 20,000 x 16 KiB", 20_000, 16 << 10)
}

pub fn sftp_large(bench: &Bench) -> Result<()> {
    sftp(bench, "SFTP -> local, 2 x 512 MiB", 2, 512 << 20)
}

fn s3(bench: &Bench, case: &str, from: &Path) -> Result<()> {
    let (rclone, s5cmd) = (peers::rclone()?, peers::s5cmd()?);
    let endpoint = format!("http://127.0.0.1:{}", bench.rig.setting("RIG_S3_PORT")?);
    let bucket = |who: &str, n: usize| format!("bench-{who}-{n}-{}", from.file_name().unwrap_or_default().to_string_lossy());
    let credentials = |command: &mut Command| -> Result<()> {
        command
            .env("AWS_ACCESS_KEY_ID", bench.rig.setting("RIG_S3_KEY")?)
            .env("AWS_SECRET_ACCESS_KEY", bench.rig.setting("RIG_S3_SECRET")?)
            .env("AWS_REGION", "us-east-1");
        Ok(())
    };
    let remove = |bucket: &str| -> Result<()> {
        let mut command = Command::new(&s5cmd);
        credentials(&mut command)?;
        let script =
            format!("{0} --endpoint-url {endpoint} rm 's3://{bucket}/*' >/dev/null && {0} --endpoint-url {endpoint} rb s3://{bucket}", s5cmd.display());
        crate::workspace::run(peers::shell(&script).envs(command.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdout(std::process::Stdio::null()))
    };
    let ours = |b: &Bench, n: usize| {
        let bucket = bucket("ours", n);
        let to = json!({"type": "aws-s3", "bucket": bucket, "region": "us-east-1", "endpoint": endpoint,
            "access_key_id": b.rig.setting("RIG_S3_KEY")?, "secret_access_key": b.rig.setting("RIG_S3_SECRET")?});
        let measured = migrate(b, &format!("s3-{n}"), json!({"type": "static", "paths": {"web_root": from}}), to)?;
        remove(&bucket)?;
        Ok(measured)
    };
    let theirs_rclone = |_: &Bench, n: usize| {
        let bucket = bucket("rclone", n);
        let mut command = Command::new(&rclone);
        credentials(&mut command)?;
        let remote = format!(":s3,provider=Other,env_auth=true,endpoint='{endpoint}':{bucket}");
        let measured =
            measure::command(command.args(["copy", "--transfers", &PARALLEL.to_string(), "--checkers", &PARALLEL.to_string()]).arg(from).arg(remote))?;
        remove(&bucket)?;
        Ok(measured)
    };
    let theirs_s5cmd = |_: &Bench, n: usize| {
        let bucket = bucket("s5cmd", n);
        let mut make = Command::new(&s5cmd);
        credentials(&mut make)?;
        crate::workspace::run(make.args(["--endpoint-url", &endpoint, "mb", &format!("s3://{bucket}")]).stdout(std::process::Stdio::null()))?;
        let mut command = Command::new(&s5cmd);
        credentials(&mut command)?;
        let measured = measure::command(command.args(["--endpoint-url", &endpoint, "cp"]).arg(format!("{}/", from.display())).arg(format!("s3://{bucket}/")))?;
        remove(&bucket)?;
        Ok(measured)
    };
    let contenders = [
        Contender { name: "ours".to_owned(), run: Box::new(ours) },
        Contender { name: format!("{} (checks MD5)", peers::version(&rclone, "version")?), run: Box::new(theirs_rclone) },
        Contender { name: format!("s5cmd {}", peers::version(&s5cmd, "version")?), run: Box::new(theirs_s5cmd) },
    ];
    compare(bench, case, &contenders)
}

fn sftp(bench: &Bench, case: &str, count: usize, size: u64) -> Result<()> {
    let rclone = peers::rclone()?;
    let home = PathBuf::from(bench.rig.setting("RIG_SSH_HOME")?);
    let from = make_files(&home, count, size)?;
    let (port, user) = (bench.rig.setting("RIG_SSH_PORT")?, bench.rig.setting("RIG_SSH_USER")?);
    let (key, known) = (bench.rig.setting("RIG_SSH_KEY")?, bench.rig.setting("RIG_SSH_KNOWN_HOSTS")?);
    let to = |who: &str, n: usize| bench.rig.dir().join(format!("to-{who}-{n}"));
    let ours = |b: &Bench, n: usize| {
        let to = to("ours", n);
        let source = json!({"type": "static", "host": "127.0.0.1", "port": port.parse::<u16>()?, "username": user, "private_key": key, "known_hosts": known, "paths": {"web_root": from}});
        let measured = migrate(b, &format!("sftp-{n}"), source, json!({"type": "static", "paths": {"web_root": to}}))?;
        std::fs::remove_dir_all(to)?;
        Ok(measured)
    };
    let theirs_rclone = |_: &Bench, n: usize| {
        let to = to("rclone", n);
        let remote = format!(":sftp,host=127.0.0.1,port={port},user={user},key_file='{key}',known_hosts_file='{known}':{}", from.display());
        let measured = measure::command(
            Command::new(&rclone).args(["copy", "--transfers", &PARALLEL.to_string(), "--checkers", &PARALLEL.to_string()]).arg(remote).arg(&to),
        )?;
        std::fs::remove_dir_all(to)?;
        Ok(measured)
    };
    let theirs_rsync = |_: &Bench, n: usize| {
        let to = to("rsync", n);
        let ssh = format!("ssh -p {port} -i {key} -o UserKnownHostsFile={known} -o BatchMode=yes");
        let measured = measure::command(Command::new("rsync").args(["-a", "-e", &ssh]).arg(format!("{user}@127.0.0.1:{}/", from.display())).arg(&to))?;
        std::fs::remove_dir_all(to)?;
        Ok(measured)
    };
    let contenders = [
        Contender { name: "ours".to_owned(), run: Box::new(ours) },
        Contender { name: format!("{} (checks MD5)", peers::version(&rclone, "version")?), run: Box::new(theirs_rclone) },
        Contender { name: peers::version("rsync", "--version")?, run: Box::new(theirs_rsync) },
    ];
    let outcome = compare(bench, case, &contenders);
    std::fs::remove_dir_all(&from)?;
    outcome
}

/// One migration by our binary, from a configuration file, with verification on and a data directory of its own.
pub fn migrate(bench: &Bench, name: &str, source: Value, destination: Value) -> Result<Measured> {
    let dir = bench.rig.dir().join(format!("ours-{name}"));
    std::fs::create_dir_all(&dir)?;
    let spec = json!({"name": name, "source": source, "destination": destination, "safety": {"backup_before": false, "maintenance_mode": false},
        "transfer": {"options": {"parallel_transfers": PARALLEL}}});
    let file = dir.join("migration.json");
    std::fs::write(&file, spec.to_string())?;
    let measured = measure::command(Command::new(&bench.binary).args(["migrate", "--json", "--data-dir"]).arg(dir.join("data")).arg(&file))?;
    std::fs::remove_dir_all(&dir)?;
    Ok(measured)
}

/// `count` files of `size` bytes that do not compress, in directories of 500. Made once per run.
fn make_files(parent: &Path, count: usize, size: u64) -> Result<PathBuf> {
    let root = parent.join(format!("files-{count}-{size}"));
    if root.exists() {
        return Ok(root);
    }
    let mut noise = vec![0u8; 1 << 20];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for n in 0..count {
        let dir = root.join(format!("d{:04}", n / 500));
        std::fs::create_dir_all(&dir)?;
        let mut file = std::fs::File::create(dir.join(format!("f{n:06}")))?;
        let mut left = size;
        while left > 0 {
            let piece = left.min(noise.len() as u64) as usize;
            fill(&mut noise[..piece], &mut state);
            file.write_all(&noise[..piece])?;
            left -= piece as u64;
        }
    }
    Ok(root)
}

/// xorshift64*: fast, reproducible, incompressible enough.
fn fill(buffer: &mut [u8], state: &mut u64) {
    for word in buffer.chunks_mut(8) {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        let bytes = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        word.copy_from_slice(&bytes[..word.len()]);
    }
}
