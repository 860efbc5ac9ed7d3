//! One dialect for two databases: the same statements, `$1` placeholders and plain values, on SQLite and on PostgreSQL.
//!
//! Words that differ are tokens in the text: `{now}` the clock in microseconds, `{lock}` a row lock, `{skip}` a row lock that
//! passes over locked rows, `{blob}` and `{identity}` column types. No value ever enters a text.

use engine::EngineError;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row as _, Sqlite};
use std::sync::Arc;

/// A value for a placeholder.
#[derive(Debug, Clone)]
pub enum Param {
    Int(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

macro_rules! from {
    ($($from:ty => |$value:ident| $to:expr;)*) => { $(impl From<$from> for Param { fn from($value: $from) -> Self { $to } })* };
}
from! {
    i64 => |v| Self::Int(Some(v));
    u64 => |v| Self::Int(Some(i64::try_from(v).unwrap_or(i64::MAX)));
    u32 => |v| Self::Int(Some(v.into()));
    bool => |v| Self::Int(Some(v.into()));
    Option<i64> => |v| Self::Int(v);
    &str => |v| Self::Text(Some(v.to_owned()));
    &String => |v| Self::Text(Some(v.clone()));
    String => |v| Self::Text(Some(v));
    Option<String> => |v| Self::Text(v);
    Vec<u8> => |v| Self::Blob(Some(v));
}

/// `params![a, b]`: values of any kind for `$1`, `$2`, …
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::sql::Param::from($value)),*] };
}
pub(crate) use params;

/// A connection, inside a transaction or not.
pub struct Conn {
    link: Link,
    /// An event was written: readers are woken after the commit.
    pub told: bool,
}

enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl From<PoolConnection<Sqlite>> for Conn {
    fn from(connection: PoolConnection<Sqlite>) -> Self {
        Self { link: Link::Sqlite(connection), told: false }
    }
}

impl From<PoolConnection<Postgres>> for Conn {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self { link: Link::Postgres(connection), told: false }
    }
}

/// The text in the database's own words.
fn translated(sql: &str, sqlite: bool) -> Arc<str> {
    if !sql.contains('{') {
        return sql.into();
    }
    let [now, lock, skip, blob, identity] = if sqlite {
        ["(CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000)", "", "", "BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"]
    } else {
        [
            "((extract(epoch from clock_timestamp()) * 1000000)::bigint)",
            "FOR NO KEY UPDATE",
            "FOR NO KEY UPDATE SKIP LOCKED",
            "BYTEA",
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        ]
    };
    let text = sql.replace("{now}", now).replace("{lock}", lock).replace("{skip}", skip);
    text.replace("{blob}", blob).replace("{identity}", identity).into()
}

macro_rules! bound {
    ($db:ty, $text:expr, $params:expr) => {{
        let mut query: Query<'_, $db, _> = sqlx::query::<$db>(AssertSqlSafe($text));
        for param in $params {
            query = match param {
                Param::Int(value) => query.bind(value),
                Param::Text(value) => query.bind(value),
                Param::Blob(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Conn {
    pub fn is_postgres(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    /// Runs a statement; how many rows it touched.
    pub async fn run(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, EngineError> {
        let done = match &mut self.link {
            Link::Sqlite(c) => bound!(Sqlite, translated(sql, true), params).execute(&mut **c).await.map(|d| d.rows_affected()),
            Link::Postgres(c) => bound!(Postgres, translated(sql, false), params).execute(&mut **c).await.map(|d| d.rows_affected()),
        };
        done.map_err(failed)
    }

    pub async fn rows(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Row>, EngineError> {
        let rows = match &mut self.link {
            Link::Sqlite(c) => bound!(Sqlite, translated(sql, true), params).fetch_all(&mut **c).await.map(|r| r.into_iter().map(Row::Sqlite).collect()),
            Link::Postgres(c) => bound!(Postgres, translated(sql, false), params).fetch_all(&mut **c).await.map(|r| r.into_iter().map(Row::Postgres).collect()),
        };
        rows.map_err(failed)
    }

    /// The first row, if there is one.
    pub async fn row(&mut self, sql: &str, params: Vec<Param>) -> Result<Option<Row>, EngineError> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Statements without values, separated by semicolons: schema and transactions.
    pub async fn script(&mut self, sql: &str) -> Result<(), EngineError> {
        let done = match &mut self.link {
            Link::Sqlite(c) => sqlx::raw_sql(AssertSqlSafe(translated(sql, true))).execute(&mut **c).await.map(|_| ()),
            Link::Postgres(c) => sqlx::raw_sql(AssertSqlSafe(translated(sql, false))).execute(&mut **c).await.map(|_| ()),
        };
        done.map_err(failed)
    }

    /// Throws the connection away instead of giving it back: nobody knows what state it is in.
    pub fn discard(self) {
        match self.link {
            Link::Sqlite(c) => drop(c.detach()),
            Link::Postgres(c) => drop(c.detach()),
        }
    }
}

/// A row of either database. Columns are read by position.
pub enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

macro_rules! column {
    ($name:ident, $type:ty) => {
        pub fn $name(&self, index: usize) -> Result<$type, EngineError> {
            match self {
                Self::Sqlite(row) => row.try_get(index),
                Self::Postgres(row) => row.try_get(index),
            }
            .map_err(failed)
        }
    };
}

impl Row {
    column!(int, i64);
    column!(maybe_int, Option<i64>);
    column!(text, String);
    column!(maybe_text, Option<String>);
    column!(blob, Vec<u8>);
    column!(maybe_blob, Option<Vec<u8>>);

    /// A number that is 0 or 1, whatever size the database gives it.
    pub fn flag(&self, index: usize) -> Result<bool, EngineError> {
        match self {
            Self::Sqlite(row) => row.try_get::<i64, _>(index).map(|n| n != 0),
            Self::Postgres(row) => row.try_get::<i32, _>(index).map(|n| n != 0),
        }
        .map_err(failed)
    }

    pub fn count(&self, index: usize) -> Result<u64, EngineError> {
        Ok(self.int(index)?.try_into().unwrap_or_default())
    }
}

/// What a database error means to the engine: worth another try later, or a defect.
pub fn failed(error: sqlx::Error) -> EngineError {
    let text = error.to_string();
    let later = match &error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(inner) => inner.code().is_some_and(|code| is_passing(&code)),
        _ => false,
    };
    if later { EngineError::Unavailable(text) } else { EngineError::Internal(format!("the database refused a statement of ours: {text}")) }
}

/// Codes of both databases that say "not now": busy, locked, read error, full, cannot open; connection, resources, shutdown, conflict.
fn is_passing(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(sqlite) if code.len() < 5 => matches!(sqlite & 0xff, 5 | 6 | 10 | 13 | 14),
        _ => ["08", "53", "57", "40", "55"].iter().any(|class| code.starts_with(class)),
    }
}

/// `$from, $from+1, …`, so many.
pub fn marks(from: usize, count: usize) -> String {
    (from..from + count).map(|i| format!("${i}")).collect::<Vec<_>>().join(", ")
}

/// `($1, $2), ($3, $4), …`: so many rows of so many columns.
pub fn values(rows: usize, columns: usize) -> String {
    (0..rows).map(|row| format!("({})", marks(row * columns + 1, columns))).collect::<Vec<_>>().join(", ")
}
