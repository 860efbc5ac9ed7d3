//! A machine's process: found again by id and start time, waited for without polling, ended.

use super::place::Place;
use ports::vms::{Ending, Running};
use ports::{ConnectorError, ErrorKind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long QEMU has to write its disks out and end after SIGTERM.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// How much of what QEMU said is shown, in bytes.
const SAID: usize = 1000;

/// What is written down of a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Noted {
    /// Start time in ticks since the machine was switched on.
    began: u64,
    /// Which switching on that was.
    boot: String,
    running: Running,
}

/// A process that is alive.
pub(super) struct Process {
    handle: OwnedFd,
    pub running: Running,
}

impl Process {
    /// The machine's process, if it is alive and the very one that was started.
    pub fn of(place: &Place) -> Result<Option<Self>> {
        let noted = match place.read("process.json")? {
            Some(text) => serde_json::from_str::<Noted>(&text).ok(),
            None => found(place)?,
        };
        let Some(noted) = noted.filter(|n| n.boot == boot()) else { return Ok(None) };
        // The handle first: from then on the number cannot become another process's unnoticed.
        let Some(handle) = open(noted.running.process) else { return Ok(None) };
        let alive = began(noted.running.process).is_some_and(|at| at == noted.began);
        Ok(alive.then_some(Self { handle, running: noted.running }))
    }

    /// Writes down which process the machine has.
    pub fn note(place: &Place, running: &Running) -> Result<()> {
        let gone = || ConnectorError::new(ErrorKind::Internal, "start", &place.id, "QEMU ended at once");
        let noted = Noted { began: began(running.process).ok_or_else(gone)?, boot: boot(), running: running.clone() };
        place.write("process.json", &serde_json::to_string(&noted).unwrap_or_default())
    }

    /// Waits for its end, whoever's child it is.
    pub async fn ended(&self) -> Result<()> {
        let unknown = |e: std::io::Error| ConnectorError::new(ErrorKind::Internal, "wait for", format!("process {}", self.running.process), e.to_string());
        let handle = self.handle.try_clone().map_err(unknown)?;
        #[expect(deprecated, reason = "its successor is an unsafe function; an OwnedFd is the same descriptor as long as it lives, which is all it asks for")]
        let waiting = AsyncFd::with_interest(handle, Interest::READABLE).map_err(unknown)?;
        waiting.readable().await.map(drop).map_err(unknown)
    }

    /// SIGTERM lets QEMU write its disks out; SIGKILL does not ask.
    pub async fn end(&self) -> Result<()> {
        self.signal(Signal::TERM);
        if tokio::time::timeout(LAST_WRITES, self.ended()).await.is_err() {
            self.signal(Signal::KILL);
            self.ended().await?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        // A process that is gone is what is wanted.
        let _sent_or_gone = pidfd_send_signal(&self.handle, signal);
    }
}

/// Ends whatever runs there; for ways out on which nothing more can be done.
pub(super) async fn end_quietly(place: &Place) {
    if let Ok(Some(process)) = Process::of(place)
        && let Err(error) = process.end().await
    {
        tracing::warn!(%error, vm = place.id, "the process of a virtual machine could not be ended");
    }
}

/// A process that was started, but not written down: QEMU's own file names it.
fn found(place: &Place) -> Result<Option<Noted>> {
    let Some(process) = place.read("qemu.pid")?.and_then(|text| text.trim().parse::<u32>().ok()) else { return Ok(None) };
    let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let ours = command.split(|b| *b == 0).any(|word| word == format!("guest={}", place.id).as_bytes());
    let Some(began) = began(process).filter(|_| ours) else { return Ok(None) };
    let accelerator = if command.windows(10).any(|w| w == b"-accel\0kvm") { "kvm" } else { "tcg" };
    let running = Running { process, accelerator: accelerator.to_owned(), limits: "not known: it was taken over".to_owned(), accelerator_reason: None };
    Ok(Some(Noted { began, boot: boot(), running }))
}

fn open(process: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(process as i32)?, PidfdFlags::empty()).ok()
}

/// When a process began; `None` when it is gone, or dead and not yet buried.
fn began(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

pub(super) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// How a machine ended that does not run. QEMU removes its own file when it ends in good order.
pub(super) fn ending(place: &Place) -> Ending {
    if !place.file("qemu.pid").exists() {
        return Ending { clean: true, reason: "the guest switched itself off, or it was switched off".to_owned() };
    }
    let said = said(place);
    let rest = if said.is_empty() { "QEMU said nothing".to_owned() } else { format!("QEMU said: {said}") };
    Ending { clean: false, reason: format!("its process was killed or died; {rest}") }
}

/// The last that QEMU said, without what it says always.
pub(super) fn said(place: &Place) -> String {
    let bytes = std::fs::read(place.file("stderr.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SAID)..]).into_owned();
    let lines = text.lines().filter(|l| !l.trim().is_empty() && !l.contains("warning:"));
    let plain = lines.map(|l| l.trim_start_matches("qemu-system-x86_64: ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>());
    plain.collect::<Vec<_>>().join("; ")
}
