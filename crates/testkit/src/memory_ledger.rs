//! A chunk ledger in memory that can crash: from a chosen write on, everything fails until it is healed.

use ports::ledger::{Chunk, ChunkDone, NewChunk, Totals};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    chunks: BTreeMap<u64, Chunk>,
    notes: BTreeMap<String, Value>,
    totals: Totals,
    writes: u64,
    crash: Option<Crash>,
}

#[derive(Clone, Copy)]
struct Crash {
    at: u64,
    /// The write that crashes took effect; only its answer is lost.
    after_effect: bool,
}

/// Cheap to clone; all clones are one ledger.
#[derive(Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<State>>);

impl MemoryLedger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writes from number `at` (counted from now, from 0) on fail. With `after_effect`, the first of them still takes effect.
    pub fn crash_at(&self, at: u64, after_effect: bool) {
        let mut state = self.lock();
        let at = state.writes + at;
        state.crash = Some(Crash { at, after_effect });
    }

    pub fn heal(&self) {
        self.lock().crash = None;
    }

    /// Writes so far, failed ones included.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// The largest number of chunks in the ledger, and the bytes of all manifests and results.
    pub fn weight(&self) -> (usize, usize) {
        let state = self.lock();
        let bytes = state.chunks.values().map(|c| c.spec.len() + c.result.as_ref().map_or(0, Vec::len)).sum();
        (state.chunks.len(), bytes)
    }

    fn write<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T> {
        let mut state = self.lock();
        let number = state.writes;
        state.writes += 1;
        let gone = || ConnectorError::new(ErrorKind::Stopped, "write", "the ledger", "the ledger crashed, as asked");
        match state.crash {
            Some(crash) if number >= crash.at => {
                if number == crash.at && crash.after_effect {
                    effect(&mut state);
                }
                Err(gone())
            }
            _ => Ok(effect(&mut state)),
        }
    }
}

#[async_trait::async_trait]
impl Ledger for MemoryLedger {
    async fn plan(&self, chunks: Vec<NewChunk>) -> Result<()> {
        self.write(|state| {
            for NewChunk { seq, spec, items, bytes } in chunks {
                state.chunks.entry(seq).or_insert_with(|| {
                    state.totals.chunks += 1;
                    state.totals.items += items;
                    state.totals.bytes += bytes;
                    Chunk { seq, spec, items, bytes, attempts: 0, result: None }
                });
            }
        })
    }

    async fn seal(&self) -> Result<()> {
        self.write(|state| state.totals.sealed = true)
    }

    async fn pending(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>> {
        let mut state = self.lock();
        let from = after.map_or(0, |a| a + 1);
        let found = state.chunks.range_mut(from..).filter(|(_, c)| c.result.is_none()).take(limit);
        Ok(found
            .map(|(_, chunk)| {
                chunk.attempts += 1;
                chunk.clone()
            })
            .collect())
    }

    async fn done(&self, chunks: Vec<ChunkDone>) -> Result<()> {
        self.write(|state| {
            for done in chunks {
                if let Some(chunk) = state.chunks.get_mut(&done.seq)
                    && chunk.result.is_none()
                {
                    chunk.result = Some(done.result);
                    state.totals.chunks_done += 1;
                    state.totals.items_done += done.items;
                    state.totals.bytes_done += done.bytes;
                }
            }
        })
    }

    async fn all(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>> {
        let from = after.map_or(0, |a| a + 1);
        Ok(self.lock().chunks.range(from..).take(limit).map(|(_, chunk)| chunk.clone()).collect())
    }

    async fn totals(&self) -> Result<Totals> {
        Ok(self.lock().totals)
    }

    async fn remember(&self, key: &str, value: Option<Value>) -> Result<()> {
        let key = key.to_owned();
        self.write(|state| match value {
            Some(value) => drop(state.notes.insert(key, value)),
            None => drop(state.notes.remove(&key)),
        })
    }

    async fn recall(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.lock().notes.get(key).cloned())
    }
}
