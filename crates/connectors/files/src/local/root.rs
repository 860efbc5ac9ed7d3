//! The root directory and single things below it. All calls block.

use super::error::{escaped, from_io};
use super::facts::Facts;
use crate::tree;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use ports::files::{Entry, FilePath};
use ports::{ConnectorError, ErrorKind, Result};
use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) struct Root {
    path: PathBuf,
    /// What people are told.
    shown: String,
    /// Open as long as the path leads through it.
    held: Option<OwnedFd>,
}

/// The path as the operating system wants it; the root itself is `.`.
pub(super) fn native(path: &FilePath) -> &Path {
    if path.as_bytes().is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(path.as_bytes())) }
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { shown: path.display().to_string(), path, held: None }
    }

    /// A directory that only a handle leads to.
    pub(super) fn of_handle(held: OwnedFd, shown: String) -> Self {
        Self { path: PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())), shown, held: Some(held) }
    }

    /// Whether only a handle leads there: no path says where it is.
    pub(super) fn is_of_handle(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn location(&self) -> String {
        self.shown.clone()
    }

    pub(super) fn subject(&self, path: &FilePath) -> String {
        if path.as_bytes().is_empty() { self.location() } else { format!("{}/{path}", self.shown) }
    }

    /// Bytes that a path below the root may have (PATH_MAX, and room for a staging name).
    pub(super) fn room(&self) -> usize {
        4096_usize.saturating_sub(self.path.as_os_str().len() + 130)
    }

    /// A fresh handle: a root that was removed and made again is seen.
    pub(super) fn open(&self) -> Result<Dir> {
        Dir::open_ambient_dir(&self.path, ambient_authority()).map_err(|e| {
            let error = from_io("open the directory", self.location(), e);
            if error.kind == ErrorKind::Invalid { error.advice("Give the path of a directory") } else { error }
        })
    }

    /// Makes the root with its parents; true when it was missing. Repeatable.
    pub(super) fn prepare(&self) -> Result<bool> {
        if self.path.is_dir() {
            return Ok(false);
        }
        std::fs::create_dir_all(&self.path).map(|()| true).map_err(|e| from_io("make the directory", self.location(), e))
    }

    /// A name that no tree can hold does not exist.
    pub(super) fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        if !path.is_plain() {
            return Ok(None);
        }
        let root = self.open()?;
        let facts = match root.symlink_metadata(native(path)) {
            Ok(m) => Facts::from(&m),
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(from_io("look at", self.subject(path), e)),
        };
        let target = match facts.file_type() {
            rustix::fs::FileType::Symlink => match root.read_link_contents(native(path)) {
                Ok(t) => Some(t.into_os_string().into_encoded_bytes()),
                Err(e) if is_absent(&e) => return Ok(None),
                Err(e) => return Err(from_io("read the link", self.subject(path), e)),
            },
            _ => None,
        };
        Ok(Some(facts.entry(path.clone(), target)))
    }

    /// See [`ports::files::FileSource::resolve`].
    pub(super) fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        if !path.is_plain() {
            return Ok(None);
        }
        let root = self.open()?;
        let found = match root.metadata(native(path)) {
            Err(e) if escaped(&e) => match self.inside(path) {
                Some(real) => root.metadata(real),
                None => return Ok(None),
            },
            other => other,
        };
        match found {
            Ok(m) => Ok(Some(Facts::from(&m).entry(path.clone(), None))),
            Err(e) if is_absent(&e) || escaped(&e) || rustix::io::Errno::from_io_error(&e) == Some(rustix::io::Errno::LOOP) => Ok(None),
            Err(e) => Err(from_io("follow the link", self.subject(path), e)),
        }
    }

    /// Opens for reading. A FIFO does not block; the caller looks at what it got.
    pub(super) fn open_file(&self, path: &FilePath) -> io::Result<File> {
        if !path.is_plain() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let root = Dir::open_ambient_dir(&self.path, ambient_authority())?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        match root.open_with(native(path), &options) {
            Err(e) if escaped(&e) => match self.inside(path) {
                Some(real) => root.open_with(real, &options),
                None => Err(e),
            },
            other => other,
        }
    }

    /// An absolute link that points back into the root is inside after all: its path relative to the root. The caller still
    /// opens it through the root's handle.
    fn inside(&self, path: &FilePath) -> Option<PathBuf> {
        let root = self.path.canonicalize().ok()?;
        let real = root.join(native(path)).canonicalize().ok()?;
        real.strip_prefix(&root).ok().map(Path::to_path_buf)
    }

    /// Removes a file, a link or an empty directory; the empty path is the root itself.
    pub(super) fn remove(&self, path: &FilePath) -> Result<()> {
        if path.as_bytes().is_empty() {
            return match std::fs::remove_dir(&self.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(from_io("remove", self.location(), e)),
                _ => Ok(()),
            };
        }
        if !path.is_plain() {
            return Ok(());
        }
        match self.remove_below(path) {
            Err(e) if !is_absent(&e) => Err(from_io("remove", self.subject(path), e)),
            _ => Ok(()),
        }
    }

    fn remove_below(&self, path: &FilePath) -> io::Result<()> {
        let root = Dir::open_ambient_dir(&self.path, ambient_authority())?;
        let parent = match path.parent() {
            Some(p) => root.open_dir(native(&p))?,
            None => root,
        };
        let leaf = tree::leaf(path);
        match unlinkat(&parent, leaf, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR) => Ok(unlinkat(&parent, leaf, AtFlags::REMOVEDIR)?),
            other => Ok(other?),
        }
    }

    /// Of the file system of the root, or of the nearest directory above it that exists.
    pub(super) fn free_space(&self) -> io::Result<u64> {
        let dir = Dir::open_ambient_dir(self.nearest(), ambient_authority())?;
        let facts = rustix::fs::fstatvfs(&dir)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    /// The root, or the nearest directory above it that exists.
    pub(super) fn nearest(&self) -> &Path {
        self.path.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/"))
    }
}

/// The handle of the directory that holds `path`. Missing parents are made, for us alone until they get their modes.
pub(super) fn parent(root: Dir, path: &FilePath) -> io::Result<Dir> {
    let Some(directory) = path.parent() else { return Ok(root) };
    match root.open_dir(native(&directory)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let above = parent(root, &directory)?;
            match rustix::fs::mkdirat(&above, tree::leaf(&directory), Mode::from_raw_mode(tree::PRIVATE_MODE)) {
                // Another transfer was faster.
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            above.open_dir(native(&FilePath::new(tree::leaf(&directory))))
        }
        other => other,
    }
}

/// The last name or a directory on the way does not exist (or is a file).
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename)
}

/// What was found is no file that can be read.
pub(super) fn not_a_file(subject: String, entry: &Entry) -> ConnectorError {
    let what = match &entry.kind {
        ports::files::EntryKind::Directory => "a directory",
        ports::files::EntryKind::Other(kind) => kind,
        _ => "something else",
    };
    ConnectorError::new(ErrorKind::Changed, "read", subject, format!("it is {what}, not a file")).permanent()
}
