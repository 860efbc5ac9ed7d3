//! Starting: disk, limits, process, greeting.

use super::accelerator::Choice;
use super::place::Place;
use super::process::{self, Process};
use super::{Qemu, arguments, qmp, signs_of_life};
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
        let choice = self.choose_accelerator(&spec).await;
        let started = self.spawn(place, &spec, &choice).await;
        match started {
            Err(error) if choice.may_fall_back => {
                self.clear(place).await;
                tracing::warn!(%error, vm = place.id, "a machine did not come up with KVM; it is started with TCG");
                let reason = format!("with KVM it did not come up: {}", error.reason);
                let again = self.spawn(place, &spec, &Choice::tcg(&reason)).await;
                match again {
                    Ok(_) => self.kvm_failed(&spec, &reason).await,
                    Err(_) => self.clear(place).await,
                }
                again
            }
            Err(error) => {
                self.clear(place).await;
                Err(error)
            }
            started => started,
        }
    }

    /// After a start that failed: no process, no group, no note.
    async fn clear(&self, place: &Place) {
        process::end_quietly(place).await;
        self.limits.lift(&place.id);
        place.forget("process.json");
        place.forget("qemu.pid");
    }

    async fn spawn(&self, place: &Place, spec: &VmSpec, choice: &Choice) -> Result<Running> {
        let words = arguments::command(&place.id, spec, choice.name);
        let console = signs_of_life::console_length(place);
        let said = std::fs::File::create(place.file("stderr.log")).map_err(|e| place.failed("start", &e))?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&place.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).kill_on_drop(false);
        let mut child = command.spawn().map_err(|e| program::missing(&words[0], &e))?;
        let process = child.id().ok_or_else(|| failed(place))?;
        let limits = self.limits.set(&place.id, process, spec);
        let running = Running { process, accelerator: choice.name.to_owned(), accelerator_reason: choice.reason.clone(), limits };
        Process::note(place, &running).map_err(|_| failed(place))?;
        // Nobody waits for it here; but a dead child stays in the table of processes until its parent has looked.
        let buried = tokio::spawn(async move { child.wait().await });
        greeted(place).await.inspect_err(|_| buried.abort())?;
        if choice.may_fall_back {
            signs_of_life::wait(place, console, signs_of_life::WATCH).await?;
        }
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

#[cfg(test)]
mod tests {
    use super::super::Accelerator;
    use super::signs_of_life::Watch;
    use super::*;
    use ports::vms::VmHost;

    /// `cli; jmp -2`: as a kernel that KVM hangs, it uses a processor and nothing else.
    const HUNG: [u8; 3] = [0xfa, 0xeb, 0xfe];

    #[tokio::test]
    async fn wait_for_a_hung_guest_ends_with_timed_out() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("hung.raw");
        let mut sector = vec![0; 1 << 20];
        sector[..HUNG.len()].copy_from_slice(&HUNG);
        sector[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&image, sector).unwrap();
        let body = json!({"name": "n", "memory_mib": 64, "image": {"path": image, "format": "raw"}});
        let spec = VmSpec::decode(&body, &mut domain::decode::Problems::default()).unwrap();
        let host = Qemu::new(dir.path().join("vms"), vec![dir.path().to_owned()], None).accelerated_by(Accelerator::Tcg);
        let running = host.start("aa", &spec).await.unwrap();
        assert!(running.accelerator_reason.is_some_and(|why| why.contains("--accelerator tcg")));
        let place = host.place("aa").unwrap();
        let watch = Watch { firmware: Duration::ZERO, timeout: Duration::from_millis(300) };
        // As long as the firmware works there are signs.
        let mut ended = Ok(());
        for _ in 0..200 {
            ended = signs_of_life::wait(&place, signs_of_life::console_length(&place), watch).await;
            if ended.is_err() {
                break;
            }
        }
        host.remove("aa").await.unwrap();
        assert_eq!(ended.unwrap_err().kind, ErrorKind::TimedOut);
    }
}
