//! Starting: disk, limits, process, greeting.

use super::place::Place;
use super::process::{self, Process};
use super::{Qemu, arguments, qmp};
use crate::program;
use domain::vms::VmSpec;
use ports::vms::Running;
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How often the socket of a new process is tried.
const KNOCK: Duration = Duration::from_millis(20);
/// Longest that QEMU may take to open it.
const PATIENCE: Duration = Duration::from_secs(30);

impl Qemu {
    /// Whoever calls holds the machine's turn. A failure leaves no process behind.
    pub(super) async fn start_in(&self, place: &Place, spec: &VmSpec) -> Result<Running> {
        if let Some(process) = Process::of(place)? {
            return Ok(process.running);
        }
        program::version().await?;
        let spec = self.checked_files(spec)?;
        place.make()?;
        for stale in ["process.json", "qemu.pid", "qmp.sock"] {
            place.forget(stale);
        }
        self.prepare_disk(place, &spec).await?;
        let accelerator = self.accelerator().await;
        let started = self.spawn(place, &spec, &accelerator).await;
        if started.is_err() {
            process::end_quietly(place).await;
            self.limits.lift(&place.id);
            place.forget("process.json");
            place.forget("qemu.pid");
        }
        started
    }

    async fn spawn(&self, place: &Place, spec: &VmSpec, accelerator: &str) -> Result<Running> {
        let words = arguments::command(&place.id, spec, accelerator);
        let said = std::fs::File::create(place.file("stderr.log")).map_err(|e| place.failed("start", &e))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&place.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).kill_on_drop(false);
        let mut child = command.spawn().map_err(|e| program::missing(&words[0], &e))?;
        let process = child.id().ok_or_else(|| failed(place))?;
        let limits = self.limits.set(&place.id, process, spec);
        let running = Running { process, accelerator: accelerator.to_owned(), limits };
        Process::note(place, &running).map_err(|_| failed(place))?;
        // Nobody waits for it here; but a dead child stays in the table of processes until its parent has looked.
        let buried = tokio::spawn(async move { child.wait().await });
        greeted(place).await.inspect_err(|_| buried.abort())?;
        Ok(running)
    }
}

/// Waits until it obeys and says that it runs.
async fn greeted(place: &Place) -> Result<()> {
    let knocking = async {
        loop {
            let Some(process) = Process::of(place)? else { return Err(failed(place)) };
            match qmp::Talk::open(place).await {
                Ok(mut talk) => return talk.execute("query-status", json!({})).await.map(drop),
                // Not there yet, or gone in the middle of the greeting.
                Err(error) if matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
            tokio::select! { _ended = process.ended() => {} () = tokio::time::sleep(KNOCK) => {} }
        }
    };
    let late = || ConnectorError::new(ErrorKind::TimedOut, "start", subject(place), format!("QEMU did not obey within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, knocking).await.unwrap_or_else(|_| Err(late()))
}

/// It ended before it obeyed.
fn failed(place: &Place) -> ConnectorError {
    let said = process::said(place);
    let reason = if said.is_empty() { "QEMU ended at once, without a word".to_owned() } else { format!("QEMU ended at once: {said}") };
    ConnectorError::new(ErrorKind::Invalid, "start", subject(place), reason)
}

fn subject(place: &Place) -> String {
    format!("virtual machine {}", place.id)
}
