//! Verification: what the destination stores now against what the final state of the source was; differing keys are named.

use super::chunk::{self, RangeSpec};
use super::{DatabaseMover, DatabasePlan, Edited};
use futures::TryStreamExt;
use ports::databases::{Fingerprint, Key, RowSource, Table, View};
use ports::ledger::Chunk;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// At most this many keys are named per table.
const NAMED_KEYS: usize = 1_000;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVerified {
    pub table: String,
    /// Rows of the source's final state and of the destination now.
    pub rows_source: u64,
    pub rows_destination: u64,
    pub ranges: u64,
    pub equal: bool,
    /// The first differing keys (missing, surplus or with other content), and how many there are. Empty with `equal: false`: the table has no
    /// key, or the source has changed since.
    pub differing: Vec<Key>,
    pub differing_total: u64,
    /// Ranges that differ, by their numbers in the ledger, for [`DatabaseMover::send_again`].
    #[serde(skip)]
    pub differing_ranges: Vec<u64>,
    /// Rows that were changed on purpose after the copy and are proven on their own.
    pub edited: u64,
    /// What the ranges with such rows hold, for [`DatabaseMover::confirm_edits`].
    #[serde(skip)]
    pub edited_ranges: Vec<(u64, Fingerprint)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseVerified {
    pub tables: Vec<TableVerified>,
}

impl DatabaseVerified {
    pub fn equal(&self) -> bool {
        self.tables.iter().all(|t| t.equal)
    }
}

/// Which tables are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Those with edited rows alone: what [`DatabaseMover::confirm_edits`] needs where nothing else is verified.
    Edited,
}

impl DatabaseMover {
    /// Compares every range of the destination, as it is stored now, with the fingerprint that the source had in the standstill of that number. In tables with `edited`
    /// rows, all other rows are compared with their state before the edits ([`DatabaseMover::before_edits`]). Reads only.
    #[allow(clippy::too_many_arguments)]
    pub async fn verify(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        edited: &Edited,
        scope: Scope,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<DatabaseVerified> {
        let stored = self.destination.read(View::Destination { connections: self.options.parallel }).await?;
        let tables: Mutex<BTreeMap<usize, TableVerified>> = Mutex::default();
        let chunks = chunk::pages(ledger, false).try_filter_map(|c| async move {
            let counts = scope == Scope::All || edited.contains_key(&chunk::table(plan, &chunk::decode(&c)?, c.seq)?.name);
            Ok(counts.then_some(c))
        });
        let stored_ref = stored.as_ref();
        let tables_ref = &tables;
        let outcome = chunks
            .try_for_each_concurrent(self.options.parallel, |c| self.verify_range(plan, ledger, standstill, edited, stored_ref, c, tables_ref, observer, stop))
            .await;
        stored.close().await?;
        outcome?;
        let tables = tables.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(DatabaseVerified { tables: tables.into_values().collect() })
    }

    /// The edited rows were proven: what their ranges hold is ours, and a rollback compares with it.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn confirm_edits(ledger: &dyn Ledger, found: &DatabaseVerified) -> Result<()> {
        for (seq, fingerprint) in found.tables.iter().flat_map(|t| &t.edited_ranges) {
            chunk::record_written(ledger, *seq, fingerprint).await?;
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    async fn verify_range(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        edited: &Edited,
        stored: &dyn RowSource,
        chunk: Chunk,
        tables: &Mutex<BTreeMap<usize, TableVerified>>,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<()> {
        if stop.is_cancelled() {
            return Err(ConnectorError::stopped("verify", self.destination.location()));
        }
        let spec = chunk::decode(&chunk)?;
        let table = chunk::table(plan, &spec, chunk.seq)?;
        observer.operation(super::copy::operation("verification", &table.name.to_string(), self, 0.0));
        let wanted = chunk::final_state(ledger, chunk.seq, standstill).await?.ok_or_else(|| never_finished(table))?;
        let keys = edited.get(&table.name);
        let mut whole = None;
        let (rows, equal) = match keys {
            None => {
                let found = stored.fingerprint(table, &spec.range).await?;
                (found.rows, found == wanted)
            }
            Some(keys) => {
                // Read before the rest is compared: what somebody writes meanwhile is not in it.
                whole = Some(stored.fingerprint(table, &spec.range).await?);
                self.rest_is_untouched(ledger, stored, table, &spec, chunk.seq, keys).await?
            }
        };
        let differing = if equal || keys.is_some() { Vec::new() } else { self.differing_keys(stored, table, &spec).await? };
        observer.meter().finished(rows);
        let mut all = tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = all.entry(spec.table).or_insert_with(|| TableVerified { table: table.name.to_string(), equal: true, ..TableVerified::default() });
        entry.rows_source += wanted.rows;
        entry.rows_destination += rows;
        entry.ranges += 1;
        entry.equal &= equal;
        entry.edited = keys.map_or(0, |k| k.len() as u64);
        entry.differing_total += differing.len() as u64;
        entry.differing_ranges.extend((!equal).then_some(chunk.seq));
        entry.edited_ranges.extend(whole.filter(|_| equal).map(|fingerprint| (chunk.seq, fingerprint)));
        let room = NAMED_KEYS.saturating_sub(entry.differing.len());
        entry.differing.extend(differing.into_iter().take(room));
        Ok(())
    }

    /// Reads both sides' row hashes of one range (bounded by the range's size) and gives the keys that differ.
    async fn differing_keys(&self, stored: &dyn RowSource, table: &Table, spec: &RangeSpec) -> Result<Vec<Key>> {
        if table.key.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.source.read(View::Latest { connections: 1 }).await?;
        let wanted: Result<HashMap<Key, String>> = source.row_hashes(table, &spec.range).try_collect().await;
        source.close().await?;
        let mut wanted = wanted?;
        let mut differing = Vec::new();
        let mut found = stored.row_hashes(table, &spec.range);
        while let Some((key, hash)) = found.try_next().await? {
            if wanted.remove(&key).as_ref() != Some(&hash) {
                differing.push(key);
            }
        }
        differing.extend(wanted.into_keys());
        differing.sort();
        Ok(differing)
    }
}

fn never_finished(table: &Table) -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, "verify", format!("table {}", table.name), "its final state was never recorded").permanent()
}
