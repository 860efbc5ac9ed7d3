//! Reading the rows of a range in blocks, with their fingerprint on the way when it is wanted.

use super::fingerprint::{Sum, row_digits};
use super::pool::{Lease, Pool};
use super::quote::ident;
use super::ranges::{SELECT, condition};
use super::source::{failed, next, subject};
use super::values::{escape, read_expression, written};
use bytes::Bytes;
use mysql_async::prelude::Queryable;
use mysql_async::{Error, Value};
use ports::Result;
use ports::databases::{KeyRange, Reading, RowBlock, Table};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A block is sent when it has reached this size.
const BLOCK: usize = 1 << 20;

/// Sends the rows of a range.
pub(super) async fn send(pool: Arc<Pool>, table: &Table, range: &KeyRange, out: mpsc::Sender<RowBlock>) -> Result<()> {
    let broken = |e| failed(&pool, "read", table, e);
    let mut lease = begin(&pool, table, range, None).await?;
    let mut block = Block::new();
    while let Some(row) = next(&mut lease).await.map_err(broken)? {
        block.append(row.unwrap_raw());
        if block.is_full() && out.send(block.take()).await.is_err() {
            return Ok(());
        }
    }
    if block.rows > 0 {
        // The receiver is gone only when nobody wants the rows any more.
        out.send(block.take()).await.ok();
    }
    Ok(())
}

/// Sends the rows of a range, then the fingerprint of what was sent.
pub(super) async fn send_with_fingerprint(pool: Arc<Pool>, table: &Table, range: &KeyRange, out: mpsc::Sender<Reading>) -> Result<()> {
    let broken = |e| failed(&pool, "read", table, e);
    let mut lease = begin(&pool, table, range, Some(row_digits(table))).await?;
    let (mut block, mut sum) = (Block::new(), Sum::default());
    while let Some(row) = next(&mut lease).await.map_err(broken)? {
        let mut cells = row.unwrap_raw();
        sum.add(cells.pop().flatten()).map_err(|e| e.into_error("hash the rows of", subject(&pool, table)))?;
        block.append(cells);
        if block.is_full() && out.send(Reading::Rows(block.take())).await.is_err() {
            return Ok(());
        }
    }
    if block.rows > 0 {
        out.send(Reading::Rows(block.take())).await.ok();
    }
    out.send(Reading::Fingerprint(sum.fingerprint())).await.ok();
    Ok(())
}

/// Sends the statement; `more` is read behind the columns. The session survives being dropped: what is left of the answer is skipped before its
/// next statement.
async fn begin(pool: &Arc<Pool>, table: &Table, range: &KeyRange, more: Option<String>) -> Result<Lease> {
    let columns: Vec<_> = written(&table.columns).map(read_expression).chain(more).collect();
    let sql = format!("{SELECT} {} FROM {} WHERE {}", columns.join(","), ident(&table.name.name), condition(table, range));
    let mut lease = pool.lease().await?;
    lease.begin();
    lease.query_iter(sql).await.map_err(|e: Error| failed(pool, "read", table, e))?;
    lease.calm();
    Ok(lease)
}

struct Block {
    data: Vec<u8>,
    rows: u64,
}

impl Block {
    fn new() -> Self {
        Self { data: Vec::with_capacity(BLOCK + BLOCK / 8), rows: 0 }
    }

    fn append(&mut self, row: Vec<Option<Value>>) {
        for (at, value) in row.into_iter().enumerate() {
            if at > 0 {
                self.data.push(b'\t');
            }
            match value {
                Some(Value::Bytes(bytes)) => escape(&bytes, &mut self.data),
                _ => self.data.extend_from_slice(b"\\N"),
            }
        }
        self.data.push(b'\n');
        self.rows += 1;
    }

    fn is_full(&self) -> bool {
        self.data.len() >= BLOCK
    }

    fn take(&mut self) -> RowBlock {
        let full = std::mem::replace(self, Self::new());
        RowBlock { rows: full.rows, data: Bytes::from(full.data) }
    }
}
