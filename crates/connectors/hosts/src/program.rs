//! The programs: whether they are installed, and running them.

use ports::{ConnectorError, ErrorKind, Result};
use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

pub(super) const QEMU: &str = "qemu-system-x86_64";
pub(super) const IMG: &str = "qemu-img";

/// Longest that a helper may take: disks are made sparse, and snapshots of a disk that is off are only marks.
const PATIENCE: Duration = Duration::from_mins(2);

/// Name and version of QEMU.
pub(super) async fn version() -> Result<String> {
    let output = run(QEMU, ["--version"]).await?;
    Ok(output.lines().next().unwrap_or(QEMU).trim().to_owned())
}

/// Runs a helper to its end; gives what it wrote. Its failure has its own words.
pub(super) async fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).env("LC_ALL", "C");
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| ConnectorError::new(ErrorKind::TimedOut, "run", program, format!("it took longer than {} s", PATIENCE.as_secs())))?;
    let output = output.map_err(|e| missing(program, &e))?;
    if !output.status.success() {
        return Err(ConnectorError::new(kind(&output), "run", program, words(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn kind(output: &Output) -> ErrorKind {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("No space left") { ErrorKind::NoSpace } else { ErrorKind::Invalid }
}

fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it failed without a word");
    last.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

/// A program that cannot be started, in most cases because nobody has installed it.
pub(super) fn missing(program: &str, error: &std::io::Error) -> ConnectorError {
    if error.kind() != std::io::ErrorKind::NotFound {
        return ConnectorError::new(ErrorKind::Permission, "run", program, error.to_string());
    }
    let (what, packages) =
        if program.starts_with("qemu-") { (" no QEMU:", "qemu-system-x86 qemu-utils") } else { (", as it seems, no util-linux:", "util-linux") };
    let reason = format!("this machine has{what} there is no program {program}");
    ConnectorError::new(ErrorKind::Unsupported, "run", program, reason).advice(format!("On Debian and Ubuntu: apt install {packages}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_installed_is_named_with_its_package() {
        let error = run("qemu-system-of-nowhere", ["--version"]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.to_string().ends_with("apt install qemu-system-x86 qemu-utils"), "{error}");
    }
}
