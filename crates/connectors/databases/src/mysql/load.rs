//! Writing rows: `LOAD DATA LOCAL INFILE` where the server allows it, large `INSERT`s otherwise.
//!
//! A local load never fails on bad values, it warns: so every warning is looked at, and the row counts must agree.

use super::errors::failure;
use super::quote::{ident, idents};
use super::values::{Form, form, insert_literal, load_expression, parameter, unescape, written};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Value};
use ports::databases::{Column, RowBlock, Table};
use ports::{ConnectorError, ErrorKind, Result};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// An INSERT is sent when it has reached this size.
const INSERT: usize = 1 << 20;
/// The most that is sent in one packet of a load: a row may be larger than what the server takes at once.
const PACKET: usize = 1 << 20;

type Blocks = BoxStream<'static, Result<RowBlock>>;

/// Sends the rows in one statement, inside the caller's transaction; gives their number.
pub(super) async fn infile(conn: &mut Conn, subject: &str, table: &Table, rows: Blocks) -> Result<u64> {
    let sent = Arc::new(AtomicU64::new(0));
    let broken: Arc<Mutex<Option<ConnectorError>>> = Arc::default();
    let (count, keep) = (Arc::clone(&sent), Arc::clone(&broken));
    let data = rows.map(move |block| match block {
        Ok(block) => {
            count.fetch_add(block.rows, Ordering::Relaxed);
            Ok::<Bytes, io::Error>(block.data)
        }
        Err(error) => {
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Err(io::Error::other("the rows ended with an error"))
        }
    });
    let data = data.map_ok(|block| futures::stream::iter(packets(block)).map(Ok)).try_flatten();
    // The driver wants the handler to be shareable; the lock makes it so.
    let data = Mutex::new(data.boxed());
    conn.set_infile_handler(async move { Ok(data.into_inner().unwrap_or_else(PoisonError::into_inner)) });
    let outcome = conn.query_drop(load_statement(table)).await;
    if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    outcome.map_err(|e| failure("write into", subject, e))?;
    let written = conn.affected_rows();
    check_warnings(conn, subject, table).await?;
    let sent = sent.load(Ordering::Relaxed);
    if written != sent {
        let reason = format!("{sent} rows were sent, but the server stored {written}");
        return Err(ConnectorError::new(ErrorKind::Corrupt, "write into", subject, reason));
    }
    Ok(sent)
}

/// A block in pieces that every server takes.
fn packets(mut block: Bytes) -> Vec<Bytes> {
    let mut out = Vec::with_capacity(block.len() / PACKET + 1);
    while block.len() > PACKET {
        out.push(block.split_to(PACKET));
    }
    out.push(block);
    out
}

fn load_statement(table: &Table) -> String {
    let mut places = Vec::new();
    let mut conversions = Vec::new();
    for (at, column) in written(&table.columns).enumerate() {
        let variable = format!("@v{at}");
        match load_expression(column, &variable) {
            Some(expression) => {
                conversions.push(format!("{} = {expression}", ident(&column.name)));
                places.push(variable);
            }
            None => places.push(ident(&column.name)),
        }
    }
    let set = if conversions.is_empty() { String::new() } else { format!(" SET {}", conversions.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'rows' INTO TABLE {} CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
        ident(&table.name.name),
        places.join(",")
    )
}

/// The same with `INSERT`, for servers without `local_infile`. `limit`: the server's `max_allowed_packet`.
pub(super) async fn inserts(conn: &mut Conn, subject: &str, table: &Table, limit: u64, mut rows: Blocks) -> Result<u64> {
    let columns: Vec<&Column> = written(&table.columns).collect();
    let names = idents(columns.iter().map(|c| c.name.as_str()));
    let head = format!("INSERT INTO {} ({names}) VALUES ", ident(&table.name.name));
    let limit = usize::try_from(limit).unwrap_or(INSERT).saturating_sub(1024);
    let full = INSERT.min(limit);
    let mut statement = Statement { sql: head.clone().into_bytes(), head: head.len(), rows: 0 };
    let mut total = 0;
    while let Some(block) = rows.next().await {
        let block = block?;
        for line in block.data.split(|b| *b == b'\n').take(usize::try_from(block.rows).unwrap_or(usize::MAX)) {
            let mut row = Vec::with_capacity(line.len() + 16);
            values(&columns, line, &mut row);
            if row.len() + statement.head > limit {
                total += statement.send(conn, subject, table).await? + large_row(conn, subject, table, &head, line).await?;
                continue;
            }
            if statement.sql.len() + row.len() + 1 > full {
                total += statement.send(conn, subject, table).await?;
            }
            statement.push(&row);
        }
    }
    Ok(total + statement.send(conn, subject, table).await?)
}

/// Writes one row whose literals would not fit into a statement: its values are sent one by one. Each may be as large as
/// `max_allowed_packet`, which is the most that the server lets anybody write.
async fn large_row(conn: &mut Conn, subject: &str, table: &Table, head: &str, line: &[u8]) -> Result<u64> {
    let columns: Vec<&Column> = written(&table.columns).collect();
    let places: Vec<_> = columns.iter().map(|c| parameter(c)).collect();
    let cells = line.split(|b| *b == b'\t').map(|cell| unescape(cell).map_or(Value::NULL, Value::Bytes));
    let values = Params::Positional(cells.collect());
    let failed = |e| failure("write into", subject, e);
    let statement = conn.prep(format!("{head}({})", places.join(","))).await.map_err(failed)?;
    // The values are bytes as they are stored, in no character set.
    conn.query_drop("SET character_set_client=binary, character_set_connection=binary").await.map_err(failed)?;
    let done = conn.exec_drop(&statement, values).await;
    let checked = match done {
        Ok(()) => check_warnings(conn, subject, table).await,
        Err(e) => Err(failed(e)),
    };
    conn.query_drop("SET character_set_client=utf8mb4, character_set_connection=utf8mb4").await.map_err(failed)?;
    conn.close(statement).await.map_err(failed)?;
    checked.map(|()| 1)
}

struct Statement {
    sql: Vec<u8>,
    head: usize,
    rows: u64,
}

impl Statement {
    fn push(&mut self, row: &[u8]) {
        if self.rows > 0 {
            self.sql.push(b',');
        }
        self.sql.extend_from_slice(row);
        self.rows += 1;
    }

    async fn send(&mut self, conn: &mut Conn, subject: &str, table: &Table) -> Result<u64> {
        let rows = std::mem::take(&mut self.rows);
        if rows > 0 {
            conn.query_drop(self.sql.as_slice()).await.map_err(|e| failure("write into", subject, e))?;
            check_warnings(conn, subject, table).await?;
        }
        self.sql.truncate(self.head);
        Ok(rows)
    }
}

fn values(columns: &[&Column], line: &[u8], out: &mut Vec<u8>) {
    out.push(b'(');
    for (at, (column, cell)) in columns.iter().zip(line.split(|b| *b == b'\t')).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match unescape(cell) {
            Some(value) => insert_literal(column, &value, out),
            None => out.extend_from_slice(b"NULL"),
        }
    }
    out.push(b')');
}

/// Turns any warning about a value into an error. Warnings about the statement's own style (deprecations) are not about values.
pub(super) async fn check_warnings(conn: &mut Conn, subject: &str, table: &Table) -> Result<()> {
    let count = usize::from(conn.get_warnings());
    if count == 0 {
        return Ok(());
    }
    let shown: Vec<(String, u16, String)> = conn.query("SHOW WARNINGS").await.map_err(|e: Error| failure("read the warnings of", subject, e))?;
    let bad: Vec<_> = shown.iter().filter(|(level, code, message)| matters(level, *code, message, table)).collect();
    let (code, message) = match bad.first() {
        Some((_, code, message)) => (*code, message.clone()),
        // The server keeps only so many; the rest may be anything.
        None if count > shown.len() => (0, format!("{count} warnings, of which it shows {}", shown.len())),
        None => return Ok(()),
    };
    let more = if bad.len() > 1 { format!(" and {} more like it", bad.len() - 1) } else { String::new() };
    let kind = if code == 1062 { ErrorKind::AlreadyExists } else { ErrorKind::Corrupt };
    let reason = format!("the server would have changed what is stored: {message} (warning {code}){more}");
    Err(ConnectorError::new(kind, "write into", subject, reason).advice("Nothing was stored. Compare the column's type at both sides with the value"))
}

fn matters(level: &str, code: u16, message: &str, table: &Table) -> bool {
    // ENUM's own "invalid value" '' can be stored only with this warning.
    let empty_choice = || code == 1265 && table.columns.iter().any(|c| form(c) == Form::Choice && message.contains(&format!("column '{}'", c.name)));
    !(level.eq_ignore_ascii_case("note") || matches!(code, 1287 | 1681 | 3719 | 3778) || empty_choice())
}
