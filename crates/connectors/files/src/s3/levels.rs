//! Listing directory by directory, for stores that have the order of a tree: `a/x` before `a b`, because there the directory `a` is
//! compared, not `a/`.
//!
//! Within one directory the names come sorted without their `/`. So a directory is held back until no name can come any more
//! that sorts before `name/`: a heap of a few names per level, however large the directory is.
//!
//! The directories that come next are asked for ahead, a few at a time, and so is the next page of a large one.

use super::Store;
use super::list::{Page, entry, fetch, plain, token};
use futures::stream::{self, BoxStream, StreamExt};
use ports::files::Entry;
use ports::{ConnectorError, ErrorKind, Result};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Directories of one level that are asked for ahead, with a page of at most a thousand names in memory for each.
const AHEAD: usize = 8;

/// A page on its way; dropped, it is not waited for.
struct Coming(JoinHandle<Result<(Page, bool)>>);

impl Coming {
    fn of(store: &Arc<Store>, prefix: &str, token: Option<String>) -> Self {
        let (store, prefix) = (store.clone(), prefix.to_owned());
        Self(tokio::spawn(async move { fetch(&store, &prefix, token, 1000, true).await }))
    }

    async fn page(mut self, store: &Store) -> Result<(Page, bool)> {
        let ended = (&mut self.0).await;
        ended.unwrap_or_else(|e| Err(ConnectorError::new(ErrorKind::Internal, "list", store.location.clone(), "the listing task ended").because(e)))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An object, or a directory to go down into (no entry).
struct Item {
    key: String,
    entry: Option<Entry>,
    /// The first page of a directory that was asked for ahead.
    ahead: Option<Coming>,
}

impl Item {
    fn bare(&self) -> &str {
        self.key.strip_suffix('/').unwrap_or(&self.key)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

struct Level {
    prefix: String,
    /// In the store's order.
    coming: VecDeque<Item>,
    held: BinaryHeap<Reverse<Item>>,
    /// The next page.
    next: Option<Coming>,
    /// How many of `coming` were looked at for directories to ask for ahead, and how many directories were.
    seen: usize,
    ahead: usize,
}

impl Level {
    fn new(store: &Arc<Store>, prefix: String, first: Option<Coming>) -> Self {
        let first = first.unwrap_or_else(|| Coming::of(store, &prefix, None));
        Self { prefix, coming: VecDeque::new(), held: BinaryHeap::new(), next: Some(first), seen: 0, ahead: 0 }
    }

    /// The next item in the order of the bytes.
    async fn next(&mut self, store: &Arc<Store>) -> Result<Option<Item>> {
        loop {
            while self.coming.is_empty()
                && let Some(next) = self.next.take()
            {
                self.turn_page(store, next).await?;
            }
            self.look_ahead(store);
            let safe = match (self.held.peek(), self.coming.front()) {
                (Some(Reverse(least)), Some(coming)) => least.key.as_str() < coming.bare(),
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if safe {
                let item = self.held.pop().map(|Reverse(item)| item);
                self.ahead -= usize::from(item.as_ref().is_some_and(|item| item.ahead.is_some()));
                return Ok(item);
            }
            if let Some(item) = self.coming.pop_front() {
                self.seen = self.seen.saturating_sub(1);
                self.held.push(Reverse(item));
            }
        }
    }

    /// Asks for the directories that come next.
    fn look_ahead(&mut self, store: &Arc<Store>) {
        while self.ahead < AHEAD
            && let Some(item) = self.coming.get_mut(self.seen)
        {
            self.seen += 1;
            if item.entry.is_none() {
                item.ahead = Some(Coming::of(store, &item.key, None));
                self.ahead += 1;
            }
        }
    }

    async fn turn_page(&mut self, store: &Arc<Store>, next: Coming) -> Result<()> {
        let (page, encoded) = next.page(store).await?;
        self.next = token(&page).map(|token| Coming::of(store, &self.prefix, Some(token)));
        self.seen = 0;
        let directories = page.common_prefixes().iter().filter_map(|p| p.prefix()).map(|p| Item { key: plain(p, encoded), entry: None, ahead: None });
        let objects = page.contents().iter().filter_map(|object| {
            let key = plain(object.key()?, encoded);
            let entry = entry(store, &key, object)?;
            Some(Item { key, entry: Some(entry), ahead: None })
        });
        let mut items: Vec<Item> = directories.filter(|d| d.key != self.prefix).chain(objects).collect();
        items.sort_by(|a, b| a.bare().cmp(b.bare()));
        self.coming = items.into();
        Ok(())
    }
}

pub(super) fn stream(store: Arc<Store>) -> BoxStream<'static, Result<Entry>> {
    let top = vec![Level::new(&store, store.prefix.clone(), None)];
    stream::try_unfold((store, top), |(store, mut levels)| async move {
        while let Some(level) = levels.last_mut() {
            match level.next(&store).await? {
                None => {
                    levels.pop();
                }
                Some(Item { entry: Some(entry), .. }) => return Ok(Some((entry, (store, levels)))),
                Some(Item { key, entry: None, ahead }) => levels.push(Level::new(&store, key, ahead)),
            }
        }
        Ok(None)
    })
    .boxed()
}
