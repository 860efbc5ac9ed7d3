//! One moment of a file in rollback-journal mode, as a private temporary copy, so that its writers never wait longer than for a step of it.
//!
//! SQLite's online backup copies some pages at a time and begins anew when somebody has written in between. A file that is written without pause
//! is copied in one step in the end: its writers wait as long as reading the file takes, not as long as the migration does.

use super::error::failed;
use super::file::{self, Reader};
use ports::{ConnectorError, ErrorKind, Result};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Begins the name of the directory of a copy; the process id and a random number follow.
const PREFIX: &str = "migration-assistant-snapshot-";
/// Pages of one step: a few milliseconds.
const STEP_PAGES: i32 = 2_000;
/// Copies that are begun anew before the rest is copied in one step.
const MAX_RESTARTS: u32 = 5;
/// How long a step waits for a writer, and between two tries.
const BUSY_TIMEOUT: Duration = Duration::from_mins(1);
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The copy, gone when this is dropped.
pub struct Snapshot {
    directory: PathBuf,
    file: PathBuf,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, directory = %self.directory.display(), "the temporary copy of an SQLite file is left behind");
        }
    }
}

impl Snapshot {
    /// Copies the file as it is at one moment.
    ///
    /// # Errors
    /// `NoSpace` when the directory for temporary files is too small; those of opening and reading the source.
    pub fn take(path: &Path) -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let directory = parent.join(format!("{PREFIX}{}-{:016x}", std::process::id(), rand::random::<u64>()));
        std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|e| file::io_error("make a temporary directory for", path, e))?;
        let snapshot = Self { file: directory.join("snapshot.db"), directory };
        copy(path, &snapshot.file).map_err(|e| if e.kind == ErrorKind::NoSpace { e.advice(ROOM) } else { e })?;
        Ok(snapshot)
    }

    pub fn file(&self) -> &Path {
        &self.file
    }
}

const ROOM: &str = "The file is copied into the directory for temporary files first: free space there, or name another one in TMPDIR";

fn copy(from: &Path, to: &Path) -> Result<()> {
    let subject = super::location(from);
    let f = failed("take a snapshot of", &subject);
    let source = Reader::new(from)?.open()?;
    let mut copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(f)?;
    copy.execute_batch("PRAGMA journal_mode = off; PRAGMA synchronous = off").map_err(f)?;
    let backup = Backup::new(&source, &mut copy).map_err(f)?;
    let (mut left, mut restarts) = (i32::MAX, 0);
    let mut waiting_since = None;
    loop {
        let pages = if restarts < MAX_RESTARTS { STEP_PAGES } else { -1 };
        match backup.step(pages).map_err(f)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {
                waiting_since = None;
                let now = backup.progress().remaining;
                restarts += u32::from(now > left);
                left = now;
            }
            _ => {
                if waiting_since.get_or_insert_with(Instant::now).elapsed() > BUSY_TIMEOUT {
                    let reason = "another program has held the file for a minute";
                    return Err(ConnectorError::new(ErrorKind::Throttled, "take a snapshot of", subject, reason).advice("Try again when it is idle"));
                }
                std::thread::sleep(RETRY_PAUSE);
            }
        }
    }
}

/// Removes the copies of processes that were killed.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix(PREFIX)).and_then(|n| n.split_once('-')).and_then(|(pid, _)| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, directory = %entry.path().display(), "somebody else's temporary copy stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_dead_processes_are_swept_and_those_of_living_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let (dead, living, other) = (format!("{PREFIX}4194999-00"), format!("{PREFIX}{}-00", std::process::id()), "migration-assistant-x".to_owned());
        for name in [&dead, &living, &other] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        sweep(parent.path());
        assert_eq!([&dead, &living, &other].map(|n| parent.path().join(n).exists()), [false, true, true]);
    }
}
