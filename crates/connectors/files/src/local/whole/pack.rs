//! Many files as one stream, from and to this machine's disk.

use super::super::error::from_io;
use super::super::root::Root;
use super::super::write::{Over, Staged};
use super::{Told, is_zero, look, write};
use crate::body::shrunk;
use crate::{staging, tree};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ports::files::posix::{Pack, Packed, Unpacked};
use ports::files::{Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};
use rustix::fs::SeekFrom;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, Sender, channel};

const PIECE: u64 = 256 << 10;

pub(super) fn stream(root: Arc<Root>, paths: Vec<FilePath>) -> Pack {
    let (send, receive) = channel(16);
    let reader = tokio::task::spawn_blocking(move || {
        for path in paths.iter().filter(|p| p.is_plain()) {
            if let Err(e) = one(&root, path, &send) {
                // Nobody listens any more: fine.
                let _ = send.blocking_send(Err(e));
                return;
            }
        }
    });
    stream::unfold((receive, reader), |(mut receive, reader)| async move { receive.recv().await.map(|packed| (packed, (receive, reader))) }).boxed()
}

/// What is not there or may not be read is left out.
fn one(root: &Root, path: &FilePath, send: &Sender<Result<Packed>>) -> Result<()> {
    let Some(entry) = look(root, path)? else { return Ok(()) };
    let told = |e: std::io::Error| from_io("read", root.subject(path), e);
    let give = |packed| send.blocking_send(Ok(packed)).map_err(|_| ConnectorError::stopped("read", root.subject(path)));
    let EntryKind::File { size } = entry.kind else {
        return give(Packed::Begin { entry: Box::new(entry), data: Vec::new(), fresh: false });
    };
    let Ok(file) = root.open_file(path) else { return Ok(()) };
    let file = file.into_std();
    let data = if tree::has_holes(&entry) {
        stretches(&file, size).map_err(|e| told(e.into()))?
    } else {
        std::iter::once(0..size).filter(|r| !r.is_empty()).collect()
    };
    give(Packed::Begin { entry: Box::new(entry), data: data.clone(), fresh: false })?;
    for range in data {
        let mut at = range.start;
        while at < range.end {
            let mut piece = vec![0; (range.end - at).min(PIECE) as usize];
            file.read_exact_at(&mut piece, at)
                .map_err(|e| if e.kind() == std::io::ErrorKind::UnexpectedEof { shrunk(&root.subject(path), at) } else { told(e) })?;
            at += piece.len() as u64;
            give(Packed::Piece(Bytes::from(piece)))?;
        }
    }
    Ok(())
}

/// Where a file has bytes.
fn stretches(file: &File, size: u64) -> rustix::io::Result<Vec<Range<u64>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(e) => return Err(e),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(size);
        if start < end {
            found.push(start..end);
        }
        at = end.max(start + 1);
    }
    Ok(found)
}

/// The file that is being written.
struct Writing {
    staged: Staged,
    entry: Box<Entry>,
    /// Where the next bytes go; the next stretch is the last.
    data: Vec<Range<u64>>,
    fresh: bool,
}

/// Writes everything that comes. The pack is whole when the channel closes without a `None`.
pub(super) fn unpack(root: &Root, tag: &str, mut receive: Receiver<Told>) -> Result<Unpacked> {
    let mut outcomes = Vec::new();
    let mut writing: Option<Writing> = None;
    while let Some(told) = receive.blocking_recv() {
        match told {
            None => return Err(ConnectorError::new(ErrorKind::Interrupted, "unpack files at", root.location(), "the pack broke off")),
            Some(Packed::Begin { entry, data, fresh }) => {
                finish(root, writing.take(), &mut outcomes)?;
                tree::accepts(&entry.path, &root.location(), root.room())?;
                writing = begin(root, tag, entry, data, fresh, &mut outcomes)?;
            }
            Some(Packed::Piece(piece)) => {
                if let Some(writing) = &mut writing {
                    writing.piece(root, piece)?;
                }
            }
        }
    }
    finish(root, writing, &mut outcomes)?;
    Ok(outcomes)
}

/// Anything but a file is made at once.
fn begin(root: &Root, tag: &str, entry: Box<Entry>, data: Vec<Range<u64>>, fresh: bool, outcomes: &mut Unpacked) -> Result<Option<Writing>> {
    if let EntryKind::File { size } = entry.kind {
        let staged = match Staged::create(root, &entry.path, staging::name(tag, &entry.path)) {
            Ok(staged) => staged,
            Err(e) if e.kind == ErrorKind::NoSpace => return Err(e),
            // Its pieces are passed over.
            Err(e) => {
                outcomes.push(Err(e));
                return Ok(None);
            }
        };
        staged.file.set_len(size).map_err(|e| from_io("write", root.subject(&entry.path), e))?;
        return Ok(Some(Writing { staged, entry, data: data.into_iter().rev().collect(), fresh }));
    }
    let standing = fresh && root.stat(&entry.path)?.is_some();
    outcomes.push(match &entry.kind {
        _ if standing => Err(ConnectorError::new(ErrorKind::AlreadyExists, "make", root.subject(&entry.path), "something with that name is already there")),
        EntryKind::Symlink { .. } => super::super::write::make(root, &entry).and_then(|()| write::dress(root, &entry)),
        _ => write::node(root, &entry, tag, fresh),
    });
    Ok(None)
}

impl Writing {
    fn piece(&mut self, root: &Root, mut piece: Bytes) -> Result<()> {
        while !piece.is_empty() {
            let Some(range) = self.data.last_mut() else { return Err(shrunk(&root.subject(&self.entry.path), self.entry.size())) };
            let part = piece.split_to(piece.len().min((range.end - range.start) as usize));
            if !(tree::has_holes(&self.entry) && is_zero(&part)) {
                self.staged.file.write_all_at(&part, range.start).map_err(|e| from_io("write", root.subject(&self.entry.path), e))?;
            }
            range.start += part.len() as u64;
            if range.is_empty() {
                self.data.pop();
            }
        }
        Ok(())
    }
}

fn finish(root: &Root, writing: Option<Writing>, outcomes: &mut Unpacked) -> Result<()> {
    let Some(Writing { staged, entry, data, fresh }) = writing else { return Ok(()) };
    let subject = root.subject(&entry.path);
    if let Some(missing) = data.last() {
        return Err(shrunk(&subject, missing.start));
    }
    let over = if fresh { Over::Nothing } else { Over::Anything };
    outcomes.push(staged.place(&entry, &subject, over).and_then(|()| write::dress(root, &entry)));
    Ok(())
}
