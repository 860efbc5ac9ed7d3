//! What the ledger holds for files: the manifests of chunks and their results, and how their sequence numbers are made.
//!
//! A sequence number is round (0 for the bulk pass, then one per final pass), phase, and place within the phase, so that the
//! ascending order of the ledger is the order of doing.

use super::conflict::EarlierCopy;
use ports::files::{Digest, Entry, EntryKind, FilePath, ObjectMetadata, Part, Posix};
use ports::{ConnectorError, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// In the order of doing. Discriminants are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Removing what stands in the way of something new.
    Clear = 0,
    /// Files, parts and links, in path order.
    Content = 1,
    /// Removing what the source does not have.
    Delete = 2,
    /// Directories: made where empty, then modes and times, children first.
    Folders = 3,
    /// One per planning transaction: how far planning came.
    Marker = 4,
    /// Further names of files that are there by then. Done after the content.
    Links = 5,
}

pub(super) const PHASES: usize = 6;
const ROUND_SHIFT: u32 = 48;
const PHASE_SHIFT: u32 = 44;

pub(super) fn seq(round: u64, phase: Phase, n: u64) -> u64 {
    round << ROUND_SHIFT | (phase as u64) << PHASE_SHIFT | n
}

pub(super) fn round_of(seq: u64) -> u64 {
    seq >> ROUND_SHIFT
}

/// All sequence numbers of one phase.
pub(super) fn span(round: u64, phase: Phase) -> Range<u64> {
    seq(round, phase, 0)..seq(round, phase, 0) + (1 << PHASE_SHIFT)
}

/// An entry without its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stat {
    #[serde(rename = "k")]
    pub(super) kind: EntryKind,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(super) modified_ns: Option<i64>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<u32>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    /// Of a whole tree: owner, names, attributes.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub(super) posix: Option<Box<Posix>>,
    /// Of an object store, where the object itself was asked: headers, user metadata, tags.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Box<ObjectMetadata>>,
}

impl Stat {
    /// Whether the permissions are known to differ.
    pub(super) fn other_mode(&self, other: &Self) -> bool {
        matches!((self.mode, other.mode), (Some(a), Some(b)) if a != b)
    }

    pub(super) fn of(entry: &Entry) -> Self {
        let Entry { kind, modified_ns, mode, version, content_type, posix, object, .. } = entry.clone();
        Self { kind, modified_ns, mode, version, content_type, posix, object }
    }

    /// A directory of which nothing else is known.
    pub(super) fn of_directory() -> Self {
        Self { kind: EntryKind::Directory, modified_ns: None, mode: None, version: None, content_type: None, posix: None, object: None }
    }

    pub(super) fn entry(&self, path: &FilePath) -> Entry {
        let Self { kind, modified_ns, mode, version, content_type, posix, object } = self.clone();
        Entry { modified_ns, mode, version, content_type, posix, object, ..Entry::new(path.clone(), kind) }
    }

    pub(super) fn size(&self) -> u64 {
        if let EntryKind::File { size } = self.kind { size } else { 0 }
    }

    /// Whether owner, attributes and device numbers are equal, as far as both are known.
    pub(super) fn same_facts(&self, other: &Self) -> bool {
        match (&self.posix, &other.posix) {
            (Some(a), Some(b)) => a.owner == b.owner && a.group == b.group && a.node == b.node && a.attributes == b.attributes,
            _ => true,
        }
    }

    /// What two names of one file have in common; `None` for what has one name.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        let file = matches!(self.kind, EntryKind::File { .. });
        self.posix.as_ref().filter(|p| file && p.links > 1 && p.inode != 0).map(|p| (p.device, p.inode))
    }

    /// Whether nothing says that the content differs. The version decides where both sides have one; otherwise the time does.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        self.kind == other.kind
            && match (&self.version, &other.version) {
                (Some(a), Some(b)) => a == b,
                _ => self.modified_ns.is_none() || other.modified_ns.is_none() || self.modified_ns == other.modified_ns,
            }
    }
}

/// The hash of a file, and the part size where it is over parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Proof {
    #[serde(rename = "d")]
    pub(super) digest: Digest,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub(super) part_size: Option<u64>,
}

/// A file or a link to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    #[serde(rename = "p")]
    pub(super) path: FilePath,
    #[serde(rename = "s")]
    pub(super) stat: Stat,
    /// What stood at the destination before the migration.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Stat>,
    /// The content is there already: its proven hash.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(super) same: Option<Proof>,
    /// The source has a link here whose target is to be copied.
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) follow: bool,
    /// A further name of this file.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub(super) hard: Option<FilePath>,
    /// The name at the target, where it differs (backups).
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<FilePath>,
    /// What an earlier pass of ours has put there, by the records.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(super) stands: Option<Box<EarlierCopy>>,
    /// The name under which the backup holds `before`, where it is not the usual one.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    pub(super) saved: Option<FilePath>,
    /// The hash of what the backup holds under that name. Ledgers of earlier versions have none.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub(super) saved_proof: Option<Proof>,
}

/// A file in the backup under another name than the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedCopy {
    pub(super) name: FilePath,
    pub(super) proof: Option<Proof>,
}

impl Item {
    /// Something that is to be moved to a path where nothing stands.
    pub(super) fn new(path: FilePath, stat: Stat) -> Self {
        Self { path, stat, before: None, same: None, follow: false, hard: None, to: None, stands: None, saved: None, saved_proof: None }
    }

    /// With the place in the backup of what stood there before.
    pub(super) fn with_saved_copy(self, copy: Option<SavedCopy>) -> Self {
        let (saved, saved_proof) = copy.map_or((None, None), |copy| (Some(copy.name), copy.proof));
        Self { saved, saved_proof, ..self }
    }

    pub(super) fn saved_copy(&self) -> Option<SavedCopy> {
        self.saved.clone().map(|name| SavedCopy { name, proof: self.saved_proof.clone() })
    }

    /// Where it is written.
    pub(super) fn target(&self) -> &FilePath {
        self.to.as_ref().unwrap_or(&self.path)
    }
}

/// A large file cut into parts: chunk numbers `first .. first + count` are the parts, `first + count` puts it in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Large {
    pub(super) item: Item,
    /// Sequence number of the first part's chunk.
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) part_size: u64,
}

impl Large {
    /// Bytes of a part; numbers start at 1.
    pub(super) fn range(&self, number: u32) -> Range<u64> {
        let start = u64::from(number - 1) * self.part_size;
        start..(start + self.part_size).min(self.item.stat.size())
    }
}

/// Something of the destination that will be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone {
    #[serde(rename = "p")]
    pub(super) path: FilePath,
    #[serde(rename = "b")]
    pub(super) before: Stat,
    /// We had put it there ourselves, so undo has nothing to restore.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ours: bool,
    /// What we had put there, by the records.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(super) stands: Option<Box<EarlierCopy>>,
}

/// A directory that is made, or whose mode and time are set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Folder {
    #[serde(rename = "p")]
    pub(super) path: FilePath,
    /// `None`: the source has no such entry, the directory follows from paths below it.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub(super) stat: Option<Stat>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Stat>,
    /// Nothing planned lies below it, so writing files will not make it.
    #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) leaf: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Everything up to this key is planned.
    pub(super) through: Vec<u8>,
    /// The next number of each phase.
    #[serde(deserialize_with = "padded")]
    pub(super) next: [u64; PHASES],
    pub(super) plan: super::report::FilesPlan,
}

/// Ledgers of earlier versions know fewer phases.
fn padded<'de, D: serde::Deserializer<'de>>(d: D) -> std::result::Result<[u64; PHASES], D::Error> {
    let numbers = Vec::<u64>::deserialize(d)?;
    let mut next = [0; PHASES];
    for (place, number) in next.iter_mut().zip(numbers) {
        *place = number;
    }
    Ok(next)
}

/// The manifest of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Spec {
    Batch(Vec<Item>),
    Part { large: Box<Large>, number: u32 },
    Place(Box<Large>),
    Remove(Vec<Gone>),
    Folders(Vec<Folder>),
    Marker(Box<Marker>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    #[serde(rename = "c")]
    Copied,
    /// Was there already.
    #[serde(rename = "s")]
    Same,
    #[serde(rename = "l")]
    Linked,
    #[serde(rename = "x")]
    Changed,
    #[serde(rename = "v")]
    Vanished,
    #[serde(rename = "u")]
    Unreadable,
    #[serde(rename = "r")]
    Refused,
    /// Something stands at the destination that the plan did not see: left alone, for the final pass to settle.
    #[serde(rename = "o")]
    Spared,
    /// A further name of a file.
    #[serde(rename = "h")]
    Named,
    /// A FIFO or a device node.
    #[serde(rename = "m")]
    Made,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    #[serde(rename = "w")]
    pub(super) what: What,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<Digest>,
    /// The digest is over parts of this size.
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    pub(super) part_size: Option<u64>,
    /// The file as it was opened, when it was no longer as planned.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) read: Option<Stat>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

impl Outcome {
    pub(super) fn of(what: What) -> Self {
        Self { what, digest: None, part_size: None, read: None, note: None }
    }

    pub(super) fn failed(what: What, error: &ConnectorError) -> Self {
        Self { note: Some(error.to_string()), ..Self::of(what) }
    }

    /// Whether it is known what this try has put there, successful or not.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_there() || self.read.is_some()
    }

    /// The hash of what was read, with how it was computed; `None` where none is known.
    pub(super) fn proof(&self) -> Option<Proof> {
        self.digest.clone().map(|digest| Proof { digest, part_size: self.part_size })
    }

    /// Whether the destination now holds it.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.what, What::Copied | What::Same | What::Linked | What::Named | What::Made)
    }
}

/// A part that arrived; `None` in [`Results::Part`] when its file changed or its upload is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) part: Part,
    pub(super) hash: String,
}

/// The result of a chunk, in the order of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Results {
    Items(Vec<Outcome>),
    Part(Option<Sent>),
    /// Removals and directories: what was left alone, by place in the manifest.
    Left(Vec<(u32, String)>),
}

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// JSON, compressed where that pays, behind one byte that says which.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = vec![PLAIN];
    serde_json::to_writer(&mut out, value).map_err(|e| broken("write", &e))?;
    if out.len() > 512 {
        let mut packed = vec![ZSTD];
        zstd::stream::copy_encode(&out[1..], &mut packed, 1).map_err(|e| broken("compress", &e))?;
        if packed.len() < out.len() {
            return Ok(packed);
        }
    }
    Ok(out)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    match bytes.split_first() {
        Some((&PLAIN, json)) => serde_json::from_slice(json).map_err(|e| broken("read", &e)),
        Some((&ZSTD, packed)) => {
            let json = zstd::stream::decode_all(packed).map_err(|e| broken("decompress", &e))?;
            serde_json::from_slice(&json).map_err(|e| broken("read", &e))
        }
        _ => Err(broken("read", &"unknown encoding")),
    }
}

fn broken(operation: &str, error: &dyn std::fmt::Display) -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, operation, "a chunk of the files ledger", error.to_string())
        .advice("The ledger was written by another version of this program, or it is damaged.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_survive_the_ledger() {
        let stat =
            Stat { kind: EntryKind::File { size: 7 }, modified_ns: Some(-1), mode: Some(0o644), version: None, content_type: None, posix: None, object: None };
        let item = |n: u32| Item {
            before: Some(stat.clone()),
            follow: n == 1,
            stands: (n == 2).then(|| Box::new(EarlierCopy { stat: stat.clone(), proof: None })),
            ..Item::new(FilePath::new(vec![b'a', 0xff, n as u8]), stat.clone())
        };
        for count in [1, 300] {
            let spec = Spec::Batch((0..count).map(item).collect());
            assert_eq!(decode::<Spec>(&encode(&spec).expect("encodes")).expect("decodes"), spec);
        }
        assert!(decode::<Spec>(b"").is_err() && decode::<Spec>(b"\x07{}").is_err());
    }

    #[test]
    fn the_order_of_sequence_numbers_is_the_order_of_doing() {
        assert!(span(0, Phase::Marker).end <= seq(1, Phase::Clear, 0));
        assert!(span(3, Phase::Content).contains(&seq(3, Phase::Content, 12)));
        assert!(i64::try_from(seq((1 << 14) - 1, Phase::Marker, (1 << 44) - 1)).is_ok(), "fits a signed column");
        assert_eq!(round_of(seq(5, Phase::Delete, 9)), 5);
    }
}
