//! Checks of a local directory before anything moves.

use super::LocalFiles;
use super::root::Root;
use crate::staging;
use futures::{FutureExt, StreamExt};
use ports::files::{FilePath, FileSource};
use ports::{Check, CheckOutcome, ConnectorError, ErrorKind, Finding, Role};

const FIELD: &str = "paths.web_root";

pub(super) fn all(files: &LocalFiles, role: Role) -> Vec<Check<'_>> {
    let mut checks = vec![Check { name: "connectivity", run: reachable(files, role).boxed() }];
    match role {
        Role::Source => checks.push(Check { name: "permissions", run: readable(files).boxed() }),
        Role::Destination => {
            checks.push(Check { name: "permissions", run: writable(files).boxed() });
            checks.push(Check { name: "free_space", run: space(files).boxed() });
        }
    }
    checks
}

fn failed(error: &ConnectorError, suggestion: &str) -> CheckOutcome {
    let advice = if error.advice.is_empty() { suggestion } else { &error.advice };
    let finding = Finding { field: FIELD.to_owned(), issue: format!("{}: {}", error.subject, error.reason), suggestion: advice.to_owned() };
    CheckOutcome::Failed { finding, kind: error.kind }
}

async fn reachable(files: &LocalFiles, role: Role) -> CheckOutcome {
    let found = files
        .blocking(move |root| match root.open() {
            Ok(_) => Ok(format!("directory {}", root.location())),
            Err(e) if e.kind == ErrorKind::NotFound && role == Role::Destination => {
                Ok(format!("directory {} will be made below {}", root.location(), root.nearest().display()))
            }
            Err(e) => Err(e),
        })
        .await;
    match found {
        Ok(text) => CheckOutcome::Passed(text),
        Err(e) => failed(&e, "Give the path of a directory that exists"),
    }
}

/// Lists, and reads the first byte of the first file.
async fn readable(files: &LocalFiles) -> CheckOutcome {
    let mut listing = files.list().take(200);
    while let Some(entry) = listing.next().await {
        match entry {
            Err(e) => return failed(&e, "Give the user read access"),
            Ok(entry) if matches!(entry.kind, ports::files::EntryKind::File { .. }) => {
                return match files.open(&entry.path, Some(0..1)).await {
                    Ok(_) => CheckOutcome::Passed("listed and read".to_owned()),
                    Err(e) if e.kind == ErrorKind::NotFound => continue,
                    Err(e) => failed(&e, "Give the user read access"),
                };
            }
            Ok(_) => {}
        }
    }
    CheckOutcome::Passed("listed".to_owned())
}

/// A real write, read and delete under a temporary name; in the nearest directory above when the root is still to be made.
async fn writable(files: &LocalFiles) -> CheckOutcome {
    match files.blocking(try_write).await {
        Ok(()) => CheckOutcome::Passed("written, read and deleted a trial file".to_owned()),
        Err(e) => failed(&e, "Give the user write access"),
    }
}

fn try_write(root: &Root) -> ports::Result<()> {
    let trial = root.nearest().join(staging::name("check", &FilePath::default()));
    let written = std::fs::write(&trial, b"trial").and_then(|()| std::fs::read(&trial));
    let removed = std::fs::remove_file(&trial);
    let told = |e| super::error::from_io("write a trial file in", root.nearest().display().to_string(), e);
    match written.map_err(told)?.as_slice() {
        b"trial" => removed.map_err(told),
        _ => Err(ConnectorError::new(ErrorKind::Corrupt, "read back a trial file in", root.location(), "it has other content than what was written")),
    }
}

async fn space(files: &LocalFiles) -> CheckOutcome {
    let free = files.blocking(|root| root.free_space().map_err(|e| super::error::from_io("ask for the free space of", root.location(), e))).await;
    match free {
        Ok(0) => CheckOutcome::Failed {
            finding: Finding { field: FIELD.to_owned(), issue: "the disk is full".to_owned(), suggestion: "Free some space".to_owned() },
            kind: ErrorKind::NoSpace,
        },
        Ok(free) => CheckOutcome::Passed(format!("{} free", domain::units::size(free))),
        Err(e) => failed(&e, "Check the path"),
    }
}
