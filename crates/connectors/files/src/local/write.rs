//! Writing: staging file, content, mode, time, rename.

use super::LocalFiles;
use super::error::from_io;
use super::root::{Root, is_absent, parent};
use super::walk::{each_name, open_directory, open_top};
use crate::body::{collect, wrong_length};
use crate::{staging, tree};
use bytes::Bytes;
use cap_std::fs::Dir;
use futures::StreamExt;
use ports::files::{Body, Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, fchmod, fchown, futimens, openat, renameat,
    renameat_with, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use tokio::sync::mpsc;

/// What may stand where a file is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Over {
    Anything,
    Nothing,
    /// This, as it was seen; or nothing any more.
    Only(Box<Entry>),
}

/// Files up to this size are collected and written in one hop to the blocking pool.
const ONE_HOP: u64 = 1 << 20;

pub(super) async fn put(files: &LocalFiles, entry: &Entry, staging: &str, body: Body, over: Over) -> Result<()> {
    let subject = files.root.subject(&entry.path);
    let name = staging::name(staging, &entry.path);
    let owned = entry.clone();
    if entry.size() <= ONE_HOP {
        let pieces = collect(body, entry.size(), &subject).await?;
        return files.blocking(move |root| write_all(root, &owned, name, pieces, over)).await;
    }
    let (send, receive) = mpsc::channel(4);
    let writer = files.blocking(move |root| write_stream(root, &owned, name, receive, over));
    let feeder = feed(body, send);
    let (written, fed) = tokio::join!(writer, feeder);
    // The source's own error says more than the short file that follows from it.
    fed.and(written)
}

async fn feed(mut body: Body, send: mpsc::Sender<Bytes>) -> Result<()> {
    while let Some(piece) = body.next().await {
        if send.send(piece?).await.is_err() {
            break; // The writer has failed and says why.
        }
    }
    Ok(())
}

fn write_all(root: &Root, entry: &Entry, name: String, pieces: Vec<Bytes>, over: Over) -> Result<()> {
    let subject = root.subject(&entry.path);
    let mut staged = Staged::create(root, &entry.path, name)?;
    for piece in pieces {
        staged.file.write_all(&piece).map_err(|e| from_io("write", &subject, e))?;
    }
    staged.place(entry, &subject, over)
}

fn write_stream(root: &Root, entry: &Entry, name: String, mut pieces: mpsc::Receiver<Bytes>, over: Over) -> Result<()> {
    let subject = root.subject(&entry.path);
    let mut staged = Staged::create(root, &entry.path, name)?;
    let mut seen = 0;
    while let Some(piece) = pieces.blocking_recv() {
        seen += piece.len() as u64;
        if seen > entry.size() {
            break;
        }
        staged.file.write_all(&piece).map_err(|e| from_io("write", &subject, e))?;
    }
    if seen != entry.size() {
        return Err(wrong_length(&subject, entry.size(), seen));
    }
    staged.place(entry, &subject, over)
}

/// A file under its staging name. Dropped before [`Staged::place`]: removed.
pub(super) struct Staged {
    directory: Dir,
    name: String,
    pub(super) file: File,
    keep: bool,
}

impl Staged {
    /// Makes the staging file beside `path`, and missing parents.
    pub(super) fn create(root: &Root, path: &FilePath, name: String) -> Result<Self> {
        let handle = root.open()?;
        let subject = root.subject(path);
        let directory = parent(handle, path).map_err(|e| from_io("make the directory of", &subject, e))?;
        Self::open_in(directory, name, OFlags::CREATE | OFlags::EXCL, &subject)
    }

    /// Opens a staging file that is already there.
    pub(super) fn reopen(root: &Root, path: &FilePath, name: String) -> Result<Self> {
        let handle = root.open()?;
        let subject = root.subject(path);
        let directory = match path.parent() {
            Some(parent) => handle.open_dir(super::root::native(&parent)).map_err(|e| from_io("open the directory of", &subject, e))?,
            None => handle,
        };
        Self::open_in(directory, name, OFlags::empty(), &subject).map(Self::keep)
    }

    fn open_in(directory: Dir, name: String, flags: OFlags, subject: &str) -> Result<Self> {
        let flags = flags | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&directory, &name, flags, Mode::from_raw_mode(0o600)).map_err(|e| from_io("make the staging file of", subject, e.into()))?;
        Ok(Self { directory, name, file: file.into(), keep: false })
    }

    /// It stays when this value is dropped.
    pub(super) fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Removes it.
    pub(super) fn discard(mut self) {
        self.keep = false;
    }

    /// Gives it mode and time and its final name.
    pub(super) fn place(mut self, entry: &Entry, subject: &str, over: Over) -> Result<()> {
        self.dress_and_rename(entry, &over).map_err(|e| from_io("put in place", subject, e.into()))?;
        self.keep = true;
        Ok(())
    }

    /// A file that replaces another one belongs to whom that belonged to, as far as this user may say so.
    fn take_owner(&self, leaf: &[u8]) {
        let Ok(there) = statat(&self.directory, leaf, AtFlags::SYMLINK_NOFOLLOW) else { return };
        if FileType::from_raw_mode(there.st_mode).is_file() {
            let _not_allowed = fchown(&self.file, Some(Uid::from_raw(there.st_uid)), Some(Gid::from_raw(there.st_gid)));
        }
    }

    fn dress_and_rename(&self, entry: &Entry, over: &Over) -> rustix::io::Result<()> {
        self.take_owner(tree::leaf(&entry.path));
        fchmod(&self.file, mode_of(entry, tree::FILE_MODE))?;
        if let Some(times) = times_of(entry) {
            futimens(&self.file, &times)?;
        }
        let leaf = tree::leaf(&entry.path);
        let rename = || match over {
            Over::Anything => renameat(&self.directory, &self.name, &self.directory, leaf),
            Over::Nothing => rename_to_nothing(&self.directory, &self.name, leaf),
            Over::Only(expected) => rename_over(&self.directory, &self.name, leaf, expected),
        };
        match rename() {
            Err(Errno::ISDIR) => {
                unlinkat(&self.directory, leaf, AtFlags::REMOVEDIR)?;
                rename()
            }
            other => other,
        }
    }
}

/// Renames where nothing stands; `EXIST` where something does, `ISDIR` where it is a directory.
fn rename_to_nothing(directory: &Dir, name: &str, leaf: &[u8]) -> rustix::io::Result<()> {
    let standing = || statat(directory, leaf, AtFlags::SYMLINK_NOFOLLOW).map(|found| super::facts::Facts::from(&found).is_directory());
    match renameat_with(directory, name, directory, leaf, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) if standing() == Ok(true) => Err(Errno::ISDIR),
        // The file system knows no such rename: look first.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match standing() {
            Ok(true) => Err(Errno::ISDIR),
            Ok(false) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(directory, name, directory, leaf),
            Err(error) => Err(error),
        },
        other => other,
    }
}

/// Renames over what is still as it was seen; `EXIST` where it is not. Both names are exchanged, so that what stood there can be looked at
/// once more when nobody finds it under that name any more, and put back.
fn rename_over(directory: &Dir, name: &str, leaf: &[u8], expected: &Entry) -> rustix::io::Result<()> {
    let standing = match statat(directory, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return rename_to_nothing(directory, name, leaf),
        other => super::facts::Facts::from(&other?),
    };
    if standing.is_directory() {
        return Err(Errno::ISDIR);
    }
    let is_link = standing.file_type() == FileType::Symlink;
    let target = if is_link { Some(rustix::fs::readlinkat(directory, leaf, Vec::new())?.into_bytes()) } else { None };
    if !standing.entry(expected.path.clone(), target).is_still(expected) {
        return Err(Errno::EXIST);
    }
    let exchange = || renameat_with(directory, name, directory, leaf, RenameFlags::EXCHANGE);
    match exchange() {
        Ok(()) => {}
        Err(Errno::NOENT) => return rename_to_nothing(directory, name, leaf),
        // The file system knows no such rename: it was looked at right before.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return renameat(directory, name, directory, leaf),
        Err(e) => return Err(e),
    }
    let taken = super::facts::Facts::from(&statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?);
    if taken.is_same_content(standing) {
        return unlinkat(directory, name, AtFlags::empty());
    }
    exchange()?;
    Err(Errno::EXIST)
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is found by the sweep.
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

fn mode_of(entry: &Entry, default: u32) -> Mode {
    Mode::from_raw_mode(entry.mode.unwrap_or(default) & 0o7777)
}

fn times_of(entry: &Entry) -> Option<Timestamps> {
    let ns = entry.modified_ns?;
    Some(Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) },
    })
}

/// See [`ports::files::FileTarget::make`].
pub(super) fn make(root: &Root, entry: &Entry) -> Result<()> {
    let subject = root.subject(&entry.path);
    let told = |operation: &'static str| {
        let subject = subject.clone();
        move |e: io::Error| from_io(operation, subject, e)
    };
    let directory = parent(root.open()?, &entry.path).map_err(told("make the directory of"))?;
    let leaf = tree::leaf(&entry.path);
    match &entry.kind {
        EntryKind::Directory => make_directory(&directory, leaf, entry).map_err(told("make the directory")),
        EntryKind::Symlink { target } => make_link(&directory, leaf, target, entry).map_err(told("make the link")),
        EntryKind::File { .. } => dress(&directory, leaf, entry).map_err(told("set mode and time of")),
        EntryKind::Other(kind) => Err(ConnectorError::new(ErrorKind::Unsupported, "make", subject, format!("a {kind} is never made"))),
    }
}

fn make_directory(parent: &Dir, leaf: &[u8], entry: &Entry) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, leaf, Mode::from_raw_mode(tree::PRIVATE_MODE)) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let found = statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW)?;
            if !super::facts::Facts::from(&found).is_directory() {
                unlinkat(parent, leaf, AtFlags::empty())?;
                rustix::fs::mkdirat(parent, leaf, Mode::from_raw_mode(tree::PRIVATE_MODE))?;
            }
        }
        Err(e) => return Err(e.into()),
    }
    dress(parent, leaf, entry)
}

/// Sets mode and time of a file or directory, never through a link.
fn dress(parent: &Dir, leaf: &[u8], entry: &Entry) -> io::Result<()> {
    let found = statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW)?;
    if super::facts::Facts::from(&found).file_type() == FileType::Symlink {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if entry.mode.is_some() {
        chmodat(parent, leaf, mode_of(entry, tree::DIRECTORY_MODE), AtFlags::empty())?;
    }
    if let Some(times) = times_of(entry) {
        utimensat(parent, leaf, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// The link is made under a staging name and renamed, so that there is never nothing under the final name.
fn make_link(parent: &Dir, leaf: &[u8], target: &[u8], entry: &Entry) -> io::Result<()> {
    let name = staging::name("link", &entry.path);
    symlinkat(target, parent, &name)?;
    let placed = match renameat(parent, &name, parent, leaf) {
        Err(Errno::ISDIR) => unlinkat(parent, leaf, AtFlags::REMOVEDIR).and_then(|()| renameat(parent, &name, parent, leaf)),
        other => other,
    };
    if let Err(e) = placed {
        let _ = unlinkat(parent, &name, AtFlags::empty());
        return Err(e.into());
    }
    if let Some(times) = times_of(entry) {
        utimensat(parent, leaf, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Writes the file system of the root back to its disk.
pub(super) fn settle(root: &Root) -> Result<()> {
    let top = match open_top(root) {
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    rustix::fs::syncfs(top.as_fd()).map_err(|e| from_io("write to the disk of", root.location(), e.into()))
}

/// Removes every staging file of one run, then writes the file system back: the run's sync point.
pub(super) fn sweep(root: &Root, prefix: &str) -> Result<()> {
    let top = match open_top(root) {
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let told = |e: Errno| from_io("sweep unfinished files below", root.location(), e.into());
    sweep_below(top.try_clone().map_err(|e| from_io("sweep", root.location(), e))?, prefix).map_err(told)?;
    rustix::fs::syncfs(top.as_fd()).map_err(told)
}

fn sweep_below(top: OwnedFd, prefix: &str) -> rustix::io::Result<()> {
    let mut open = vec![(top, Vec::<Vec<u8>>::new(), false)];
    while let Some((dir, below, read)) = open.last_mut() {
        if !*read {
            *read = true;
            let mut leftovers = Vec::new();
            each_name(dir, |name, directory| {
                if directory {
                    below.push(name.to_vec());
                } else if staging::is_leftover(name, prefix) {
                    leftovers.push(name.to_vec());
                }
            })?;
            for name in leftovers {
                match unlinkat(&*dir, &name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        match below.pop() {
            None => {
                open.pop();
            }
            Some(name) => match open_directory(&*dir, &name) {
                Ok(child) => open.push((child, Vec::new(), false)),
                // A directory that we may not read holds nothing of ours; a vanished one neither.
                Err(e) if e == Errno::ACCESS || is_absent(&e.into()) || e == Errno::LOOP => {}
                Err(e) => return Err(e),
            },
        }
    }
    Ok(())
}
