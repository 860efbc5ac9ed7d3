//! Writing: one connection, one range per transaction.
//!
//! A file has one writer. Whoever holds it starts to read its rows only then, so that waiting writers never keep the readers
//! from the one that works. Until the end of the rows is announced, nothing is committed.

use super::error::failed;
use super::file;
use super::source::read_fingerprint;
use super::{blocking, dependents, schema, sql, values};
use futures::stream::{BoxStream, StreamExt};
use ports::databases::{
    Applied, Fingerprint, KeyRange, ObjectKind, RowBlock, RowFormat, RowTarget, Schema, SchemaObject, Table, Terms, Unmovable, foreign_rows, is_expected,
    not_as_sent,
};
use ports::{ConnectorError, ErrorKind, Result};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params_from_iter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

const IN_FLIGHT: usize = 4;

pub struct Target {
    path: PathBuf,
    writer: Arc<Mutex<Option<Connection>>>,
}

/// What travels to the writing thread. A channel that closes without `End` means: give up.
enum Parcel {
    Block(RowBlock),
    End,
}

impl Target {
    pub fn new(path: PathBuf) -> Self {
        Self { path, writer: Arc::default() }
    }

    /// Runs work on the one writing connection.
    async fn write<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        let guard = self.writer.clone().lock_owned().await;
        let path = self.path.clone();
        blocking("write", &self.path, move || work(opened(guard, &path)?.connection())).await
    }
}

/// The writing connection, held.
struct Held(OwnedMutexGuard<Option<Connection>>);

impl Held {
    fn connection(&self) -> &Connection {
        self.0.as_ref().expect("`opened` puts it there")
    }
}

fn opened(mut guard: OwnedMutexGuard<Option<Connection>>, path: &Path) -> Result<Held> {
    if guard.is_none() {
        *guard = Some(file::open_writer(path)?);
    }
    Ok(Held(guard))
}

/// Rolls back unless it was committed.
struct Transaction<'a>(&'a Connection);

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "an SQLite transaction could not be rolled back");
        }
    }
}

impl<'a> Transaction<'a> {
    fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.0.execute_batch("COMMIT")
    }
}

#[async_trait::async_trait]
impl RowTarget for Target {
    fn format(&self) -> RowFormat {
        super::FORMAT
    }

    /// The file is made for its owner alone.
    async fn prepare(&self, _like: &Schema) -> Result<Option<Applied>> {
        let path = self.path.clone();
        blocking("create", &self.path, move || match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => Ok(Some(Applied::AsIs)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
            Err(e) => Err(file::io_error("create", &path, e)),
        })
        .await
    }

    async fn create(&self, object: &SchemaObject) -> Result<Applied> {
        let (object, subject) = (object.clone(), format!("{:?} {} of {}", object.kind, object.name, super::location(&self.path)));
        self.write(move |c| create(c, &object, &subject)).await
    }

    async fn dependents(&self, objects: &[SchemaObject]) -> Result<Vec<Unmovable>> {
        let (objects, subject) = (objects.to_vec(), super::location(&self.path));
        self.write(move |c| dependents::read(c, &objects).map_err(failed("look for what depends on objects of", &subject))).await
    }

    async fn remove(&self, object: &SchemaObject) -> Result<()> {
        if object.kind == ObjectKind::Schema && object.statements.is_empty() {
            return self.remove_file().await;
        }
        let (word, name) = match object.kind {
            ObjectKind::Table => ("TABLE", &object.name.name),
            ObjectKind::Index => ("INDEX", &object.name.name),
            ObjectKind::View => ("VIEW", &object.name.name),
            ObjectKind::Trigger => ("TRIGGER", &object.name.name),
            // Said about the file, or gone with its table.
            _ => return Ok(()),
        };
        let (statement, subject) = (format!("DROP {word} IF EXISTS {}", sql::ident(name)), format!("{} of {}", object.name, super::location(&self.path)));
        let object = object.clone();
        let drop = move |c: &Connection| if is_others(c, &object)? { Ok(()) } else { c.execute_batch(&statement) };
        match self.write(move |c| drop(c).map_err(failed("drop", &subject))).await {
            Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn replace_where(&self, table: &Table, range: &KeyRange, terms: Terms<'_>, mut rows: BoxStream<'static, Result<RowBlock>>) -> Result<u64> {
        let guard = self.writer.clone().lock_owned().await;
        let (parcels, incoming) = mpsc::channel(IN_FLIGHT);
        let (path, table, range) = (self.path.clone(), table.clone(), range.clone());
        let (expected, proof) = (terms.expected.map(<[Fingerprint]>::to_vec), terms.proof.cloned());
        let subject = format!("table {} of {}", table.name, super::location(&path));
        let work = move || {
            let held = opened(guard, &path)?;
            let terms = Terms { expected: expected.as_deref(), proof: proof.as_ref() };
            replace(held.connection(), &table, &range, terms, incoming, &subject)
        };
        let path = self.path.clone();
        let writing = tokio::spawn(async move { blocking("write", &path, work).await });
        let mut broken = None;
        while let Some(block) = rows.next().await {
            match block {
                Ok(block) => {
                    if parcels.send(Parcel::Block(block)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        if broken.is_none() {
            // When the writer has given up, its own error follows below.
            let _ = parcels.send(Parcel::End).await;
        }
        drop(parcels);
        let written = writing.await.unwrap_or_else(|e| {
            let reason = "the writing broke off";
            Err(ConnectorError::new(ErrorKind::Internal, "write", super::location(&self.path), reason).because(e))
        });
        broken.map_or(written, Err)
    }

    async fn remove_table_if(&self, object: &SchemaObject, table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool> {
        let statement = format!("DROP TABLE IF EXISTS {}", sql::ident(&object.name.name));
        let subject = format!("{} of {}", object.name, super::location(&self.path));
        let (table, expected) = (table.clone(), expected.to_vec());
        let work = move |connection: &Connection| {
            let f = failed("drop", &subject);
            let transaction = Transaction::begin(connection).map_err(f)?;
            let there: bool = connection
                .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)", [&table.name.name], |row| row.get(0))
                .map_err(f)?;
            for (range, fingerprints) in expected.iter().filter(|_| there) {
                if !is_expected(&read_fingerprint(connection, &table, range).map_err(f)?, fingerprints) {
                    return Ok(false);
                }
            }
            connection.execute_batch(&statement).map_err(f)?;
            transaction.commit().map_err(f)?;
            Ok(true)
        };
        match self.write(work).await {
            Err(e) if e.kind == ErrorKind::NotFound => Ok(true),
            other => other,
        }
    }

    /// Statistics for the planner, and counters where `schema` says they stand.
    async fn finish(&self, schema: &Schema) -> Result<()> {
        let subject = super::location(&self.path);
        let positions: Vec<SchemaObject> = schema.objects.iter().filter(|o| schema::is_position(o)).cloned().collect();
        self.write(move |c| {
            for position in &positions {
                set(c, position, &subject)?;
            }
            c.execute_batch("PRAGMA analysis_limit = 1000; PRAGMA optimize = 0x10002").map_err(failed("gather statistics of", &subject))
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        let mut guard = self.writer.clone().lock_owned().await;
        blocking("close", &self.path, move || {
            drop(guard.take());
            Ok(())
        })
        .await
    }
}

impl Target {
    async fn remove_file(&self) -> Result<()> {
        self.close().await?;
        let path = self.path.clone();
        blocking("remove", &self.path, move || {
            for suffix in ["", "-wal", "-shm", "-journal"] {
                let file = file::beside(&path, suffix);
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file::io_error("remove", &file, e)),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }
}

/// Whether an index or trigger of this name belongs to another table: such names are the file's.
fn is_others(connection: &Connection, object: &SchemaObject) -> rusqlite::Result<bool> {
    let Some(table) = &object.table else { return Ok(false) };
    let query = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE AND tbl_name <> ?3 COLLATE NOCASE)";
    let kind = format!("{:?}", object.kind).to_lowercase();
    connection.query_row(query, [&kind, &object.name.name, &table.name], |row| row.get(0))
}

fn create(connection: &Connection, object: &SchemaObject, subject: &str) -> Result<Applied> {
    let f = failed("create", subject);
    let word = match object.kind {
        ObjectKind::Table => "table",
        ObjectKind::Index => "index",
        ObjectKind::View => "view",
        ObjectKind::Trigger => "trigger",
        _ => return set(connection, object, subject),
    };
    let query = "SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2";
    let there = connection.query_row(query, [word, &object.name.name], |row| row.get::<_, Option<String>>(0)).optional().map_err(f)?;
    match there {
        Some(sql) if sql.as_ref() == object.statements.first() => return Ok(Applied::AsIs),
        Some(_) => {
            let reason = format!("another {word} of this name is already there");
            return Err(ConnectorError::new(ErrorKind::AlreadyExists, "create", subject, reason).advice("Remove or rename it at the destination"));
        }
        None => {}
    }
    let made = Transaction::begin(connection).and_then(|t| {
        object.statements.iter().try_for_each(|s| connection.execute_batch(s))?;
        t.commit()
    });
    match made.map_err(f) {
        Ok(()) => Ok(Applied::AsIs),
        Err(e) if e.kind == ErrorKind::Invalid && object.kind != ObjectKind::Table => Ok(Applied::Refused(e.reason)),
        Err(e) => Err(e),
    }
}

/// Says properties. A setting that a file with tables in it does not take any more is told.
fn set(connection: &Connection, object: &SchemaObject, subject: &str) -> Result<Applied> {
    let f = failed("set", subject);
    let mut kept = Vec::new();
    for statement in &object.statements {
        connection.execute_batch(statement).map_err(f)?;
        let setting = statement.strip_prefix("PRAGMA ").and_then(|s| s.split_once(" = "));
        let Some((name, wanted)) = setting else { continue };
        let now: String = connection.query_row(&format!("PRAGMA {name}"), [], text_of).map_err(f)?;
        if !now.eq_ignore_ascii_case(wanted.trim_matches('\'')) {
            kept.push(format!("{name} stays {now} (the source has {wanted})"));
        }
    }
    Ok(if kept.is_empty() { Applied::AsIs } else { Applied::Adapted(kept.join(", ")) })
}

fn text_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    row.get::<_, rusqlite::types::Value>(0).map(|v| match v {
        rusqlite::types::Value::Integer(n) => n.to_string(),
        rusqlite::types::Value::Text(t) => t,
        other => format!("{other:?}"),
    })
}

fn replace(
    connection: &Connection,
    table: &Table,
    range: &KeyRange,
    Terms { expected, proof }: Terms<'_>,
    mut incoming: mpsc::Receiver<Parcel>,
    subject: &str,
) -> Result<u64> {
    let f = failed("write", subject);
    let transaction = Transaction::begin(connection).map_err(f)?;
    if let Some(expected) = expected
        && !is_expected(&read_fingerprint(connection, table, range).map_err(f)?, expected)
        && !is_shadow(connection, &table.name.name).map_err(f)?
    {
        return Err(foreign_rows(subject));
    }
    let name = sql::ident(&table.name.name);
    let (condition, parameters) = sql::where_range(table, range);
    connection.execute(&format!("DELETE FROM {name}{condition}"), params_from_iter(parameters)).map_err(f)?;
    let columns = sql::written(table);
    let marks = vec!["?"; columns.len()].join(", ");
    let insert = format!("INSERT INTO {name} ({}) VALUES ({marks})", columns.join(", "));
    let mut insert = connection.prepare(&insert).map_err(f)?;
    let mut written = 0;
    loop {
        match incoming.blocking_recv() {
            Some(Parcel::Block(block)) => {
                insert_block(&mut insert, columns.len(), &block, subject).map_err(refused_row)?;
                written += block.rows;
            }
            Some(Parcel::End) => break,
            None => return Err(ConnectorError::new(ErrorKind::Interrupted, "write", subject, "the rows broke off before their end")),
        }
    }
    drop(insert);
    if let Some(proof) = proof
        && read_fingerprint(connection, table, range).map_err(f)? != *proof
    {
        return Err(not_as_sent(subject));
    }
    transaction.commit().map_err(f)?;
    Ok(written)
}

/// A row that meets its twin in another range: one of ours that has moved at the source, and then the same call succeeds once that range is replaced
/// too; or somebody else's, and then it must not go.
fn refused_row(mut error: ConnectorError) -> ConnectorError {
    if error.reason.contains("UNIQUE constraint failed") {
        error.kind = ErrorKind::Changed;
        error.temporary = true;
        return error.advice("Another range still holds the value; replace that range too, then try again");
    }
    error
}

/// Whether the table belongs to a virtual table: making that has put rows into it already.
fn is_shadow(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND name = ?1 AND type = 'shadow')";
    connection.query_row(query, [table], |row| row.get(0))
}

fn insert_block(insert: &mut Statement<'_>, columns: usize, block: &RowBlock, subject: &str) -> Result<()> {
    let f = failed("write", subject);
    let mut bytes = &block.data[..];
    for _ in 0..block.rows {
        for column in 1..=columns {
            let cell = values::decode(&mut bytes).ok_or_else(|| damaged(subject))?;
            insert.raw_bind_parameter(column, Cell(ToSqlOutput::Borrowed(cell))).map_err(f)?;
        }
        insert.raw_execute().map_err(f)?;
    }
    if bytes.is_empty() { Ok(()) } else { Err(damaged(subject)) }
}

fn damaged(subject: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Corrupt, "write", subject, "a block of rows is damaged: its cells do not add up")
}

/// A decoded cell as a parameter.
struct Cell<'a>(ToSqlOutput<'a>);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.clone())
    }
}
