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

/// Note of one range: the source's fingerprint, as one standstill had it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FinalState {
    #[serde(flatten)]
    pub fingerprint: Fingerprint,
    /// The number of the standstill in which it was read.
    pub standstill: u64,
}

/// Records the source's state of a range in a standstill. Repeatable; a later standstill replaces an earlier one.
pub(super) async fn record_final(ledger: &dyn Ledger, seq: u64, standstill: u64, fingerprint: &Fingerprint) -> Result<()> {
    let state = FinalState { fingerprint: fingerprint.clone(), standstill };
    ledger.remember(&format!("final:{seq}"), Some(note(&state)?)).await
}

/// The source's state of a range in that standstill; what an earlier one had does not count.
pub(super) async fn final_state(ledger: &dyn Ledger, seq: u64, standstill: u64) -> Result<Option<Fingerprint>> {
    let Some(value) = ledger.recall(&format!("final:{seq}")).await? else { return Ok(None) };
    let state: FinalState = serde_json::from_value(value).map_err(|e| damaged(seq).because(e))?;
    Ok((state.standstill == standstill).then_some(state.fingerprint))
}

/// Records what the destination holds of a range since we last wrote there. Repeatable.
pub(super) async fn record_written(ledger: &dyn Ledger, seq: u64, fingerprint: &Fingerprint) -> Result<()> {
    ledger.remember(&format!("written:{seq}"), Some(note(fingerprint)?)).await
}

/// What we last wrote into a range; `None` when it was never confirmed.
pub(super) async fn written(ledger: &dyn Ledger, seq: u64) -> Result<Option<Fingerprint>> {
    let Some(value) = ledger.recall(&format!("written:{seq}")).await? else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|e| damaged(seq).because(e))
}

/// Records what is about to be written into a range: after a crash it is known as ours. Repeatable.
pub(super) async fn record_writing(ledger: &dyn Ledger, seq: u64, fingerprint: &Fingerprint) -> Result<()> {
    ledger.remember(&format!("writing:{seq}"), Some(note(fingerprint)?)).await
}

/// What was last about to be written into a range.
pub(super) async fn writing(ledger: &dyn Ledger, seq: u64) -> Result<Option<Fingerprint>> {
    let Some(value) = ledger.recall(&format!("writing:{seq}")).await? else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|e| damaged(seq).because(e))
}

/// Notes that a range is about to be written for the first time. Repeatable.
pub(super) async fn record_begun(ledger: &dyn Ledger, seq: u64) -> Result<()> {
    ledger.remember(&format!("begun:{seq}"), Some(serde_json::json!(true))).await
}

/// Whether a try was begun that may have written there.
pub(super) async fn was_begun(ledger: &dyn Ledger, seq: u64) -> Result<bool> {
    Ok(ledger.recall(&format!("begun:{seq}")).await?.is_some())
}

/// What may stand in a range and be ours: written, or about to be written when we were interrupted.
pub(super) async fn ours(ledger: &dyn Ledger, seq: u64) -> Result<Vec<Fingerprint>> {
    Ok(written(ledger, seq).await?.into_iter().chain(writing(ledger, seq).await?).collect())
}

/// Whether what stands in a range now is what we wrote there, or were about to write when we were interrupted.
pub(super) async fn is_ours(ledger: &dyn Ledger, seq: u64, found: &Fingerprint) -> Result<bool> {
    Ok(ours(ledger, seq).await?.contains(found))
}

fn note<T: Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| ConnectorError::new(ErrorKind::Internal, "write", "a note of the ledger", e.to_string()).permanent().because(e))
}
