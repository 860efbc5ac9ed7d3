//! Reading: one moment seen by many connections.
//!
//! One connection opens a transaction and exports its snapshot; it does nothing else until the view is closed, so a failing
//! read on another connection cannot take the snapshot away. Readers adopt the snapshot when they are opened.

use super::connection::{Connection, Lease, Pool, Server, text_of};
use super::copy;
use super::error::tried;
use super::hash_row::{self, RowHash};
use super::sql::{self, Text};
use super::{hash, schema};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ports::databases::{Attached, Fingerprint, Key, KeyRange, ObjectName, Reading, RowBlock, RowFormat, RowSource, Schema, Table, View};
use ports::{ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Statements of these sessions run side by side with each other, not with helpers of their own that fight for the same processors.
const ALONE: &str = "SET max_parallel_workers_per_gather = 0";
/// Below this size a table's ranges are cut exactly; above, from a sample of its pages.
const EXACT_BELOW: i64 = 32 << 20;
/// Ranges of a table whose key's index does not serve them: each range reads the whole table.
const UNINDEXED_RANGES: u64 = 8;

pub struct Source {
    server: Arc<Server>,
    pool: Arc<Pool>,
    /// Holds the snapshot; `None` in a view of the latest state, and after closing.
    exporter: Mutex<Option<Connection>>,
    text: Text,
    /// The server's hash functions are those that we compute ourselves. Asked for a snapshot, whose rows are read to be copied.
    alike: bool,
}

impl Source {
    pub async fn open(server: Arc<Server>, view: View) -> Result<Self> {
        let t = tried("read", &server.location);
        let connection = server.open().await?;
        let text = text_of(&connection.client).await.map_err(|e| t.failed(e))?;
        let mut alike = false;
        let (connections, opening, exporter) = match view {
            View::Latest { connections } | View::Destination { connections } => (connections, ALONE.to_owned(), None),
            View::Snapshot { connections } => {
                alike = hash_row::alike(&connection, text).await.map_err(|e| t.failed(e))?;
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                connection.client.batch_execute(begin).await.map_err(|e| t.failed(e))?;
                let row = connection.client.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await.map_err(|e| t.failed(e))?;
                let snapshot: String = row.get(0);
                (connections, format!("{ALONE}; {begin}; SET TRANSACTION SNAPSHOT {}", sql::literal(&snapshot)), Some(connection))
            }
        };
        let pool = Pool::new(server.clone(), connections, opening);
        Ok(Self { server, pool, exporter: Mutex::new(exporter), text, alike })
    }

    fn subject(&self, table: &Table) -> String {
        format!("table {} of {}", table.name, self.server.location)
    }

    /// The COPY that reads a range, with each row's hash if wanted.
    fn order(&self, table: &Table, range: &KeyRange, hashed: bool) -> copy::Order {
        let binary = sql::travels_binary(table);
        let ours = RowHash::of(table).filter(|_| binary && self.alike);
        let hashes = match (hashed, ours) {
            (false, _) => copy::Hashes::Unwanted,
            (true, Some(rows)) => copy::Hashes::Ours(rows),
            (true, None) => copy::Hashes::Sent,
        };
        let sent = matches!(hashes, copy::Hashes::Sent).then(|| hash::row_hash(table, self.text));
        let columns: Vec<String> = sql::written(table).map(sql::sent).chain(sent).collect();
        let query = format!(
            "COPY (SELECT {} FROM ONLY {}{}) TO STDOUT (FORMAT {})",
            columns.join(", "),
            sql::qualified(&table.name),
            sql::where_range(table, range, self.text),
            if binary { "binary" } else { "text" },
        );
        copy::Order { query, subject: self.subject(table), binary, raw: self.text.unknown, hashes }
    }

    fn bounds_query(&self, table: &Table, rows: u64, size: i64, estimate: u64) -> Option<String> {
        let columns = sql::range_key(table)?;
        let indexed = sql::range_uses_index(table, self.text);
        let ranges = estimate.div_ceil(rows.max(1)).max(1);
        let ranges = if indexed { ranges } else { ranges.min(UNINDEXED_RANGES) };
        let exact = size < EXACT_BELOW;
        if ranges == 1 && !exact {
            return None;
        }
        let order = columns.iter().map(|c| sql::ordered(c, self.text)).collect::<Vec<_>>().join(", ");
        // Names of our own, because a column may be called `place`.
        let names = columns.iter().enumerate().map(|(i, c)| format!("{} AS k{i}", sql::ident(&c.name))).collect::<Vec<_>>().join(", ");
        let texts = (0..columns.len()).map(|i| format!("k{i}::text")).collect::<Vec<_>>().join(", ");
        // A few dozen pages per range make the ranges about equal, wherever the keys lie.
        let percent = (ranges as f64 * 40.0 * 8192.0 * 100.0 / size.max(1) as f64).clamp(0.0001, 100.0);
        let sample = if exact { String::new() } else { format!(" TABLESAMPLE SYSTEM ({percent:.4}) REPEATABLE (1)") };
        let step = match (exact, indexed) {
            (true, true) => rows.max(1).to_string(),
            (true, false) => format!("GREATEST({}, (total + {UNINDEXED_RANGES} - 1) / {UNINDEXED_RANGES})", rows.max(1)),
            (false, _) => format!("GREATEST(1, (total + {ranges} - 1) / {ranges})"),
        };
        Some(format!(
            "SELECT {texts} FROM (SELECT {names}, row_number() OVER (ORDER BY {order}) - 1 AS place, count(*) OVER () AS total FROM ONLY {}{sample}) AS q \
             WHERE place > 0 AND place % {step} = 0 ORDER BY place",
            sql::qualified(&table.name),
        ))
    }
}

/// Adds up a range inside the server; [`fingerprint_of`] reads the answer.
pub(super) fn fingerprint_query(table: &Table, range: &KeyRange, text: Text) -> String {
    format!(
        "SELECT count(*), COALESCE(sum(h), 0)::text, COALESCE(bit_xor(h), 0) FROM (SELECT {} AS h FROM ONLY {}{}) AS q",
        hash::row_hash(table, text),
        sql::qualified(&table.name),
        sql::where_range(table, range, text),
    )
}

pub(super) fn fingerprint_of(row: &tokio_postgres::Row) -> Fingerprint {
    let (rows, sum, xor): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
    Fingerprint { rows: rows as u64, hash: hash::fingerprint(&sum, xor) }
}

#[async_trait::async_trait]
impl RowSource for Source {
    fn format(&self) -> RowFormat {
        super::FORMAT
    }

    async fn schema(&self) -> Result<Schema> {
        let lease = self.pool.lease().await?;
        let schema = schema::read(lease.client(), &self.server.location).await?;
        lease.give_back();
        Ok(schema)
    }

    async fn positions(&self, schema: &Schema) -> Result<Schema> {
        let lease = self.pool.lease().await?;
        let now = schema::with_positions(lease.client(), &self.server.location, schema).await?;
        lease.give_back();
        Ok(now)
    }

    async fn attached(&self, names: &[ObjectName]) -> Result<Attached> {
        let lease = self.pool.lease().await?;
        let attached = schema::attached(lease.client(), &self.server.location, names).await?;
        lease.give_back();
        Ok(attached)
    }

    async fn split(&self, table: &Table, rows: u64) -> Result<Vec<KeyRange>> {
        let (subject, whole) = (self.subject(table), vec![KeyRange::default()]);
        let t = tried("cut into ranges", &subject);
        let lease = self.pool.lease().await?;
        let sizes = "SELECT pg_catalog.pg_relation_size(c.oid), c.reltuples::float8, c.relpages FROM pg_catalog.pg_class c WHERE c.oid = $1::text::regclass";
        let row = lease.client().query_one(sizes, &[&sql::qualified(&table.name)]).await.map_err(|e| t.failed(e))?;
        let size: i64 = row.get(0);
        let estimate = schema::estimated_rows(size, row.get(1), row.get(2));
        let Some(query) = self.bounds_query(table, rows, size, estimate) else {
            lease.give_back();
            return Ok(whole);
        };
        let found = lease.client().query(&query, &[]).await.map_err(|e| t.failed(e))?;
        lease.give_back();
        let columns: Vec<_> = sql::key_columns(table).collect();
        let mut ranges = Vec::with_capacity(found.len() + 1);
        let mut lower = None;
        for row in found {
            let upper = Key(columns.iter().enumerate().map(|(i, c)| sql::part(c, row.get(i))).collect());
            ranges.push(KeyRange { lower: lower.replace(upper.clone()), upper: Some(upper) });
        }
        ranges.push(KeyRange { lower, upper: None });
        Ok(ranges)
    }

    fn rows(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<RowBlock>> {
        let rows = copy::read(self.pool.clone(), self.order(table, range, false));
        rows.try_filter_map(|reading| async { Ok(if let Reading::Rows(block) = reading { Some(block) } else { None }) }).boxed()
    }

    fn rows_with_fingerprint(&self, table: &Table, range: &KeyRange) -> Option<BoxStream<'static, Result<Reading>>> {
        Some(copy::read(self.pool.clone(), self.order(table, range, true)))
    }

    async fn fingerprint(&self, table: &Table, range: &KeyRange) -> Result<Fingerprint> {
        let subject = self.subject(table);
        let t = tried("compute the fingerprint of", &subject);
        let lease = self.pool.lease().await?;
        let query = fingerprint_query(table, range, self.text);
        // A whole large table has the server's own helpers; ranges are side by side already.
        let helped = *range == KeyRange::default() && table.bytes >= EXACT_BELOW as u64;
        if helped {
            lease.client().batch_execute("SET max_parallel_workers_per_gather = DEFAULT").await.map_err(|e| t.failed(e))?;
        }
        let found = lease.client().query_one(&query, &[]).await.map_err(|e| t.failed(e))?;
        if helped {
            lease.client().batch_execute(ALONE).await.map_err(|e| t.failed(e))?;
        }
        lease.give_back();
        Ok(fingerprint_of(&found))
    }

    fn row_hashes(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<(Key, String)>> {
        let subject = self.subject(table);
        let columns: Vec<_> = sql::key_columns(table).cloned().collect();
        if columns.is_empty() {
            let error = tried("name rows of", &subject).error(ErrorKind::Unsupported, "the table has no key");
            return stream::once(async { Err(error) }).boxed();
        }
        let refs: Vec<_> = columns.iter().collect();
        let query = format!(
            "SELECT {}, {} FROM ONLY {}{} ORDER BY {}",
            sql::key_as_text(&refs),
            hash::row_hash(table, self.text),
            sql::qualified(&table.name),
            sql::where_range(table, range, self.text),
            sql::key_order(&refs),
        );
        let pool = self.pool.clone();
        let started = async move {
            let lease = pool.lease().await?;
            let rows = lease.client().query_raw(&query, std::iter::empty::<i32>()).await.map_err(|e| tried("name rows of", &subject).failed(e))?;
            Ok(stream::try_unfold((Some(lease), Box::pin(rows)), move |(lease, mut rows)| {
                let (columns, subject) = (columns.clone(), subject.clone());
                async move {
                    let Some(row) = rows.try_next().await.map_err(|e| tried("name rows of", &subject).failed(e))? else {
                        lease.into_iter().for_each(Lease::give_back);
                        return Ok(None);
                    };
                    let key = Key(columns.iter().enumerate().map(|(i, c)| sql::part(c, row.get(i))).collect());
                    let hash: i64 = row.get(columns.len());
                    Ok(Some(((key, format!("{hash:016x}")), (lease, rows))))
                }
            }))
        };
        stream::once(started).try_flatten().boxed()
    }

    async fn close(&self) -> Result<()> {
        self.pool.close();
        drop(self.exporter.lock().await.take());
        Ok(())
    }
}
