//! A directory on an SSH server, reached by SFTP.
//!
//! A file is written to a staging name in its own directory, gets mode and time, and is renamed over the old one (`posix-rename`;
//! a server without it has a moment with no file, because its rename refuses to replace). Nothing leads out of the root: the directory
//! of every path is resolved on the server before it is used, and remembered as checked.
//!
//! Not here: host keys of unknown servers are never accepted, they are shown to be confirmed.

mod attrs;
mod checks;
mod connect;
mod durability;
mod hostkey;
mod login;
mod parts;
mod place;
mod pool;
mod read;
mod refusals;
mod root;
mod server;
mod session;
mod verbs;
mod walk;
mod whole;
mod wire;
mod write;

use crate::tree;
use domain::spec::SshAt;
use futures::stream::BoxStream;
use ports::files::{Body, Digest, Entry, FilePath, FileSource, FileTarget, FileTraits, ObjectMetadata, Opened, PartTarget, PosixTree, Prune, WebsiteTarget};
use ports::{Check, ConnectorError, Examine, Result, Role};
use root::Host;
use std::ops::Range;
use std::sync::Arc;

pub use server::SshServer;

/// A directory behind SSH. Cheap to clone; connects when it is first used.
#[derive(Clone)]
pub struct SftpFiles {
    host: Arc<Host>,
}

impl SftpFiles {
    /// `root`: absolute on the server. `parallel` sizes the pool of connections (four at most).
    pub fn new(ssh: &SshAt, root: &str, parallel: usize) -> Self {
        Self { host: Arc::new(Host::new(ssh, root, parallel)) }
    }
}

impl Examine for SftpFiles {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        checks::all(self, role)
    }
}

#[async_trait::async_trait]
impl FileSource for SftpFiles {
    fn location(&self) -> String {
        self.host.location().to_owned()
    }

    fn traits(&self) -> FileTraits {
        FileTraits { modes: true, mtime_resolution_ns: 1_000_000_000, symlinks: true, empty_directories: true, stored_digest: None, single_put_limit: 64 << 20 }
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        walk::stream(self.host.clone(), None)
    }

    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        walk::stream(self.host.clone(), Some(prune))
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        read::stat(&self.host, path).await
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        read::open(&self.host, path, range).await
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        read::resolve(&self.host, path).await
    }
}

#[async_trait::async_trait]
impl FileTarget for SftpFiles {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        tree::accepts(path, self.host.location(), self.host.room())
    }

    async fn prepare(&self) -> Result<bool> {
        self.host.prepare().await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        write::put(&self.host, entry, staging, body, write::Over::Anything).await.map(|()| None)
    }

    async fn put_new(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        write::put(&self.host, entry, staging, body, write::Over::Nothing).await.map(|()| None)
    }

    async fn put_replacing(&self, entry: &Entry, staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        write::put(&self.host, entry, staging, body, write::Over::Only(expected)).await.map(|()| None)
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.accepts(&entry.path)?;
        write::make(&self.host, entry).await
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        write::remove(&self.host, path).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        walk::sweep(&self.host, &crate::staging::prefix(staging)).await
    }

    async fn settle(&self) -> Result<()> {
        durability::settle(&self.host).await
    }

    async fn stored_digest(&self, _path: &FilePath, _part_size: Option<u64>) -> Result<Option<Digest>> {
        Ok(None)
    }

    fn unkept(&self, entry: &Entry) -> Vec<String> {
        let metadata = entry.object.as_deref().map(ObjectMetadata::describe).unwrap_or_default();
        let lost = self.host.refusals.lost(entry).or_else(|| attrs::lost_time(entry));
        metadata.into_iter().chain(lost).collect()
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.host.free_space().await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        Arc::new(parts::SftpParts(self.clone()))
    }

    async fn posix(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        let tree = whole::SshTree::open(self).await?;
        Ok(tree.map(|tree| Arc::new(tree) as Arc<dyn PosixTree>))
    }

    fn place(&self) -> Option<Arc<dyn ports::place::FilePlace>> {
        Some(Arc::new(self.clone()))
    }

    async fn posix_across_mounts(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        if !self.host.is_root_login() {
            return Ok(Err("the SSH user is not root".to_owned()));
        }
        match whole::SshTree::open(self).await {
            Ok(Ok(tree)) if tree.keeps().owners => Ok(Ok(Arc::new(tree.across_mounts()))),
            Ok(Ok(_)) => Ok(Err("the SSH user is not root".to_owned())),
            Ok(Err(reason)) => Ok(Err(reason)),
            Err(e) if e.temporary => Err(e),
            // A server that serves nothing but SFTP.
            Err(e) => Ok(Err(e.reason)),
        }
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}
