//! From SQLite's result codes to ours.

use ports::{ConnectorError, ErrorKind};
use rusqlite::ErrorCode;

/// Makes the error of a failed call on `subject`, for `map_err`.
pub fn failed<'a>(operation: &'a str, subject: &'a str) -> impl Fn(rusqlite::Error) -> ConnectorError + Copy + 'a {
    move |error| {
        let (kind, advice) = meaning(&error);
        let reason = match &error {
            rusqlite::Error::SqliteFailure(_, Some(words)) => words.clone(),
            other => other.to_string(),
        };
        ConnectorError::new(kind, operation, subject, reason).advice(advice).because(error)
    }
}

fn meaning(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            (ErrorKind::Throttled, "Another program holds the file; trying again later helps")
        }
        Some(ErrorCode::CannotOpen) => (ErrorKind::NotFound, "Check the path, and that this user may read the file and its directory"),
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => (ErrorKind::Permission, "Give this user the right to the file and its directory"),
        Some(ErrorCode::DiskFull) => (ErrorKind::NoSpace, "Free disk space, then resume"),
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Corrupt, "Run `PRAGMA integrity_check` and recover the file first"),
        Some(ErrorCode::NotADatabase) => (ErrorKind::Invalid, "The file is not an SQLite database, or it is encrypted"),
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Protocol, "Look at the system's log for disk errors"),
        Some(ErrorCode::SchemaChanged) => (ErrorKind::Changed, "Trying again helps"),
        Some(ErrorCode::TooBig) => (ErrorKind::Unsupported, "A value is larger than SQLite allows"),
        Some(ErrorCode::OutOfMemory) => (ErrorKind::Throttled, "Trying again when there is more memory helps"),
        _ => (ErrorKind::Invalid, ""),
    }
}
