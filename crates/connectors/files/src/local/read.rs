//! Reading: a small file in one hop to the blocking pool, a large one in pieces with the next one on its way.

use super::error::from_io;
use super::facts::Facts;
use super::root::not_a_file;
use super::{LocalFiles, off_the_loop};
use crate::body::shrunk;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ports::Result;
use ports::files::{Body, EntryKind, FilePath, Opened};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

const PIECE: u64 = 1 << 20;

/// What is left to read of an open file.
struct Rest {
    file: Arc<File>,
    subject: Arc<str>,
    next: u64,
    end: u64,
}

pub(super) async fn open(files: &LocalFiles, path: FilePath, range: Option<Range<u64>>) -> Result<Opened> {
    let (entry, first, rest) = files
        .blocking(move |root| {
            let subject = root.subject(&path);
            let file = root.open_file(&path).map_err(|e| {
                // A directory above became a file.
                let e = if e.kind() == std::io::ErrorKind::NotADirectory { std::io::ErrorKind::NotFound.into() } else { e };
                from_io("open", &subject, e)
            })?;
            let facts = Facts::from(&file.metadata().map_err(|e| from_io("look at", &subject, e))?);
            let entry = facts.entry(path, None);
            if !matches!(entry.kind, EntryKind::File { .. }) {
                return Err(not_a_file(subject, &entry));
            }
            let range = range.unwrap_or(0..facts.size);
            let (start, end) = (range.start.min(facts.size), range.end.min(facts.size).max(range.start.min(facts.size)));
            let mut rest = Rest { file: Arc::new(file.into_std()), subject: subject.into(), next: start, end };
            let first = rest.read_piece()?;
            Ok((entry, first, rest))
        })
        .await?;
    Ok(Opened { entry, body: body(first, rest) })
}

impl Rest {
    /// The next piece; empty at the end. Blocks.
    fn read_piece(&mut self) -> Result<Bytes> {
        let length = (self.end - self.next).min(PIECE) as usize;
        let mut piece = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut piece[filled..], self.next + filled as u64) {
                Ok(0) => return Err(shrunk(&self.subject, self.next + filled as u64)),
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(from_io("read", &*self.subject, e)),
            }
        }
        self.next += length as u64;
        Ok(piece.into())
    }
}

fn body(first: Bytes, rest: Rest) -> Body {
    let start = stream::iter((!first.is_empty()).then_some(Ok(first)));
    if rest.next == rest.end {
        return start.boxed();
    }
    start.chain(stream::unfold(Some(ahead(rest)), pull)).boxed()
}

type Ahead = tokio::task::JoinHandle<Result<(Bytes, Rest)>>;

fn ahead(mut rest: Rest) -> Ahead {
    tokio::task::spawn_blocking(move || rest.read_piece().map(|piece| (piece, rest)))
}

/// Waits for the piece that is being read, and sends for the one after it before handing this one out.
async fn pull(reading: Option<Ahead>) -> Option<(Result<Bytes>, Option<Ahead>)> {
    let piece = off_the_loop_join(reading?).await;
    match piece {
        Ok((piece, rest)) => {
            let next = (rest.next < rest.end).then(|| ahead(rest));
            Some((Ok(piece), next))
        }
        Err(e) => Some((Err(e), None)),
    }
}

async fn off_the_loop_join(reading: Ahead) -> Result<(Bytes, Rest)> {
    match reading.await {
        Ok(done) => done,
        Err(e) => off_the_loop("a file", move || Err(from_io("read", "a file", std::io::Error::other(e)))).await,
    }
}
