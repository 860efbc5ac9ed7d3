//! What a user may make at a destination, found out by making it under temporary names and dropping it again.

use super::quote::{ident, text};
use super::schema::rights;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

/// What the trial found.
pub(super) struct Found {
    /// Kinds of objects that could not be made, each with the server's words.
    pub refused: Vec<String>,
    /// Kinds of objects of which this user does not see all.
    pub hidden: Vec<&'static str>,
}

/// Makes and drops a table and one object of each other kind. Fails when not even the table can be made, filled and dropped.
pub(super) async fn run(conn: &mut Conn, database: &str) -> Result<Found, Error> {
    let trial = format!("migration_trial_{:016x}", rand::random::<u64>());
    let sql = format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}", text(database));
    let there: Option<u64> = conn.query_first(sql).await?;
    let own = there == Some(0);
    let home = if own { &trial } else { database };
    if own {
        conn.query_drop(format!("CREATE DATABASE {}", ident(home))).await?;
    }
    let tried = try_all(conn, home, &trial).await;
    let cleaned = if own { conn.query_drop(format!("DROP DATABASE IF EXISTS {}", ident(home))).await } else { clean(conn, home, &trial).await };
    let refused = tried?;
    cleaned?;
    let rights = rights::read(conn, database).await?;
    let hidden = if own { Vec::new() } else { rights.missing().into_iter().map(|(kind, _)| kind).collect() };
    Ok(Found { refused, hidden })
}

/// The trial object of a kind.
fn named(home: &str, trial: &str, suffix: &str) -> String {
    format!("{}.{}", ident(home), ident(&format!("{trial}{suffix}")))
}

async fn try_all(conn: &mut Conn, home: &str, trial: &str) -> Result<Vec<String>, Error> {
    let name = |suffix: &str| named(home, trial, suffix);
    let table = name("");
    conn.query_drop(format!("CREATE TABLE {table} (id INT PRIMARY KEY, t VARCHAR(10))")).await?;
    conn.query_drop(format!("INSERT INTO {table} VALUES (1, 'x')")).await?;
    conn.query_drop(format!("ALTER TABLE {table} ADD KEY (t)")).await?;
    conn.query_drop(format!("DELETE FROM {table} WHERE id = 1")).await?;
    let kinds = [
        ("foreign keys", format!("CREATE TABLE {} (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES {table} (id))", name("_f"))),
        ("views", format!("CREATE VIEW {} AS SELECT id FROM {table}", name("_v"))),
        ("routines", format!("CREATE PROCEDURE {}() SELECT 1", name("_p"))),
        ("triggers", format!("CREATE TRIGGER {} BEFORE INSERT ON {table} FOR EACH ROW SET NEW.t = 'x'", name("_t"))),
        ("events", format!("CREATE EVENT {} ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", name("_e"))),
    ];
    let mut refused = Vec::new();
    for (kind, sql) in kinds {
        match conn.query_drop(sql).await {
            Ok(()) => {}
            Err(Error::Server(e)) => refused.push(format!("{kind} (the server says: {})", e.message)),
            Err(e) => return Err(e),
        }
    }
    Ok(refused)
}

async fn clean(conn: &mut Conn, home: &str, trial: &str) -> Result<(), Error> {
    let mut failed = None;
    for (kind, suffix) in [("EVENT", "_e"), ("TRIGGER", "_t"), ("PROCEDURE", "_p"), ("VIEW", "_v"), ("TABLE", "_f"), ("TABLE", "")] {
        match conn.query_drop(format!("DROP {kind} IF EXISTS {}", named(home, trial, suffix))).await {
            Ok(()) => {}
            // Who may not make it may not drop it either.
            Err(Error::Server(e)) if !suffix.is_empty() && matches!(e.code, 1044 | 1142 | 1227 | 1370 | 1419) => {}
            // The others are dropped all the same.
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    failed.map_or(Ok(()), Err)
}
