//! The sorted walk: one blocking thread, one directory per level in memory, entries in batches through a bounded channel.

use super::error::from_io;
use super::facts::Facts;
use super::root::Root;
use super::whole::facts as whole;
use crate::{staging, tree::Names};
use futures::stream::{self, BoxStream, StreamExt};
use ports::files::{Entry, EntryKind, FilePath, Prune};
use ports::{ConnectorError, ErrorKind, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;
use std::sync::Arc;
use tokio::sync::mpsc;

const BATCH: usize = 256;

type Batch = Vec<Result<Entry>>;

pub(super) fn stream(root: Arc<Root>, prune: Option<Prune>) -> BoxStream<'static, Result<Entry>> {
    walk(root, prune, Known::Plain)
}

/// With all that a POSIX file system knows, and not beyond the root's device unless mount points are to be entered.
pub(super) fn stream_whole(root: Arc<Root>, prune: Option<Prune>, across_mounts: bool) -> BoxStream<'static, Result<Entry>> {
    walk(root, prune, if across_mounts { Known::All } else { Known::AllOfDevice(0) })
}

/// What is asked of every thing.
#[derive(Clone, Copy)]
enum Known {
    Plain,
    /// All that a POSIX file system knows.
    All,
    /// The same; directories of other devices than this one are not entered.
    AllOfDevice(u64),
}

fn walk(root: Arc<Root>, prune: Option<Prune>, known: Known) -> BoxStream<'static, Result<Entry>> {
    let started = async move {
        let (send, receive) = mpsc::channel::<Batch>(4);
        let walker = tokio::task::spawn_blocking(move || Walk::run(&root, send, prune, known));
        // The walker ends when the receiver is dropped; its handle goes with the stream.
        stream::unfold((receive, walker), |(mut receive, walker)| async move {
            let batch = receive.recv().await?;
            Some((stream::iter(batch), (receive, walker)))
        })
        .flatten()
    };
    stream::once(started).flatten().boxed()
}

/// One open directory on the way down.
struct Level {
    dir: OwnedFd,
    names: Names<()>,
    path: FilePath,
    /// The file system it is on.
    device: u64,
}

/// What can be done with a directory on the way down.
enum Below {
    Nothing,
    Level(Level),
    /// Its content may not be seen, and why.
    Unlisted(ConnectorError),
}

struct Walk<'a> {
    root: &'a Root,
    prune: Option<Prune>,
    known: Known,
    batch: Batch,
    send: mpsc::Sender<Batch>,
}

impl<'a> Walk<'a> {
    fn run(root: &'a Root, send: mpsc::Sender<Batch>, prune: Option<Prune>, known: Known) {
        let mut walk = Walk { root, prune, known, batch: Vec::with_capacity(BATCH), send };
        if let Err(e) = walk.descend() {
            walk.batch.push(Err(e));
        }
        // Nobody listens any more: fine.
        let _ = walk.send.blocking_send(walk.batch);
    }

    fn descend(&mut self) -> Result<()> {
        let top = open_top(self.root)?;
        let device = rustix::fs::fstat(&top).map_err(|e| from_io("look at", self.root.location(), e.into()))?.st_dev;
        if let Known::AllOfDevice(only) = &mut self.known {
            *only = device;
        }
        let mut levels = vec![self.level(top, FilePath::default(), device)?];
        while let Some(level) = levels.last_mut() {
            let Some((name, ())) = level.names.take() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let Some((mut entry, device)) = self.look(&level.dir, &name, path.clone())? else { continue };
            entry.mounted = device != level.device;
            let below = if matches!(entry.kind, EntryKind::Directory) { self.below(level, &name, path, device)? } else { Below::Nothing };
            if let Below::Unlisted(why) = &below {
                entry.unlisted = Some(why.reason.clone().into());
            }
            self.batch.push(Ok(entry));
            if self.batch.len() == BATCH && !self.flush() {
                return Ok(());
            }
            if let Below::Level(level) = below {
                levels.push(level);
            }
        }
        Ok(())
    }

    /// Opens a directory, unless it is to be left out. Only what concerns more than this directory is an error.
    fn below(&self, above: &Level, name: &[u8], path: FilePath, device: u64) -> Result<Below> {
        if self.prune.as_ref().is_some_and(|prune| prune(&path)) {
            return Ok(Below::Nothing);
        }
        let level = match open_directory(&above.dir, name) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Below::Nothing),
            Err(e) => Err(from_io("list the directory", self.root.subject(&path), e.into())),
            Ok(dir) => self.level(dir, path, device),
        };
        match level {
            Ok(level) => Ok(Below::Level(level)),
            Err(e) if matches!(e.kind, ErrorKind::Permission | ErrorKind::Corrupt) => Ok(Below::Unlisted(e)),
            Err(e) => Err(e),
        }
    }

    /// False when nobody listens any more.
    fn flush(&mut self) -> bool {
        let full = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.send.blocking_send(full).is_ok()
    }

    fn level(&self, dir: OwnedFd, path: FilePath, device: u64) -> Result<Level> {
        let told = |e: Errno| from_io("list the directory", self.root.subject(&path), e.into());
        let names = read_names(&dir).map_err(told)?;
        // Where names may be read but nothing may be looked at, the first one tells so.
        if let Some((_, name)) = names.next_where(0, |()| true)
            && let Err(e @ Errno::ACCESS) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
        {
            return Err(told(e));
        }
        Ok(Level { dir, names, path, device })
    }

    /// The entry and its device. `None`: it vanished.
    fn look(&self, dir: &OwnedFd, name: &[u8], path: FilePath) -> Result<Option<(Entry, u64)>> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(s) => s,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(from_io("look at", self.root.subject(&path), e.into())),
        };
        let facts = Facts::from(&stat);
        let target = if facts.file_type() == FileType::Symlink {
            match readlinkat(dir, name, Vec::new()) {
                Ok(text) => Some(text.into_bytes()),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
                Err(e) => return Err(from_io("read the link", self.root.subject(&path), e.into())),
            }
        } else {
            None
        };
        let mut entry = facts.entry(path, target);
        if !matches!(self.known, Known::Plain) {
            let posix = whole::posix(dir, name, &stat).map_err(|e| from_io("look at", self.root.subject(&entry.path), e.into()))?;
            entry.posix = Some(Box::new(posix));
        }
        if let Known::AllOfDevice(device) = self.known {
            whole::mounted(&mut entry, device);
        }
        Ok(Some((entry, stat.st_dev)))
    }
}

/// The root's handle, fit for listing (the one of cap-std is a mere path).
pub(super) fn open_top(root: &Root) -> Result<OwnedFd> {
    open_directory(&root.open()?, b".").map_err(|e| from_io("list the directory", root.location(), e.into()))
}

/// Opens a directory below another one, never through a link.
pub(super) fn open_directory(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// All names of a directory in order, unfinished files left out.
fn read_names(dir: &OwnedFd) -> rustix::io::Result<Names<()>> {
    let mut names = Names::new();
    each_name(dir, |name, directory| {
        if !staging::is_staging(name) {
            names.push(name, directory, ());
        }
    })?;
    names.sort();
    Ok(names)
}

/// Calls `each` with every name and whether it is a directory, in the order of the disk.
pub(super) fn each_name(dir: &OwnedFd, mut each: impl FnMut(&[u8], bool)) -> rustix::io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let directory = match entry.file_type() {
            FileType::Unknown => statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| Facts::from(&s).is_directory()),
            kind => kind == FileType::Directory,
        };
        each(name, directory);
    }
    Ok(())
}
