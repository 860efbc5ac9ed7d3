//! Finding and changing single values by key, in the destination file. A value keeps its type, text or blob.

use super::error::failed;
use super::{blocking, file, sql};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ports::databases::{self, CellEditor, Key, Table};
use ports::{ConnectorError, ErrorKind, Result};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::path::PathBuf;
use tokio::sync::mpsc;

pub struct Cells {
    path: PathBuf,
}

impl Cells {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn subject(&self, table: &Table) -> String {
        format!("table {} of {}", table.name, super::location(&self.path))
    }
}

fn as_bytes(column: &str) -> String {
    format!("CAST({} AS BLOB)", sql::ident(column))
}

fn select(table: &Table, columns: &[String]) -> String {
    let key = sql::key_columns(table);
    let all: Vec<String> = key.into_iter().chain(columns.iter().map(|c| as_bytes(c))).collect();
    format!("SELECT {} FROM {}", all.join(", "), sql::ident(&table.name.name))
}

fn cells(row: &rusqlite::Row<'_>, table: &Table, columns: usize) -> rusqlite::Result<databases::Cells> {
    let parts = table.key.len();
    let values = (parts..parts + columns).map(|i| row.get(i)).collect::<rusqlite::Result<_>>()?;
    Ok(databases::Cells { key: sql::key_of(row, parts)?, values })
}

fn search(c: &Connection, table: &Table, columns: &[String], needles: &[String], give: &dyn Fn(databases::Cells) -> bool) -> rusqlite::Result<()> {
    let hit = |column: &String, place: usize| format!("typeof({0}) IN ('text', 'blob') AND instr({1}, ?{place}) > 0", sql::ident(column), as_bytes(column));
    let hits: Vec<String> = columns.iter().flat_map(|column| (1..=needles.len()).map(move |place| hit(column, place))).collect();
    let query = format!("{} WHERE {} ORDER BY {}", select(table, columns), hits.join(" OR "), sql::key_order(table));
    let mut statement = c.prepare(&query)?;
    let mut rows = statement.query(params_from_iter(needles.iter().map(|n| n.as_bytes())))?;
    while let Some(row) = rows.next()? {
        if !give(cells(row, table, columns.len())?) {
            break;
        }
    }
    Ok(())
}

fn fetch(c: &Connection, table: &Table, columns: &[String], keys: &[Key]) -> rusqlite::Result<Vec<databases::Cells>> {
    let mut statement = c.prepare(&format!("{} WHERE {}", select(table, columns), sql::where_key(table)))?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let mut rows = statement.query(params_from_iter(key.0.iter().map(sql::value)))?;
        if let Some(row) = rows.next()? {
            found.push(cells(row, table, columns.len())?);
        }
    }
    Ok(found)
}

fn update(c: &Connection, table: &Table, columns: &[String], rows: &[databases::Cells]) -> rusqlite::Result<()> {
    let set = |(i, column): (usize, &String)| {
        let (name, bytes, mark) = (sql::ident(column), as_bytes(column), i + 1);
        format!("{name} = CASE WHEN {bytes} IS ?{mark} THEN {name} WHEN typeof({name}) = 'blob' THEN ?{mark} ELSE CAST(?{mark} AS TEXT) END")
    };
    let sets: Vec<String> = columns.iter().enumerate().map(set).collect();
    let transaction = c.unchecked_transaction()?;
    {
        let mut statement = transaction.prepare(&format!("UPDATE {} SET {} WHERE {}", sql::ident(&table.name.name), sets.join(", "), sql::where_key(table)))?;
        for row in rows {
            let values = row.values.iter().map(|v| v.clone().map_or(Value::Null, Value::Blob));
            statement.execute(params_from_iter(values.chain(row.key.0.iter().map(sql::value))))?;
        }
    }
    transaction.commit()
}

#[async_trait::async_trait]
impl CellEditor for Cells {
    fn containing(&self, table: &Table, columns: &[String], needles: &[String]) -> BoxStream<'static, Result<databases::Cells>> {
        let subject = self.subject(table);
        if table.key.is_empty() {
            let error = ConnectorError::new(ErrorKind::Unsupported, "search", subject, "the table has no key, so single rows cannot be changed");
            return stream::once(async { Err(error) }).boxed();
        }
        if columns.is_empty() || needles.is_empty() {
            return stream::empty().boxed();
        }
        let (path, table, columns, needles) = (self.path.clone(), table.clone(), columns.to_vec(), needles.to_vec());
        let started = async move {
            let (out, found) = mpsc::channel(64);
            let task = tokio::spawn(async move {
                let at = path.clone();
                blocking("search", &path, move || {
                    let connection = file::open_observer(&at)?;
                    search(&connection, &table, &columns, &needles, &|row| out.blocking_send(row).is_ok()).map_err(failed("search", &subject))
                })
                .await
            });
            Ok(stream::try_unfold((found, Some(task)), |(mut found, mut task)| async move {
                if let Some(row) = found.recv().await {
                    return Ok(Some((row, (found, task))));
                }
                match task.take() {
                    Some(task) => {
                        task.await.unwrap_or_else(|e| Err(ConnectorError::new(ErrorKind::Internal, "search", "rows", "the search broke off").because(e)))
                    }
                    None => Ok(()),
                }
                .map(|()| None)
            }))
        };
        stream::once(started).try_flatten().boxed()
    }

    async fn fetch(&self, table: &Table, columns: &[String], keys: &[Key]) -> Result<Vec<databases::Cells>> {
        let (path, subject, table) = (self.path.clone(), self.subject(table), table.clone());
        let (columns, keys) = (columns.to_vec(), keys.to_vec());
        blocking("read rows of", &self.path, move || fetch(&file::open_observer(&path)?, &table, &columns, &keys).map_err(failed("read rows of", &subject)))
            .await
    }

    async fn update(&self, table: &Table, columns: &[String], rows: &[databases::Cells]) -> Result<()> {
        let (path, subject, table) = (self.path.clone(), self.subject(table), table.clone());
        let (columns, rows) = (columns.to_vec(), rows.to_vec());
        blocking("change rows of", &self.path, move || update(&file::open_writer(&path)?, &table, &columns, &rows).map_err(failed("change rows of", &subject)))
            .await
    }
}
