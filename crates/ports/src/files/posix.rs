//! What a POSIX tree knows beyond names, content, modes and times, and the door to systems that can read and write all of it.

use super::{Digest, DigestKind, Entry, FilePath, FileTarget};
use crate::{ConnectorError, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::ops::Range;

/// The facts of one thing in a POSIX tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Posix {
    #[serde(rename = "u")]
    pub owner: u32,
    #[serde(rename = "g")]
    pub group: u32,
    /// With `inode`, what two names of one file have in common. 0 where it is not known.
    #[serde(rename = "d", default)]
    pub device: u64,
    #[serde(rename = "i", default)]
    pub inode: u64,
    /// How many names it has.
    #[serde(rename = "l", default)]
    pub links: u64,
    /// Bytes on the disk; fewer than the size where there are holes.
    #[serde(rename = "s", default)]
    pub stored: u64,
    /// Major and minor number of a device node.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub node: Option<(u32, u32)>,
    /// Extended attributes with their namespace (`user.note`, `security.capability`); access control lists are among them, in the kernel's own form
    /// (`system.posix_acl_access`). Names that are no UTF-8 are not kept.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty", with = "attributes")]
    pub attributes: BTreeMap<String, Vec<u8>>,
}

mod attributes {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<String, Vec<u8>>, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(name, value)| (name, hex::encode(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(d)?;
        texts.into_iter().map(|(name, text)| Ok((name, hex::decode(text).map_err(serde::de::Error::custom)?))).collect()
    }
}

/// What [`super::EntryKind::Other`] says of things that a tree can hold and that can be made again.
pub const FIFO: &str = "fifo";
pub const CHARACTER_DEVICE: &str = "character device";
pub const BLOCK_DEVICE: &str = "block device";
/// What is never moved: a socket belongs to a program that runs, and what is mounted below belongs to another file system.
pub const SOCKET: &str = "socket";
pub const MOUNT_POINT: &str = "mount point";

/// How much of the facts a system can keep for this user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Keeps {
    /// Owners, groups and device nodes: only root may set them.
    pub owners: bool,
    /// Extended attributes and access control lists can be read, compared and set.
    pub attributes: bool,
    /// The kind of hash that [`PosixTree::digests`] gives.
    pub digest: DigestKind,
    /// What is missing and why, in words for the report.
    pub notes: Vec<String>,
}

/// A part of a pack.
#[derive(Debug, Clone)]
pub enum Packed {
    /// Something begins. `data`: where a file's bytes are, ascending; what lies between is a hole. Exactly these bytes follow as pieces. `fresh`:
    /// nothing may stand where it is put, else it is `AlreadyExists`; a source always says false.
    Begin {
        entry: Box<Entry>,
        data: Vec<Range<u64>>,
        fresh: bool,
    },
    Piece(Bytes),
}

/// Many things as one stream.
pub type Pack = BoxStream<'static, Result<Packed>>;

/// What became of one thing of a pack, in its order: an error concerns that thing alone.
pub type Unpacked = Vec<Result<(), ConnectorError>>;

/// Reading many small files as one stream.
#[async_trait::async_trait]
pub trait PackedSource: Send + Sync {
    /// The things at `paths` in this order, each with its facts at the moment of opening (device, inode and number of names excepted). What is not
    /// there or may not be read is left out. A file that shrinks while it is read is filled with zeros to its size: who must know looks again.
    async fn pack(&self, paths: Vec<FilePath>) -> Result<Pack>;
}

/// Writing many small files from one stream.
#[async_trait::async_trait]
pub trait PackedTarget: Send + Sync {
    /// Writes everything below a staging name, and moves each thing in place when all of it has come; parents are made. An error of the whole leaves
    /// nothing new under a final name, or some things whole. Repeatable.
    async fn unpack(&self, staging: &str, pack: Pack) -> Result<Unpacked>;
}

/// A tree with everything that a POSIX file system knows. Its entries have [`Entry::posix`], and its verbs as a [`FileTarget`] honour it.
/// Listings stay on one device: what is mounted below is an entry of kind [`MOUNT_POINT`].
#[async_trait::async_trait]
pub trait PosixTree: FileTarget + PackedSource + PackedTarget {
    fn keeps(&self) -> &Keeps;

    /// [`super::FileSource::stat`] for many at once; the empty path is the root itself.
    async fn stats(&self, paths: &[FilePath]) -> Result<Vec<Option<Entry>>>;

    /// [`FileTarget::make`] for many directories at once, none of which may lie in the way of another; the empty path is the root itself. Repeatable.
    async fn make_directories(&self, entries: &[Entry]) -> Result<()>;

    /// Gives the file at `existing` further names, in the place of what stands there: `(existing, new)`. Repeatable.
    async fn link(&self, staging: &str, names: &[(FilePath, FilePath)]) -> Result<Unpacked>;

    /// The hash of what is stored, computed beside the data; `None` for what is no file (any more).
    async fn digests(&self, paths: &[FilePath]) -> Result<Vec<Option<Digest>>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_the_ledger() {
        let attributes = BTreeMap::from([("user.x".to_owned(), vec![0, 255]), ("trusted.y".to_owned(), Vec::new())]);
        let facts = Posix { owner: 1, group: 2, device: 3, inode: 4, links: 5, stored: 6, node: Some((7, 8)), attributes };
        let text = serde_json::to_string(&facts).expect("encodes");
        assert_eq!(serde_json::from_str::<Posix>(&text).expect("decodes"), facts);
    }
}
