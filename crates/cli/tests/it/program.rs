//! Runs the binary with an environment of its own.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// What a run left.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The one JSON document on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("stdout is no JSON ({e}):\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

/// The binary, with nothing of the developer's environment that could change what it does.
pub fn program(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migration-assistant"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", data).env("MIGRATION_ASSISTANT_DATA_DIR", data).env("COLUMNS", "110");
    command
}

pub fn run(data: &Path, args: &[&str]) -> Ran {
    finish(program(data).args(args).output().expect("the binary runs"))
}

pub fn finish(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}
