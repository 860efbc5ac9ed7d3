//! Which file it is, whatever its path says, and a lock file beside it.
//!
//! The lock is the operating system's (`flock`), so it ends with the process that has it; what the file says is only for people. Whoever
//! gives the lock back removes the file.

use super::{Sqlite, blocking, file};
use ports::place::{DatabaseIdentity, DatabasePlace, MARK_PREFIX, PlaceLock};
use ports::{ConnectorError, ErrorKind, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

#[async_trait::async_trait]
impl DatabasePlace for Sqlite {
    async fn identity(&self) -> Result<DatabaseIdentity> {
        let path = self.path.clone();
        let found = blocking("look at", &self.path, move || std::fs::metadata(&path).map_err(|e| file::io_error("look at", &path, e))).await?;
        Ok(DatabaseIdentity { system: format!("{}:{}", found.dev(), found.ino()), database: String::new(), shared: true })
    }

    async fn lock(&self, name: &str, holder: &str) -> Result<Option<Box<dyn PlaceLock>>> {
        let (path, name, holder) = (self.path.clone(), name.to_owned(), holder.to_owned());
        let taken = blocking("lock", &self.path, move || take(&beside(&path, &name)?, &holder)).await?;
        Ok(taken.map(|held| Box::new(Held(Mutex::new(Some(held)))) as Box<dyn PlaceLock>))
    }

    async fn holder(&self, name: &str) -> Result<Option<String>> {
        let (path, name) = (self.path.clone(), name.to_owned());
        blocking("look at the lock of", &self.path, move || look(&beside(&path, &name)?)).await
    }
}

/// The lock file of the file that the path leads to.
fn beside(database: &Path, name: &str) -> Result<PathBuf> {
    let real = match database.canonicalize() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let parent = database.parent().unwrap_or(Path::new("/"));
            let parent = parent.canonicalize().map_err(|e| file::io_error("look at", parent, e))?;
            parent.join(database.file_name().unwrap_or_default())
        }
        other => other.map_err(|e| file::io_error("look at", database, e))?,
    };
    let leaf = real.file_name().unwrap_or_default().to_string_lossy();
    let hash = blake3::hash(format!("{name}\0{leaf}").as_bytes()).to_hex();
    Ok(real.with_file_name(format!("{MARK_PREFIX}lock-{}", &hash[..32])))
}

/// The lock file, open and locked.
struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    fn is_in_place(&self) -> bool {
        let (Ok(named), Ok(own)) = (std::fs::metadata(&self.path), self.file.metadata()) else { return false };
        (named.dev(), named.ino()) == (own.dev(), own.ino())
    }
}

impl Drop for LockFile {
    /// Removed while it is still locked, so that nobody locks a file that is gone.
    fn drop(&mut self) {
        if self.is_in_place() {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn take(path: &Path, holder: &str) -> Result<Option<LockFile>> {
    let failed = |e| file::io_error("lock", path, e);
    // Whoever had it may remove the file between our opening and locking it.
    for _ in 0..100 {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o644).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let mut held = LockFile { path: path.to_owned(), file };
        if !held.is_in_place() {
            continue;
        }
        held.file.set_len(0).and_then(|()| held.file.write_all(holder.as_bytes())).map_err(failed)?;
        return Ok(Some(held));
    }
    Err(ConnectorError::new(ErrorKind::Throttled, "lock", path.display().to_string(), "others take and give back the lock all the time"))
}

fn look(path: &Path) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(file::io_error("look at", path, e)),
    };
    match file.try_lock_shared() {
        // Left by a process that is gone.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok();
            Ok(Some(holder))
        }
        Err(TryLockError::Error(e)) => Err(file::io_error("look at", path, e)),
    }
}

struct Held(Mutex<Option<LockFile>>);

#[async_trait::async_trait]
impl PlaceLock for Held {
    async fn is_held(&self) -> bool {
        self.0.lock().await.as_ref().is_some_and(LockFile::is_in_place)
    }

    async fn release(&self) {
        drop(self.0.lock().await.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("shop.db");
        std::fs::write(&database, b"").unwrap();
        std::os::unix::fs::symlink(&database, dir.path().join("alias.db")).unwrap();
        let path = beside(&database, "owner").unwrap();
        assert_eq!(path, beside(&dir.path().join("alias.db"), "owner").unwrap());
        let held = take(&path, "run-1").unwrap().unwrap();
        assert!(take(&path, "run-2").unwrap().is_none());
        assert_eq!(look(&path).unwrap().as_deref(), Some("run-1"));
        drop(held);
        assert!(!path.exists() && look(&path).unwrap().is_none());
        // What a killed process leaves is nobody's.
        std::fs::write(&path, b"run-0").unwrap();
        assert_eq!(look(&path).unwrap(), None);
        assert!(take(&path, "run-2").unwrap().is_some());
    }
}
