//! Listing directory by directory, for stores that have the order of a tree: `a/x` before `a b`, because there the directory `a` is
//! compared, not `a/`.
//!
//! Within one directory the names come sorted without their `/`. So a directory is held back until no name can come any more
//! that sorts before `name/`: a heap of a few names per level, however large the directory is.

use super::Store;
use super::list::{entry, fetch, plain, token};
use futures::stream::{self, BoxStream, StreamExt};
use ports::Result;
use ports::files::Entry;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

/// An object, or a directory to go down into (`None`).
struct Item {
    key: String,
    entry: Option<Entry>,
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
    token: Option<String>,
    started: bool,
}

impl Level {
    fn new(prefix: String) -> Self {
        Self { prefix, coming: VecDeque::new(), held: BinaryHeap::new(), token: None, started: false }
    }

    /// The next item in the order of the bytes.
    async fn next(&mut self, store: &Store) -> Result<Option<Item>> {
        loop {
            while self.coming.is_empty() && (!self.started || self.token.is_some()) {
                self.turn_page(store).await?;
            }
            let safe = match (self.held.peek(), self.coming.front()) {
                (Some(Reverse(least)), Some(coming)) => least.key.as_str() < coming.bare(),
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if safe {
                return Ok(self.held.pop().map(|Reverse(item)| item));
            }
            if let Some(item) = self.coming.pop_front() {
                self.held.push(Reverse(item));
            }
        }
    }

    async fn turn_page(&mut self, store: &Store) -> Result<()> {
        let (page, encoded) = fetch(store, &self.prefix, self.token.take(), 1000, true).await?;
        self.started = true;
        self.token = token(&page);
        let directories = page.common_prefixes().iter().filter_map(|p| p.prefix()).map(|p| Item { key: plain(p, encoded), entry: None });
        let objects = page.contents().iter().filter_map(|object| {
            let key = plain(object.key()?, encoded);
            let entry = entry(store, &key, object)?;
            Some(Item { key, entry: Some(entry) })
        });
        let mut items: Vec<Item> = directories.filter(|d| d.key != self.prefix).chain(objects).collect();
        items.sort_by(|a, b| a.bare().cmp(b.bare()));
        self.coming = items.into();
        Ok(())
    }
}

pub(super) fn stream(store: Arc<Store>) -> BoxStream<'static, Result<Entry>> {
    let top = vec![Level::new(store.prefix.clone())];
    stream::try_unfold((store, top), |(store, mut levels)| async move {
        while let Some(level) = levels.last_mut() {
            match level.next(&store).await? {
                None => {
                    levels.pop();
                }
                Some(Item { entry: Some(entry), .. }) => return Ok(Some((entry, (store, levels)))),
                Some(Item { key, entry: None }) => levels.push(Level::new(key)),
            }
        }
        Ok(None)
    })
    .boxed()
}
