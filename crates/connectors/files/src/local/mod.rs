//! A directory of the worker's own machine.
//!
//! Every access goes through an open handle of the root (cap-std): neither `..`, nor an absolute name, nor a symbolic link leads out
//! of it. A file is written to a staging name in its own directory and renamed.
//!
//! Durability: when `put` or `complete` returns, a crash of the process loses nothing, because the kernel has the data. A loss of
//! power is covered by [`ports::files::FileTarget::settle`], which writes the whole file system back (one `syncfs` for many files
//! instead of one `fsync` each) and is called before a ledger says that they are done, and by the sweep that ends a run.

mod checks;
mod error;
mod facts;
mod parts;
mod place;
mod read;
mod root;
mod walk;
mod whole;
mod write;

use crate::tree;
use error::from_io;
use futures::stream::BoxStream;
use ports::files::{Body, Digest, Entry, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, PosixTree, Prune, WebsiteTarget};
use ports::{Check, ConnectorError, ErrorKind, Examine, Result, Role};
use root::Root;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A local directory. Cheap to clone; nothing is opened until it is used.
#[derive(Clone)]
pub struct LocalFiles {
    root: Arc<Root>,
}

impl LocalFiles {
    /// `root`: an absolute path; it may be missing until [`FileTarget::prepare`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: Arc::new(Root::new(root.into())) }
    }

    /// A directory that is open already; its handle stays open as long as this is used. `shown` names it for people.
    pub fn of_handle(handle: OwnedFd, shown: String) -> Self {
        Self { root: Arc::new(Root::of_handle(handle, shown)) }
    }

    /// Runs `work` where blocking is allowed.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Root) -> Result<T> + Send + 'static) -> Result<T> {
        let root = self.root.clone();
        off_the_loop(&self.root.location(), move || work(&root)).await
    }
}

/// Runs blocking work on the blocking pool. A panic there is a defect of ours, told as such.
async fn off_the_loop<T: Send + 'static>(subject: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(ConnectorError::new(ErrorKind::Internal, "work on", subject, "the worker thread ended").because(e)),
    }
}

impl Examine for LocalFiles {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        checks::all(self, role)
    }
}

#[async_trait::async_trait]
impl FileSource for LocalFiles {
    fn location(&self) -> String {
        self.root.location()
    }

    fn traits(&self) -> FileTraits {
        FileTraits { modes: true, mtime_resolution_ns: 1, symlinks: true, empty_directories: true, stored_digest: None, single_put_limit: 64 << 20 }
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        walk::stream(self.root.clone(), None)
    }

    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        walk::stream(self.root.clone(), Some(prune))
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        let path = path.clone();
        self.blocking(move |root| root.stat(&path)).await
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        read::open(self, path.clone(), range).await
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        let path = path.clone();
        self.blocking(move |root| root.resolve(&path)).await
    }
}

#[async_trait::async_trait]
impl FileTarget for LocalFiles {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        tree::accepts(path, &self.root.location(), self.root.room())
    }

    async fn prepare(&self) -> Result<bool> {
        self.blocking(Root::prepare).await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        write::put(self, entry, staging, body, write::Over::Anything).await.map(|()| None)
    }

    async fn put_new(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        write::put(self, entry, staging, body, write::Over::Nothing).await.map(|()| None)
    }

    async fn put_replacing(&self, entry: &Entry, staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        write::put(self, entry, staging, body, write::Over::Only(Box::new(expected.clone()))).await.map(|()| None)
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.accepts(&entry.path)?;
        let entry = entry.clone();
        self.blocking(move |root| write::make(root, &entry)).await
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        let path = path.clone();
        self.blocking(move |root| root.remove(&path)).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        let prefix = crate::staging::prefix(staging);
        self.blocking(move |root| write::sweep(root, &prefix)).await
    }

    async fn settle(&self) -> Result<()> {
        self.blocking(write::settle).await
    }

    async fn stored_digest(&self, _path: &FilePath, _part_size: Option<u64>) -> Result<Option<Digest>> {
        Ok(None)
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.blocking(|root| root.free_space().map(Some).map_err(|e| from_io("ask for the free space of", root.location(), e))).await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        Arc::new(parts::LocalParts(self.clone()))
    }

    async fn posix(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        Ok(Ok(Arc::new(whole::LocalTree::new(self))))
    }

    fn place(&self) -> Option<Arc<dyn ports::place::FilePlace>> {
        // What hangs in no directory is nowhere else.
        if self.root.is_of_handle() { None } else { Some(Arc::new(self.clone())) }
    }

    async fn posix_across_mounts(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        let tree = whole::LocalTree::new(self).across_mounts();
        if tree.keeps().owners {
            return Ok(Ok(Arc::new(tree)));
        }
        Ok(Err("the worker is not root".to_owned()))
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}
