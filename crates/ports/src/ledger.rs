//! The chunk ledger as a mover sees it: which pieces there are, which are done, and what their results were.
//!
//! A chunk is one unit of moving: a batch of small files, a part of a large file, a key range of a table. Its row is written
//! before the first byte moves and completed after the destination confirmed it. The one ledger serves resume, progress,
//! verification and undo. Every write is fenced: after the lease is lost it fails with [`crate::ErrorKind::Stopped`].

use crate::Result;
use serde_json::Value;

/// A chunk that is being planned. `seq` is chosen by the planner, deterministic, unique within its ledger.
#[derive(Debug, Clone)]
pub struct NewChunk {
    pub seq: u64,
    /// What it covers, in the mover's own compact form.
    pub spec: Vec<u8>,
    /// Files or rows in it (an estimate is allowed for rows).
    pub items: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone)]
pub struct Chunk {
    pub seq: u64,
    pub spec: Vec<u8>,
    pub items: u64,
    pub bytes: u64,
    /// How many times it was handed out by [`Ledger::pending`] and begun.
    pub attempts: u32,
    /// `None` until it is done.
    pub result: Option<Vec<u8>>,
}

/// The outcome of one chunk: the mover's own compact result (hashes, receipts) and the exact counts.
#[derive(Debug, Clone)]
pub struct ChunkDone {
    pub seq: u64,
    pub result: Vec<u8>,
    pub items: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    pub chunks: u64,
    pub chunks_done: u64,
    pub items: u64,
    pub items_done: u64,
    pub bytes: u64,
    pub bytes_done: u64,
    /// Planning is complete: the totals will not grow any more.
    pub sealed: bool,
}

/// One named ledger of one migration (`files`, `tables`, `files-final`, …).
#[async_trait::async_trait]
pub trait Ledger: Send + Sync {
    /// Adds chunks in one transaction. A `seq` that is already there is left as it is.
    async fn plan(&self, chunks: Vec<NewChunk>) -> Result<()>;

    /// Says that planning is complete. Repeatable.
    async fn seal(&self) -> Result<()>;

    /// Chunks that are not done, by ascending `seq`, after `after`, at most `limit`.
    async fn pending(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>>;

    /// Records the results of chunks in one transaction; the caller may batch. Repeatable: the first result stays.
    async fn done(&self, chunks: Vec<ChunkDone>) -> Result<()>;

    /// All chunks, done or not, by ascending `seq`, after `after`, at most `limit`.
    async fn all(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>>;

    async fn totals(&self) -> Result<Totals>;

    /// A small durable note beside the chunks (an upload id, a resume point, what was there before). `None` removes it.
    async fn remember(&self, key: &str, value: Option<Value>) -> Result<()>;

    async fn recall(&self, key: &str) -> Result<Option<Value>>;
}
