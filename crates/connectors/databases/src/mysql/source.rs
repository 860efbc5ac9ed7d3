//! Reading: rows, fingerprints and row hashes over the sessions of one view.

use super::errors::failure;
use super::fingerprint::{Trouble, row_hash};
use super::pool::{Lease, Pool};
use super::quote::ident;
use super::ranges::{SELECT, condition, key_columns, key_expression, key_part, order_expression};
use super::{fingerprint, rows, schema, split};
use futures::stream::{self, BoxStream, StreamExt};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, QueryResult, Row, TextProtocol, Value};
use ports::databases::{Fingerprint, Key, KeyRange, ObjectName, Reading, RowBlock, RowFormat, RowSource, Schema, Table};
use ports::{ConnectorError, ErrorKind, Result};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc;

const PENDING_BLOCKS: usize = 2;

#[derive(Debug)]
pub(super) struct MySqlSource {
    pool: Arc<Pool>,
}

impl MySqlSource {
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }
}

#[async_trait::async_trait]
impl RowSource for MySqlSource {
    fn format(&self) -> RowFormat {
        RowFormat::MySqlText
    }

    async fn schema(&self) -> Result<Schema> {
        let mut lease = self.pool.lease().await?;
        lease.begin();
        let schema = schema::read(&mut lease, self.pool.server()).await?;
        lease.calm();
        Ok(schema)
    }

    fn outside_snapshot(&self) -> Vec<ObjectName> {
        self.pool.outside().iter().map(|name| ObjectName { schema: String::new(), name: name.clone() }).collect()
    }

    async fn split(&self, table: &Table, rows: u64) -> Result<Vec<KeyRange>> {
        let mut lease = self.pool.lease().await?;
        lease.begin();
        let ranges = split::split(&mut lease, table, rows.max(1)).await.map_err(|e| failed(&self.pool, "cut into ranges", table, e))?;
        lease.calm();
        Ok(ranges)
    }

    fn rows(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<RowBlock>> {
        let (pool, table, range) = (Arc::clone(&self.pool), table.clone(), range.clone());
        produce(move |out| async move { rows::send(pool, &table, &range, out).await })
    }

    async fn fingerprint(&self, table: &Table, range: &KeyRange) -> Result<Fingerprint> {
        let mut lease = self.pool.lease().await?;
        lease.begin();
        let found = fingerprint::of_range(&mut lease, table, range).await.map_err(|e| e.into_error("fingerprint", subject(&self.pool, table)))?;
        lease.calm();
        Ok(found)
    }

    fn rows_with_fingerprint(&self, table: &Table, range: &KeyRange) -> Option<BoxStream<'static, Result<Reading>>> {
        let (pool, table, range) = (Arc::clone(&self.pool), table.clone(), range.clone());
        Some(produce(move |out| async move { rows::send_with_fingerprint(pool, &table, &range, out).await }))
    }

    fn row_hashes(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<(Key, String)>> {
        if table.key.is_empty() {
            let error = ConnectorError::new(ErrorKind::Unsupported, "name the rows of", subject(&self.pool, table), "the table has no key");
            return stream::once(async { Err(error) }).boxed();
        }
        let (pool, table, range) = (Arc::clone(&self.pool), table.clone(), range.clone());
        produce(move |out| async move { send_hashes(pool, &table, &range, out).await })
    }

    async fn close(&self) -> Result<()> {
        self.pool.close().await;
        Ok(())
    }
}

pub(super) fn subject(pool: &Pool, table: &Table) -> String {
    format!("table {} of {}", table.name, pool.server().location())
}

pub(super) fn failed(pool: &Pool, operation: &str, table: &Table, error: Error) -> ConnectorError {
    failure(operation, subject(pool, table), error)
}

/// A stream fed by a future that sends into it. Nothing runs unless the stream is polled; dropping it ends the future.
pub(super) fn produce<T, F, Work>(work: F) -> BoxStream<'static, Result<T>>
where
    T: Send + 'static,
    F: FnOnce(mpsc::Sender<T>) -> Work,
    Work: Future<Output = Result<()>> + Send + 'static,
{
    let (out, items) = mpsc::channel(PENDING_BLOCKS);
    let end = stream::once(work(out)).filter_map(|outcome| async { outcome.err().map(Err) });
    let items = stream::unfold(items, |mut items| async { items.recv().await.map(|item| (Ok(item), items)) });
    stream::select(items, end).boxed()
}

async fn send_hashes(pool: Arc<Pool>, table: &Table, range: &KeyRange, out: mpsc::Sender<(Key, String)>) -> Result<()> {
    let columns = key_columns(table);
    let expressions: Vec<_> = columns.iter().map(|c| key_expression(c)).collect();
    let order: Vec<_> = columns.iter().map(|c| order_expression(c)).collect();
    let sql = format!(
        "{SELECT} {},{} FROM {} WHERE {} ORDER BY {}",
        expressions.join(","),
        row_hash(table),
        ident(&table.name.name),
        condition(table, range),
        order.join(",")
    );
    let mut lease: Lease = pool.lease().await?;
    let broken = |e| failed(&pool, "compare the rows of", table, e);
    lease.begin();
    lease.query_iter(sql).await.map_err(broken)?;
    lease.calm();
    while let Some(row) = next(&mut lease).await.map_err(broken)? {
        let mut cells = cells(row);
        let hash = cells.pop().flatten().map(|h| String::from_utf8_lossy(&h).into_owned());
        let hash = hash.ok_or_else(|| Trouble::Lost.into_error("compare the rows of", subject(&pool, table)))?;
        let key = Key(columns.iter().zip(cells).map(|(c, v)| key_part(c, v)).collect());
        if out.send((key, hash)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The next row of the answer that the session is in the middle of.
pub(super) async fn next(conn: &mut Conn) -> Result<Option<Row>, Error> {
    QueryResult::<TextProtocol>::new(conn).next().await
}

/// The raw cells of a row of the text protocol.
pub(super) fn cells(row: Row) -> Vec<Option<Vec<u8>>> {
    row.unwrap_raw().into_iter().map(|value| if let Some(Value::Bytes(bytes)) = value { Some(bytes) } else { None }).collect()
}
