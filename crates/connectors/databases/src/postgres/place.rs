//! Which database of which cluster it is, and locks that every session of the cluster can see.
//!
//! An advisory lock belongs to the database that its session is in, but `pg_locks` shows those of all databases. So a lock is held in the
//! database `postgres` where it can be, which also works while ours does not exist and does not stand in the way of dropping it.

use super::Postgres;
use super::connection::{Connection, Server};
use super::error::tried;
use ports::place::{DatabaseIdentity, DatabasePlace, PlaceLock};
use ports::{ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What the name of a holding session begins with, before what the holder gave.
const SESSION_NAME: &str = "migration-assistant ";

/// Another session that has the lock, in whatever database of the cluster.
const OTHER_HOLDER: &str = "SELECT l.pid, a.application_name FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = $1::int8::oid AND l.objid = $2::int8::oid \
    AND l.pid <> pg_catalog.pg_backend_pid() LIMIT 1";

/// A lock's two numbers.
fn key(name: &str) -> (i32, i32) {
    let hash = blake3::hash(name.as_bytes());
    let part = |at: usize| i32::from_be_bytes(hash.as_bytes()[at..at + 4].try_into().unwrap_or_default());
    (part(0), part(4))
}

/// As `pg_locks` shows it: an unsigned number.
fn shown(part: i32) -> i64 {
    i64::from(part.cast_unsigned())
}

#[async_trait::async_trait]
impl DatabasePlace for Postgres {
    async fn identity(&self) -> Result<DatabaseIdentity> {
        let connection = self.server.open().await?;
        let t = tried("ask for the identity of", &self.server.location);
        let query = "SELECT oid::int8, pg_catalog.pg_is_in_recovery() FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
        let row = connection.client.query_one(query, &[]).await.map_err(|e| t.failed(e))?;
        // Not every user may ask.
        let system = connection.client.query_one("SELECT system_identifier::text FROM pg_catalog.pg_control_system()", &[]).await;
        Ok(DatabaseIdentity { system: system.map(|row| row.get(0)).unwrap_or_default(), database: row.get::<_, i64>(0).to_string(), shared: row.get(1) })
    }

    async fn lock(&self, name: &str, holder: &str) -> Result<Option<Box<dyn PlaceLock>>> {
        let connection = somewhere(&self.server).await?;
        let t = tried("take a lock in", &self.server.location);
        let (high, low) = key(name);
        // Later servers end idle sessions where they are told to; earlier ones do not know the setting.
        connection.client.batch_execute("SET idle_session_timeout = 0").await.ok();
        let named = format!("{SESSION_NAME}{holder}");
        connection.client.execute("SELECT pg_catalog.set_config('application_name', $1, false)", &[&named]).await.map_err(|e| t.failed(e))?;
        let row = connection.client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", &[&high, &low]).await.map_err(|e| t.failed(e))?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        // One who could not enter `postgres` holds it elsewhere.
        let elsewhere = connection.client.query_opt(OTHER_HOLDER, &[&shown(high), &shown(low)]).await.map_err(|e| t.failed(e))?;
        Ok(elsewhere.is_none().then(|| Box::new(Held(Mutex::new(Some(connection)))) as Box<dyn PlaceLock>))
    }

    async fn holder(&self, name: &str) -> Result<Option<String>> {
        let connection = somewhere(&self.server).await?;
        let (high, low) = key(name);
        let found = connection.client.query_opt(OTHER_HOLDER, &[&shown(high), &shown(low)]).await;
        let found = found.map_err(|e| tried("look for a lock in", &self.server.location).failed(e))?;
        let told = |row: tokio_postgres::Row| row.get::<_, Option<String>>(1).unwrap_or_default();
        Ok(found.map(|row| told(row).strip_prefix(SESSION_NAME).unwrap_or_default().to_owned()))
    }
}

/// A connection to a database of the cluster that ours is in.
async fn somewhere(server: &Arc<Server>) -> Result<Connection> {
    match server.open_to("postgres").await {
        Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Authentication) => server.open().await,
        other => other,
    }
}

struct Held(Mutex<Option<Connection>>);

#[async_trait::async_trait]
impl PlaceLock for Held {
    async fn is_held(&self) -> bool {
        let connection = self.0.lock().await;
        match connection.as_ref() {
            Some(connection) => connection.client.simple_query("SELECT 1").await.is_ok(),
            None => false,
        }
    }

    async fn release(&self) {
        if let Some(connection) = self.0.lock().await.take() {
            // Cutting the connection would do, a moment later.
            connection.client.simple_query("SELECT pg_catalog.pg_advisory_unlock_all()").await.ok();
        }
    }
}
