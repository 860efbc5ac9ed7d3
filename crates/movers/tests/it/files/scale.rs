//! A million files: planning holds a window of them, never all.

use futures::StreamExt;
use futures::stream::BoxStream;
use movers::files::{FileOptions, FilesMover};
use ports::files::{Digest, Entry, EntryKind, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, WebsiteTarget};
use ports::ledger::{Chunk, ChunkDone, NewChunk, Totals};
use ports::{Check, ConnectorError, Examine, Ledger, Result, Role};
use serde_json::Value;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use testkit::memory_files::MemoryFiles;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

const FILES: u64 = 1_000_000;

/// A source that makes its entries up as they are asked for.
struct Endless(MemoryFiles);

impl Examine for Endless {
    fn checks(&self, _role: Role) -> Vec<Check<'_>> {
        Vec::new()
    }
}

#[async_trait::async_trait]
impl FileSource for Endless {
    fn location(&self) -> String {
        "memory://endless".to_owned()
    }

    fn traits(&self) -> FileTraits {
        self.0.traits()
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        let entry = |n: u64| {
            let path = FilePath::from(format!("wp-content/uploads/folder-{:04}/image-{n:07}.jpg", n / 1000).as_str());
            Ok(Entry { modified_ns: Some(n as i64), mode: Some(0o644), version: Some(n.to_string()), ..Entry::new(path, EntryKind::File { size: 4096 }) })
        };
        futures::stream::iter((0..FILES).map(entry)).boxed()
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.0.stat(path).await
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        self.0.open(path, range).await
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.0.resolve(path).await
    }
}

#[async_trait::async_trait]
impl FileTarget for Endless {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        self.0.accepts(path)
    }

    async fn prepare(&self) -> Result<bool> {
        self.0.prepare().await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: ports::files::Body) -> Result<Option<Digest>> {
        self.0.put(entry, staging, body).await
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.0.make(entry).await
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        self.0.remove(path).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        self.0.sweep(staging).await
    }

    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
        self.0.stored_digest(path, part_size).await
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        self.0.parts()
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}

/// A ledger that only weighs what it gets.
#[derive(Default)]
struct Scales {
    items: AtomicU64,
    chunks: AtomicUsize,
    bytes: AtomicUsize,
    heaviest: AtomicUsize,
    note: Mutex<Option<Value>>,
}

#[async_trait::async_trait]
impl Ledger for Scales {
    async fn plan(&self, chunks: Vec<NewChunk>) -> Result<()> {
        let bytes: usize = chunks.iter().map(|c| c.spec.capacity()).sum();
        self.items.fetch_add(chunks.iter().map(|c| c.items).sum(), Ordering::Relaxed);
        self.chunks.fetch_add(chunks.len(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.heaviest.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }

    async fn seal(&self) -> Result<()> {
        Ok(())
    }

    async fn pending(&self, _after: Option<u64>, _limit: usize) -> Result<Vec<Chunk>> {
        Ok(Vec::new())
    }

    async fn done(&self, _chunks: Vec<ChunkDone>) -> Result<()> {
        Ok(())
    }

    async fn all(&self, _after: Option<u64>, _limit: usize) -> Result<Vec<Chunk>> {
        Ok(Vec::new())
    }

    async fn totals(&self) -> Result<Totals> {
        Ok(Totals::default())
    }

    async fn remember(&self, _key: &str, value: Option<Value>) -> Result<()> {
        *self.note.lock().expect("not poisoned") = value;
        Ok(())
    }

    async fn recall(&self, _key: &str) -> Result<Option<Value>> {
        Ok(None)
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
}

#[tokio::test]
async fn a_million_files_are_planned_in_bounded_memory() {
    let scales = Arc::new(Scales::default());
    let before = resident();
    let mover = FilesMover::new(Arc::new(Endless(MemoryFiles::tree("endless"))), Arc::new(MemoryFiles::tree("destination")), FileOptions::default());
    let observer = MemoryObserver::default();
    let plan = mover.plan(scales.as_ref(), &observer, &CancellationToken::new()).await.expect("a plan");
    let grown = resident().saturating_sub(before);
    assert_eq!((plan.files, plan.bytes), (FILES, FILES * 4096));
    assert_eq!(scales.items.load(Ordering::Relaxed), FILES);
    let (chunks, bytes, heaviest) = (scales.chunks.load(Ordering::Relaxed), scales.bytes.load(Ordering::Relaxed), scales.heaviest.load(Ordering::Relaxed));
    assert!(chunks < 6_000, "{chunks} chunks");
    assert!(bytes < 64 << 20, "{bytes} bytes in the ledger");
    assert!(heaviest < 4 << 20, "{heaviest} bytes in one transaction");
    assert!(grown < 100 << 20, "{grown} bytes of memory; the mover may not hold all entries");
}
