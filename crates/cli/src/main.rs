//! The binary `migration-assistant`: the control plane (`serve`), and the commands that talk to one.
//!
//! ```text
//! commands ──► Door ──┬── Remote:   HTTP to a running `serve` (--server URL)
//!                     └── Embedded: the same router, in this process, with a worker of its own
//! ```
//! This is the only crate that names connectors (`connectors.rs`). What the commands do is decided behind the door, in
//! `control`; here are only arguments, configuration files, progress and exit codes.

mod args;
mod auth;
mod commands;
mod config;
mod connectors;
mod door;
mod failure;
mod follow;
mod listening;
mod machines;
mod oidc;
mod output;
mod plane;
mod proxies;
mod serve;
mod signals;
mod telemetry;
mod telling;

use args::Args;
use clap::Parser;
use failure::{Exit, Failure};
use output::Output;
use std::process::ExitCode;

/// A request makes and drops some hundred small values on whichever thread is free: the C library's allocator spends more time on them than
/// SQLite on its statements.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let json = std::env::args_os().any(|a| a == "--json");
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error, json),
    };
    // One TLS provider for the whole process; a second installation is impossible here, at the start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Failed, "INTERNAL_ERROR", format!("The program could not start its threads: {error}"));
            return Output::new(json).fail(&failure);
        }
    };
    let output = Output::new(args.json);
    let ended = runtime.block_on(async {
        let telemetry = telemetry::begin(&args)?;
        let ended = commands::run(args, &output, telemetry.sampling()).await;
        telemetry.close().await;
        ended
    });
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => output.fail(&failure),
    }
}

/// What clap says about the arguments: help and version are no failure; everything else is exit code 2.
fn refuse(error: &clap::Error, json: bool) -> ExitCode {
    let shown = error.print();
    if shown.is_err() || !error.use_stderr() {
        return ExitCode::from(u8::from(shown.is_err()));
    }
    if json {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Output::new(true).result(Exit::Usage, serde_json::json!({"error": {"code": "USAGE", "message": first}}));
    }
    Exit::Usage.into()
}
