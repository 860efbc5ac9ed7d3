//! The one order of all listings and ledgers: by path bytes, a directory compared as `name/`. Merging two sorted streams in it
//! takes constant memory.

use futures::StreamExt;
use futures::stream::BoxStream;
use ports::files::{Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};

/// The place of a path in the order.
pub(super) fn key(path: &FilePath, directory: bool) -> Vec<u8> {
    let mut key = path.as_bytes().to_vec();
    if directory && key.last() != Some(&b'/') {
        key.push(b'/');
    }
    key
}

pub(super) fn key_of(entry: &Entry) -> Vec<u8> {
    key(&entry.path, matches!(entry.kind, EntryKind::Directory))
}

/// Whether `key` is strictly below the directory `path`.
pub(super) fn is_below(key: &[u8], path: &[u8]) -> bool {
    key.len() > path.len() + 1 && key.starts_with(path) && key[path.len()] == b'/'
}

/// A listing that can be peeked at and that proves its order.
pub(super) struct Sorted<'a> {
    stream: BoxStream<'a, Result<Entry>>,
    location: String,
    head: Option<(Vec<u8>, Entry)>,
    last: Vec<u8>,
    ended: bool,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(stream: BoxStream<'a, Result<Entry>>, location: String) -> Self {
        Self { stream, location, head: None, last: Vec::new(), ended: false }
    }

    /// Makes the next entry visible in [`Self::peek`]. A missing root counts as empty when `missing_is_empty`.
    pub(super) async fn fill(&mut self, missing_is_empty: bool) -> Result<()> {
        while self.head.is_none() && !self.ended {
            match self.stream.next().await {
                None => self.ended = true,
                Some(Err(e)) if e.kind == ErrorKind::NotFound && missing_is_empty && self.last.is_empty() => self.ended = true,
                Some(Err(e)) => return Err(e),
                Some(Ok(entry)) => {
                    let key = key_of(&entry);
                    if key < self.last {
                        return Err(ConnectorError::new(ErrorKind::Internal, "list", &self.location, format!("the listing is out of order at {}", entry.path)));
                    }
                    if key != self.last {
                        self.last.clone_from(&key);
                        self.head = Some((key, entry));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn peek(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|(key, _)| key.as_slice())
    }

    pub(super) fn take(&mut self) -> Option<(Vec<u8>, Entry)> {
        self.head.take()
    }
}
