//! Doors to files: local directories, SSH hosts, object stores.
//!
//! A path is a byte string below the root, parts joined by `/`, exactly as the system has it: object keys may be `a//b`, `/a`
//! or end with `/`, POSIX names may be no UTF-8. A system that cannot hold a name says so through [`FileTarget::accepts`].

mod digest;
mod object;
mod path;
pub mod posix;

pub use digest::part_digest;
pub use object::{CARRIED_AS_METADATA, ObjectMetadata};
pub use path::FilePath;
pub use posix::{Posix, PosixTree};

use crate::check::Examine;
use crate::{ConnectorError, ErrorKind, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a file, in order, in pieces of any size. An error ends the stream.
pub type Body = BoxStream<'static, Result<Bytes>>;

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EntryKind {
    File {
        size: u64,
    },
    /// An object store has one only where a key ends with `/` and is empty.
    Directory,
    /// `target` as it is stored, unresolved.
    Symlink {
        target: Vec<u8>,
    },
    /// Device, socket, FIFO: never moved, always named in the report.
    Other(String),
}

/// One thing below the root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    pub path: FilePath,
    pub kind: EntryKind,
    /// Last modification, nanoseconds since 1970. `None` where the system has none of its own.
    pub modified_ns: Option<i64>,
    /// POSIX permission bits (07777).
    pub mode: Option<u32>,
    /// Whatever changes when the content changes, beyond size and time: an ETag, a ctime. Compared for equality only.
    pub version: Option<String>,
    /// MIME type, where the system stores one.
    pub content_type: Option<String>,
    /// Owner, links, attributes: only in the entries of a [`PosixTree`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posix: Option<Box<Posix>>,
    /// Headers, user metadata and tags: only where an object store tells them ([`FileSource::stat`] and [`FileSource::open`]; a listing has none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Box<ObjectMetadata>>,
    /// Why nothing below this directory could be listed, in an entry of [`FileSource::list`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<Box<str>>,
    /// Another file system than that of the directory above is mounted here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mounted: bool,
}

impl Entry {
    /// An entry of which nothing else is known.
    pub fn new(path: FilePath, kind: EntryKind) -> Self {
        Self { path, kind, modified_ns: None, mode: None, version: None, content_type: None, posix: None, object: None, unlisted: None, mounted: false }
    }

    pub fn size(&self) -> u64 {
        if let EntryKind::File { size } = self.kind { size } else { 0 }
    }

    /// Whether nothing says that this is no longer what was seen as `expected`: kind and size, then the version where both have one,
    /// else the time where both have one.
    pub fn is_still(&self, expected: &Self) -> bool {
        self.kind == expected.kind
            && match (&self.version, &expected.version) {
                (Some(a), Some(b)) => a == b,
                _ => self.modified_ns.is_none() || expected.modified_ns.is_none() || self.modified_ns == expected.modified_ns,
            }
    }
}

/// What a system can hold. The mover adapts, and the report names what had to be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTraits {
    pub modes: bool,
    /// Resolution of modification times in nanoseconds; 0: none are kept.
    pub mtime_resolution_ns: u64,
    pub symlinks: bool,
    pub empty_directories: bool,
    /// The hash that the system itself reports for what it stores, if it does. Writing then gives the hash of what was taken, to compare.
    pub stored_digest: Option<DigestKind>,
    /// Files larger than this go through [`PartTarget`], in parts.
    pub single_put_limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestKind {
    Blake3,
    Md5,
    Sha256,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Digest {
    pub kind: DigestKind,
    pub hex: String,
}

/// An open file: the entry as it was at the moment of opening, and the bytes.
pub struct Opened {
    pub entry: Entry,
    pub body: Body,
}

/// Whether a listing stays out of a directory.
pub type Prune = Arc<dyn Fn(&FilePath) -> bool + Send + Sync>;

/// Reading. All calls may run side by side.
#[async_trait::async_trait]
pub trait FileSource: Examine {
    /// For people: `sftp://user@host:22/var/www`. No secret.
    fn location(&self) -> String;

    fn traits(&self) -> FileTraits;

    /// Every entry below the root, the root itself excluded, ascending by path bytes with a directory compared as `name/`
    /// (so an object store's order and a tree's order agree). Memory does not grow with the number of entries beyond one
    /// directory per level. Symbolic links are reported, not followed. A missing root is `NotFound`; an empty one an empty
    /// stream. An entry that vanishes in between is left out. A directory whose content may not be listed is an
    /// entry with [`Entry::unlisted`], and the listing goes on behind it.
    fn list(&self) -> BoxStream<'_, Result<Entry>>;

    /// [`Self::list`] that does not enter directories of which `prune` is true; they themselves are listed. A system without real
    /// directories may list what lies below them all the same.
    fn list_pruned(&self, _prune: Prune) -> BoxStream<'_, Result<Entry>> {
        self.list()
    }

    /// `None` when it does not exist. Does not follow a link at the end of the path.
    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>>;

    /// Opens a file, whole or from `range` (end exclusive; beyond the end: shorter). A missing file is `NotFound`. Links inside the path are not
    /// followed out of the root. The entry tells size and version at the moment of opening.
    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened>;

    /// Follows a symbolic link within the root: the entry of what it points to (with the link's own path), or `None` when it is dangling or leads
    /// out of the root.
    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>>;
}

/// Writing. A file appears under its final name whole or not at all.
#[async_trait::async_trait]
pub trait FileTarget: FileSource {
    /// Whether the system can hold this name (length, characters, reserved words), and why not.
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError>;

    /// Makes the root (directory or bucket) if it is missing; true when it was made by this call.
    async fn prepare(&self) -> Result<bool>;

    /// Writes a whole file: to a staging name made from `staging` (the run's tag), then moves it in place, with mode and time from `entry` where the
    /// system has them. Parent directories are made. Exactly `entry.size()` bytes must come, else `Changed` and nothing under the final name changes.
    /// Replaces what is there (also a symlink, never what it points to). Repeatable.
    ///
    /// Gives the hash of the bytes it took, where [`FileTraits::stored_digest`] names a kind: then nobody else need compute it.
    async fn put(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>>;

    /// [`Self::put`] for a path where nothing may stand: whatever does (an empty directory excepted) is left alone, and the answer is `AlreadyExists`.
    /// Where the system can, there is no gap between looking and putting in place.
    async fn put_new(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        if self.stat(&entry.path).await?.is_some_and(|e| e.kind != EntryKind::Directory) {
            let place = format!("{} in {}", entry.path, self.location());
            return Err(ConnectorError::new(ErrorKind::AlreadyExists, "write", place, "something stands there already"));
        }
        self.put(entry, staging, body).await
    }

    /// [`Self::put`] for a path where `expected` was seen, and nothing else may be replaced: what differs from it ([`Entry::is_still`]) is
    /// left alone, and the answer is `AlreadyExists`. A path where nothing stands any more is filled. A system that can compares in the
    /// step that replaces (RFC 9110, section 13.1.1, `If-Match`); the default compares before the body is read.
    async fn put_replacing(&self, entry: &Entry, staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        match self.stat(&entry.path).await? {
            Some(now) if !now.is_still(expected) => Err(not_as_expected("write", &entry.path, &self.location())),
            Some(_) => self.put(entry, staging, body).await,
            None => self.put_new(entry, staging, body).await,
        }
    }

    /// [`Self::remove`] of what was seen as `expected`, and of nothing else: what differs from it is left alone, and the answer is
    /// `AlreadyExists`. Absent is fine. The default compares right before it removes.
    async fn remove_if(&self, path: &FilePath, expected: &Entry) -> Result<()> {
        match self.stat(path).await? {
            Some(now) if !now.is_still(expected) => Err(not_as_expected("remove", path, &self.location())),
            _ => self.remove(path).await,
        }
    }

    /// Makes a directory (with parents) or a symlink, or sets mode and time of a file or directory that exists, so that it equals `entry`. Repeatable.
    async fn make(&self, entry: &Entry) -> Result<()>;

    /// Removes a file, a link or an EMPTY directory. Absent is fine. A directory that is not empty is `AlreadyExists`.
    async fn remove(&self, path: &FilePath) -> Result<()>;

    /// Removes all that `put` and [`PartTarget`] left unfinished under `staging` (also unfinished uploads). Repeatable.
    async fn sweep(&self, staging: &str) -> Result<()>;

    /// Everything that was written before this call survives a loss of power when it returns: content, names, modes. Called before a ledger
    /// says that something is done. Repeatable; may take as long as the disk needs.
    async fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// Whether what this system has confirmed is on its disks: then nothing is won by waiting before it is recorded.
    fn is_durable_at_once(&self) -> bool {
        false
    }

    /// What the system itself says about the stored content (an S3 ETag, a hash computed beside the data). `None`: read it back instead.
    /// `part_size`: the part size the file was written with, if in parts; the digest is then over the parts, as [`part_digest`] computes it.
    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>>;

    /// The same, as far as an entry of [`FileSource::list`] tells it already (an ETag that is an MD5): saves a call per file. Only
    /// equality proves anything; where it differs, ask [`Self::stored_digest`] or read back.
    fn listed_digest(&self, _entry: &Entry) -> Option<Digest> {
        None
    }

    /// Whether [`Entry::object`] and [`Entry::content_type`] are stored with a file.
    fn keeps_object_metadata(&self) -> bool {
        false
    }

    /// What this system could not keep of an entry that was written, in words for the report; empty when it keeps all of it. What it
    /// refuses is learned by writing, so this is asked behind [`Self::put`] or [`PartTarget::complete`].
    fn unkept(&self, entry: &Entry) -> Vec<String> {
        let metadata = entry.object.as_deref().filter(|_| !self.keeps_object_metadata());
        metadata.map(ObjectMetadata::describe).unwrap_or_default()
    }

    /// Bytes that can still be written; `None` where the system has no such limit or does not tell.
    async fn free_space(&self) -> Result<Option<u64>>;

    /// Writing large files in parts that survive a crash. Every target of this house can.
    fn parts(&self) -> Arc<dyn PartTarget>;

    /// The same place with everything that a POSIX file system knows. The inner error says, for the report, why that cannot be had here.
    async fn posix(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        Ok(Err("this kind of storage keeps no owners, links and attributes".to_owned()))
    }

    /// The place as such: which one it is, marks of ours in it. `None` where the connector cannot tell.
    fn place(&self) -> Option<Arc<dyn crate::place::FilePlace>> {
        None
    }

    /// [`Self::posix`] for a move of files that is no move of a file system: what is mounted below the root is entered as any directory.
    /// Given only where owners may be set.
    async fn posix_across_mounts(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        self.posix().await
    }

    /// Serving a site from the store itself; `None` for anything but an object store.
    fn website(&self) -> Option<Arc<dyn WebsiteTarget>>;
}

/// The answer of [`FileTarget::put_replacing`] and [`FileTarget::remove_if`] where something else stands.
pub fn not_as_expected(operation: &str, path: &FilePath, location: &str) -> ConnectorError {
    let place = format!("{path} in {location}");
    ConnectorError::new(ErrorKind::AlreadyExists, operation, place, "it was changed since it was last looked at")
}

/// A part that the destination has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// From 1.
    pub number: u32,
    pub size: u64,
    /// The destination's receipt (an ETag) or empty.
    pub receipt: String,
    /// The hash of the bytes that were taken, in hex, where [`FileTraits::stored_digest`] names a kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

/// Large files in parts. The upload id is stored in the ledger, so a killed upload goes on from its last part.
#[async_trait::async_trait]
pub trait PartTarget: Send + Sync {
    /// Starts an upload; the id is enough to go on from another process. `part_size` in bytes; every part but the last has it.
    async fn begin(&self, entry: &Entry, staging: &str, part_size: u64) -> Result<String>;

    /// Writes one part, replacing an earlier attempt. Parts may be written in any order and side by side.
    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, body: Body) -> Result<Part>;

    /// Puts the file in place from all its parts. Repeatable: when the upload is gone and the final file has the right size, that is success.
    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()>;

    /// Forgets the upload and its parts. Absent is fine.
    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()>;
}

/// A store that can serve a static site by itself.
#[async_trait::async_trait]
pub trait WebsiteTarget: Send + Sync {
    /// The whole configuration now, for [`WebsiteTarget::restore_website`]; `None` when it serves no site.
    async fn website(&self) -> Result<Option<serde_json::Value>>;

    /// Sets index and error document, in the place of whatever there was. Repeatable.
    async fn set_website(&self, index: &str, error: Option<&str>) -> Result<()>;

    /// Puts back what [`WebsiteTarget::website`] gave, redirects and rules included; `None` removes the configuration. Repeatable.
    async fn restore_website(&self, before: Option<&serde_json::Value>) -> Result<()>;
}
