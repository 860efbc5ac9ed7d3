//! The sorted walk: one blocking thread, one directory per level in memory, entries in batches through a bounded channel.

use super::error::from_io;
use super::facts::Facts;
use super::root::Root;
use super::whole::facts as whole;
use crate::{staging, tree::Names};
use futures::stream::{self, BoxStream, StreamExt};
use ports::Result;
use ports::files::{Entry, FilePath};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;
use std::sync::Arc;
use tokio::sync::mpsc;

const BATCH: usize = 256;

type Batch = Vec<Result<Entry>>;

pub(super) fn stream(root: Arc<Root>) -> BoxStream<'static, Result<Entry>> {
    walk(root, false)
}

/// With all that a POSIX file system knows, and not beyond the root's device.
pub(super) fn stream_whole(root: Arc<Root>) -> BoxStream<'static, Result<Entry>> {
    walk(root, true)
}

fn walk(root: Arc<Root>, whole: bool) -> BoxStream<'static, Result<Entry>> {
    let started = async move {
        let (send, receive) = mpsc::channel::<Batch>(4);
        let walker = tokio::task::spawn_blocking(move || Walk::run(&root, send, whole));
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
}

struct Walk<'a> {
    root: &'a Root,
    /// The root's device, where all facts are asked for.
    whole: Option<u64>,
    batch: Batch,
    send: mpsc::Sender<Batch>,
}

impl<'a> Walk<'a> {
    fn run(root: &'a Root, send: mpsc::Sender<Batch>, whole: bool) {
        let mut walk = Walk { root, whole: whole.then_some(0), batch: Vec::with_capacity(BATCH), send };
        if let Err(e) = walk.descend() {
            walk.batch.push(Err(e));
        }
        // Nobody listens any more: fine.
        let _ = walk.send.blocking_send(walk.batch);
    }

    fn descend(&mut self) -> Result<()> {
        let top = open_top(self.root)?;
        if let Some(device) = &mut self.whole {
            *device = rustix::fs::fstat(&top).map_err(|e| from_io("look at", self.root.location(), e.into()))?.st_dev;
        }
        let mut levels = vec![self.level(top, FilePath::default())?];
        while let Some(level) = levels.last_mut() {
            let Some((name, ())) = level.names.take() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let Some(entry) = self.look(&level.dir, &name, path.clone())? else { continue };
            let down = matches!(entry.kind, ports::files::EntryKind::Directory).then(|| open_directory(&level.dir, &name));
            self.batch.push(Ok(entry));
            if self.batch.len() == BATCH && !self.flush() {
                return Ok(());
            }
            match down {
                None | Some(Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {}
                Some(Ok(dir)) => levels.push(self.level(dir, path)?),
                Some(Err(e)) => return Err(from_io("list the directory", self.root.subject(&path), e.into())),
            }
        }
        Ok(())
    }

    /// False when nobody listens any more.
    fn flush(&mut self) -> bool {
        let full = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        self.send.blocking_send(full).is_ok()
    }

    fn level(&self, dir: OwnedFd, path: FilePath) -> Result<Level> {
        let names = read_names(&dir).map_err(|e| from_io("list the directory", self.root.subject(&path), e.into()))?;
        Ok(Level { dir, names, path })
    }

    /// `None`: it vanished.
    fn look(&self, dir: &OwnedFd, name: &[u8], path: FilePath) -> Result<Option<Entry>> {
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
        if let Some(device) = self.whole {
            let known = whole::posix(dir, name, &stat).map_err(|e| from_io("look at", self.root.subject(&entry.path), e.into()))?;
            entry.posix = Some(Box::new(known));
            whole::mounted(&mut entry, device);
        }
        Ok(Some(entry))
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
