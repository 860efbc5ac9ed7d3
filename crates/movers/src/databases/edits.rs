//! Rows that are changed on purpose after the copy (a site's new address), and the proof that nothing else changed with them.
//!
//! Before the first edit, every range of an edited table gets a digest over all rows but the ones to be edited. Verification takes
//! the same digest again. The edited rows themselves are proven by the caller, value by value.

use super::chunk::{self, RangeSpec};
use super::{DatabaseMover, DatabasePlan};
use futures::TryStreamExt;
use ports::databases::{Key, ObjectName, RowSource, Table, View};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

/// The keys of the rows that are changed on purpose, per table.
pub type Edited = BTreeMap<ObjectName, HashSet<Key>>;

impl DatabaseMover {
    /// Records, for every range of the edited tables, a digest of the rows that stay as they are. Call it once all keys are known and before the
    /// first edit. Repeatable: what is recorded stays. `standstill`: the one whose state was copied.
    pub async fn before_edits(&self, plan: &DatabasePlan, ledger: &dyn Ledger, standstill: u64, edited: &Edited) -> Result<()> {
        let stored = self.destination.read(View::Destination { connections: self.options.parallel }).await?;
        let outcome = self.record_rest(plan, ledger, standstill, edited, stored.as_ref()).await;
        stored.close().await?;
        outcome
    }

    async fn record_rest(&self, plan: &DatabasePlan, ledger: &dyn Ledger, standstill: u64, edited: &Edited, stored: &dyn RowSource) -> Result<()> {
        let mut chunks = chunk::pages(ledger, false);
        while let Some(chunk) = chunks.try_next().await? {
            let spec = chunk::decode(&chunk)?;
            let table = chunk::table(plan, &spec, chunk.seq)?;
            let Some(keys) = edited.get(&table.name) else { continue };
            if ledger.recall(&rest_key(chunk.seq)).await?.is_some() {
                continue;
            }
            let wanted = chunk::final_state(ledger, chunk.seq, standstill).await?;
            if wanted.as_ref() != Some(&stored.fingerprint(table, &spec.range).await?) {
                return Err(not_as_copied(table));
            }
            let (rows, rest) = digest_without(stored, table, &spec, keys).await?;
            ledger.remember(&rest_key(chunk.seq), Some(json!({"rows": rows, "rest": rest}))).await?;
        }
        Ok(())
    }

    /// Rows of the range now, and whether the rows that were not to be edited are as they were before.
    pub(super) async fn rest_is_untouched(
        &self,
        ledger: &dyn Ledger,
        stored: &dyn RowSource,
        table: &Table,
        spec: &RangeSpec,
        seq: u64,
        keys: &HashSet<Key>,
    ) -> Result<(u64, bool)> {
        let (rows, rest) = digest_without(stored, table, spec, keys).await?;
        let before = ledger.recall(&rest_key(seq)).await?;
        Ok((rows, before == Some(json!({"rows": rows, "rest": rest}))))
    }
}

fn rest_key(seq: u64) -> String {
    format!("rest:{seq}")
}

/// Rows of the range, and an order-independent digest of all rows whose key is not in `keys`.
async fn digest_without(stored: &dyn RowSource, table: &Table, spec: &RangeSpec, keys: &HashSet<Key>) -> Result<(u64, String)> {
    let mut rows = 0;
    let mut sum = [0u64; 4];
    let mut stream = stored.row_hashes(table, &spec.range);
    while let Some((key, hash)) = stream.try_next().await? {
        rows += 1;
        if keys.contains(&key) {
            continue;
        }
        let digest = blake3::hash(&chunk::encode(&(&key, &hash)));
        for (part, bytes) in sum.iter_mut().zip(digest.as_bytes().chunks_exact(8)) {
            *part = part.wrapping_add(u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        }
    }
    Ok((rows, hex::encode(sum.map(u64::to_be_bytes).concat())))
}

fn not_as_copied(table: &Table) -> ConnectorError {
    ConnectorError::new(ErrorKind::Corrupt, "edit", format!("table {}", table.name), "the destination's rows are no longer what was copied")
        .permanent()
        .advice("Somebody else writes to the destination database; stop it, roll back and start again")
}
