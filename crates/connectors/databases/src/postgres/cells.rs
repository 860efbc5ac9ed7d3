//! Finding and changing single values by key, on the latest state.

use super::connection::{Lease, Pool, Server};
use super::error::tried;
use super::sql::{self, ident, literal, qualified};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ports::databases::{self, CellEditor, Key, Table};
use ports::{ErrorKind, Result};
use std::sync::Arc;
use tokio_postgres::Row;

pub struct Cells {
    pool: Arc<Pool>,
}

impl Cells {
    pub fn new(server: Arc<Server>, connections: usize) -> Self {
        Self { pool: Pool::new(server, connections, "SET enable_seqscan = on") }
    }

    fn subject(&self, table: &Table) -> String {
        format!("table {} of {}", table.name, self.pool.server.location)
    }
}

/// The key's and the cells' columns as text.
fn selected(table: &Table, columns: &[String]) -> String {
    let keys: Vec<_> = sql::key_columns(table).collect();
    let cells: Vec<String> = columns.iter().map(|c| format!("{}::text", ident(c))).collect();
    format!("SELECT {}, {} FROM ONLY {}", sql::key_as_text(&keys), cells.join(", "), qualified(&table.name))
}

fn cells(table: &Table, columns: usize, row: &Row) -> databases::Cells {
    let keys = table.key.len();
    let key = Key(sql::key_columns(table).enumerate().map(|(i, c)| sql::part(c, row.get(i))).collect());
    let values = (0..columns).map(|i| row.get::<_, Option<String>>(keys + i).map(String::into_bytes)).collect();
    databases::Cells { key, values }
}

#[async_trait::async_trait]
impl CellEditor for Cells {
    fn containing(&self, table: &Table, columns: &[String], needles: &[String]) -> BoxStream<'static, Result<databases::Cells>> {
        let subject = self.subject(table);
        let keys: Vec<_> = sql::key_columns(table).collect();
        if keys.is_empty() {
            let error = tried("search", &subject).error(ErrorKind::Unsupported, "the table has no key, so single rows cannot be changed");
            return stream::once(async { Err(error) }).boxed();
        }
        if columns.is_empty() || needles.is_empty() {
            return stream::empty().boxed();
        }
        let hit = |c: &String, n: &String| format!("pg_catalog.strpos({}::text COLLATE pg_catalog.\"C\", {}) > 0", ident(c), literal(n));
        let hits: Vec<String> = columns.iter().flat_map(|c| needles.iter().map(move |n| hit(c, n))).collect();
        let query = format!("{} WHERE {} ORDER BY {}", selected(table, columns), hits.join(" OR "), sql::key_order(&keys));
        let (pool, table, count) = (self.pool.clone(), table.clone(), columns.len());
        let started = async move {
            let lease = pool.lease().await?;
            let rows = lease.client().query_raw(&query, std::iter::empty::<i32>()).await.map_err(|e| tried("search", &subject).failed(e))?;
            Ok(stream::try_unfold((Some(lease), Box::pin(rows)), move |(lease, mut rows)| {
                let (table, subject) = (table.clone(), subject.clone());
                async move {
                    let Some(row) = rows.try_next().await.map_err(|e| tried("search", &subject).failed(e))? else {
                        lease.into_iter().for_each(Lease::give_back);
                        return Ok(None);
                    };
                    Ok(Some((cells(&table, count, &row), (lease, rows))))
                }
            }))
        };
        stream::once(started).try_flatten().boxed()
    }

    async fn fetch(&self, table: &Table, columns: &[String], keys: &[Key]) -> Result<Vec<databases::Cells>> {
        let subject = self.subject(table);
        let t = tried("read rows of", &subject);
        let lease = self.pool.lease().await?;
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(200) {
            let wanted: Vec<String> = some.iter().map(|k| format!("({})", sql::where_key(table, k))).collect();
            let query = format!("{} WHERE {}", selected(table, columns), wanted.join(" OR "));
            let rows = lease.client().query(&query, &[]).await.map_err(|e| t.failed(e))?;
            found.extend(rows.iter().map(|r| cells(table, columns.len(), r)));
        }
        lease.give_back();
        Ok(found)
    }

    async fn update(&self, table: &Table, columns: &[String], rows: &[databases::Cells]) -> Result<()> {
        let subject = self.subject(table);
        let t = tried("change rows of", &subject);
        let types: Vec<&str> = columns.iter().map(|name| table.columns.iter().find(|c| c.name == *name).map_or("text", |c| c.type_name.as_str())).collect();
        let lease = self.pool.lease().await?;
        lease.client().batch_execute("BEGIN").await.map_err(|e| t.failed(e))?;
        for row in rows {
            let mut sets = Vec::with_capacity(columns.len());
            for ((column, type_name), value) in columns.iter().zip(&types).zip(&row.values) {
                let value = match value {
                    None => "NULL".to_owned(),
                    Some(bytes) => {
                        let text = std::str::from_utf8(bytes).map_err(|_| t.error(ErrorKind::Invalid, "the new value is not valid UTF-8"))?;
                        format!("{}::text::{type_name}", literal(text))
                    }
                };
                sets.push(format!("{} = {value}", ident(column)));
            }
            let statement = format!("UPDATE ONLY {} SET {} WHERE {}", qualified(&table.name), sets.join(", "), sql::where_key(table, &row.key));
            lease.client().batch_execute(&statement).await.map_err(|e| t.failed(e))?;
        }
        lease.client().batch_execute("COMMIT").await.map_err(|e| t.failed(e))?;
        lease.give_back();
        Ok(())
    }
}
