//! Finding and changing single text cells.
//!
//! Needles are UTF-8; they are compared byte by byte in the column's own character set. A change touches the named columns only:
//! columns that would stamp themselves on an update keep their value.

use super::load::check_warnings;
use super::pool::Pool;
use super::quote::{hex, ident, text};
use super::ranges::{equals, key_columns, key_expression, key_part, order_expression};
use super::source::{cells, failed, next, produce, subject};
use super::values::{Form, form};
use futures::stream::{self, BoxStream, StreamExt};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use ports::databases::{CellEditor, Cells, Column, Key, Table};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Keys looked up in one statement.
const KEYS_AT_ONCE: usize = 100;

#[derive(Debug)]
pub(super) struct MySqlCells {
    pool: Arc<Pool>,
}

impl MySqlCells {
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    /// The wanted columns, or why this cannot be done.
    fn wanted<'t>(&self, table: &'t Table, columns: &[String]) -> Result<Vec<&'t Column>> {
        let problem = |reason: String| ConnectorError::new(ErrorKind::Unsupported, "change cells of", subject(&self.pool, table), reason);
        if table.key.is_empty() {
            return Err(problem("the table has no key, so a single row cannot be named".to_owned()));
        }
        columns
            .iter()
            .map(|name| {
                let column = table.columns.iter().find(|c| c.name == *name);
                column.filter(|c| !c.generated).ok_or_else(|| problem(format!("it has no column '{name}' that can be written")))
            })
            .collect()
    }
}

#[async_trait::async_trait]
impl CellEditor for MySqlCells {
    fn containing(&self, table: &Table, columns: &[String], needles: &[String]) -> BoxStream<'static, Result<Cells>> {
        let sql = match self.wanted(table, columns) {
            Ok(_) if columns.is_empty() || needles.is_empty() => return stream::empty().boxed(),
            Ok(wanted) => {
                let tests: Vec<_> = wanted.iter().flat_map(|c| needles.iter().map(|n| contains(c, n))).collect();
                let order: Vec<_> = key_columns(table).into_iter().map(order_expression).collect();
                format!("{} WHERE {} ORDER BY {}", select(table, &wanted), tests.join(" OR "), order.join(","))
            }
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let (pool, table) = (Arc::clone(&self.pool), table.clone());
        produce(move |out| async move { send(pool, &table, sql, out).await })
    }

    async fn fetch(&self, table: &Table, columns: &[String], keys: &[Key]) -> Result<Vec<Cells>> {
        let wanted = self.wanted(table, columns)?;
        let mut lease = self.pool.lease().await?;
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_AT_ONCE) {
            let tests: Vec<_> = some.iter().map(|key| format!("({})", equals(table, key))).collect();
            let sql = format!("{} WHERE {}", select(table, &wanted), tests.join(" OR "));
            lease.begin();
            let rows: Vec<Row> = lease.query(sql).await.map_err(|e| failed(&self.pool, "read cells of", table, e))?;
            lease.calm();
            found.extend(rows.into_iter().map(|row| divide(table, row)));
        }
        Ok(found)
    }

    async fn update(&self, table: &Table, columns: &[String], rows: &[Cells]) -> Result<()> {
        let wanted = self.wanted(table, columns)?;
        let subject = subject(&self.pool, table);
        let broken = |e| failed(&self.pool, "change cells of", table, e);
        let mut lease = self.pool.lease().await?;
        lease.begin();
        let sql = format!(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME={} AND EXTRA LIKE '%on update%'",
            text(&table.name.name)
        );
        let stamps: Vec<String> = lease.query(sql).await.map_err(broken)?;
        let keep: Vec<_> = stamps.iter().filter(|s| !columns.contains(s)).map(|s| format!("{0}={0}", ident(s))).collect();
        lease.query_drop("START TRANSACTION").await.map_err(broken)?;
        for row in rows {
            let new = wanted.iter().zip(&row.values).map(|(c, v)| format!("{}={}", ident(&c.name), literal(c, v.as_deref())));
            let sets: Vec<_> = new.chain(keep.iter().cloned()).collect();
            let sql = format!("UPDATE {} SET {} WHERE {}", ident(&table.name.name), sets.join(","), equals(table, &row.key));
            let done = match lease.query_drop(sql).await {
                Ok(()) => check_warnings(&mut lease, &subject, table).await,
                Err(e) => Err(broken(e)),
            };
            if let Err(error) = done {
                if lease.query_drop("ROLLBACK").await.is_ok() {
                    lease.calm();
                }
                return Err(error);
            }
        }
        lease.query_drop("COMMIT").await.map_err(broken)?;
        lease.calm();
        Ok(())
    }
}

fn select(table: &Table, wanted: &[&Column]) -> String {
    let keys = key_columns(table).into_iter().map(key_expression);
    let values = wanted.iter().map(|c| if form(c) == Form::Json { format!("CAST({} AS CHAR CHARACTER SET utf8mb4)", ident(&c.name)) } else { ident(&c.name) });
    format!("SELECT {} FROM {}", keys.chain(values).collect::<Vec<_>>().join(","), ident(&table.name.name))
}

fn contains(column: &Column, needle: &str) -> String {
    let name = ident(&column.name);
    let needle = hex(needle.as_bytes());
    let charset = column.collation.as_deref().and_then(|c| c.split('_').next()).unwrap_or("utf8mb4");
    match form(column) {
        Form::Json => format!("LOCATE({needle}, CAST(CAST({name} AS CHAR CHARACTER SET utf8mb4) AS BINARY)) > 0"),
        Form::Text if !matches!(charset, "utf8mb4" | "utf8mb3" | "utf8" | "binary") => {
            format!("LOCATE(CAST(CONVERT(_utf8mb4 {needle} USING {charset}) AS BINARY), CAST({name} AS BINARY)) > 0")
        }
        _ => format!("LOCATE({needle}, CAST({name} AS BINARY)) > 0"),
    }
}

fn literal(column: &Column, value: Option<&[u8]>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(value) if form(column) == Form::Json => format!("CONVERT({} USING utf8mb4)", hex(value)),
        Some(value) => format!("_binary {}", hex(value)),
    }
}

async fn send(pool: Arc<Pool>, table: &Table, sql: String, out: mpsc::Sender<Cells>) -> Result<()> {
    let broken = |e| failed(&pool, "search", table, e);
    let mut lease = pool.lease().await?;
    lease.begin();
    lease.query_iter(sql).await.map_err(broken)?;
    lease.calm();
    while let Some(row) = next(&mut lease).await.map_err(broken)? {
        if out.send(divide(table, row)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// A row of [`select`]: first the key, then the values.
fn divide(table: &Table, row: Row) -> Cells {
    let mut all = cells(row).into_iter();
    let key = Key(key_columns(table).iter().zip(all.by_ref()).map(|(c, v)| key_part(c, v)).collect());
    Cells { key, values: all.collect() }
}
