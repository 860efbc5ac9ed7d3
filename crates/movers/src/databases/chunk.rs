//! What a chunk of the tables' ledger holds.

use super::DatabasePlan;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use ports::databases::{Fingerprint, KeyRange, Table};
use ports::ledger::{Chunk, ChunkDone};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use serde::{Deserialize, Serialize};

/// One key range of one table. `table` is the position in the plan's schema.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RangeSpec {
    pub table: usize,
    pub range: KeyRange,
}

/// What is known of a copied range.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RangeResult {
    pub rows: u64,
    pub bytes: u64,
}

/// `rank` orders the tables (largest first), `range` the ranges within one: a table's chunks are neighbours.
pub(super) fn sequence(rank: usize, range: usize) -> u64 {
    ((rank as u64) << 32) | range as u64
}

pub(super) fn decode(chunk: &Chunk) -> Result<RangeSpec> {
    serde_json::from_slice(&chunk.spec).map_err(|e| damaged(chunk.seq).because(e))
}

pub(super) fn table<'a>(plan: &'a DatabasePlan, spec: &RangeSpec, seq: u64) -> Result<&'a Table> {
    plan.schema.tables.get(spec.table).ok_or_else(|| damaged(seq))
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

pub(super) fn done(chunk: &Chunk, result: &RangeResult) -> ChunkDone {
    ChunkDone { seq: chunk.seq, result: encode(result), items: result.rows, bytes: result.bytes }
}

/// Chunks handed over at once.
const PAGE: usize = 256;

/// All chunks of the ledger, or those that are not done, page by page. Boxed, so that the futures of the callers stay `Send`.
pub(super) fn pages(ledger: &dyn Ledger, pending: bool) -> BoxStream<'_, Result<Chunk>> {
    let pages = futures::stream::try_unfold(None, move |after| async move {
        let page = if pending { ledger.pending(after, PAGE).await? } else { ledger.all(after, PAGE).await? };
        let last = page.last().map(|c| c.seq);
        Ok::<_, ConnectorError>(last.map(|seq| (futures::stream::iter(page.into_iter().map(Ok)), Some(seq))))
    });
    pages.try_flatten().boxed()
}

fn damaged(seq: u64) -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, "read", format!("chunk {seq} of the ledger"), "its description does not fit this plan").permanent()
}

/// Key of the note that holds the source's fingerprint of a range, as the final state has it.
pub(super) fn fingerprint_key(seq: u64) -> String {
    format!("final:{seq}")
}

pub(super) fn fingerprint_note(fingerprint: &Fingerprint) -> serde_json::Value {
    serde_json::json!({"rows": fingerprint.rows, "hash": fingerprint.hash})
}

pub(super) fn read_fingerprint(value: serde_json::Value) -> Option<Fingerprint> {
    serde_json::from_value(value).ok()
}
