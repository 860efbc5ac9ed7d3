//! Reading: several connections that see one moment.
//!
//! SQLite has no snapshot to hand over. The readers are opened one after another while a further connection watches whether
//! anybody commits; if so, they are opened again. On a file that is written without pause one reader does all the work.
//! A file in rollback-journal mode knows one moment at a time: whoever reads it keeps its writers waiting. Its snapshot is a copy ([`snapshot`]).
//! A view of the latest state opens the file anew for each call, since whether others have it open may change.

use super::error::failed;
use super::file::Reader;
use super::snapshot::Snapshot;
use super::{blocking, file, schema, sql, values};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ports::databases::{Attached, Fingerprint, Key, KeyRange, ObjectName, RowBlock, RowFormat, RowSource, Schema, Table, View};
use ports::{ConnectorError, ErrorKind, Result};
use rusqlite::{Connection, params_from_iter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

const BLOCK: usize = 1 << 20;
/// More readers than this only wait for the same disk and processor.
const READERS: usize = 4;
/// How often the readers are opened anew when somebody commits in between.
const TRIES: usize = 10;
/// Blocks on their way from the reading thread.
const IN_FLIGHT: usize = 4;

pub struct Source {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// `None`: the latest state, decided for each call.
    reader: Option<Reader>,
    /// The readers of a snapshot that are not at work.
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Source {
    pub fn open(path: PathBuf, view: View) -> Result<Self> {
        if matches!(view, View::Destination { .. }) {
            file::recover(&path)?;
        }
        let reader = Reader::new(&path)?;
        let (reader, connections, permits) = match view {
            View::Latest { connections } | View::Destination { connections } => (None, Vec::new(), connections.clamp(1, READERS)),
            View::Snapshot { connections } if !file::in_wal_mode(&path)? => {
                let copy = Snapshot::take(&path)?;
                let reader = Reader::of_copy(copy.file());
                let subject = super::location(&path);
                let opened = (0..connections.clamp(1, READERS)).map(|_| begin(&reader, &subject)).collect::<Result<Vec<_>>>()?;
                let permits = opened.len();
                (Some(reader), opened, permits)
                // The readers have the copy open; its name goes here, so that nothing is left whatever ends us.
            }
            View::Snapshot { connections } => {
                let opened = one_moment(&reader, &path, connections.clamp(1, READERS))?;
                let permits = opened.len();
                (Some(reader), opened, permits)
            }
        };
        let permits = Arc::new(Semaphore::new(permits));
        Ok(Self { shared: Arc::new(Shared { path, reader, idle: Mutex::new(connections), permits }) })
    }
}

/// Connections whose read transactions all began between two commits.
fn one_moment(reader: &Reader, path: &Path, wanted: usize) -> Result<Vec<Connection>> {
    let subject = super::location(path);
    let f = failed("take a snapshot of", &subject);
    let watch = reader.open()?;
    let commits = |c: &Connection| c.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
    for _ in 0..TRIES {
        let before = commits(&watch).map_err(f)?;
        let readers = (0..wanted).map(|_| begin(reader, &subject)).collect::<Result<Vec<_>>>()?;
        if commits(&watch).map_err(f)? == before {
            return Ok(readers);
        }
    }
    Ok(vec![begin(reader, &subject)?])
}

fn begin(reader: &Reader, subject: &str) -> Result<Connection> {
    let connection = reader.open()?;
    // The transaction sees its moment from its first read on.
    connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(failed("take a snapshot of", subject))?;
    Ok(connection)
}

/// The right to use a connection.
struct Lease {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    async fn take(shared: &Arc<Shared>) -> Result<Self> {
        let permit = shared.permits.clone().acquire_owned().await.map_err(|_| shared.closed())?;
        Ok(Self { shared: shared.clone(), _permit: permit })
    }

    /// Works on a connection of the view. Fails afterwards if a file that was read as resting has been written meanwhile.
    fn work<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        match &self.shared.reader {
            Some(reader) => {
                let connection = self.shared.idle().pop().ok_or_else(|| self.shared.closed())?;
                let result = work(&connection);
                if !self.shared.permits.is_closed() {
                    self.shared.idle().push(connection);
                }
                reader.unchanged().and(result)
            }
            None => {
                let reader = Reader::new(&self.shared.path)?;
                let result = work(&reader.open()?);
                reader.unchanged().and(result)
            }
        }
    }
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unchanged(&self) -> Result<()> {
        self.reader.as_ref().map_or(Ok(()), Reader::unchanged)
    }

    fn closed(&self) -> ConnectorError {
        ConnectorError::new(ErrorKind::Invalid, "read", super::location(&self.path), "this view of the database has been closed")
    }

    fn subject(&self, table: &Table) -> String {
        format!("table {} of {}", table.name, super::location(&self.path))
    }
}

/// Runs work on one connection.
async fn on_connection<T: Send + 'static>(shared: &Arc<Shared>, work: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
    let lease = Lease::take(shared).await?;
    blocking("read", &shared.path, move || lease.work(work)).await
}

/// Runs work that hands out one item after another; the stream ends with an error if the work does.
fn streamed<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Connection, &dyn Fn(T) -> bool) -> Result<()> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let shared = shared.clone();
    let started = async move {
        let lease = Lease::take(&shared).await?;
        let (out, items) = mpsc::channel(IN_FLIGHT);
        let task = tokio::spawn(async move { blocking("read", &shared.path, move || lease.work(|c| work(c, &|item| out.blocking_send(item).is_ok()))).await });
        Ok(stream::try_unfold((items, Some(task)), |(mut items, mut task)| async move {
            if let Some(item) = items.recv().await {
                return Ok(Some((item, (items, task))));
            }
            let end = match task.take() {
                Some(task) => task.await.unwrap_or_else(|e| Err(ConnectorError::new(ErrorKind::Internal, "read", "rows", "the reading broke off").because(e))),
                None => Ok(()),
            };
            end.map(|()| None)
        }))
    };
    stream::once(started).try_flatten().boxed()
}

/// Reads a range row by row; `each` says whether to go on.
fn each_row(
    connection: &Connection,
    select: &[String],
    table: &Table,
    range: &KeyRange,
    order: &str,
    each: &mut dyn FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let (condition, parameters) = sql::where_range(table, range);
    let query = format!("SELECT {} FROM {}{condition}{order}", select.join(", "), sql::ident(&table.name.name));
    let mut statement = connection.prepare(&query)?;
    let mut rows = statement.query(params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

fn read_blocks(connection: &Connection, table: &Table, range: &KeyRange, give: &dyn Fn(RowBlock) -> bool) -> rusqlite::Result<()> {
    let columns = sql::written(table);
    let mut data = Vec::with_capacity(BLOCK);
    let mut rows = 0;
    each_row(connection, &columns, table, range, "", &mut |row| {
        values::encode_row(row, 0, columns.len(), &mut data)?;
        rows += 1;
        if data.len() < BLOCK - BLOCK / 16 {
            return Ok(true);
        }
        let full = std::mem::replace(&mut data, Vec::with_capacity(BLOCK));
        Ok(give(RowBlock { rows: std::mem::take(&mut rows), data: Bytes::from(full) }))
    })?;
    if rows > 0 {
        give(RowBlock { rows, data: Bytes::from(data) });
    }
    Ok(())
}

pub(super) fn read_fingerprint(connection: &Connection, table: &Table, range: &KeyRange) -> rusqlite::Result<Fingerprint> {
    let columns = sql::compared(table);
    let (mut rows, mut sum, mut cells) = (0, 0u128, Vec::new());
    each_row(connection, &columns, table, range, "", &mut |row| {
        cells.clear();
        values::encode_row(row, 0, columns.len(), &mut cells)?;
        sum = sum.wrapping_add(values::hash(&cells));
        rows += 1;
        Ok(true)
    })?;
    Ok(Fingerprint { rows, hash: format!("{sum:032x}") })
}

fn read_hashes(connection: &Connection, table: &Table, range: &KeyRange, give: &dyn Fn((Key, String)) -> bool) -> rusqlite::Result<()> {
    let parts = table.key.len();
    let mut columns = sql::key_columns(table);
    columns.extend(sql::compared(table));
    let order = format!(" ORDER BY {}", sql::key_order(table));
    let mut cells = Vec::new();
    each_row(connection, &columns, table, range, &order, &mut |row| {
        cells.clear();
        values::encode_row(row, parts, columns.len(), &mut cells)?;
        Ok(give((sql::key_of(row, parts)?, format!("{:032x}", values::hash(&cells)))))
    })
}

/// Walks along the key, taking each `rows`-th as a bound.
fn find_bounds(connection: &Connection, table: &Table, rows: u64) -> rusqlite::Result<Vec<Key>> {
    let columns = sql::key(table);
    let mut bounds = Vec::new();
    let mut place = 0u64;
    each_row(connection, &columns, table, &KeyRange::default(), &format!(" ORDER BY {}", columns.join(", ")), &mut |row| {
        let due = place > 0 && place.is_multiple_of(rows);
        place += 1;
        if due && (0..columns.len()).all(|i| row.get_ref(i).is_ok_and(sql::can_bound)) {
            bounds.push(sql::key_of(row, columns.len())?);
        }
        Ok(true)
    })?;
    Ok(bounds)
}

#[async_trait::async_trait]
impl RowSource for Source {
    fn format(&self) -> RowFormat {
        super::FORMAT
    }

    async fn schema(&self) -> Result<Schema> {
        let subject = super::location(&self.shared.path);
        let path = self.shared.path.clone();
        on_connection(&self.shared, move |c| schema::read(c, &path).map_err(failed("read the schema of", &subject))).await
    }

    async fn positions(&self, schema: &Schema) -> Result<Schema> {
        let (subject, schema) = (super::location(&self.shared.path), schema.clone());
        on_connection(&self.shared, move |c| schema::with_positions(c, schema).map_err(failed("read the counters of", &subject))).await
    }

    async fn attached(&self, _names: &[ObjectName]) -> Result<Attached> {
        let subject = super::location(&self.shared.path);
        on_connection(&self.shared, move |c| schema::attached(c).map_err(failed("read the schema of", &subject))).await
    }

    async fn split(&self, table: &Table, rows: u64) -> Result<Vec<KeyRange>> {
        if table.key.is_empty() {
            return Ok(vec![KeyRange::default()]);
        }
        let (table, subject, rows) = (table.clone(), self.shared.subject(table), rows.max(1));
        let bounds = on_connection(&self.shared, move |c| find_bounds(c, &table, rows).map_err(failed("cut into ranges", &subject))).await?;
        let mut lower = None;
        let mut ranges: Vec<KeyRange> = Vec::with_capacity(bounds.len() + 1);
        for upper in bounds {
            ranges.push(KeyRange { lower: lower.replace(upper.clone()), upper: Some(upper) });
        }
        ranges.push(KeyRange { lower, upper: None });
        Ok(ranges)
    }

    fn rows(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<RowBlock>> {
        let (table, range, subject) = (table.clone(), range.clone(), self.shared.subject(table));
        streamed(&self.shared, move |c, give| read_blocks(c, &table, &range, give).map_err(failed("read", &subject)))
    }

    async fn fingerprint(&self, table: &Table, range: &KeyRange) -> Result<Fingerprint> {
        let (table, range, subject) = (table.clone(), range.clone(), self.shared.subject(table));
        on_connection(&self.shared, move |c| read_fingerprint(c, &table, &range).map_err(failed("compute the fingerprint of", &subject))).await
    }

    fn row_hashes(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<(Key, String)>> {
        let (table, range, subject) = (table.clone(), range.clone(), self.shared.subject(table));
        if table.key.is_empty() {
            let error = ConnectorError::new(ErrorKind::Unsupported, "name rows of", subject, "the table has no key");
            return stream::once(async { Err(error) }).boxed();
        }
        streamed(&self.shared, move |c, give| read_hashes(c, &table, &range, give).map_err(failed("name rows of", &subject)))
    }

    async fn close(&self) -> Result<()> {
        self.shared.permits.close();
        let idle = std::mem::take(&mut *self.shared.idle());
        let shared = self.shared.clone();
        blocking("close", &self.shared.path, move || {
            drop(idle);
            shared.unchanged()
        })
        .await
    }
}
