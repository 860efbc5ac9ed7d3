//! Chunk ledgers in memory.

use super::MemoryJournal;
use crate::EngineError;
use crate::journal::{Chunk, ChunkDone, Chunks, NewChunk, Token};
use crate::view::LedgerTotals;
use std::ops::Bound;

fn after_bound(after: Option<u64>) -> (Bound<u64>, Bound<u64>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

#[async_trait::async_trait]
impl Chunks for MemoryJournal {
    async fn plan(&self, token: &Token, ledger: &str, chunks: Vec<NewChunk>) -> Result<(), EngineError> {
        self.held(token, |run| {
            let book = run.ledgers.entry(ledger.to_owned()).or_default();
            for NewChunk { seq, spec, items, bytes } in chunks {
                if book.chunks.contains_key(&seq) {
                    continue;
                }
                book.chunks.insert(seq, Chunk { seq, spec, items, bytes, attempts: 0, result: None });
                book.totals.chunks += 1;
                book.totals.items += items;
                book.totals.bytes += bytes;
            }
            Ok(())
        })
    }

    async fn seal(&self, token: &Token, ledger: &str) -> Result<(), EngineError> {
        self.held(token, |run| {
            run.ledgers.entry(ledger.to_owned()).or_default().totals.sealed = true;
            Ok(())
        })
    }

    async fn pending(&self, token: &Token, ledger: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError> {
        self.held(token, |run| {
            let book = run.ledgers.entry(ledger.to_owned()).or_default();
            let open = book.chunks.range_mut(after_bound(after)).map(|(_, c)| c).filter(|c| c.result.is_none()).take(limit);
            Ok(open
                .map(|chunk| {
                    chunk.attempts += 1;
                    chunk.clone()
                })
                .collect())
        })
    }

    async fn done(&self, token: &Token, ledger: &str, chunks: Vec<ChunkDone>) -> Result<(), EngineError> {
        self.held(token, |run| {
            let book = run.ledgers.entry(ledger.to_owned()).or_default();
            for done in chunks {
                let unknown = || EngineError::Invalid(format!("ledger {ledger} has no chunk {}", done.seq));
                let chunk = book.chunks.get_mut(&done.seq).ok_or_else(unknown)?;
                if chunk.result.is_some() {
                    continue;
                }
                let totals = &mut book.totals;
                totals.chunks_done += 1;
                totals.items = totals.items - chunk.items + done.items;
                totals.bytes = totals.bytes - chunk.bytes + done.bytes;
                totals.items_done += done.items;
                totals.bytes_done += done.bytes;
                (chunk.result, chunk.items, chunk.bytes) = (Some(done.result), done.items, done.bytes);
            }
            Ok(())
        })
    }

    async fn all(&self, tenant: &str, run: &str, ledger: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError> {
        self.with(tenant, run, |run| {
            let book = run.ledgers.get(ledger);
            Ok(book.map(|b| b.chunks.range(after_bound(after)).take(limit).map(|(_, c)| c.clone()).collect()).unwrap_or_default())
        })
    }

    async fn totals(&self, tenant: &str, run: &str, ledger: &str) -> Result<LedgerTotals, EngineError> {
        self.with(tenant, run, |run| Ok(run.ledgers.get(ledger).map(|b| b.totals).unwrap_or_default()))
    }
}
