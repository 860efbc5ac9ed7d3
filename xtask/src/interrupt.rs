//! Ctrl-C and SIGTERM: the program that runs right now is asked to end, and we live on to stop the servers we started.

use anyhow::Result;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);
static CHILD: AtomicI32 = AtomicI32::new(0);

/// Starts listening, on a thread of its own, for the whole life of the process.
pub fn listen() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
            loop {
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                ASKED.store(true, Ordering::SeqCst);
                if let Some(pid) = rustix::process::Pid::from_raw(CHILD.load(Ordering::SeqCst)) {
                    // It may have ended by itself in this moment; then there is nothing to ask.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
                }
            }
        });
    });
}

/// Whether somebody asked us to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// From now on an interruption is passed on to `child`.
pub fn aim(child: &Child) {
    CHILD.store(child.id().cast_signed(), Ordering::SeqCst);
}

/// Waits for `child`, passing an interruption on to it.
pub fn guard(child: &mut Child) -> Result<ExitStatus> {
    aim(child);
    let status = child.wait();
    CHILD.store(0, Ordering::SeqCst);
    if asked() {
        anyhow::bail!("interrupted");
    }
    Ok(status?)
}
