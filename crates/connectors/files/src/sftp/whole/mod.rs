//! The whole tree on a Unix host: what SFTP cannot say or do is done by programs that every Linux server has (GNU find and tar, getfattr and
//! setfattr, openssl or sha256sum), on channels of the same connections.
//!
//! Files arrive as one archive that tar unpacks under a staging name, and are renamed: many by Perl, if the server has it, single ones over SFTP.
//! Where the other programs are missing there is no whole tree, and plain SFTP moves content, modes and times.

mod digests;
mod dress;
pub(super) mod exec;
mod facts;
mod list;
mod pack;
mod parts;
mod place;
mod tools;
mod unpack;

use super::attrs::lost_time;
use super::root::Host;
use super::{SftpFiles, read};
use futures::stream::{self, BoxStream, StreamExt};
use ports::files::posix::{Keeps, Pack, PackedSource, PackedTarget, PosixTree, Unpacked};
use ports::files::{Body, Digest, Entry, EntryKind, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, Prune, WebsiteTarget, not_as_expected};
use ports::{Check, ConnectorError, ErrorKind, Examine, Result, Role};
use std::ops::Range;
use std::sync::Arc;
use tools::Tools;

/// A directory behind SSH with everything in it. Cheap to clone.
#[derive(Clone)]
pub(super) struct SshTree {
    plain: SftpFiles,
    host: Arc<Host>,
    tools: Arc<Tools>,
    /// Listings enter what is mounted below the root.
    across_mounts: bool,
}

impl SshTree {
    /// Looks what the server has; the inner error says why there is no whole tree.
    pub(super) async fn open(plain: &SftpFiles) -> Result<std::result::Result<Self, String>> {
        let tools = tools::probe(&plain.host).await?;
        Ok(tools.map(|tools| Self { plain: plain.clone(), host: plain.host.clone(), tools: Arc::new(tools), across_mounts: false }))
    }

    pub(super) fn across_mounts(self) -> Self {
        Self { across_mounts: true, ..self }
    }

    /// One thing through an archive of its own.
    async fn put_one(&self, entry: &Entry, staging: &str, body: Body, fresh: bool) -> Result<()> {
        self.accepts(&entry.path)?;
        unpack::one(self, staging, unpack::single(entry.clone(), body, fresh)).await
    }
}

impl Examine for SshTree {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.plain.checks(role)
    }
}

/// How far the clock of the server may be behind or before ours.
const CLOCK_SKEW_NS: i64 = 15_000_000_000;

/// Whether a program has to be asked, which tells nanoseconds and the time of the last change: one start of it takes longer than twenty requests.
/// Somebody who writes now may leave a young file with the same second in its time; and not everything can be told by a request.
fn needs_program(entry: &Entry) -> bool {
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let young = entry.modified_ns.is_none_or(|modified| modified > now - CLOCK_SKEW_NS);
    young || lost_time(entry).is_some() || matches!(entry.kind, EntryKind::Other(_))
}

/// As [`Entry::is_still`], of what SFTP tells: kind, size and the second of the time.
fn is_still_in_seconds(now: &Entry, expected: &Entry) -> bool {
    let second = |entry: &Entry| entry.modified_ns.map(|ns| ns.div_euclid(1_000_000_000));
    now.kind == expected.kind && (second(now).is_none() || second(now) == second(expected))
}

#[async_trait::async_trait]
impl FileSource for SshTree {
    fn location(&self) -> String {
        self.plain.location()
    }

    fn traits(&self) -> FileTraits {
        FileTraits { mtime_resolution_ns: 1, ..self.plain.traits() }
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        list::stream(Arc::new(self.clone()))
    }

    /// `find` reads the whole tree; what is left out does not come here.
    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        list::pruned(Arc::new(self.clone()), prune)
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        // That nothing is there is the usual answer, and one request tells it.
        if self.plain.stat(path).await?.is_none() {
            return Ok(None);
        }
        Ok(self.stats(std::slice::from_ref(path)).await?.pop().flatten())
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        let looked = self.stats(std::slice::from_ref(path)).await?.pop().flatten();
        let opened = read::open(&self.host, path, range).await?;
        match looked {
            Some(entry) if entry.kind == opened.entry.kind => Ok(Opened { entry, body: opened.body }),
            // A link within the root, which SFTP has followed.
            Some(Entry { kind: EntryKind::Symlink { .. }, .. }) => Ok(opened),
            _ => Err(ConnectorError::new(ErrorKind::Changed, "open", self.host.subject(path), "it changed at this moment").advice("It is tried again")),
        }
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.plain.resolve(path).await
    }
}

#[async_trait::async_trait]
impl FileTarget for SshTree {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        self.plain.accepts(path)
    }

    async fn prepare(&self) -> Result<bool> {
        self.plain.prepare().await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.put_one(entry, staging, body, false).await.map(|()| None)
    }

    async fn put_new(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.put_one(entry, staging, body, true).await.map(|()| None)
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.accepts(&entry.path)?;
        match &entry.kind {
            EntryKind::Directory if entry.posix.is_none() && entry.mode.is_none() && entry.modified_ns.is_none() => self.plain.make(entry).await,
            EntryKind::Directory => self.make_directories(std::slice::from_ref(entry)).await,
            EntryKind::File { .. } => dress::file(self, entry).await,
            EntryKind::Symlink { .. } => self.put_one(entry, "link", stream::empty().boxed(), false).await,
            EntryKind::Other(kind) if crate::tree::can_be_made(kind) => self.put_one(entry, "node", stream::empty().boxed(), false).await,
            EntryKind::Other(_) => self.plain.make(entry).await,
        }
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        self.plain.remove(path).await
    }

    async fn remove_if(&self, path: &FilePath, expected: &Entry) -> Result<()> {
        let still = if needs_program(expected) {
            self.stat(path).await?.is_none_or(|now| now.is_still(expected))
        } else {
            self.plain.stat(path).await?.is_none_or(|now| is_still_in_seconds(&now, expected))
        };
        if still { self.plain.remove(path).await } else { Err(not_as_expected("remove", path, &self.location())) }
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        // The prefix holds no letter that a shell or a pattern would read otherwise.
        let prefix = crate::staging::prefix(staging);
        // A program of ours that lost its connection may write a little longer, and then the first try finds a directory not empty.
        let steps = crate::staging::STEP_TAGS.map(|tag| format!(" -o -name '{}*'", crate::staging::prefix(tag))).concat();
        let only = if self.across_mounts { "" } else { "-xdev " };
        let remove = format!("find . {only}\\( -name '{prefix}*'{steps} \\) -prune -exec rm -rf -- '{{}}' +");
        let script = format!("{remove} 2>/dev/null || {remove}");
        let (_, ended) = exec::start(&self.host, &script).await?.answer(Vec::new()).await?;
        match ended.status {
            exec::NO_ROOT => Ok(()),
            0 | 1 if ended.complaint().is_none_or(|line| line.contains("Permission denied")) => Ok(()),
            _ => Err(ended.letter("remove what is unfinished at", self.host.location())),
        }
    }

    async fn settle(&self) -> Result<()> {
        self.plain.settle().await
    }

    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
        match part_size {
            Some(size) => digests::over_parts(self, path, size).await,
            None => Ok(self.digests(std::slice::from_ref(path)).await?.pop().flatten()),
        }
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.plain.free_space().await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        Arc::new(parts::SshParts { plain: self.plain.parts(), tree: self.clone() })
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}

#[async_trait::async_trait]
impl PackedSource for SshTree {
    async fn pack(&self, paths: Vec<FilePath>) -> Result<Pack> {
        pack::open(self, paths).await
    }
}

#[async_trait::async_trait]
impl PackedTarget for SshTree {
    async fn unpack(&self, staging: &str, pack: Pack) -> Result<Unpacked> {
        unpack::run(self, staging, pack).await
    }
}

#[async_trait::async_trait]
impl PosixTree for SshTree {
    fn keeps(&self) -> &Keeps {
        &self.tools.keeps
    }

    async fn stats(&self, paths: &[FilePath]) -> Result<Vec<Option<Entry>>> {
        list::stats(self, paths).await
    }

    async fn make_directories(&self, entries: &[Entry]) -> Result<()> {
        dress::directories(self, entries).await
    }

    async fn link(&self, staging: &str, names: &[(FilePath, FilePath)]) -> Result<Unpacked> {
        dress::link(self, staging, names).await
    }

    async fn digests(&self, paths: &[FilePath]) -> Result<Vec<Option<Digest>>> {
        digests::run(self, paths).await
    }
}
