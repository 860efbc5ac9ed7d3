//! The bulk copy: ranges side by side on one snapshot, then the indexes.

use super::after_rows::AfterRows;
use super::chunk::{self, RangeResult, RangeSpec};
use super::retry::with_retries;
use super::{AppliedObject, DatabaseMover, DatabasePlan, LaterRows};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ports::databases::{Fingerprint, KeyRange, Phase, Reading, RowBlock, RowSource, RowTarget, Table, View};
use ports::ledger::{Chunk, NewChunk};
use ports::observe::Operation;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablesCopied {
    pub tables: u64,
    pub ranges: u64,
    pub rows: u64,
    /// Payload bytes in the engine's bulk form.
    pub bytes: u64,
    pub applied: Vec<AppliedObject>,
}

/// Bytes that one range aims at: small enough to be repeated after a crash, large enough to be worth a transaction.
const RANGE_BYTES: u64 = 16 << 20;

/// Note: the number of the standstill whose state every range has, by recorded fingerprints. It says nothing about any other standstill.
pub(super) const FINAL: &str = "final:complete";
/// How often a range that somebody else writes to is saved and replaced again.
pub(super) const CONFLICTS: u32 = 3;
const SNAPSHOTS: &str = "copy:snapshots";

impl DatabaseMover {
    /// Plans the ranges (until sealed), copies what is pending, then makes the objects that follow the rows. Resumable. `standstill` is the number of
    /// the attempt whose snapshot may be the final state (see [`super::DatabaseOptions::single_pass`]).
    pub async fn copy(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<TablesCopied> {
        if self.source.engine() != self.destination.engine() {
            return Err(ConnectorError::new(ErrorKind::Unsupported, "copy", self.source.location(), "both databases must be of one engine").permanent());
        }
        let source = self.source.read(View::Snapshot { connections: self.options.parallel }).await?;
        let target = self.destination.write().await?;
        let outcome = self.copy_on(plan, ledger, standstill, source.as_ref(), target.as_ref(), observer, stop).await;
        let closed = source.close().await.and(target.close().await);
        let copied = outcome?;
        closed?;
        Ok(copied)
    }

    #[allow(clippy::too_many_arguments)]
    async fn copy_on(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        source: &dyn RowSource,
        target: &dyn RowTarget,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<TablesCopied> {
        self.plan_ranges(plan, ledger, source, target, observer, stop).await?;
        let after_rows = AfterRows::new(plan, target, observer, stop);
        let pending = expect_ranges(ledger, &after_rows).await?;
        if pending {
            let snapshots = ledger.recall(SNAPSHOTS).await?.and_then(|v| v.as_u64()).unwrap_or(0) + 1;
            ledger.remember(SNAPSHOTS, Some(json!(snapshots))).await?;
            if snapshots > 1 {
                // Ranges may hold what an earlier try brought: their keys find it, and hold off a writer that was thought dead.
                self.create_phase(plan, Phase::Keys, ledger, target, observer, stop).await?;
            }
            // Tables that the snapshot does not hold may have changed meanwhile: then the final pass compares, with the tables locked.
            let whole = self.options.single_pass && snapshots == 1 && source.outside_snapshot().is_empty();
            let record = whole.then_some(standstill);
            let totals = ledger.totals().await?;
            let done = AtomicU64::new(totals.chunks_done);
            self.copy_pending(&Bulk { plan, ledger, source, target, observer, stop, record, after_rows: &after_rows, total: totals.chunks, done }).await?;
            if let Some(standstill) = record {
                ledger.remember(FINAL, Some(json!(standstill))).await?;
            }
        }
        let applied = after_rows.rest(self.options.parallel).await?;
        let totals = ledger.totals().await?;
        Ok(TablesCopied { tables: plan.tables, ranges: totals.chunks_done, rows: totals.items_done, bytes: totals.bytes_done, applied })
    }

    /// Cuts the tables, the largest first. One table's chunks are written in one transaction, so a table is planned wholly or not at all.
    async fn plan_ranges(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        source: &dyn RowSource,
        target: &dyn RowTarget,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<()> {
        if ledger.totals().await?.sealed {
            return Ok(());
        }
        for (rank, index) in by_size(plan).into_iter().enumerate() {
            if stop.is_cancelled() {
                return Err(ConnectorError::stopped("plan", self.source.location()));
            }
            let first = chunk::sequence(rank, 0);
            let planned = ledger.all(first.checked_sub(1), 1).await?.first().is_some_and(|c| c.seq == first);
            if planned {
                continue;
            }
            let table = &plan.schema.tables[index];
            observer.operation(operation("planning", &table.name.to_string(), self, 0.0));
            let ranges = if target.takes_ranges(table).await? { source.split(table, self.rows_per_range(table)).await? } else { vec![KeyRange::default()] };
            let count = ranges.len() as u64;
            let chunks = ranges.into_iter().enumerate().map(|(n, range)| NewChunk {
                seq: chunk::sequence(rank, n),
                spec: chunk::encode(&RangeSpec { table: index, range }),
                items: table.rows / count,
                bytes: table.bytes / count,
            });
            ledger.plan(chunks.collect()).await?;
        }
        ledger.seal().await
    }

    fn rows_per_range(&self, table: &Table) -> u64 {
        let row = table.bytes.checked_div(table.rows).unwrap_or(1).max(1);
        (RANGE_BYTES / row).clamp(500, self.options.rows_per_range)
    }

    async fn copy_pending(&self, bulk: &Bulk<'_>) -> Result<()> {
        let chunks = chunk::pages(bulk.ledger, true);
        chunks.try_for_each_concurrent(self.options.parallel, |chunk| self.copy_range(bulk, chunk)).await
    }

    async fn copy_range(&self, bulk: &Bulk<'_>, chunk: Chunk) -> Result<()> {
        let spec = chunk::decode(&chunk)?;
        let table = chunk::table(bulk.plan, &spec, chunk.seq)?;
        let (result, fingerprint) = self.fill_range(bulk, &chunk, table, &spec).await?;
        chunk::record_written(bulk.ledger, chunk.seq, &fingerprint).await?;
        if let Some(standstill) = bulk.record {
            chunk::record_final(bulk.ledger, chunk.seq, standstill, &fingerprint).await?;
        }
        bulk.ledger.done(vec![chunk::done(&chunk, &result)]).await?;
        bulk.observer.meter().finished(result.rows);
        let done = bulk.done.fetch_add(1, Ordering::Relaxed) + 1;
        bulk.observer.operation(operation("database_copy", &table.name.to_string(), self, done as f64 * 100.0 / bulk.total.max(1) as f64));
        bulk.after_rows.range_done(spec.table).await
    }
}

impl DatabaseMover {
    /// Copies a range over what is ours there, or over nothing. What others have put there since the table was made is saved first.
    async fn fill_range(&self, bulk: &Bulk<'_>, chunk: &Chunk, table: &Table, spec: &RangeSpec) -> Result<(RangeResult, Fingerprint)> {
        let what = format!("table {}", table.name);
        let mut ours = chunk::ours(bulk.ledger, chunk.seq).await?;
        let begun_before = chunk::was_begun(bulk.ledger, chunk.seq).await?;
        chunk::record_begun(bulk.ledger, chunk.seq).await?;
        for _ in 0..CONFLICTS {
            let copy = || copy_rows(bulk, table, spec, &ours);
            match with_retries(self.options.retries, &what, bulk.observer, bulk.stop, copy).await {
                Err(e) if e.kind == ErrorKind::AlreadyExists => {}
                other => return other,
            }
            let stored = self.destination.read(View::Destination { connections: 1 }).await?;
            let outcome = self.look_at_standing(bulk, chunk, table, spec, stored.as_ref(), begun_before).await;
            stored.close().await?;
            ours.push(outcome?);
        }
        Err(restless(table))
    }

    /// What stands in a range: a try of ours that was interrupted behind its commit, or somebody else's rows, which are saved.
    /// `begun_before`: an earlier try may have been interrupted there; where nothing may be saved, that counts as ours.
    async fn look_at_standing(
        &self,
        bulk: &Bulk<'_>,
        chunk: &Chunk,
        table: &Table,
        spec: &RangeSpec,
        stored: &dyn RowSource,
        begun_before: bool,
    ) -> Result<Fingerprint> {
        let found = stored.fingerprint(table, &spec.range).await?;
        let in_doubt = begun_before && self.later == LaterRows::Refuse;
        if !in_doubt && found != bulk.source.fingerprint(table, &spec.range).await? {
            self.save_later_rows(bulk.ledger, chunk, table, spec, stored, &found, bulk.observer).await?;
        }
        chunk::record_written(bulk.ledger, chunk.seq, &found).await?;
        Ok(found)
    }
}

/// Somebody writes into a range faster than it can be saved and replaced.
pub(super) fn restless(table: &Table) -> ConnectorError {
    let reason = "somebody else writes into it at the destination again and again";
    ConnectorError::new(ErrorKind::Changed, "write to", format!("table {}", table.name), reason).permanent().advice("Stop whoever writes there, and try again")
}

/// One bulk copy on its way.
struct Bulk<'a> {
    plan: &'a DatabasePlan,
    ledger: &'a dyn Ledger,
    source: &'a dyn RowSource,
    target: &'a dyn RowTarget,
    observer: &'a dyn Observer,
    stop: &'a CancellationToken,
    /// The fingerprints of this snapshot are the final ones, of the standstill of that number.
    record: Option<u64>,
    after_rows: &'a AfterRows<'a>,
    /// Chunks of the ledger, and those that are done.
    total: u64,
    done: AtomicU64,
}

/// Says for which ranges each table waits; whether there are any.
async fn expect_ranges(ledger: &dyn Ledger, after_rows: &AfterRows<'_>) -> Result<bool> {
    let mut pending = false;
    let mut chunks = chunk::pages(ledger, true);
    while let Some(chunk) = chunks.try_next().await? {
        after_rows.wait_for(chunk::decode(&chunk)?.table);
        pending = true;
    }
    Ok(pending)
}

/// Copies a range, with the source's fingerprint: from the same reading where the engine can. It is what the destination holds from then on, and a
/// rollback compares with it.
async fn copy_rows(bulk: &Bulk<'_>, table: &Table, spec: &RangeSpec, ours: &[Fingerprint]) -> Result<(RangeResult, Fingerprint)> {
    let Some(reading) = bulk.source.rows_with_fingerprint(table, &spec.range) else {
        let result = replace_range(bulk.source, bulk.target, table, spec, (ours, None), bulk.observer).await?;
        return Ok((result, bulk.source.fingerprint(table, &spec.range).await?));
    };
    let seen: Arc<Mutex<Option<Fingerprint>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let rows = reading.try_filter_map(move |part| {
        let block = match part {
            Reading::Rows(block) => Some(block),
            Reading::Fingerprint(fingerprint) => {
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
                None
            }
        };
        futures::future::ready(Ok(block))
    });
    let result = write_range(bulk.target, table, spec, (ours, None), rows.boxed(), bulk.observer).await?;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match seen.filter(|f| f.rows == result.rows) {
        Some(fingerprint) => Ok((result, fingerprint)),
        None => {
            let reason = "the source's rows ended without a fingerprint that fits them";
            Err(ConnectorError::new(ErrorKind::Corrupt, "copy", format!("table {}", table.name), reason).permanent())
        }
    }
}

/// Streams one range from the source into the destination, in one transaction of the destination, over nothing or over what is `ours`; `proof`: what must
/// stand there before it is committed.
pub(super) async fn replace_range(
    source: &dyn RowSource,
    target: &dyn RowTarget,
    table: &Table,
    spec: &RangeSpec,
    (ours, proof): (&[Fingerprint], Option<&Fingerprint>),
    observer: &dyn Observer,
) -> Result<RangeResult> {
    write_range(target, table, spec, (ours, proof), source.rows(table, &spec.range), observer).await
}

async fn write_range(
    target: &dyn RowTarget,
    table: &Table,
    spec: &RangeSpec,
    (ours, proof): (&[Fingerprint], Option<&Fingerprint>),
    rows: BoxStream<'static, Result<RowBlock>>,
    observer: &dyn Observer,
) -> Result<RangeResult> {
    let (bytes, sent) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count_bytes, count_rows) = (bytes.clone(), sent.clone());
    let stream = rows.inspect_ok(move |block| {
        count_bytes.fetch_add(block.data.len() as u64, Ordering::Relaxed);
        count_rows.fetch_add(block.rows, Ordering::Relaxed);
    });
    let rows = target.replace_if(table, &spec.range, ours, proof, stream.boxed()).await?;
    let (bytes, sent) = (bytes.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
    observer.meter().moved(bytes);
    if rows != sent {
        let reason = format!("{sent} rows were read, but the destination reports {rows} rows written");
        return Err(ConnectorError::new(ErrorKind::Corrupt, "copy", format!("table {}", table.name), reason).permanent());
    }
    Ok(RangeResult { rows, bytes })
}

/// Positions of the tables, the largest first, so that the longest work does not come last.
pub(super) fn by_size(plan: &DatabasePlan) -> Vec<usize> {
    let mut order: Vec<usize> = (0..plan.schema.tables.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(plan.schema.tables[*i].bytes), *i));
    order
}

pub(super) fn operation(kind: &str, table: &str, mover: &DatabaseMover, progress: f64) -> Operation {
    Operation {
        kind: kind.to_owned(),
        source: format!("{}/{table}", mover.source.location()),
        destination: format!("{}/{table}", mover.destination.location()),
        progress,
    }
}
