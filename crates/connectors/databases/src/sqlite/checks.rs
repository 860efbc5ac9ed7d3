//! What can be known before anything moves: is the file there and whole, may we read or write beside it.

use super::error::failed;
use super::file::{self, Reader};
use super::{Sqlite, blocking};
use ports::check::{Check, CheckOutcome, Examine, Finding, Role};
use ports::{ConnectorError, ErrorKind, Result};
use rusqlite::Connection;
use rustix::fs::Access;
use std::path::Path;

/// How often a file that changes under the reading is read again.
const TRIES: u32 = 4;

impl Examine for Sqlite {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        let mut checks = vec![
            Check { name: "connectivity", run: Box::pin(async move { settle(self.reachable(role).await) }) },
            Check { name: "permissions", run: Box::pin(async move { settle(self.permitted(role).await) }) },
            Check { name: "integrity", run: Box::pin(async move { settle(self.whole(role).await) }) },
            Check { name: "version", run: Box::pin(async { CheckOutcome::Passed(super::product()) }) },
        ];
        if role == Role::Source {
            checks.push(Check { name: "source_load", run: Box::pin(async move { settle(self.load()) }) });
        }
        checks
    }
}

fn settle(outcome: Result<CheckOutcome>) -> CheckOutcome {
    outcome.unwrap_or_else(|e| {
        let finding = Finding { field: "database.database".to_owned(), issue: e.to_string(), suggestion: e.advice.clone() };
        CheckOutcome::Failed { finding, kind: e.kind }
    })
}

/// Reads again when somebody began to write to a file that was read as one that nobody has open: what was seen then is from no one moment.
fn read_whole<T>(path: &Path, look: impl Fn(&Connection) -> Result<T>) -> Result<T> {
    let mut left = TRIES;
    loop {
        left -= 1;
        let reader = Reader::new(path)?;
        let seen = look(&reader.open()?);
        match reader.unchanged() {
            Err(_) if left > 0 => {}
            unchanged => return unchanged.and(seen),
        }
    }
}

fn passed(text: impl Into<String>) -> CheckOutcome {
    CheckOutcome::Passed(text.into())
}

impl Sqlite {
    /// The file opens as a database; a destination may still be missing, if its directory is there.
    async fn reachable(&self, role: Role) -> Result<CheckOutcome> {
        let path = self.path.clone();
        blocking("open", &self.path, move || {
            if role == Role::Destination && !path.exists() {
                directory(&path)?;
                return Ok(passed("the file is not there yet and will be made"));
            }
            let query = "SELECT count(*) FROM sqlite_schema";
            let count = |c: &Connection| c.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(failed("read", &super::location(&path)));
            let objects = read_whole(&path, count)?;
            Ok(passed(format!("an SQLite file with {objects} objects")))
        })
        .await
    }

    /// A destination is tried out: a file is made beside it and deleted.
    async fn permitted(&self, role: Role) -> Result<CheckOutcome> {
        let path = self.path.clone();
        blocking("check", &self.path, move || {
            if role == Role::Source {
                return file::may(&path, Access::READ_OK).map_err(|e| file::io_error("read", &path, e)).map(|()| passed("the file may be read"));
            }
            directory(&path)?;
            let trial = file::beside(&path, &format!("-trial-{:016x}", rand::random::<u64>()));
            std::fs::write(&trial, b"trial").map_err(|e| file::io_error("write beside", &path, e))?;
            std::fs::remove_file(&trial).map_err(|e| file::io_error("delete beside", &path, e))?;
            if path.exists() {
                file::may(&path, Access::WRITE_OK).map_err(|e| file::io_error("write", &path, e))?;
            }
            Ok(passed("files can be made, written and deleted there"))
        })
        .await
    }

    /// What the programs that use the file will notice.
    fn load(&self) -> Result<CheckOutcome> {
        if file::in_wal_mode(&self.path)? {
            return Ok(passed("the file is in WAL mode: nobody waits while it is read, but its -wal file grows until the copy ends"));
        }
        let bytes = std::fs::metadata(&self.path).map_err(|e| file::io_error("read", &self.path, e))?.len();
        let place = std::env::temp_dir();
        Ok(passed(format!(
            "the file is in rollback-journal mode: it is copied to {} first ({bytes} bytes), so that its writers wait for a few milliseconds at a time",
            place.display()
        )))
    }

    /// A quick look at the file's own structure.
    async fn whole(&self, role: Role) -> Result<CheckOutcome> {
        let path = self.path.clone();
        blocking("check", &self.path, move || {
            if role == Role::Destination && !path.exists() {
                return Ok(passed("the file is not there yet"));
            }
            let subject = super::location(&path);
            let check = |c: &Connection| c.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)).map_err(failed("check", &subject));
            let answer = read_whole(&path, check)?;
            if answer == "ok" {
                return Ok(passed("quick_check finds nothing wrong"));
            }
            let error = ConnectorError::new(ErrorKind::Corrupt, "check", subject, answer);
            Err(error.advice("Recover the file first (`sqlite3 … .recover`)"))
        })
        .await
    }
}

fn directory(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    let found = std::fs::metadata(parent).map_err(|e| file::io_error("find the directory of", path, e))?;
    if found.is_dir() {
        return Ok(());
    }
    Err(ConnectorError::new(ErrorKind::Invalid, "write", super::location(path), "what should be its directory is a file"))
}
