//! Keeps autovacuum off a table while it is filled.
//!
//! The server finds many new rows and starts to vacuum them under a lock that the first index then waits for, a second and more, with
//! nothing else to do. A lock of ours beside it makes autovacuum pass the table by. It hinders no writer, lives in a session of its own,
//! and goes with that session, so a crash leaves nothing behind. Without it everything works as well, only later: no failure is told.

use super::connection::{Connection, Server};
use super::sql;
use ports::databases::{ObjectName, Table};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Smaller tables are filled before anybody looks.
const LARGE: u64 = 32 << 20;
/// Guards at one time: each is a connection.
const MOST: usize = 4;
/// Whoever is there first may stay.
const PATIENCE: &str = "SET lock_timeout = '200ms'";

pub struct Guards {
    server: Arc<Server>,
    /// Every table that was asked for, once; `None` when there is no guard, or no longer.
    tables: Mutex<HashMap<ObjectName, Option<Connection>>>,
}

impl Guards {
    pub fn new(server: Arc<Server>) -> Self {
        Self { server, tables: Mutex::default() }
    }

    /// Guards the table from now on, if it is large. The second call for a table does nothing.
    pub async fn hold(&self, table: &Table) {
        if table.bytes < LARGE {
            return;
        }
        let mut tables = self.tables.lock().await;
        if tables.contains_key(&table.name) || tables.values().flatten().count() >= MOST {
            return;
        }
        let guard = self.open(&table.name).await;
        tables.insert(table.name.clone(), guard);
    }

    async fn open(&self, table: &ObjectName) -> Option<Connection> {
        let connection = self.server.open().await.ok()?;
        let lock = format!("{PATIENCE}; BEGIN; LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE", sql::qualified(table));
        let locked = connection.client.batch_execute(&lock).await;
        if let Err(error) = &locked {
            tracing::debug!(%table, %error, "autovacuum may come while the table is filled");
        }
        locked.is_ok().then_some(connection)
    }

    /// The lock is gone when this returns. For what needs the table to itself, such as an index.
    pub async fn release(&self, table: &ObjectName) {
        if let Some(guard) = self.tables.lock().await.get_mut(table).and_then(Option::take) {
            end(&guard).await;
        }
    }

    pub async fn release_all(&self) {
        for guard in self.tables.lock().await.values_mut().filter_map(Option::take) {
            end(&guard).await;
        }
    }
}

/// A broken connection has lost its lock already.
async fn end(guard: &Connection) {
    if let Err(error) = guard.client.batch_execute("ROLLBACK").await {
        tracing::debug!(%error, "the guard of a table was gone before its end");
    }
}
