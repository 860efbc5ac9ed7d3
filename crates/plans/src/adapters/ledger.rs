//! The engine's chunk ledger as the movers' door.

use engine::StepError;
use ports::ledger::{Chunk, ChunkDone, NewChunk, Totals};
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::Value;

/// One named ledger of the run.
pub struct RunLedger(engine::Ledger);

impl RunLedger {
    pub fn new(ledger: engine::Ledger) -> Self {
        Self(ledger)
    }

    fn error(&self, operation: &str, error: StepError) -> ConnectorError {
        if error.stopped {
            return ConnectorError::stopped(operation, self.0.name());
        }
        let subject = format!("the ledger '{}'", self.0.name());
        let mut out = ConnectorError::new(ErrorKind::Internal, operation, subject, error.message.clone()).because(error.clone());
        out.temporary = error.temporary;
        out
    }
}

pub(super) fn chunk(from: engine::Chunk) -> Chunk {
    Chunk { seq: from.seq, spec: from.spec, items: from.items, bytes: from.bytes, attempts: from.attempts, result: from.result }
}

pub(super) fn totals(t: engine::LedgerTotals) -> Totals {
    Totals {
        chunks: t.chunks,
        chunks_done: t.chunks_done,
        items: t.items,
        items_done: t.items_done,
        bytes: t.bytes,
        bytes_done: t.bytes_done,
        sealed: t.sealed,
    }
}

#[async_trait::async_trait]
impl ports::Ledger for RunLedger {
    async fn plan(&self, chunks: Vec<NewChunk>) -> Result<()> {
        let chunks = chunks.into_iter().map(|c| engine::NewChunk { seq: c.seq, spec: c.spec, items: c.items, bytes: c.bytes }).collect();
        self.0.plan(chunks).await.map_err(|e| self.error("plan in", e))
    }

    async fn seal(&self) -> Result<()> {
        self.0.seal().await.map_err(|e| self.error("seal", e))
    }

    async fn pending(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>> {
        let chunks = self.0.pending(after, limit).await.map_err(|e| self.error("read", e))?;
        Ok(chunks.into_iter().map(chunk).collect())
    }

    async fn done(&self, chunks: Vec<ChunkDone>) -> Result<()> {
        let chunks = chunks.into_iter().map(|c| engine::ChunkDone { seq: c.seq, result: c.result, items: c.items, bytes: c.bytes }).collect();
        self.0.done(chunks).await.map_err(|e| self.error("write", e))
    }

    async fn all(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>> {
        let chunks = self.0.all(after, limit).await.map_err(|e| self.error("read", e))?;
        Ok(chunks.into_iter().map(chunk).collect())
    }

    async fn totals(&self) -> Result<Totals> {
        self.0.totals().await.map(totals).map_err(|e| self.error("read", e))
    }

    async fn remember(&self, key: &str, value: Option<Value>) -> Result<()> {
        self.0.remember(key, value).await.map_err(|e| self.error("write", e))
    }

    async fn recall(&self, key: &str) -> Result<Option<Value>> {
        self.0.recall(key).await.map_err(|e| self.error("read", e))
    }
}
