//! Which schema of which server it is, and user-level locks (`GET_LOCK`), which every session of the server can see.

use super::MySql;
use super::server::{Server, Use};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use ports::Result;
use ports::place::{DatabaseIdentity, DatabasePlace, PlaceLock};
use ports::{ConnectorError, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

/// What the statement of a holding session says before the holder; the process list shows it.
const SESSION_NAME: &str = "migration-assistant ";
/// Seconds that a holding session's statement runs: so long a lock outlives its process at most.
const HOLDING_STATEMENT: u32 = 1;
/// Longest wait for the end of a session that was told to end.
const ENDING: Duration = Duration::from_secs(8);

/// MySQL allows 64 characters.
fn lock_name(name: &str) -> String {
    format!("migration-assistant-{}", &blake3::hash(name.as_bytes()).to_hex()[..40])
}

/// Names come from documents, and stand in a statement.
fn plain(holder: &str) -> String {
    holder.chars().filter(|c| c.is_ascii_alphanumeric() || "-_. ".contains(*c)).collect()
}

#[async_trait::async_trait]
impl DatabasePlace for MySql {
    async fn identity(&self) -> Result<DatabaseIdentity> {
        let mut conn = self.server.session(Use::Read).await?;
        let failed = |e| self.server.failed("ask for the identity of", e);
        let folded: Option<u8> = conn.query_first("SELECT @@lower_case_table_names").await.map_err(failed)?;
        let name = self.server.database();
        let database = if folded.unwrap_or(0) == 0 { name.to_owned() } else { name.to_lowercase() };
        let mut system = status(&mut conn, "SHOW STATUS LIKE 'wsrep_cluster_state_uuid'").await;
        if system.is_empty() {
            system = status(&mut conn, "SHOW VARIABLES LIKE 'group_replication_group_name'").await;
        }
        conn.disconnect().await.ok();
        Ok(DatabaseIdentity { system, database, shared: true })
    }

    async fn lock(&self, name: &str, holder: &str) -> Result<Option<Box<dyn PlaceLock>>> {
        let mut conn = self.server.session_without_database(Use::Read).await?;
        let failed = |e| self.server.failed("take a lock at", e);
        let got: Option<Option<u8>> = conn.exec_first("SELECT GET_LOCK(?, 0)", (lock_name(name),)).await.map_err(failed)?;
        match got.flatten() {
            Some(1) => {}
            Some(_) => return Ok(None),
            None => return Err(ConnectorError::new(ErrorKind::Unsupported, "take a lock at", self.server.location(), "the server gave no lock")),
        }
        let id = conn.id();
        let alive = Arc::new(AtomicBool::new(true));
        let task = AbortOnDropHandle::new(tokio::spawn(keep(conn, plain(holder), alive.clone())));
        Ok(Some(Box::new(Held { server: self.server.clone(), id, alive, task: Mutex::new(Some(task)) })))
    }

    async fn holder(&self, name: &str) -> Result<Option<String>> {
        let mut conn = self.server.session_without_database(Use::Read).await?;
        let failed = |e| self.server.failed("look for a lock at", e);
        let used: Option<Option<u64>> = conn.exec_first("SELECT IS_USED_LOCK(?)", (lock_name(name),)).await.map_err(failed)?;
        let Some(id) = used.flatten() else { return Ok(None) };
        // Shown to the same user, and to those who may see all sessions.
        let told: Result<Option<Option<Vec<u8>>>, _> = conn.exec_first("SELECT INFO FROM information_schema.PROCESSLIST WHERE ID = ?", (id,)).await;
        conn.disconnect().await.ok();
        let told = told.ok().flatten().flatten().unwrap_or_default();
        Ok(Some(between(&String::from_utf8_lossy(&told)).unwrap_or_default()))
    }
}

/// The holder in the statement of its session.
fn between(statement: &str) -> Option<String> {
    let rest = &statement[statement.find(SESSION_NAME)? + SESSION_NAME.len()..];
    Some(rest[..rest.find('`')?].to_owned())
}

/// The value of a row of `SHOW`; empty where there is none.
async fn status(conn: &mut Conn, show: &str) -> String {
    let row: Result<Option<(String, String)>, _> = conn.query_first(show).await;
    row.ok().flatten().map(|(_, value)| value).unwrap_or_default()
}

/// Keeps the session busy, so that nobody ends it for idleness and its statement names the holder.
async fn keep(mut conn: Conn, holder: String, alive: Arc<AtomicBool>) {
    let statement = format!("SELECT SLEEP({HOLDING_STATEMENT}) AS `{SESSION_NAME}{holder}`");
    while conn.query_drop(&statement).await.is_ok() {}
    alive.store(false, Ordering::Release);
}

struct Held {
    server: Arc<Server>,
    id: u32,
    alive: Arc<AtomicBool>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[async_trait::async_trait]
impl PlaceLock for Held {
    async fn is_held(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    async fn release(&self) {
        let Some(task) = self.task.lock().await.take() else { return };
        if let Ok(mut conn) = self.server.raw().await {
            // A user may end sessions of its own.
            conn.query_drop(format!("KILL {}", self.id)).await.ok();
            conn.disconnect().await.ok();
        }
        let ended: JoinHandle<()> = task.detach();
        tokio::time::timeout(ENDING, ended).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_read_from_its_statement() {
        assert_eq!(between("SELECT SLEEP(5) AS `migration-assistant run-1 abc`").as_deref(), Some("run-1 abc"));
        assert_eq!(between("SELECT 1"), None);
        assert_eq!(plain("run`; DROP"), "run DROP");
        assert!(lock_name("any name, however long it is ".repeat(9).as_str()).len() <= 64);
    }
}
