//! The programs: whether they are installed, and running them.

use ports::{ConnectorError, ErrorKind, Result};
use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

pub(crate) const QEMU: &str = "qemu-system-x86_64";
pub(crate) const IMG: &str = "qemu-img";

/// Longest that a helper may take: disks are made sparse, and snapshots of a disk that is off are only marks.
const PATIENCE: Duration = Duration::from_mins(2);

/// Name and version of QEMU.
pub(crate) async fn version() -> Result<String> {
    let output = run(QEMU, ["--version"]).await?;
    Ok(output.lines().next().unwrap_or(QEMU).trim().to_owned())
}

/// Runs a helper to its end; gives what it wrote. Its failure has its own words.
pub(crate) async fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
    let ended = tokio::time::timeout(PATIENCE, run_long(program, arguments, Stdio::null())).await;
    ended.unwrap_or_else(|_| Err(ConnectorError::new(ErrorKind::TimedOut, "run", program, format!("it took longer than {} s", PATIENCE.as_secs()))))
}

/// The same without a limit of time, for what reads and writes whole disks. It ends when nobody waits for it any more.
pub(crate) async fn run_long<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>, input: Stdio) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).kill_on_drop(true).env("LC_ALL", "C");
    let output = command.output().await.map_err(|e| missing(program, &e))?;
    if !output.status.success() {
        return Err(ConnectorError::new(kind(&output), "run", program, words(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn kind(output: &Output) -> ErrorKind {
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("No space left") || text.contains(": Wrote only ") { ErrorKind::NoSpace } else { ErrorKind::Invalid }
}

pub(crate) fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it failed without a word");
    last.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

/// A program that cannot be started, in most cases because nobody has installed it.
pub(crate) fn missing(program: &str, error: &std::io::Error) -> ConnectorError {
    if error.kind() != std::io::ErrorKind::NotFound {
        return ConnectorError::new(ErrorKind::Permission, "run", program, error.to_string());
    }
    let (what, packages) = home(program);
    let reason = format!("this machine has {what}: there is no program {program}");
    ConnectorError::new(ErrorKind::Unsupported, "run", program, reason).advice(format!("On Debian and Ubuntu: apt install {packages}"))
}

/// What a program belongs to, and the packages of Debian and Ubuntu that have it.
pub(crate) fn home(program: &str) -> (&'static str, &'static str) {
    match program {
        "sfdisk" => ("no sfdisk", "fdisk"),
        "losetup" => ("no losetup", "mount"),
        "grub-mkimage" => ("no GRUB", "grub-common grub-pc-bin"),
        "mkfs.ext4" | "tune2fs" | "e2fsck" => ("no e2fsprogs", "e2fsprogs"),
        _ if program.starts_with("qemu-") => ("no QEMU", "qemu-system-x86 qemu-utils"),
        _ => ("no util-linux, as it seems", "util-linux"),
    }
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
