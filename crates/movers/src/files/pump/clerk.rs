//! The pump's side of the ledger: pages of pending chunks are read ahead and results are written while files and parts are on their
//! way, so that nobody waits for the disk of the journal.

use super::memo;
use crate::files::records::just_before;
use futures::future::BoxFuture;
use ports::files::FileTarget;
use ports::ledger::{Chunk, ChunkDone};
use ports::{Ledger, Result};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often progress is told.
pub(super) const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// Results are recorded together, at the first of these two: before each record the target's disk is waited for.
const RECORD_EVERY: Duration = Duration::from_millis(500);
const FLUSH_CHUNKS: usize = 64;
/// Chunks read from the ledger at a time.
const PAGE: usize = 32;

/// What one write has recorded.
pub(super) struct Written {
    pub(super) chunks: usize,
    pub(super) items: u64,
    pub(super) bytes: u64,
}

pub(super) enum Turn {
    Page(Vec<Chunk>),
    Written(Written),
}

pub(super) struct Clerk<'a> {
    pub(super) ledger: &'a dyn Ledger,
    /// What is recorded as done is on its disk first.
    target: Arc<dyn FileTarget>,
    range: Range<u64>,
    after: Option<u64>,
    exhausted: bool,
    reading: Option<BoxFuture<'a, Result<Vec<Chunk>>>>,
    ready: Vec<ChunkDone>,
    /// Uploads that are in place: their memos go once that is recorded.
    finished_uploads: Vec<u64>,
    writing: Option<BoxFuture<'a, Result<Written>>>,
    writes_begun: u64,
    writes_ended: u64,
    written: Instant,
}

impl<'a> Clerk<'a> {
    pub(super) fn new(ledger: &'a dyn Ledger, target: Arc<dyn FileTarget>) -> Self {
        Self {
            ledger,
            target,
            range: 0..0,
            after: None,
            exhausted: true,
            reading: None,
            ready: Vec::new(),
            finished_uploads: Vec::new(),
            writing: None,
            writes_begun: 0,
            writes_ended: 0,
            written: Instant::now(),
        }
    }

    /// The chunks to be read.
    pub(super) fn cover(&mut self, range: Range<u64>) {
        self.after = just_before(range.start);
        self.range = range;
        self.exhausted = false;
    }

    /// Nothing more comes from the ledger.
    pub(super) fn has_read_all(&self) -> bool {
        self.exhausted && self.reading.is_none()
    }

    /// Begins to read the next page, unless one is on its way.
    pub(super) fn read_ahead(&mut self) {
        if !self.exhausted && self.reading.is_none() {
            self.reading = Some(self.ledger.pending(self.after, PAGE));
        }
    }

    pub(super) fn add(&mut self, done: ChunkDone) {
        self.ready.push(done);
    }

    pub(super) fn forget_upload(&mut self, first: u64) {
        self.finished_uploads.push(first);
    }

    /// The number of the write with which everything that was added so far is recorded; see [`Self::has_written`].
    pub(super) fn covering_write(&self) -> u64 {
        self.writes_begun + u64::from(!self.ready.is_empty())
    }

    pub(super) fn has_written(&self, write: u64) -> bool {
        self.writes_ended >= write
    }

    /// Begins to write what is ready, when it is time or somebody waits for it. One write at a time.
    pub(super) fn write_when_due(&mut self, awaited: bool) {
        let every = if self.target.is_durable_at_once() { FLUSH_EVERY } else { RECORD_EVERY };
        let due = awaited || self.ready.len() >= FLUSH_CHUNKS || self.written.elapsed() >= every;
        if due && self.writing.is_none() && !self.ready.is_empty() {
            self.write();
        }
    }

    fn write(&mut self) {
        let target = self.target.clone();
        let (ledger, ready, finished) = (self.ledger, std::mem::take(&mut self.ready), std::mem::take(&mut self.finished_uploads));
        let (items, bytes) = ready.iter().fold((0, 0), |(i, b), c| (i + c.items, b + c.bytes));
        let written = Written { chunks: ready.len(), items, bytes };
        self.writes_begun += 1;
        self.writing = Some(Box::pin(async move {
            target.settle().await?;
            ledger.done(ready).await?;
            for first in finished {
                ledger.remember(&memo(first), None).await?;
            }
            Ok(written)
        }));
    }

    /// Waits for the page or the write that is on its way; for ever when there is neither. May be dropped and called again.
    pub(super) async fn turn(&mut self) -> Result<Turn> {
        tokio::select! {
            page = on_its_way(&mut self.reading) => {
                self.reading = None;
                Ok(self.turned_page(page?))
            }
            written = on_its_way(&mut self.writing) => {
                self.writing = None;
                self.writes_ended += 1;
                self.written = Instant::now();
                written.map(Turn::Written)
            }
        }
    }

    fn turned_page(&mut self, page: Vec<Chunk>) -> Turn {
        self.exhausted = page.last().is_none_or(|c| c.seq >= self.range.end);
        self.after = page.last().map(|c| c.seq).or(self.after);
        Turn::Page(page.into_iter().filter(|c| self.range.contains(&c.seq)).collect())
    }

    /// Writes everything that is ready, after what is being written. Gives what was recorded.
    pub(super) async fn flush(&mut self) -> Result<Vec<Written>> {
        self.reading = None;
        let mut all = Vec::new();
        loop {
            self.write_when_due(true);
            if self.writing.is_none() {
                return Ok(all);
            }
            if let Turn::Written(written) = self.turn().await? {
                all.push(written);
            }
        }
    }
}

async fn on_its_way<T>(slot: &mut Option<BoxFuture<'_, T>>) -> T {
    match slot {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
