//! A local directory with everything in it: owners, attributes, further names, holes, FIFOs and device nodes.

pub(super) mod facts;
mod pack;
mod write;

use super::error::from_io;
use super::parts::LocalParts;
use super::root::{Root, native};
use super::{LocalFiles, read, walk};
use crate::staging;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use ports::files::posix::{Keeps, Pack, PackedSource, PackedTarget, PosixTree, Unpacked};
use ports::files::{Body, Digest, DigestKind, Entry, EntryKind, FilePath, FileSource, FileTarget, FileTraits, Opened, Part, PartTarget, Prune, WebsiteTarget};
use ports::{Check, Examine, Result, Role};
use rustix::fs::{AtFlags, statat};
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct LocalTree {
    plain: LocalFiles,
    keeps: Keeps,
    /// Listings enter what is mounted below the root.
    across_mounts: bool,
}

impl LocalTree {
    pub(super) fn new(plain: &LocalFiles) -> Self {
        let owners = rustix::process::geteuid().is_root();
        let note = || "the worker is not root: owners, device nodes and trusted attributes are not kept".to_owned();
        let notes = (!owners).then(note).into_iter().collect();
        Self { plain: plain.clone(), across_mounts: false, keeps: Keeps { owners, attributes: true, digest: DigestKind::Blake3, notes } }
    }

    pub(super) fn across_mounts(self) -> Self {
        Self { across_mounts: true, ..self }
    }
}

impl Examine for LocalTree {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.plain.checks(role)
    }
}

/// The entry with all facts; `None` when it is not there.
pub(super) fn look(root: &Root, path: &FilePath) -> Result<Option<Entry>> {
    let found = if path.as_bytes().is_empty() { facts::of_root(root) } else { root.stat(path) };
    let Some(mut entry) = found? else { return Ok(None) };
    let handle = root.open()?;
    let told = |e: rustix::io::Errno| from_io("look at", root.subject(path), e.into());
    match statat(&handle, native(path), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            entry.posix = Some(Box::new(facts::posix(&handle, native(path), &stat).map_err(told)?));
            Ok(Some(entry))
        }
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(e) => Err(told(e)),
    }
}

#[async_trait::async_trait]
impl FileSource for LocalTree {
    fn location(&self) -> String {
        self.plain.location()
    }

    fn traits(&self) -> FileTraits {
        self.plain.traits()
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        walk::stream_whole(self.plain.root.clone(), None, self.across_mounts)
    }

    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        walk::stream_whole(self.plain.root.clone(), Some(prune), self.across_mounts)
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        let path = path.clone();
        self.plain.blocking(move |root| if path.is_plain() { look(root, &path) } else { Ok(None) }).await
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        let mut opened = read::open(&self.plain, path.clone(), range).await?;
        if let Some(entry) = self.stat(path).await?.filter(|e| e.version == opened.entry.version) {
            opened.entry = entry;
        }
        Ok(opened)
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.plain.resolve(path).await
    }
}

#[async_trait::async_trait]
impl FileTarget for LocalTree {
    fn accepts(&self, path: &FilePath) -> Result<()> {
        self.plain.accepts(path)
    }

    async fn prepare(&self) -> Result<bool> {
        self.plain.prepare().await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        let digest = self.plain.put(entry, staging, body).await?;
        self.dress(entry).await.map(|()| digest)
    }

    async fn put_new(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        let digest = self.plain.put_new(entry, staging, body).await?;
        self.dress(entry).await.map(|()| digest)
    }

    async fn put_replacing(&self, entry: &Entry, staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        let digest = self.plain.put_replacing(entry, staging, body, expected).await?;
        self.dress(entry).await.map(|()| digest)
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.accepts(&entry.path)?;
        match &entry.kind {
            EntryKind::Other(kind) if crate::tree::can_be_made(kind) => {
                let entry = entry.clone();
                self.plain.blocking(move |root| write::node(root, &entry, "node", false)).await
            }
            _ => {
                self.plain.make(entry).await?;
                self.dress(entry).await
            }
        }
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        self.plain.remove(path).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        self.plain.sweep(staging).await
    }

    async fn settle(&self) -> Result<()> {
        self.plain.settle().await
    }

    async fn stored_digest(&self, _path: &FilePath, _part_size: Option<u64>) -> Result<Option<Digest>> {
        Ok(None)
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.plain.free_space().await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        Arc::new(Parts { plain: LocalParts(self.plain.clone()), tree: self.clone() })
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}

impl LocalTree {
    async fn dress(&self, entry: &Entry) -> Result<()> {
        let entry = entry.clone();
        self.plain.blocking(move |root| write::dress(root, &entry)).await
    }
}

/// Large files in parts, and then what plain files do not have.
struct Parts {
    plain: LocalParts,
    tree: LocalTree,
}

#[async_trait::async_trait]
impl PartTarget for Parts {
    async fn begin(&self, entry: &Entry, staging: &str, part_size: u64) -> Result<String> {
        self.plain.begin(entry, staging, part_size).await
    }

    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, body: Body) -> Result<Part> {
        self.plain.put_part(entry, upload, number, range, body).await
    }

    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()> {
        self.plain.complete(entry, upload, parts).await?;
        self.tree.dress(entry).await
    }

    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()> {
        self.plain.abort(entry, upload).await
    }
}

#[async_trait::async_trait]
impl PackedSource for LocalTree {
    async fn pack(&self, paths: Vec<FilePath>) -> Result<Pack> {
        Ok(pack::stream(self.plain.root.clone(), paths))
    }
}

#[async_trait::async_trait]
impl PackedTarget for LocalTree {
    async fn unpack(&self, tag: &str, mut pack: Pack) -> Result<Unpacked> {
        let (send, receive) = tokio::sync::mpsc::channel(16);
        let tag = tag.to_owned();
        let writer = self.plain.blocking(move |root| pack::unpack(root, &tag, receive));
        let feeder = async move {
            while let Some(packed) = pack.next().await {
                let broken = packed.is_err();
                // Dropped before the end is told, the writer knows that it is not whole.
                if send.send(packed.as_ref().ok().cloned()).await.is_err() || broken {
                    return packed.map(drop);
                }
            }
            Ok(())
        };
        let (written, fed) = tokio::join!(writer, feeder);
        fed.and(written)
    }
}

#[async_trait::async_trait]
impl PosixTree for LocalTree {
    fn keeps(&self) -> &Keeps {
        &self.keeps
    }

    async fn stats(&self, paths: &[FilePath]) -> Result<Vec<Option<Entry>>> {
        let paths = paths.to_vec();
        let one = |root: &Root, path: &FilePath| if path.is_plain() || path.as_bytes().is_empty() { look(root, path) } else { Ok(None) };
        self.plain.blocking(move |root| paths.iter().map(|path| one(root, path)).collect()).await
    }

    async fn make_directories(&self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if !entry.path.as_bytes().is_empty() {
                self.plain.make(entry).await?;
            }
            self.dress(entry).await?;
        }
        Ok(())
    }

    async fn link(&self, tag: &str, names: &[(FilePath, FilePath)]) -> Result<Unpacked> {
        let (tag, names) = (tag.to_owned(), names.to_vec());
        self.plain.blocking(move |root| Ok(names.iter().map(|(existing, new)| write::link(root, existing, new, &staging::name(&tag, new))).collect())).await
    }

    async fn digests(&self, paths: &[FilePath]) -> Result<Vec<Option<Digest>>> {
        let paths = paths.to_vec();
        self.plain.blocking(move |root| paths.iter().map(|path| digest(root, path)).collect()).await
    }
}

fn digest(root: &Root, path: &FilePath) -> Result<Option<Digest>> {
    if !root.stat(path)?.is_some_and(|e| matches!(e.kind, EntryKind::File { .. })) {
        return Ok(None);
    }
    let told = |e: std::io::Error| from_io("hash", root.subject(path), e);
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut root.open_file(path).map_err(told)?, &mut hasher).map_err(told)?;
    Ok(Some(Digest { kind: DigestKind::Blake3, hex: hasher.finalize().to_hex().to_string() }))
}

/// What the writer of a pack is told: `None` when the pack broke off.
type Told = Option<ports::files::posix::Packed>;

/// A piece of zeros is not written where a file has holes.
fn is_zero(piece: &Bytes) -> bool {
    piece.iter().all(|b| *b == 0)
}
