//! The embedded database: one process, one writer, several readers, every commit synced to the disk.

use crate::embedded;
use crate::sql::{Conn, params};
use crate::writer::Pool;
use engine::EngineError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const READERS: usize = 4;

/// The opened database. The lock is held as long as the file lives.
pub struct Opened {
    pub write: Pool,
    pub read: Pool,
    pub lock: File,
}

/// Where the database of a `sqlite:` address lives.
pub fn path_of(rest: &str, data_dir: &Path) -> PathBuf {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    if rest.is_empty() { data_dir.join("migration-assistant.db") } else { PathBuf::from(rest) }
}

pub async fn open(path: &Path) -> Result<Opened, EngineError> {
    let lock = lock(path)?;
    // Made here, so that only its owner may read it; the database's side files take its mode.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|e| unusable(path, &e.to_string()))?;
    let (write, read) = (embedded::Pool::new(path, 1, false), embedded::Pool::new(path, READERS, true));
    let mut conn = Conn::from(write.take().await.map_err(|e| unusable(path, &e.to_string()))?);
    crate::schema::upgrade(&mut conn).await?;
    // Nobody else can be at work here: whoever holds a run is gone.
    conn.run("UPDATE run SET owner = NULL, lease_until = NULL WHERE owner IS NOT NULL", params![]).await?;
    crate::once::forsake(&mut conn).await?;
    drop(conn);
    Ok(Opened { write: Pool::Sqlite(write), read: Pool::Sqlite(read), lock })
}

fn unusable(path: &Path, reason: &str) -> EngineError {
    EngineError::Unavailable(format!("could not open the database {}: {reason}", path.display()))
}

/// A connection that only reads, beside whoever is at work. A file that is missing is not made.
pub async fn look(path: &Path) -> Result<Conn, EngineError> {
    if !path.is_file() {
        return Err(EngineError::Invalid(format!("there is no database {}", path.display())));
    }
    // Not opened read-only: the first reader of a database in WAL mode has to make its index of the log.
    embedded::Pool::new(path, 1, true).take().await.map(Conn::from).map_err(|e| unusable(path, &e.to_string()))
}

/// Only one process at a time. The lock ends with the process, however it ends.
pub fn lock(path: &Path) -> Result<File, EngineError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let cannot = |e: std::io::Error| EngineError::Unavailable(format!("could not make the lock {}: {e}", name.display()));
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&name).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _unknown = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "another process".to_owned() } else { format!("process {}", holder.trim()) };
            return Err(EngineError::Unavailable(format!(
                "the database {} is in use by {holder} (lock {}). Talk to that one (for example with --server), end it, or choose another --data-dir",
                path.display(),
                name.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(cannot)?;
    Ok(file)
}
