//! From the order of the keys to that of the paths.
//!
//! Only escaped keys (see `keys`) stand elsewhere. Up to some `%` key and path are alike; from there on the key may sort before its
//! path (`%~E9` before the byte `E9`), even far before it, or after it (`%~25~01` after `%~01`), but then among keys that begin
//! alike up to their first `%`. So an entry with a `%` in its key is held back until a key comes that no such path can precede.

use super::keys::encode;
use futures::stream::{self, BoxStream, StreamExt};
use ports::Result;
use ports::files::{Entry, EntryKind};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// An entry at the place of its path.
struct Held {
    place: Vec<u8>,
    entry: Entry,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

#[derive(Default)]
struct Order {
    held: BinaryHeap<Reverse<Held>>,
    ready: VecDeque<Result<Entry>>,
    ended: bool,
}

impl Order {
    fn take(&mut self, entry: Entry) {
        let mut place = entry.path.as_bytes().to_vec();
        let slash = matches!(entry.kind, EntryKind::Directory);
        if slash {
            place.push(b'/');
        }
        // A path without a `%` whose key has one is escaped because of its bytes alone.
        let plain = entry.path.as_str().is_some() && !place.contains(&b'%');
        if plain {
            self.release(Some(&place));
            self.ready.push_back(Ok(entry));
            return;
        }
        let key = encode(&entry.path);
        let alike = key.find('%').map_or(key.len(), |at| at + 1);
        self.release(Some(&key.as_bytes()[..alike]));
        self.held.push(Reverse(Held { place, entry }));
    }

    /// Lets go what comes before everything that may still come; `None`: nothing comes.
    fn release(&mut self, bound: Option<&[u8]>) {
        while self.held.peek().is_some_and(|Reverse(least)| bound.is_none_or(|b| least.place.as_slice() < b)) {
            self.ready.extend(self.held.pop().map(|Reverse(held)| Ok(held.entry)));
        }
    }
}

/// The entries of a listing in the order of its keys, in the order of their paths.
pub(super) fn by_path(listing: BoxStream<'static, Result<Entry>>) -> BoxStream<'static, Result<Entry>> {
    stream::unfold((listing, Order::default()), |(mut listing, mut order)| async move {
        while order.ready.is_empty() && !order.ended {
            match listing.next().await {
                Some(Ok(entry)) => order.take(entry),
                Some(Err(error)) => {
                    order.ended = true;
                    order.ready.push_back(Err(error));
                }
                None => {
                    order.ended = true;
                    order.release(None);
                }
            }
        }
        order.ready.pop_front().map(|next| (next, (listing, order)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::files::FilePath;

    #[tokio::test]
    async fn escaped_names_come_where_their_bytes_belong() {
        let names: [&[u8]; 14] = [
            b"a%\x01\xff",
            b"a%\x10",
            b"a%25%FF",
            b"a%~1z",
            b"a%~01",
            b"a%~E9",
            b"a%E9",
            b"a%\xff",
            b"#%E9",
            b"caf\xe9",
            b"caf\xe9/below",
            b"cafz",
            b"z",
            "\u{e9}".as_bytes(),
        ];
        let mut paths: Vec<FilePath> = names.iter().map(|n| FilePath::new(*n)).collect();
        let kind = EntryKind::File { size: 0 };
        paths.sort_by_key(encode);
        let entries = paths.iter().map(|path| Entry::new(path.clone(), kind.clone()));
        let listing = stream::iter(entries.map(Ok).collect::<Vec<_>>()).boxed();
        let listed: Vec<Vec<u8>> = by_path(listing).map(|e| e.unwrap().path.as_bytes().to_vec()).collect().await;
        let mut expected: Vec<Vec<u8>> = names.iter().map(|n| n.to_vec()).collect();
        expected.sort();
        assert_eq!(listed, expected);
    }
}
