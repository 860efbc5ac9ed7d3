//! SQLite inside this process, called without a detour over another thread: a read of a few rows costs less than waking one up.
//!
//! Nothing here waits for anything but the disk and, at most ten seconds, for another connection's lock. Whoever may take longer (commits,
//! reads of many rows) calls it on a thread that may block.

use crate::sql::Param;
use engine::EngineError;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;
/// How long a connection waits for another's lock, and a caller for a connection.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const TAKE_PATIENCE: Duration = Duration::from_secs(20);

const CHANGING: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";
const LOOKING: &str = "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY";

/// Connections to one file, opened when they are needed.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    path: PathBuf,
    query_only: bool,
    free: Mutex<Vec<Connection>>,
    places: Arc<Semaphore>,
}

/// A connection of a [`Pool`]. Dropped, it goes back; inside a transaction it is closed instead, which takes the transaction back.
pub struct Link {
    connection: Option<Connection>,
    pool: Pool,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(path: &Path, most: usize, query_only: bool) -> Self {
        Self(Arc::new(Inner { path: path.to_owned(), query_only, free: Mutex::default(), places: Arc::new(Semaphore::new(most)) }))
    }

    pub async fn take(&self) -> Result<Link, EngineError> {
        let place = tokio::time::timeout(TAKE_PATIENCE, self.0.places.clone().acquire_owned());
        let place = place.await.map_err(|_| EngineError::Unavailable("every connection to the database is busy".to_owned()))?;
        let place = place.map_err(|_| EngineError::Unavailable("the store is closed".to_owned()))?;
        let free = self.free().pop();
        let connection = match free {
            Some(connection) => connection,
            None => self.open().map_err(failed)?,
        };
        Ok(Link { connection: Some(connection), pool: self.clone(), _place: place })
    }

    /// Closes what is free; what is in use is closed when it is given back.
    pub fn close(&self) {
        self.0.places.close();
        self.free().clear();
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.0.path, flags)?;
        connection.busy_timeout(LOCK_PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.execute_batch(if self.0.query_only { LOOKING } else { CHANGING })?;
        // Else every statement with `LIMIT $1` is planned anew for every value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // SQLite's own clock counts milliseconds; ours and PostgreSQL's count microseconds, and the three are compared.
        let no_arguments = 0;
        connection.create_scalar_function("microseconds_now", no_arguments, FunctionFlags::SQLITE_UTF8, |_| Ok(jiff::Timestamp::now().as_microsecond()))?;
        Ok(connection)
    }
}

impl Link {
    /// Runs a statement; how many rows it touched.
    pub fn run(&mut self, sql: &str, params: &[Param]) -> Result<u64, EngineError> {
        self.try_run(sql, params).map_err(failed)
    }

    /// Runs a query; its rows, each with its values in order.
    pub fn rows(&mut self, sql: &str, params: &[Param]) -> Result<Vec<Vec<Value>>, EngineError> {
        self.try_rows(sql, params).map_err(failed)
    }

    /// Statements without values, separated by semicolons.
    pub fn script(&mut self, sql: &str) -> Result<(), EngineError> {
        if sql.contains(';') {
            return self.connection()?.execute_batch(sql).map_err(failed);
        }
        self.run(sql, &[]).map(|_| ())
    }

    fn connection(&mut self) -> Result<&mut Connection, EngineError> {
        self.connection.as_mut().ok_or_else(|| EngineError::Internal("a connection got lost".to_owned()))
    }

    fn try_run(&mut self, sql: &str, params: &[Param]) -> rusqlite::Result<u64> {
        let Some(connection) = self.connection.as_ref() else { return Err(rusqlite::Error::InvalidQuery) };
        let mut statement = connection.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        statement.raw_execute().map(|n| n as u64)
    }

    fn try_rows(&mut self, sql: &str, params: &[Param]) -> rusqlite::Result<Vec<Vec<Value>>> {
        let Some(connection) = self.connection.as_ref() else { return Err(rusqlite::Error::InvalidQuery) };
        let mut statement = connection.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        let columns = statement.column_count();
        let (mut rows, mut found) = (statement.raw_query(), Vec::new());
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns);
            for i in 0..columns {
                values.push(row.get(i)?);
            }
            found.push(values);
        }
        Ok(found)
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Param]) -> rusqlite::Result<()> {
    params.iter().enumerate().try_for_each(|(i, param)| statement.raw_bind_parameter(i + 1, param))
}

impl Drop for Link {
    fn drop(&mut self) {
        let ended = self.connection.take().filter(Connection::is_autocommit);
        if let Some(connection) = ended.filter(|_| !self.pool.0.places.is_closed()) {
            self.pool.free().push(connection);
        }
    }
}

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(value) => value.map_or(ValueRef::Null, ValueRef::Integer),
            Self::Text(value) => value.as_ref().map_or(ValueRef::Null, |v| ValueRef::Text(v.as_bytes())),
            Self::Blob(value) => value.as_ref().map_or(ValueRef::Null, |v| ValueRef::Blob(v)),
        }))
    }
}

/// What an error means to the engine: busy, locked, unreadable, full and cannot open pass; the rest is a defect.
pub fn failed(error: rusqlite::Error) -> EngineError {
    let code = error.sqlite_error().map(|e| e.extended_code & 0xff);
    if matches!(code, Some(5 | 6 | 10 | 13 | 14)) {
        return EngineError::Unavailable(error.to_string());
    }
    if matches!(code, Some(11 | 26)) {
        return EngineError::Internal(format!(
            "the database is damaged ({error}): stop the server, look with 'db check', and put a copy back with 'db restore'"
        ));
    }
    EngineError::Internal(format!("the database refused a statement of ours: {error}"))
}
