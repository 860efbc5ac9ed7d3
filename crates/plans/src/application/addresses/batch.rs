//! What a chunk of the address ledger holds: rows of one table, with the hashes that prove them.

use super::PAGE;
use crate::adapters::{RunLedger, StepResult, step_error};
use engine::StepError;
use movers::databases::{DatabasePlan, Edited};
use ports::Ledger;
use ports::databases::{Key, ObjectName, Table};
use ports::ledger::{Chunk, NewChunk};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// One chunk: rows of one table that will change.
#[derive(Serialize, Deserialize)]
pub(super) struct Batch {
    pub table: ObjectName,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub key: Key,
    pub before: String,
    pub after: String,
}

/// The keys of all rows that were or will be changed.
pub async fn edited(own: &RunLedger) -> StepResult<Edited> {
    let mut out: BTreeMap<ObjectName, HashSet<Key>> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = own.all(after, PAGE).await.map_err(step_error)?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some(last.seq);
        for chunk in &page {
            let batch: Batch = serde_json::from_slice(&chunk.spec).map_err(|e| unreadable(chunk, &e))?;
            out.entry(batch.table).or_default().extend(batch.rows.into_iter().map(|r| r.key));
        }
    }
}

pub(super) async fn write_batch(own: &RunLedger, table: &Table, columns: &[String], rows: &mut Vec<Row>, seq: &mut u64) -> StepResult<()> {
    let items = rows.len() as u64;
    let batch = Batch { table: table.name.clone(), columns: columns.to_vec(), rows: std::mem::take(rows) };
    *seq += 1;
    let spec = serde_json::to_vec(&batch).unwrap_or_default();
    own.plan(vec![NewChunk { seq: *seq, spec, items, bytes: 0 }]).await.map_err(step_error)
}

pub(super) fn read_batch<'p>(plan: &'p DatabasePlan, chunk: &Chunk) -> StepResult<(Batch, &'p Table)> {
    let batch: Batch = serde_json::from_slice(&chunk.spec).map_err(|e| unreadable(chunk, &e))?;
    let table = plan.schema.tables.iter().find(|t| t.name == batch.table);
    let table = table.ok_or_else(|| StepError::permanent("internal", format!("Chunk {} names a table that the plan does not have", chunk.seq)))?;
    Ok((batch, table))
}

fn unreadable(chunk: &Chunk, error: &serde_json::Error) -> StepError {
    StepError::permanent("internal", format!("Chunk {} of the address ledger cannot be read: {error}", chunk.seq))
}

/// 128 bits over the values, each with its length, so that no two rows read alike.
pub(super) fn hash(values: &[Option<Vec<u8>>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for value in values {
        match value {
            None => hasher.update(&[0]),
            Some(bytes) => hasher.update(&[1]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes),
        };
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
