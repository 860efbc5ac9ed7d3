//! INT, TERM and HUP: Ctrl-C, a service manager, a terminal that is closed. All three mean the same: stop cleanly.

use crate::failure::{Exit, Failure};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Counts the signals from its making on. A clone that has seen none yet sees those that came before.
#[derive(Clone)]
pub struct Signals(watch::Receiver<u32>);

impl Signals {
    /// From now on the three signals do not end this process by themselves.
    ///
    /// # Errors
    /// The system gives no signals to this program.
    pub fn listen() -> Result<Self, Failure> {
        let open = |kind| signal(kind).map_err(|e| Failure::new(Exit::Failed, "INTERNAL_ERROR", format!("The system gives no signals to this program: {e}")));
        let (mut interrupt, mut terminate) = (open(SignalKind::interrupt())?, open(SignalKind::terminate())?);
        // Whoever started this with nohup wants it to go on without a terminal.
        let mut hangup = if ignores_hangup() { None } else { Some(open(SignalKind::hangup())?) };
        let (count, seen) = watch::channel(0);
        tokio::spawn(async move {
            while !count.is_closed() {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, Some(()) = hung_up(&mut hangup) => {} }
                count.send_modify(|n| *n += 1);
            }
        });
        Ok(Self(seen))
    }

    /// None ever comes: for commands that end at once, and leave the signals to the system.
    pub fn none() -> Self {
        Self(watch::channel(0).1)
    }

    /// Those that came until now count as seen.
    pub fn forget(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for the next one that this clone has not seen.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn hung_up(hangup: &mut Option<Signal>) -> Option<()> {
    match hangup {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP (number 1) ignored.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}
