//! Rewriting the site's address in the destination's database, so that doing it twice has the effect of once, and so that it
//! can be proven afterwards.
//!
//! ```text
//! plan: find rows that hold an old host ─► per row: key, hash before, hash after ─► digest of all other rows ─► seal
//! apply: per batch: row as before? change it. As after? done already. Anything else: somebody else writes there.
//! prove: every row hashes as planned; the mover proves the rest
//! ```
//! All hashes are planned before the first change, from rows that the last pass proved equal to the source's.

mod batch;
mod columns;
mod find;

pub use batch::edited;
pub use find::{own_domains, rewriting};

use super::job::{Job, ledger, ledgers, recall, value};
use crate::adapters::{RunLedger, RunObserver, StepResult, failed, step_error};
use crate::wordpress::address::Address;
use crate::wordpress::rewriting::Rewriting;
use batch::{Batch, Row, hash, read_batch, write_batch};
use columns::{Column, rewritable};
use engine::{StepContext, StepError};
use futures::TryStreamExt;
use movers::databases::{DatabaseMover, DatabasePlan};
use ports::databases::{CellEditor, Cells, Key, Table};
use ports::ledger::{Chunk, ChunkDone};
use ports::observe::Operation;
use ports::{ErrorKind, Ledger, Observer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of one chunk.
const BATCH: usize = 100;
const PAGE: usize = 64;
/// Note: what planning found that cannot be rewritten.
const LEFT: &str = "addresses.left";
/// Values that stay as they are are named up to this number.
const NAMED: usize = 100;

/// A value with an old address that stays as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub table: String,
    pub key: Option<Key>,
    pub column: String,
    pub reason: String,
}

/// What rewriting has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    pub from: Vec<String>,
    pub to: String,
    /// Rows changed, per table.
    pub tables: BTreeMap<String, u64>,
    pub rows: u64,
    /// Sites of a network that keep a domain of their own.
    #[serde(default)]
    pub own_domains: Vec<String>,
    pub left_count: u64,
    /// The first of them.
    pub left: Vec<Left>,
}

/// What a row comes to.
struct Change {
    values: Vec<Option<Vec<u8>>>,
    changed: bool,
}

pub struct Addresses<'a> {
    pub cx: &'a StepContext,
    pub observer: &'a RunObserver,
    editor: Arc<dyn CellEditor>,
    rewriting: Rewriting,
}

impl<'a> Addresses<'a> {
    pub async fn new(job: &Job, cx: &'a StepContext, observer: &'a RunObserver, rewriting: Rewriting) -> StepResult<Option<Self>> {
        let site = job.site().await?;
        let Some(database) = &site.destination.database else { return Ok(None) };
        let Some(editor) = database.cells() else {
            let message = format!("The site's address cannot be rewritten in {}: its connector cannot change single values", database.location());
            return Err(failed(ErrorKind::Unsupported, message, "Leave destination.url out and rewrite the address by other means"));
        };
        Ok(Some(Self { cx, observer, editor, rewriting }))
    }

    /// Plans (unless planned) and applies what is pending. Repeatable.
    pub async fn rewrite(&self, mover: &DatabaseMover, plan: &DatabasePlan) -> StepResult<Rewritten> {
        let own = ledger(self.cx, ledgers::ADDRESSES);
        if !own.totals().await.map_err(step_error)?.sealed {
            self.plan(&own, plan).await?;
            let edited = edited(&own).await?;
            mover.before_edits(plan, &ledger(self.cx, ledgers::TABLES), super::verify::counted(self.cx)?, &edited).await.map_err(step_error)?;
            own.seal().await.map_err(step_error)?;
        }
        let mut after = None;
        loop {
            let page = own.pending(after, PAGE).await.map_err(step_error)?;
            let Some(last) = page.last() else { break };
            after = Some(last.seq);
            for chunk in &page {
                self.stop_if_asked()?;
                self.apply(&own, plan, chunk).await?;
            }
        }
        self.summary(&own).await
    }

    async fn plan(&self, own: &RunLedger, plan: &DatabasePlan) -> StepResult<()> {
        let mut seq = 0;
        let mut left = Leftovers::default();
        let tables: Vec<&Table> = plan.schema.tables.iter().filter(|t| t.name.name.starts_with(&self.rewriting.prefix)).collect();
        for (index, table) in tables.iter().enumerate() {
            self.stop_if_asked()?;
            let progress = index as f64 * 100.0 / tables.len() as f64;
            self.observer.operation(Operation {
                kind: "address_rewriting".to_owned(),
                source: table.name.to_string(),
                destination: table.name.to_string(),
                progress,
            });
            let columns = rewritable(table);
            if columns.is_empty() {
                continue;
            }
            if table.key.is_empty() {
                left.note(Left {
                    table: table.name.to_string(),
                    key: None,
                    column: "*".to_owned(),
                    reason: "the table has no key, so its rows cannot be changed one by one".to_owned(),
                });
                continue;
            }
            self.plan_table(own, table, &columns, &mut seq, &mut left).await?;
        }
        self.cx.remember(LEFT, Some(value(&left))).await
    }

    async fn plan_table(&self, own: &RunLedger, table: &Table, columns: &[Column], seq: &mut u64, left: &mut Leftovers) -> StepResult<()> {
        let mut batch = Vec::with_capacity(BATCH);
        let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
        let mut rows = self.editor.containing(table, &names, &self.rewriting.needles(&table.name.name));
        while let Some(row) = rows.try_next().await.map_err(step_error)? {
            let change = self.change(table, columns, &row, Some(left));
            if change.changed {
                batch.push(Row { before: hash(&row.values), after: hash(&change.values), key: row.key });
            }
            if batch.len() == BATCH {
                write_batch(own, table, &names, &mut batch, seq).await?;
            }
        }
        if batch.is_empty() { Ok(()) } else { write_batch(own, table, &names, &mut batch, seq).await }
    }

    /// The row's new values. A value that would not fit its column, that is no text, or that PHP itself could not read, stays.
    fn change(&self, table: &Table, columns: &[Column], row: &Cells, mut left: Option<&mut Leftovers>) -> Change {
        let mut change = Change { values: row.values.clone(), changed: false };
        let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
        let whole: BTreeMap<usize, Vec<u8>> = self.rewriting.whole_cells(&table.name.name, &names, &row.values).into_iter().collect();
        for (at, column) in columns.iter().enumerate() {
            let Some(Some(bytes)) = row.values.get(at) else { continue };
            let (new, mut reason) = match whole.get(&at) {
                Some(new) => (Some(new.clone()), None),
                None => self.cell(column, bytes),
            };
            if let Some(new) = new {
                match column.too_long(&new) {
                    Some(limit) => reason = Some(format!("the new value is longer than the column's {limit}")),
                    None => {
                        change.values[at] = Some(new);
                        change.changed = true;
                    }
                }
            }
            if let (Some(reason), Some(left)) = (reason, left.as_deref_mut()) {
                left.note(Left { table: table.name.to_string(), key: Some(row.key.clone()), column: column.name.clone(), reason });
            }
        }
        change
    }

    /// The new value of a cell, and why something in it stays.
    fn cell(&self, column: &Column, bytes: &[u8]) -> (Option<Vec<u8>>, Option<String>) {
        let new = self.rewriting.value(bytes);
        if column.binary && std::str::from_utf8(bytes).is_err() {
            let holds = new.bytes.is_some() || new.malformed > 0;
            return (None, holds.then(|| "the value is binary data and no UTF-8 text".to_owned()));
        }
        (new.bytes, (new.malformed > 0).then(|| "a PHP-serialised value in it is malformed, so PHP cannot read it either".to_owned()))
    }

    async fn apply(&self, own: &RunLedger, plan: &DatabasePlan, chunk: &Chunk) -> StepResult<()> {
        let (batch, table) = read_batch(plan, chunk)?;
        let rows = self.fetch(&batch, table).await?;
        let columns = columns::named(table, &batch.columns);
        let mut updates = Vec::new();
        for planned in &batch.rows {
            let found = rows.get(&planned.key).ok_or_else(|| disturbed(table, &planned.key))?;
            let now = hash(&found.values);
            if now == planned.after {
                continue;
            }
            let change = self.change(table, &columns, found, None);
            if now != planned.before || hash(&change.values) != planned.after {
                return Err(disturbed(table, &planned.key));
            }
            updates.push(Cells { key: planned.key.clone(), values: change.values });
        }
        if !updates.is_empty() {
            self.editor.update(table, &batch.columns, &updates).await.map_err(step_error)?;
        }
        self.observer.meter().finished(batch.rows.len() as u64);
        let done = ChunkDone { seq: chunk.seq, result: Vec::new(), items: batch.rows.len() as u64, bytes: chunk.bytes };
        own.done(vec![done]).await.map_err(step_error)
    }

    async fn fetch(&self, batch: &Batch, table: &Table) -> StepResult<BTreeMap<Key, Cells>> {
        let keys: Vec<Key> = batch.rows.iter().map(|r| r.key.clone()).collect();
        let rows = self.editor.fetch(table, &batch.columns, &keys).await.map_err(step_error)?;
        Ok(rows.into_iter().map(|cells| (cells.key.clone(), cells)).collect())
    }

    fn pairs(&self) -> impl Iterator<Item = &(Address, Address)> {
        self.rewriting.addresses.iter().flat_map(|a| a.pairs())
    }

    async fn summary(&self, own: &RunLedger) -> StepResult<Rewritten> {
        let mut out = Rewritten {
            from: self.pairs().map(|(from, _)| from.to_string()).collect(),
            to: self.pairs().next().map(|(_, to)| to.to_string()).unwrap_or_default(),
            own_domains: own_domains(self.cx).await?,
            ..Rewritten::default()
        };
        for (table, keys) in edited(own).await? {
            out.rows += keys.len() as u64;
            out.tables.insert(table.to_string(), keys.len() as u64);
        }
        let left = recall::<Leftovers>(self.cx, LEFT).await?.unwrap_or_default();
        (out.left_count, out.left) = (left.count, left.listed);
        Ok(out)
    }

    /// The rows that are not as they were planned to be, by table and key, and how many rows were looked at.
    pub async fn prove(&self, plan: &DatabasePlan) -> StepResult<(u64, Vec<(String, Key)>)> {
        let own = ledger(self.cx, ledgers::ADDRESSES);
        let mut wrong = Vec::new();
        let mut count = 0;
        let mut after = None;
        loop {
            let page = own.all(after, PAGE).await.map_err(step_error)?;
            let Some(last) = page.last() else { return Ok((count, wrong)) };
            after = Some(last.seq);
            for chunk in &page {
                self.stop_if_asked()?;
                let (batch, table) = read_batch(plan, chunk)?;
                let rows = self.fetch(&batch, table).await?;
                for planned in batch.rows {
                    count += 1;
                    if rows.get(&planned.key).is_none_or(|found| hash(&found.values) != planned.after) {
                        wrong.push((table.name.to_string(), planned.key));
                    }
                }
            }
        }
    }

    fn stop_if_asked(&self) -> StepResult<()> {
        if self.cx.stopping().is_cancelled() { Err(StepError::stopped()) } else { Ok(()) }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Leftovers {
    count: u64,
    listed: Vec<Left>,
}

impl Leftovers {
    fn note(&mut self, left: Left) {
        self.count += 1;
        if self.listed.len() < NAMED {
            self.listed.push(left);
        }
    }
}

fn disturbed(table: &Table, key: &Key) -> StepError {
    let message = format!("A row of {} changed at the destination while the site's address was rewritten (key {key:?})", table.name);
    failed(ErrorKind::Changed, message, "Somebody else writes to the destination database; stop it, roll back and start again")
}
