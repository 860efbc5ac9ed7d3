//! The directory of one machine.

use ports::{ConnectorError, ErrorKind, Result};
use std::fs;
use std::io::ErrorKind as Io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where a machine's files are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub id: String,
    pub dir: PathBuf,
}

impl Place {
    /// An id is a plain name: it becomes one.
    pub fn new(directory: &Path, id: &str) -> Result<Self> {
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(ConnectorError::new(ErrorKind::Name, "use", id.escape_default().to_string(), "that is no id of a virtual machine"));
        }
        Ok(Self { id: id.to_owned(), dir: directory.join(id) })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// Makes it; it is its owner's alone.
    pub fn make(&self) -> Result<()> {
        private_dir(&self.dir).map_err(|e| self.failed("make the directory of", &e))
    }

    /// Everything in it goes. One that is gone is no error.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != Io::NotFound => Err(self.failed("remove the files of", &e)),
            _ => Ok(()),
        }
    }

    /// A file's text; `None` when it is not there.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        match fs::read_to_string(self.file(name)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == Io::NotFound => Ok(None),
            Err(e) => Err(self.failed(&format!("read {name} of"), &e)),
        }
    }

    /// A file that is whole or not there.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let fresh = self.file(&format!("{name}.new"));
        let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, self.file(name)));
        written.map_err(|e| self.failed(&format!("write {name} of"), &e))
    }

    pub fn forget(&self, name: &str) {
        // Not there is what is wanted.
        let _gone = fs::remove_file(self.file(name));
    }

    pub fn failed(&self, operation: &str, error: &std::io::Error) -> ConnectorError {
        let kind = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::NoSpace,
            Io::PermissionDenied => ErrorKind::Permission,
            _ => ErrorKind::Internal,
        };
        ConnectorError::new(kind, operation, format!("virtual machine {}", self.id), error.to_string())
    }
}

fn private_dir(dir: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The directory is this process's, until this is dropped.
pub(super) struct Taken(fs::File);

impl Drop for Taken {
    /// Given back in so many words: a child that another thread has just forked, and that has not become its program yet, shares the open file, and
    /// would keep the lock for so long.
    fn drop(&mut self) {
        // Closing it gives it back as well, only later.
        let _closed_later = self.0.unlock();
    }
}

/// Takes the directory for this process, until it ends.
pub(super) fn lock(directory: &Path) -> Result<Taken> {
    let shown = || directory.display().to_string();
    let failed = |e: std::io::Error| ConnectorError::new(ErrorKind::Permission, "use", shown(), e.to_string()).because(e);
    private_dir(directory).map_err(failed)?;
    let file = fs::OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(directory.join(".lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Taken(file)),
        Err(fs::TryLockError::WouldBlock) => {
            let reason = "another server keeps its virtual machines there";
            Err(ConnectorError::new(ErrorKind::AlreadyExists, "use", shown(), reason).advice("Stop that one, or give this one a --data-dir of its own"))
        }
        Err(fs::TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// Ids of all machines that have a directory.
pub(super) fn all(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(ConnectorError::new(ErrorKind::Permission, "list", directory.display().to_string(), e.to_string())),
    };
    let names = entries.flatten().filter(|e| e.path().is_dir()).filter_map(|e| e.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}
