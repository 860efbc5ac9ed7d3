//! Ways to open a database file.
//!
//! A source is never written. SQLite itself makes `-wal` and `-shm` files beside a database in WAL mode even for readers; so a
//! file in WAL mode that nobody has open (no `-wal` beside it) is read as immutable, and [`Reader::unchanged`] tells afterwards
//! whether that was true. A file that others have open is read with them, through the `-shm` that they made. In the
//! rollback-journal mode readers make no files at all, but keep writers waiting: a long reading works on a copy.

use super::error::failed;
use ports::{ConnectorError, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a call waits for another program's lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// How source files are opened, decided once for a view.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    /// Size and time of the last change, when the file is read as immutable.
    resting: Option<(u64, SystemTime)>,
    /// A file of ours that nobody writes.
    copy: bool,
}

impl Reader {
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn new(path: &Path) -> Result<Self> {
        let state = stat(path)?;
        let quiet = in_wal_mode(path)? && !beside(path, "-wal").exists();
        Ok(Self { path: path.to_owned(), resting: quiet.then_some(state), copy: false })
    }

    /// For a file of ours that nobody writes.
    pub fn of_copy(path: &Path) -> Self {
        Self { path: path.to_owned(), resting: None, copy: true }
    }

    /// A connection that cannot write.
    pub fn open(&self) -> Result<Connection> {
        let subject = super::location(&self.path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{}{}", escaped(&self.path), if self.copy || self.resting.is_some() { "?immutable=1" } else { "" });
        let connection = Connection::open_with_flags(uri, flags).map_err(failed("open", &subject))?;
        set_up(&connection).map_err(failed("open", &subject))?;
        Ok(connection)
    }

    /// # Errors
    /// `Changed` when a file that was read as resting has been written meanwhile.
    pub fn unchanged(&self) -> Result<()> {
        let Some(before) = self.resting else { return Ok(()) };
        if stat(&self.path)? == before {
            return Ok(());
        }
        let reason = "somebody began to write to it while it was read as a file that nobody has open";
        Err(ConnectorError::new(ErrorKind::Changed, "read", super::location(&self.path), reason).advice("Trying again reads it together with the writer"))
    }
}

fn stat(path: &Path) -> Result<(u64, SystemTime)> {
    let found = std::fs::metadata(path).and_then(|m| Ok((m.len(), m.modified()?)));
    found.map_err(|e| io_error("read", path, e))
}

/// Whether the file may be read or written, without opening it: closing a file gives back all locks that this process has on it
/// (fcntl(2)), also those of SQLite's connections.
pub fn may(path: &Path, access: Access) -> std::io::Result<()> {
    Ok(rustix::fs::access(path, access)?)
}

/// Files whose header was read, by device and inode. They are never closed: see [`may`].
static HEADERS: Mutex<BTreeMap<(u64, u64), File>> = Mutex::new(BTreeMap::new());

/// The file's header says so at its 19th byte.
pub fn in_wal_mode(path: &Path) -> Result<bool> {
    let failed = |e| io_error("open", path, e);
    let known = std::fs::metadata(path).map_err(failed)?;
    let mut headers = HEADERS.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match headers.entry((known.dev(), known.ino())) {
        Entry::Occupied(open) => open.into_mut(),
        Entry::Vacant(place) => place.insert(File::open(path).map_err(failed)?),
    };
    let mut mode = [0];
    // A file that is too short for a header is in no mode.
    Ok(file.read_at(&mut mode, 18).map_err(|e| io_error("read", path, e))? == 1 && mode[0] == 2)
}

/// The name of a file that SQLite keeps beside the database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What the operating system says, as our error.
pub fn io_error(operation: &str, path: &Path, error: std::io::Error) -> ConnectorError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Permission,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        _ => ErrorKind::Invalid,
    };
    ConnectorError::new(kind, operation, super::location(path), error.to_string()).because(error)
}

fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    path.as_os_str().as_bytes().iter().map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A connection that may write, for the destination. Never makes the file.
pub fn open_writer(path: &Path) -> Result<Connection> {
    let subject = super::location(path);
    stat(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed("open", &subject))?;
    set_up(&connection).map_err(failed("open", &subject))?;
    Ok(connection)
}

/// Takes back what a writer that was killed left half done: a connection that cannot write could not read the file before that.
pub fn recover(path: &Path) -> Result<()> {
    if !["-journal", "-wal"].iter().any(|suffix| beside(path, suffix).exists()) {
        return Ok(());
    }
    let writer = open_writer(path)?;
    writer.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed("recover", &super::location(path)))
}

/// Looks at a destination, and tidies up after itself as a read-only connection would not.
pub fn open_observer(path: &Path) -> Result<Connection> {
    let connection = open_writer(path)?;
    connection.pragma_update(None, "query_only", true).map_err(failed("open", &super::location(path)))?;
    Ok(connection)
}

/// Rows are written as they are: no foreign keys, triggers or checks act, as they did not fail at the source.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA cell_size_check = ON; PRAGMA cache_size = -32000")
}
