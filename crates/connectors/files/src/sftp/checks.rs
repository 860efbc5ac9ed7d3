//! Checks of an SSH server before anything moves.

use super::SftpFiles;
use super::session::{Fault, Session};
use super::verbs::done;
use super::wire;
use crate::staging;
use futures::{FutureExt, StreamExt};
use ports::files::{EntryKind, FilePath, FileSource};
use ports::{Check, CheckOutcome, ConnectorError, ErrorKind, Finding, Result, Role};

/// Seconds that two clocks may be apart before times stop to mean the same.
const SKEW: u64 = 60;

pub(super) fn all(files: &SftpFiles, role: Role) -> Vec<Check<'_>> {
    let mut checks = vec![
        Check { name: "connectivity", run: reachable(files).boxed() },
        Check { name: "credentials", run: credentials(files).boxed() },
        Check { name: "version", run: version(files).boxed() },
    ];
    match role {
        Role::Source => checks.push(Check { name: "permissions", run: readable(files).boxed() }),
        Role::Destination => {
            checks.push(Check { name: "permissions", run: writable(files).boxed() });
            checks.push(Check { name: "free_space", run: space(files).boxed() });
            checks.push(Check { name: "clock", run: clock(files).boxed() });
        }
    }
    checks
}

fn field(error: &ConnectorError) -> &'static str {
    match error.kind {
        ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Protocol | ErrorKind::Interrupted => "host",
        ErrorKind::HostKey => "host_key",
        ErrorKind::Authentication if error.operation.contains("private key") => "private_key",
        ErrorKind::Authentication => "password",
        _ => "paths.web_root",
    }
}

fn failed(error: &ConnectorError) -> CheckOutcome {
    let suggestion = if error.advice.is_empty() { "Check the server".to_owned() } else { error.advice.clone() };
    // Who may not do something wants to know what.
    let doing = if error.kind == ErrorKind::Permission { format!("could not {} ", error.operation) } else { String::new() };
    let finding = Finding { field: field(error).to_owned(), issue: format!("{doing}{}: {}", error.subject, error.reason), suggestion };
    CheckOutcome::Failed { finding, kind: error.kind }
}

fn outcome(result: Result<String>) -> CheckOutcome {
    result.map_or_else(|e| failed(&e), CheckOutcome::Passed)
}

/// Whoever refuses us at the door is reachable.
async fn reachable(files: &SftpFiles) -> CheckOutcome {
    match files.host.session().await {
        Ok(_) => CheckOutcome::Passed(files.host.server().to_owned()),
        Err(e) if e.kind == ErrorKind::Authentication => CheckOutcome::Passed(files.host.server().to_owned()),
        Err(e) => failed(&e),
    }
}

async fn credentials(files: &SftpFiles) -> CheckOutcome {
    outcome(files.host.session().await.map(|_| "logged in".to_owned()))
}

async fn version(files: &SftpFiles) -> CheckOutcome {
    let session = match files.host.session().await {
        Ok(session) => session,
        Err(e) => return failed(&e),
    };
    if session.features.posix_rename {
        return CheckOutcome::Passed("SFTP version 3 with atomic replacement".to_owned());
    }
    CheckOutcome::Warning(Finding {
        field: "host".to_owned(),
        issue: "the server cannot replace a file atomically (no posix-rename)".to_owned(),
        suggestion: "While a file is replaced there is none for a moment; prefer an OpenSSH server".to_owned(),
    })
}

/// Lists, and reads the first byte of the first file.
async fn readable(files: &SftpFiles) -> CheckOutcome {
    let mut listing = files.list().take(200);
    while let Some(entry) = listing.next().await {
        match entry {
            Err(e) => return failed(&e),
            Ok(entry) if matches!(entry.kind, EntryKind::File { .. }) => match files.open(&entry.path, Some(0..1)).await {
                Ok(_) => return CheckOutcome::Passed("listed and read".to_owned()),
                Err(e) if e.kind == ErrorKind::NotFound => {}
                Err(e) => return failed(&e),
            },
            Ok(_) => {}
        }
    }
    CheckOutcome::Passed("listed".to_owned())
}

/// A real write, read and delete under a temporary name; in the nearest directory above when the root is still to be made.
async fn writable(files: &SftpFiles) -> CheckOutcome {
    outcome(trial(files).await.map(|_| "written, read and deleted a trial file".to_owned()))
}

async fn clock(files: &SftpFiles) -> CheckOutcome {
    let theirs = match trial(files).await {
        Ok(Some(seconds)) => seconds,
        Ok(None) => return CheckOutcome::Passed("the server tells no time".to_owned()),
        Err(e) => return failed(&e),
    };
    let skew = jiff::Timestamp::now().as_second().abs_diff(i64::from(theirs));
    if skew <= SKEW {
        return CheckOutcome::Passed(format!("{skew} s apart"));
    }
    CheckOutcome::Warning(Finding {
        field: "host".to_owned(),
        issue: format!("the clocks of the worker and the server are {skew} s apart"),
        suggestion: "Set both clocks; otherwise times of changed files mislead".to_owned(),
    })
}

/// Writes a trial file, reads it back and deletes it; gives its modification time.
async fn trial(files: &SftpFiles) -> Result<Option<u32>> {
    let session = files.host.session().await?;
    let mut name = files.host.nearest(&session).await?;
    let subject = format!("{} ({})", files.host.server(), String::from_utf8_lossy(&name));
    refuse_unwritable(&session, &name, &subject).await?;
    if !name.ends_with(b"/") {
        name.push(b'/');
    }
    name.extend_from_slice(staging::name("check", &FilePath::default()).as_bytes());
    let tried = try_write(&session, &name).await;
    let removed = session.remove(&name).await;
    let modified = tried.map_err(|e| e.tell("write a trial file on", &subject))?;
    removed.map_err(|e| e.tell("delete a trial file on", &subject))?;
    Ok(modified)
}

/// What a server says of a trial there is only "Failure", or something misleading.
async fn refuse_unwritable(session: &Session, nearest: &[u8], subject: &str) -> Result<()> {
    let told = |e: Fault| e.tell("look at", subject);
    let refused = |kind, reason: &str, advice: &str| Err(ConnectorError::new(kind, "write a trial file on", subject, reason).advice(advice));
    if !session.stat(nearest).await.map_err(told)?.is_directory() {
        return refused(ErrorKind::Invalid, "it is no directory", "Move what is in the way, or give the path of a directory");
    }
    if session.space(nearest).await.map_err(told)?.is_some_and(|s| s.read_only) {
        return refused(ErrorKind::Permission, "its file system is mounted read-only", "Mount it writable (mount -o remount,rw), or choose another place");
    }
    Ok(())
}

async fn try_write(session: &Session, name: &[u8]) -> Result<Option<u32>, Fault> {
    let opening = session.send_open(name, wire::OPEN_READ | wire::OPEN_WRITE | wire::OPEN_CREATE | wire::OPEN_EXCLUSIVE, Some(0o600)).await;
    let handle = Session::opened(opening).await?;
    session.send_write(&handle, 0, b"trial").await.wait().await.and_then(done)?;
    let reading = session.send_read(&handle, 0, 5).await;
    let back = Session::read(reading).await?;
    session.send_close(&handle).await.wait().await.and_then(done)?;
    if &back[..] != b"trial" {
        return Err(Fault::Odd);
    }
    Ok(session.lstat(name).await?.modified)
}

async fn space(files: &SftpFiles) -> CheckOutcome {
    match files.host.free_space().await {
        Ok(Some(0)) => CheckOutcome::Failed {
            finding: Finding { field: "paths.web_root".to_owned(), issue: "the server's disk is full".to_owned(), suggestion: "Free some space".to_owned() },
            kind: ErrorKind::NoSpace,
        },
        Ok(Some(free)) => CheckOutcome::Passed(format!("{} free", domain::units::size(free))),
        Ok(None) => CheckOutcome::Passed("the server does not tell its free space".to_owned()),
        Err(e) => failed(&e),
    }
}
