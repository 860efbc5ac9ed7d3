//! [`FileSource`] and [`FileTarget`] over memory.

use super::faults::Met;
use super::{Item, MemoryFiles, Node, Op, file};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use ports::files::{
    Body, Digest, DigestKind, Entry, EntryKind, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, Prune, WebsiteTarget, not_as_expected,
};
use ports::{Check, ConnectorError, ErrorKind, Examine, Result, Role};
use std::ops::Range;
use std::sync::Arc;

impl Examine for MemoryFiles {
    fn checks(&self, _role: Role) -> Vec<Check<'_>> {
        Vec::new()
    }
}

impl MemoryFiles {
    /// Counts a call, lets other tasks run, and fails it if a fault says so.
    pub(super) async fn call(&self, op: Op, path: &FilePath) -> Result<()> {
        tokio::task::yield_now().await;
        self.pass(&format!("{op:?}").to_lowercase(), path).await?;
        let mut state = self.lock();
        *state.calls.entry(op).or_default() += 1;
        match state.faults.meet(op, path.as_bytes()) {
            Met::Fail(kind) => Err(self.error(kind, &format!("{op:?}").to_lowercase(), path, "a fault was asked for")),
            _ => Ok(()),
        }
    }

    fn piece_read(&self, path: &FilePath) -> Result<()> {
        let mut state = self.lock();
        match state.faults.meet(Op::Read, path.as_bytes()) {
            Met::Nothing => {}
            Met::Fail(kind) => return Err(self.error(kind, "read", path, "a fault was asked for")),
            Met::Rewrite(content) => state.store(self.tree, path.as_bytes(), file(content.into(), None), 0o644, None),
            Met::Vanish => drop(state.items.remove(path.as_bytes())),
        }
        Ok(())
    }

    fn body(&self, path: &FilePath, data: Bytes) -> Body {
        let (this, path, piece) = (self.clone(), path.clone(), self.piece);
        let starts = (0..data.len()).step_by(piece.max(1)).collect::<Vec<_>>();
        futures::stream::iter(starts)
            .then(move |start| {
                let (this, path, data) = (this.clone(), path.clone(), data.clone());
                async move {
                    this.pass("read", &path).await?;
                    this.piece_read(&path)?;
                    Ok(data.slice(start..(start + piece).min(data.len())))
                }
            })
            .boxed()
    }

    /// Reads a body that must have `size` bytes.
    pub(super) async fn take(&self, path: &FilePath, size: u64, mut body: Body) -> Result<Bytes> {
        let mut data = BytesMut::new();
        while let Some(piece) = body.next().await {
            data.extend_from_slice(&piece?);
            tokio::task::yield_now().await;
        }
        if data.len() as u64 != size {
            return Err(self.error(ErrorKind::Changed, "write", path, "the body has another length than promised"));
        }
        Ok(data.freeze())
    }

    /// Puts a file in place, if `may` agrees with what stands there in that very moment.
    async fn place(&self, entry: &Entry, body: Body, may: impl Fn(Option<&Entry>) -> bool + Send) -> Result<Option<Digest>> {
        self.free(&entry.path)?;
        self.call(Op::Put, &entry.path).await?;
        let data = self.take(&entry.path, entry.size(), body).await?;
        self.pass("place", &entry.path).await?;
        self.free(&entry.path)?;
        self.writable(&entry.path)?;
        let mut state = self.lock();
        let there = state.find(entry.path.as_bytes()).map(|(key, item)| self.entry(&key, item));
        if !may(there.as_ref()) {
            return Err(not_as_expected("write", &entry.path, &self.location()));
        }
        *state.writes.entry(entry.path.to_string()).or_default() += 1;
        let taken = (self.traits.stored_digest == Some(DigestKind::Md5))
            .then(|| Digest { kind: DigestKind::Md5, hex: hex::encode(<md5::Md5 as md5::Digest>::digest(&data)) });
        let node = file(data, entry.content_type.clone());
        state.store(self.tree, entry.path.as_bytes(), node, entry.mode.unwrap_or(0o600), entry.modified_ns);
        state.keep_metadata(entry.path.as_bytes(), entry.object.clone().filter(|_| !self.tree));
        Ok(taken)
    }

    /// Removes what is there, if `may` agrees with it in that very moment.
    async fn take_away(&self, path: &FilePath, may: impl Fn(&Entry) -> bool + Send) -> Result<()> {
        self.call(Op::Remove, path).await?;
        self.writable(path)?;
        let mut state = self.lock();
        let Some((key, item)) = state.find(path.as_bytes()) else { return Ok(()) };
        if !may(&self.entry(&key, item)) {
            return Err(not_as_expected("remove", path, &self.location()));
        }
        if self.tree && key.ends_with(b"/") && state.items.keys().any(|k| k.len() > key.len() && k.starts_with(&key)) {
            return Err(self.error(ErrorKind::AlreadyExists, "remove", path, "the directory is not empty"));
        }
        state.unsettle(&key);
        state.items.remove(&key);
        let now = state.tick();
        state.touch_parent(path.as_bytes(), now);
        Ok(())
    }

    /// In a tree: the directory of the path may be changed.
    fn writable(&self, path: &FilePath) -> Result<()> {
        if self.tree && !self.lock().writable(path.as_bytes()) {
            return Err(self.error(ErrorKind::Permission, "write", path, "its directory is read-only"));
        }
        Ok(())
    }

    /// In a tree: no directory at the path, no file above it.
    pub(super) fn free(&self, path: &FilePath) -> Result<()> {
        let state = self.lock();
        if !self.tree {
            return Ok(());
        }
        let bytes = path.as_bytes();
        let above = bytes.iter().enumerate().filter(|(_, b)| **b == b'/').any(|(at, _)| state.items.contains_key(&bytes[..at]));
        if above || state.items.contains_key(&[bytes, b"/"].concat()) {
            return Err(self.error(ErrorKind::AlreadyExists, "write", path, "something else is in the way"));
        }
        Ok(())
    }

    fn target_of(path: &FilePath, target: &[u8]) -> Option<FilePath> {
        let mut parts: Vec<&[u8]> = path.segments().collect();
        parts.pop();
        for part in target.split(|b| *b == b'/') {
            match part {
                b"" => return None,
                b"." => {}
                b".." => {
                    parts.pop()?;
                }
                name => parts.push(name),
            }
        }
        Some(FilePath::new(parts.join(&b'/')))
    }

    fn followed(&self, path: &FilePath) -> Option<Entry> {
        let mut at = path.clone();
        for _ in 0..8 {
            let state = self.lock();
            let (key, item) = state.find(at.as_bytes())?;
            match &item.node {
                Node::Link { target } => {
                    let target = target.clone();
                    drop(state);
                    at = Self::target_of(&at, &target)?;
                }
                _ => return Some(self.entry(&key, item)),
            }
        }
        None
    }
}

#[async_trait::async_trait]
impl FileSource for MemoryFiles {
    fn location(&self) -> String {
        format!("memory://{}", self.name)
    }

    fn traits(&self) -> FileTraits {
        self.traits.clone()
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        self.list_pruned(Arc::new(|_: &FilePath| false))
    }

    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        let begin = async move {
            self.call(Op::List, &FilePath::default()).await?;
            let state = self.lock();
            if !state.exists {
                return Err(self.error(ErrorKind::NotFound, "list", &FilePath::default(), "there is no such root"));
            }
            Ok(self.listed(&state, prune.as_ref()).into_iter().map(Ok).collect::<Vec<Result<Entry>>>())
        };
        futures::stream::once(begin).flat_map(|listed| futures::stream::iter(listed.unwrap_or_else(|error| vec![Err(error)]))).boxed()
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.call(Op::Stat, path).await?;
        Ok(self.lock().find(path.as_bytes()).map(|(key, item)| self.entry(&key, item)))
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        self.call(Op::Open, path).await?;
        let missing = || self.error(ErrorKind::NotFound, "open", path, "it does not exist");
        let entry = self.followed(path).ok_or_else(missing)?;
        let data = match self.lock().items.get(entry.path.as_bytes()).map(|item| &item.node) {
            Some(Node::File { data, .. }) => data.clone(),
            _ => return Err(missing()),
        };
        let range = range.map_or(0..data.len(), |r| (r.start as usize).min(data.len())..(r.end as usize).min(data.len()));
        let body = self.body(path, data.slice(range));
        Ok(Opened { entry: Entry { path: path.clone(), ..entry }, body })
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.call(Op::Resolve, path).await?;
        Ok(self.followed(path).map(|entry| Entry { path: path.clone(), ..entry }))
    }
}

#[async_trait::async_trait]
impl FileTarget for MemoryFiles {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        if self.lock().refused.contains(path.as_bytes()) || (self.tree && !path.is_plain()) {
            return Err(self.error(ErrorKind::Name, "use the name", path, "this system cannot hold the name"));
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<bool> {
        Ok(!std::mem::replace(&mut self.lock().exists, true))
    }

    async fn put(&self, entry: &Entry, _staging: &str, body: Body) -> Result<Option<Digest>> {
        self.place(entry, body, |_| true).await
    }

    async fn put_new(&self, entry: &Entry, _staging: &str, body: Body) -> Result<Option<Digest>> {
        self.place(entry, body, |there| there.is_none_or(|there| there.kind == EntryKind::Directory)).await
    }

    async fn put_replacing(&self, entry: &Entry, _staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        self.place(entry, body, |there| there.is_none_or(|there| there.is_still(expected))).await
    }

    async fn remove_if(&self, path: &FilePath, expected: &Entry) -> Result<()> {
        self.take_away(path, |there| there.is_still(expected)).await
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.call(Op::Make, &entry.path).await?;
        let mut state = self.lock();
        let path = entry.path.as_bytes();
        let existing = state.find(path).map(|(_, item)| item.clone());
        match (&entry.kind, existing) {
            (EntryKind::Symlink { target }, Some(Item { node: Node::Link { .. }, .. }) | None) => {
                let node = Node::Link { target: target.clone() };
                state.store(self.tree, path, node, 0o777, entry.modified_ns);
            }
            (EntryKind::Directory, None) => state.store(self.tree, path, Node::Directory, entry.mode.unwrap_or(0o755), entry.modified_ns),
            (EntryKind::Directory, Some(Item { node: Node::Directory, .. })) | (EntryKind::File { .. }, Some(Item { node: Node::File { .. }, .. })) => {
                if let Some((key, _)) = state.find(path) {
                    state.unsettle(&key);
                }
                let (version, modified_ns) = (state.change(), entry.modified_ns.map(|time| state.cut(time)));
                let Some(item) = state.find_mut(path) else { return Ok(()) };
                item.mode = entry.mode.unwrap_or(item.mode);
                item.modified_ns = modified_ns.unwrap_or(item.modified_ns);
                item.version = version;
            }
            _ => return Err(self.error(ErrorKind::AlreadyExists, "make", &entry.path, "something else is in the way")),
        }
        Ok(())
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        self.take_away(path, |_| true).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        self.lock().uploads.retain(|_, upload| upload.staging != staging);
        Ok(())
    }

    async fn settle(&self) -> Result<()> {
        self.call(Op::Settle, &FilePath::default()).await?;
        self.lock().unsettled.clear();
        Ok(())
    }

    async fn stored_digest(&self, path: &FilePath, _part_size: Option<u64>) -> Result<Option<Digest>> {
        self.call(Op::StoredDigest, path).await?;
        let state = self.lock();
        if self.traits.stored_digest.is_none() {
            return Ok(None);
        }
        match state.items.get(path.as_bytes()).map(|item| &item.node) {
            Some(Node::File { etag, .. }) => Ok(Some(Digest { kind: DigestKind::Md5, hex: etag.clone() })),
            _ => Err(self.error(ErrorKind::NotFound, "hash", path, "it does not exist")),
        }
    }

    fn listed_digest(&self, entry: &Entry) -> Option<Digest> {
        let hex = entry.version.clone().filter(|_| self.traits.stored_digest.is_some())?;
        Some(Digest { kind: DigestKind::Md5, hex })
    }

    fn keeps_object_metadata(&self) -> bool {
        !self.tree
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        Arc::new(self.clone())
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}
