//! Work on disks that takes as long as it takes: it ends with whoever waits for it, also when that is killed.

use crate::program::{kind, missing, words};
use ports::{ConnectorError, ErrorKind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};
use tokio::sync::oneshot;

/// Ends the program when nobody waits for it any more.
struct Leash(Option<OwnedFd>);

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            // One that has ended is what is wanted.
            let _sent_or_gone = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// Runs the program to its end.
pub(super) async fn run_leashed(program: &'static str, arguments: Vec<String>) -> Result<()> {
    let (tell, told) = oneshot::channel();
    let waiting = tokio::task::spawn_blocking(move || wait(program, &arguments, tell));
    let _leash = told.await.unwrap_or(Leash(None));
    let output = waiting.await.map_err(|e| ConnectorError::new(ErrorKind::Internal, "run", program, e.to_string()))?;
    let output = output.map_err(|e| missing("setpriv", &e))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ConnectorError::new(kind(&output), "run", program, words(&output.stderr)))
}

/// The kernel ends the program together with the thread that has started it, which is this one: after a crash of ours none writes on.
fn wait(program: &str, arguments: &[String], tell: oneshot::Sender<Leash>) -> std::io::Result<Output> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).args(arguments).env("LC_ALL", "C");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let handle = Pid::from_raw(child.id() as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    // Whoever asked is gone already: the leash is dropped here, and the program ends.
    drop(tell.send(Leash(handle)));
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn it_ends_with_whoever_waits() {
        assert!(run_leashed("true", Vec::new()).await.is_ok());
        assert_eq!(run_leashed("false", Vec::new()).await.unwrap_err().kind, ErrorKind::Invalid);
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Nobody writes: it would read for ever. When it is gone, its end of the pipe is closed.
        let reading = tokio::spawn(run_leashed("cat", vec![fifo.display().to_string()]));
        let path = fifo.clone();
        let mut writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(path)).await.unwrap().unwrap();
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        let closed = tokio::task::spawn_blocking(move || while std::io::Write::write(&mut writer, b"x").is_ok() {});
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("it goes on reading").unwrap();
    }
}
