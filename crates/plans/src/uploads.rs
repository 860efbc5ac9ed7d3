//! Uploads that lie outside the web root: they are moved with it, as if they had lain in the place where they are to be.
//!
//! [`WithUploads`] is the source's tree with that directory put into it. Whatever the web root itself has at that place (often a link
//! to it) is hidden. Only reading knows of it: the one thing ever written to a source is its maintenance file.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ports::files::{Digest, Entry, EntryKind, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, Prune, WebsiteTarget};
use ports::{Check, ConnectorError, Examine, Result, Role};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// See the module's comment.
pub struct WithUploads {
    base: Arc<dyn FileTarget>,
    uploads: Arc<dyn FileTarget>,
    at: FilePath,
}

impl WithUploads {
    /// `at` is relative to the web root.
    pub fn new(base: Arc<dyn FileTarget>, uploads: Arc<dyn FileTarget>, at: &str) -> Self {
        Self { base, uploads, at: FilePath::from(at) }
    }

    /// The path below the uploads; empty for their root, `None` outside.
    fn inside(&self, path: &FilePath) -> Option<FilePath> {
        let rest = path.as_bytes().strip_prefix(self.at.as_bytes())?;
        match rest {
            [] => Some(FilePath::default()),
            [b'/', rest @ ..] => Some(FilePath::new(rest)),
            _ => None,
        }
    }

    fn outside(&self, mut entry: Entry) -> Entry {
        let mut path = self.at.as_bytes().to_vec();
        path.push(b'/');
        path.extend_from_slice(entry.path.as_bytes());
        entry.path = FilePath::new(path);
        entry
    }

    fn root(&self) -> Entry {
        Entry::new(self.at.clone(), EntryKind::Directory)
    }

    /// The uploads come in one piece, before the first entry that sorts behind them.
    fn listing(&self, prune: Option<Prune>) -> Listing<'_> {
        let (base, uploads) = match prune {
            Some(prune) => (self.base.list_pruned(prune.clone()), self.uploads.list_pruned(below(&self.at, prune))),
            None => (self.base.list(), self.uploads.list()),
        };
        let base = base.filter(|e| std::future::ready(e.as_ref().map_or(true, |e| self.inside(&e.path).is_none())));
        let block = stream::once(async { Ok(self.root()) }).chain(uploads.map(|e| e.map(|e| self.outside(e))));
        let merge = Merge { base: base.boxed().peekable(), block: Some(block.boxed()), at: &self.at };
        stream::unfold(merge, Merge::step).boxed()
    }
}

/// `prune` for paths that are relative to `at`.
fn below(at: &FilePath, prune: Prune) -> Prune {
    let at = at.clone();
    Arc::new(move |path| prune(&FilePath::new([at.as_bytes(), b"/", path.as_bytes()].concat())))
}

type Listing<'a> = BoxStream<'a, Result<Entry>>;

/// The web root's listing with the uploads on their way into it.
struct Merge<'a> {
    base: stream::Peekable<Listing<'a>>,
    block: Option<Listing<'a>>,
    at: &'a FilePath,
}

impl Merge<'_> {
    async fn step(mut self) -> Option<(Result<Entry>, Self)> {
        let due = match Pin::new(&mut self.base).peek().await {
            Some(Ok(entry)) => !sorts_before(entry, self.at),
            Some(Err(_)) => false,
            None => true,
        };
        if let Some(block) = self.block.as_mut().filter(|_| due) {
            if let Some(entry) = block.next().await {
                return Some((entry, self));
            }
            self.block = None;
        }
        let entry = self.base.next().await?;
        Some((entry, self))
    }
}

/// Whether an entry comes before everything below `at` in the order of listings, where a directory counts as `name/`.
fn sorts_before(entry: &Entry, at: &FilePath) -> bool {
    let key = |path: &FilePath, directory: bool| [path.as_bytes(), if directory { b"/" } else { b"" }].concat();
    key(&entry.path, matches!(entry.kind, EntryKind::Directory)) < key(at, true)
}

impl Examine for WithUploads {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.base.checks(role)
    }
}

#[async_trait::async_trait]
impl FileSource for WithUploads {
    fn location(&self) -> String {
        self.base.location()
    }

    fn traits(&self) -> FileTraits {
        self.base.traits()
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        self.listing(None)
    }

    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        self.listing(Some(prune))
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        match self.inside(path) {
            None => self.base.stat(path).await,
            Some(root) if root.as_bytes().is_empty() => Ok(Some(self.root())),
            Some(inner) => Ok(self.uploads.stat(&inner).await?.map(|e| self.outside(e))),
        }
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        let Some(inner) = self.inside(path) else { return self.base.open(path, range).await };
        let opened = self.uploads.open(&inner, range).await?;
        Ok(Opened { entry: self.outside(opened.entry), body: opened.body })
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        let Some(inner) = self.inside(path) else { return self.base.resolve(path).await };
        Ok(self.uploads.resolve(&inner).await?.map(|e| self.outside(e)))
    }
}

#[async_trait::async_trait]
impl FileTarget for WithUploads {
    fn accepts(&self, path: &FilePath) -> std::result::Result<(), ConnectorError> {
        self.base.accepts(path)
    }

    async fn prepare(&self) -> Result<bool> {
        self.base.prepare().await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: ports::files::Body) -> Result<Option<Digest>> {
        self.base.put(entry, staging, body).await
    }

    async fn put_new(&self, entry: &Entry, staging: &str, body: ports::files::Body) -> Result<Option<Digest>> {
        self.base.put_new(entry, staging, body).await
    }

    async fn put_replacing(&self, entry: &Entry, staging: &str, body: ports::files::Body, expected: &Entry) -> Result<Option<Digest>> {
        self.base.put_replacing(entry, staging, body, expected).await
    }

    async fn remove_if(&self, path: &FilePath, expected: &Entry) -> Result<()> {
        self.base.remove_if(path, expected).await
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.base.make(entry).await
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        self.base.remove(path).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        self.base.sweep(staging).await
    }

    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
        match self.inside(path) {
            Some(inner) => self.uploads.stored_digest(&inner, part_size).await,
            None => self.base.stored_digest(path, part_size).await,
        }
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.base.free_space().await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        self.base.parts()
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        self.base.website()
    }
}

#[cfg(test)]
#[path = "uploads_tests.rs"]
mod tests;
