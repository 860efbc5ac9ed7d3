//! One dialect for two databases: the same statements, `$1` placeholders and plain values, on SQLite and on PostgreSQL.
//!
//! Words that differ are tokens in the text: `{now}` the clock in microseconds, `{lock}` a row lock, `{skip}` a row lock that
//! passes over locked rows, `{blob}` and `{identity}` column types. No value ever enters a text.

use crate::embedded;
use crate::reach::Reach;
use engine::EngineError;
use rusqlite::types::{FromSql, Value, ValueRef};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row as _};
use std::borrow::Cow;

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
    /// What the transaction reaches, as far as it is known.
    pub reach: Option<Reach>,
}

enum Link {
    Sqlite(embedded::Link),
    Postgres(PoolConnection<Postgres>),
}

impl From<embedded::Link> for Conn {
    fn from(link: embedded::Link) -> Self {
        Self { link: Link::Sqlite(link), told: false, reach: None }
    }
}

impl From<PoolConnection<Postgres>> for Conn {
    fn from(connection: PoolConnection<Postgres>) -> Self {
        Self { link: Link::Postgres(connection), told: false, reach: None }
    }
}

/// The words of SQLite; its numbered placeholders are `?1`, because its `$1` would be a name.
const SQLITE: [(&str, &str); 6] =
    [("{now}", "microseconds_now()"), ("{lock}", ""), ("{skip}", ""), ("{blob}", "BLOB"), ("{identity}", "INTEGER PRIMARY KEY AUTOINCREMENT"), ("$", "?")];
const POSTGRES: [(&str, &str); 5] = [
    ("{now}", "((extract(epoch from clock_timestamp()) * 1000000)::bigint)"),
    ("{lock}", "FOR NO KEY UPDATE"),
    ("{skip}", "FOR NO KEY UPDATE SKIP LOCKED"),
    ("{blob}", "BYTEA"),
    ("{identity}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
];

/// The text in the database's own words. A `$` that no digit follows belongs to the statement.
fn translated<'a>(sql: &'a str, words: &[(&str, &str)]) -> Cow<'a, str> {
    let (mut rest, mut text) = (sql, String::new());
    while let Some(at) = rest.find(['{', '$']) {
        let (before, here) = rest.split_at(at);
        let is_name = here.starts_with('$') && !here[1..].starts_with(|c: char| c.is_ascii_digit());
        let word = words.iter().find(|(token, _)| here.starts_with(token)).filter(|_| !is_name);
        let (token, meant) = word.copied().unwrap_or((&here[..1], &here[..1]));
        if text.is_empty() {
            text.reserve(sql.len() + 64);
        }
        text.push_str(before);
        text.push_str(meant);
        rest = &here[token.len()..];
    }
    if text.is_empty() && rest.len() == sql.len() {
        return Cow::Borrowed(sql);
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// A statement for PostgreSQL with its values.
fn bound(sql: &str, params: Vec<Param>) -> Query<'static, Postgres, sqlx::postgres::PgArguments> {
    let mut query = sqlx::query::<Postgres>(AssertSqlSafe(translated(sql, &POSTGRES).into_owned()));
    for param in params {
        query = match param {
            Param::Int(value) => query.bind(value),
            Param::Text(value) => query.bind(value),
            Param::Blob(value) => query.bind(value),
        };
    }
    query
}

impl Conn {
    pub fn is_postgres(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    /// Runs a statement; how many rows it touched.
    pub async fn run(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, EngineError> {
        match &mut self.link {
            Link::Sqlite(link) => link.run(&translated(sql, &SQLITE), &params),
            Link::Postgres(c) => bound(sql, params).execute(&mut **c).await.map(|d| d.rows_affected()).map_err(failed),
        }
    }

    pub async fn rows(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Row>, EngineError> {
        match &mut self.link {
            Link::Sqlite(link) => Ok(link.rows(&translated(sql, &SQLITE), &params)?.into_iter().map(Row::Sqlite).collect()),
            Link::Postgres(c) => bound(sql, params).fetch_all(&mut **c).await.map(|r| r.into_iter().map(Row::Postgres).collect()).map_err(failed),
        }
    }

    /// The first row, if there is one.
    pub async fn row(&mut self, sql: &str, params: Vec<Param>) -> Result<Option<Row>, EngineError> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// Begins a transaction that reaches `reach`, in one round trip.
    pub async fn begin(&mut self, begin: &str, reach: &Reach) -> Result<(), EngineError> {
        match &mut self.link {
            Link::Sqlite(link) => link.script(begin),
            Link::Postgres(c) => {
                let text = format!("{begin}; {}", reach.setting()?);
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **c).await.map_err(failed)?;
                self.reach = Some(reach.clone());
                Ok(())
            }
        }
    }

    /// Statements without values, separated by semicolons: schema and transactions.
    pub async fn script(&mut self, sql: &str) -> Result<(), EngineError> {
        match &mut self.link {
            Link::Sqlite(link) => link.script(&translated(sql, &SQLITE)),
            Link::Postgres(c) => {
                let text = translated(sql, &POSTGRES).into_owned();
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **c).await.map(|_| ()).map_err(failed)
            }
        }
    }

    /// Throws the connection away instead of giving it back: nobody knows what state it is in. An embedded one looks by itself.
    pub fn discard(self) {
        match self.link {
            Link::Sqlite(link) => drop(link),
            Link::Postgres(c) => drop(c.detach()),
        }
    }
}

/// A row of either database. Columns are read by position.
pub enum Row {
    Sqlite(Vec<Value>),
    Postgres(sqlx::postgres::PgRow),
}

fn column<T: FromSql>(row: &[Value], index: usize) -> Result<T, EngineError> {
    let value = row.get(index).map_or(ValueRef::Null, ValueRef::from);
    T::column_result(value).map_err(|e| EngineError::Internal(format!("column {index} of a statement of ours holds something else: {e}")))
}

macro_rules! column {
    ($name:ident, $type:ty) => {
        pub fn $name(&self, index: usize) -> Result<$type, EngineError> {
            match self {
                Self::Sqlite(row) => column(row, index),
                Self::Postgres(row) => row.try_get(index).map_err(failed),
            }
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

    /// A text that nobody reads again: it is not copied where that can be spared.
    pub fn take_text(&mut self, index: usize) -> Result<String, EngineError> {
        if let Self::Sqlite(row) = self
            && let Some(Value::Text(text)) = row.get_mut(index)
        {
            return Ok(std::mem::take(text));
        }
        self.text(index)
    }

    /// A number that is 0 or 1, whatever size the database gives it.
    pub fn flag(&self, index: usize) -> Result<bool, EngineError> {
        match self {
            Self::Sqlite(row) => column::<i64>(row, index).map(|n| n != 0),
            Self::Postgres(row) => row.try_get::<i32, _>(index).map(|n| n != 0).map_err(failed),
        }
    }

    pub fn count(&self, index: usize) -> Result<u64, EngineError> {
        Ok(self.int(index)?.try_into().unwrap_or_default())
    }
}

/// What an error of PostgreSQL means to the engine: worth another try later, or a defect.
pub fn failed(error: sqlx::Error) -> EngineError {
    let text = error.to_string();
    let later = match &error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        // Connection, resources, shutdown, conflict, not now.
        sqlx::Error::Database(inner) => inner.code().is_some_and(|code| ["08", "53", "57", "40", "55"].iter().any(|class| code.starts_with(class))),
        _ => false,
    };
    if later { EngineError::Unavailable(text) } else { EngineError::Internal(format!("the database refused a statement of ours: {text}")) }
}

/// `$from, $from+1, …`, so many.
pub fn marks(from: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 5);
    write_marks(&mut text, from, count);
    text
}

/// `($1, $2), ($3, $4), …`: so many rows of so many columns.
pub fn values(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * (columns * 5 + 4));
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        write_marks(&mut text, row * columns + 1, columns);
        text.push(')');
    }
    text
}

fn write_marks(text: &mut String, from: usize, count: usize) {
    for number in from..from + count {
        text.push_str(if number == from { "$" } else { ", $" });
        text.push_str(&number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_gets_its_own_words() {
        let sql = "SELECT {now}, '{x}', json_extract(labels, '$.a') FROM t WHERE a = $1 AND b = $12 {lock}";
        let of_sqlite = translated(sql, &SQLITE);
        assert!(of_sqlite.contains("microseconds_now()") && of_sqlite.contains("'{x}', json_extract(labels, '$.a')"), "{of_sqlite}");
        assert!(of_sqlite.ends_with("WHERE a = ?1 AND b = ?12 "), "{of_sqlite}");
        assert!(translated(sql, &POSTGRES).ends_with("'$.a') FROM t WHERE a = $1 AND b = $12 FOR NO KEY UPDATE"));
        assert!(matches!(translated("SELECT 1", &SQLITE), Cow::Borrowed("SELECT 1")));
        assert_eq!((marks(3, 2).as_str(), values(2, 2).as_str()), ("$3, $4", "($1, $2), ($3, $4)"));
    }
}
