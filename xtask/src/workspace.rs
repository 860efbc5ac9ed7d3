//! Where things are in this workspace, and how its programs are run.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo leaves what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Directories that hold nothing of ours.
const FOREIGN: [&str; 6] = ["target", ".git", ".rig", "node_modules", "dist", ".venv"];

/// Every file of the workspace, as a path relative to its root, sorted. Build output and foreign packages are left out.
pub fn files() -> Result<Vec<PathBuf>> {
    let root = root();
    let (mut found, mut todo) = (Vec::new(), vec![root.clone()]);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
            let entry = entry?;
            let (kind, name) = (entry.file_type()?, entry.file_name());
            if kind.is_dir() && !FOREIGN.iter().any(|f| OsStr::new(f) == name) {
                todo.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(&root)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program to its end; an exit code other than 0 is an error that names it.
pub fn run(command: &mut Command) -> Result<()> {
    let what = describe(command);
    let mut child = command.spawn().with_context(|| format!("start {what}"))?;
    let status = interrupt::guard(&mut child)?;
    if !status.success() {
        bail!("{what} ended with {status}");
    }
    Ok(())
}

/// Runs a program to its end and gives what it printed to stdout.
pub fn output(command: &mut Command) -> Result<String> {
    let what = describe(command);
    let out = command.output().with_context(|| format!("start {what}"))?;
    if !out.status.success() {
        bail!("{what} ended with {}\n{}", out.status, String::from_utf8_lossy(&out.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let args: Vec<_> = command.get_args().take(4).map(|a| a.to_string_lossy().into_owned()).collect();
    format!("`{program} {}`", args.join(" "))
}
