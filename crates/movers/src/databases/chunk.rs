//! What a chunk of the tables' ledger holds.

use super::DatabasePlan;
use ports::databases::{Fingerprint, KeyRange, Table};
use ports::ledger::{Chunk, ChunkDone};
use ports::{ConnectorError, ErrorKind, Result};
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
