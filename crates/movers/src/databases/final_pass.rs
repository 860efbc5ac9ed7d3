//! The last pass: every range compared on one snapshot, the differing ones replaced, then the objects that come at the end.

use super::chunk::{self, RangeResult, RangeSpec};
use super::copy::{CONFLICTS, FINAL, operation, replace_range, restless};
use super::made::{self, ObjectKey};
use super::retry::with_retries;
use super::{AppliedObject, DatabaseMover, DatabasePlan};
use futures::TryStreamExt;
use ports::databases::{Applied, Fingerprint, ObjectKind, ObjectName, Phase, RowSource, RowTarget, Schema, SchemaObject, Table, View};
use ports::ledger::Chunk;
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalPass {
    /// Ranges compared; 0 when the copy's own snapshot already is the final state.
    pub ranges: u64,
    /// Ranges that had changed since the bulk copy and were replaced.
    pub repaired: u64,
    pub rows_repaired: u64,
    pub applied: Vec<AppliedObject>,
}

/// The two ends of a pass.
struct Ends<'a> {
    source: &'a dyn RowSource,
    target: &'a dyn RowTarget,
    stored: &'a dyn RowSource,
    standstill: u64,
}

#[derive(Default)]
struct Counts {
    ranges: AtomicU64,
    repaired: AtomicU64,
    rows: AtomicU64,
}

impl DatabaseMover {
    /// Makes the destination equal to one snapshot of the source that is taken now, then makes foreign keys, views, triggers,
    /// routines and events, and lets the engine finish (statistics, sequence positions). Repeatable within one standstill, whose number is given; in
    /// another one everything is compared anew.
    pub async fn final_pass(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<FinalPass> {
        let target = self.destination.write().await?;
        let outcome = self.pass(plan, ledger, standstill, target.as_ref(), observer, stop).await;
        let closed = target.close().await;
        let pass = outcome?;
        closed?;
        Ok(pass)
    }

    /// Lets act at the destination what was made inactive because it changes rows by itself (events), and notes how our objects are described there: a
    /// rollback compares with it. After verification. Repeatable.
    ///
    /// # Errors
    /// Those of the destination; what was enabled before stays enabled.
    pub async fn enable(&self, plan: &DatabasePlan, ledger: &dyn Ledger) -> Result<()> {
        let target = self.destination.write().await?;
        let outcome = target.enable(&plan.schema).await;
        target.close().await?;
        made::describe(ledger, &self.destination_schema().await?.unwrap_or_default()).await?;
        outcome
    }

    async fn pass(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        target: &dyn RowTarget,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<FinalPass> {
        let counts = Counts::default();
        let mut named = Vec::new();
        let complete = ledger.recall(FINAL).await? == Some(json!(standstill));
        if !complete {
            remove_acting(plan, ledger, target).await?;
            let source = self.source.read_locked(self.options.parallel).await?;
            named = source.outside_snapshot().into_iter().map(outside).collect();
            let stored = self.destination.read(View::Destination { connections: self.options.parallel }).await?;
            let ends = Ends { source: source.as_ref(), target, stored: stored.as_ref(), standstill };
            let outcome = self.compare_all(plan, ledger, &ends, &counts, observer, stop).await;
            let closed = source.close().await.and(stored.close().await);
            outcome?;
            closed?;
            ledger.remember(FINAL, Some(json!(standstill))).await?;
        }
        let mut applied = self.create_phase(plan, Phase::AtTheEnd, ledger, target, observer, stop).await?;
        applied.extend(named);
        applied.extend(Self::recorded_before(ledger).await?.rejoin(target, observer, stop).await?);
        target.finish(&self.positions_now(plan).await?).await?;
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Ok(FinalPass { ranges: read(&counts.ranges), repaired: read(&counts.repaired), rows_repaired: read(&counts.rows), applied })
    }

    /// Counters belong to no snapshot. Read now, after the one of the rows, none stands behind a number that the rows hold.
    async fn positions_now(&self, plan: &DatabasePlan) -> Result<Schema> {
        let source = self.source.read(View::Latest { connections: 1 }).await?;
        let positions = source.positions(&plan.schema).await;
        let closed = source.close().await;
        let mut positions = positions?;
        closed?;
        let ours = |name: &ObjectName| plan.schema.tables.iter().any(|t| t.name == *name);
        positions.tables.retain(|t| ours(&t.name));
        positions.objects.retain(|o| o.table.as_ref().is_some_and(ours) || plan.schema.objects.iter().any(|p| p.kind == o.kind && p.name == o.name));
        Ok(positions)
    }

    async fn compare_all(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        ends: &Ends<'_>,
        counts: &Counts,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<()> {
        let now = super::selection::select(ends.source.schema().await?, &self.options.tables)?.schema;
        unchanged_structure(&plan.schema, &now)?;
        let chunks = chunk::pages(ledger, false);
        chunks.try_for_each_concurrent(self.options.parallel, |c| self.compare_range(plan, ledger, ends, counts, c, observer, stop)).await
    }

    /// Replaces a range that holds `found` with what the source has. What others wrote there is saved first.
    #[allow(clippy::too_many_arguments)]
    async fn repair_range(
        &self,
        ledger: &dyn Ledger,
        ends: &Ends<'_>,
        chunk: &Chunk,
        table: &Table,
        spec: &RangeSpec,
        mut found: Fingerprint,
        wanted: &Fingerprint,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<RangeResult> {
        for _ in 0..CONFLICTS {
            self.save_later_rows(ledger, chunk, table, spec, ends.stored, &found, observer).await?;
            // What stands there now is ours or saved: from here on it may also be what is written next.
            chunk::record_written(ledger, chunk.seq, &found).await?;
            chunk::record_writing(ledger, chunk.seq, wanted).await?;
            let (what, ours) = (format!("table {}", table.name), [found, wanted.clone()]);
            let replace = || replace_range(ends.source, ends.target, table, spec, (&ours, Some(wanted)), observer);
            match with_retries(self.options.retries, &what, observer, stop, replace).await {
                Err(e) if e.kind == ErrorKind::AlreadyExists => found = ends.stored.fingerprint(table, &spec.range).await?,
                other => return other,
            }
        }
        Err(restless(table))
    }

    async fn compare_range(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        ends: &Ends<'_>,
        counts: &Counts,
        chunk: Chunk,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<()> {
        if stop.is_cancelled() {
            return Err(ConnectorError::stopped("compare", self.source.location()));
        }
        let spec = chunk::decode(&chunk)?;
        let table = chunk::table(plan, &spec, chunk.seq)?;
        let (wanted, found) = futures::try_join!(ends.source.fingerprint(table, &spec.range), ends.stored.fingerprint(table, &spec.range))?;
        let compared = counts.ranges.fetch_add(1, Ordering::Relaxed) + 1;
        let total = ledger.totals().await?.chunks.max(1);
        observer.operation(operation("final_pass", &table.name.to_string(), self, compared as f64 * 100.0 / total as f64));
        if wanted != found {
            let what = format!("table {}", table.name);
            let result = self.repair_range(ledger, ends, &chunk, table, &spec, found, &wanted, observer, stop).await?;
            counts.repaired.fetch_add(1, Ordering::Relaxed);
            counts.rows.fetch_add(result.rows, Ordering::Relaxed);
            observer.log(Level::Info, "database", format!("Brought a range of {what} up to date ({} rows)", result.rows), json!({}));
        }
        chunk::record_written(ledger, chunk.seq, &wanted).await?;
        chunk::record_final(ledger, chunk.seq, ends.standstill, &wanted).await
    }
}

/// Removes what acts on rows by itself, as far as an earlier pass of ours made it: it is made again behind the rows.
pub(super) async fn remove_acting(plan: &DatabasePlan, ledger: &dyn Ledger, target: &dyn RowTarget) -> Result<()> {
    let ours = made::objects(ledger).await?;
    let acting = |o: &&SchemaObject| matches!(o.kind, ObjectKind::Trigger | ObjectKind::Event) && ours.contains(&ObjectKey::of(o));
    for object in plan.schema.objects.iter().rev().filter(acting) {
        target.remove(object).await?;
    }
    Ok(())
}

/// A table that could not be kept from changing while it was read.
fn outside(name: ObjectName) -> AppliedObject {
    let why =
        "it has no transactions and could not be locked (LOCK TABLES or RELOAD is missing): rows that changed while it was read may be from different moments";
    AppliedObject { kind: ObjectKind::Table, name, applied: Applied::Adapted(why.to_owned()) }
}

/// Tables and columns must be what they were when the plan was made.
fn unchanged_structure(planned: &Schema, now: &Schema) -> Result<()> {
    let shape = |s: &Schema| s.tables.iter().map(|t| (t.name.clone(), t.columns.clone())).collect::<std::collections::BTreeMap<_, _>>();
    let (before, after) = (shape(planned), shape(now));
    let mut changed: Vec<String> = before.iter().filter(|(name, columns)| after.get(name) != Some(columns)).map(|(name, _)| name.to_string()).collect();
    changed.extend(after.keys().filter(|name| !before.contains_key(name)).map(ToString::to_string));
    if changed.is_empty() {
        return Ok(());
    }
    let reason = format!("these tables were added, dropped or altered while they were copied: {}", changed.join(", "));
    Err(ConnectorError::new(ErrorKind::Changed, "finish the copy of", "the source database", reason)
        .permanent()
        .advice("Roll back and start again when nobody changes the structure"))
}
