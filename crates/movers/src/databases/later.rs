//! What other people wrote into the tables that this migration filled: found by comparing with what was written, saved before it is replaced.

use super::chunk::{self, RangeSpec};
use super::{DatabaseMover, DatabasePlan, backup};
use ports::databases::{Fingerprint, ObjectName, RowSource, Table, View};
use ports::ledger::Chunk;
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// A table at the destination that is not as this migration left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableChange {
    pub table: ObjectName,
    /// Rows that this migration wrote, in the ranges whose writing was confirmed.
    pub rows_written: u64,
    pub rows_now: u64,
    /// Ranges that differ, and all ranges of the table.
    pub ranges_changed: u64,
    pub ranges: u64,
    /// Somebody wrote there for certain; otherwise an interrupted copy may have done it.
    pub certain: bool,
}

/// What a pass does with rows that others wrote into the tables it fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaterRows {
    /// Saves them below this directory first.
    Save(PathBuf),
    /// Replaces them, as asked.
    Overwrite,
    /// Fails, so that the caller can make room for what is to be saved and call again.
    Unprepared,
    /// Replaces nothing and fails; what an interrupted try may have left counts as ours, since nothing could be saved.
    Refuse,
}

fn would_be_lost(table: &Table) -> ConnectorError {
    let reason = "somebody else wrote rows into it at the destination since it was copied, and nothing may be saved";
    ConnectorError::new(ErrorKind::AlreadyExists, "bring up to date", format!("table {}", table.name), reason)
        .permanent()
        .advice("Leave safety.backup_before on, or stop whoever writes to the destination")
}

impl DatabaseMover {
    /// What a pass does with a range that others wrote into.
    #[must_use]
    pub fn with_later_rows(mut self, later: LaterRows) -> Self {
        self.later = later;
        self
    }

    /// The tables that this migration made and somebody has changed since, by fingerprints of all their ranges. Reads only; a table that is gone has
    /// nothing to lose and is left out. A destination that does not exist gives an empty list.
    pub async fn later_changes(&self, plan: &DatabasePlan, ledger: &dyn Ledger, stop: &CancellationToken) -> Result<Vec<TableChange>> {
        let made = super::made::tables(ledger).await?;
        let stored = match self.destination.read(View::Destination { connections: 1 }).await {
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let outcome = changes(plan, ledger, &made, stored.as_ref(), stop).await;
        stored.close().await?;
        outcome
    }

    /// Saves the range if it holds what we did not write.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn save_later_rows(
        &self,
        ledger: &dyn Ledger,
        chunk: &Chunk,
        table: &Table,
        spec: &RangeSpec,
        stored: &dyn RowSource,
        found: &Fingerprint,
        observer: &dyn Observer,
    ) -> Result<()> {
        if found.rows == 0 || chunk::is_ours(ledger, chunk.seq, found).await? {
            return Ok(());
        }
        let dir = match &self.later {
            LaterRows::Save(dir) => dir,
            LaterRows::Overwrite => return Ok(()),
            LaterRows::Unprepared | LaterRows::Refuse => return Err(would_be_lost(table)),
        };
        let name = format!("{}-{}.rows.zst", chunk.seq, &found.hash.get(..12).unwrap_or(&found.hash));
        let saved = backup::save_range(stored, table, &spec.range, dir, &name).await?;
        let what = format!("table {}", table.name);
        let message = format!(
            "The destination's {what} held rows that are not known to be the migration's (somebody else's, or those of a try that was interrupted): {} rows of a range were saved in {} before they were replaced",
            saved.rows,
            dir.join(&name).display()
        );
        observer.log(Level::Warning, "database", message, json!({"table": table.name.to_string(), "rows": saved.rows, "file": name}));
        Ok(())
    }
}

/// The ranges of one table, added up.
#[derive(Default)]
struct Sum {
    written: u64,
    now: u64,
    changed: u64,
    ranges: u64,
    certain: bool,
}

async fn changes(
    plan: &DatabasePlan,
    ledger: &dyn Ledger,
    made: &BTreeSet<ObjectName>,
    stored: &dyn RowSource,
    stop: &CancellationToken,
) -> Result<Vec<TableChange>> {
    let now: BTreeMap<ObjectName, Table> = stored.schema().await?.tables.into_iter().map(|t| (t.name.clone(), t)).collect();
    let mut sums: BTreeMap<ObjectName, Sum> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = ledger.all(after, 256).await?;
        let Some(last) = page.last().map(|c| c.seq) else { break };
        for chunk in &page {
            if stop.is_cancelled() {
                return Err(ConnectorError::stopped("compare", "the destination's tables"));
            }
            let spec = chunk::decode(chunk)?;
            let table = chunk::table(plan, &spec, chunk.seq)?;
            if let Some(there) = now.get(&table.name).filter(|_| made.contains(&table.name)) {
                add(ledger, chunk, table, there, &spec, stored, sums.entry(table.name.clone()).or_default()).await?;
            }
        }
        after = Some(last);
    }
    let changed = sums.into_iter().filter(|(_, s)| s.changed > 0);
    Ok(changed
        .map(|(table, s)| TableChange { table, rows_written: s.written, rows_now: s.now, ranges_changed: s.changed, ranges: s.ranges, certain: s.certain })
        .collect())
}

async fn add(ledger: &dyn Ledger, chunk: &Chunk, table: &Table, there: &Table, spec: &RangeSpec, stored: &dyn RowSource, sum: &mut Sum) -> Result<()> {
    sum.ranges += 1;
    let written = chunk::written(ledger, chunk.seq).await?;
    if !same_shape(table, there) {
        // Its columns were altered: it cannot be compared range by range.
        sum.written += written.map_or(0, |w| w.rows);
        sum.now = there.rows;
        sum.changed += 1;
        sum.certain = true;
        return Ok(());
    }
    let found = stored.fingerprint(table, &spec.range).await?;
    sum.now += found.rows;
    match written {
        Some(written) => {
            let changed = !chunk::is_ours(ledger, chunk.seq, &found).await?;
            sum.written += written.rows;
            sum.changed += u64::from(changed);
            sum.certain |= changed;
        }
        // Never confirmed: empty, or what an interrupted try of ours has left, or somebody's.
        None => sum.changed += u64::from(found.rows > 0),
    }
    Ok(())
}

/// Whether the columns that a fingerprint reads are still there. Types may be written differently by another server.
pub(super) fn same_shape(ours: &Table, there: &Table) -> bool {
    ours.columns.len() == there.columns.len() && ours.columns.iter().zip(&there.columns).all(|(a, b)| a.name == b.name)
}
