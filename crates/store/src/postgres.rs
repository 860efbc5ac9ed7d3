//! PostgreSQL: many workers on many machines. Its locks, its clock, its NOTIFY to wake readers elsewhere.

use crate::sql::{Conn, params};
use crate::writer::Pool;
use engine::EngineError;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The channel on which commits with events are told.
pub const CHANNEL: &str = "migration_assistant";
/// Connections: the writers', and the readers'.
const CONNECTIONS: u32 = 12;

pub async fn open(url: &str) -> Result<Pool, EngineError> {
    let pool = connect(url, CONNECTIONS).await?;
    let mut conn = Conn::from(pool.acquire().await.map_err(crate::sql::failed)?);
    crate::schema::upgrade(&mut conn).await?;
    if passes_walls(&mut conn).await? {
        tracing::warn!(
            "the database role is a superuser or has BYPASSRLS: PostgreSQL does not keep tenants apart for it. Use an ordinary role that owns its database"
        );
    }
    drop(conn);
    Ok(Pool::Postgres(pool))
}

/// A connection to a database as it is.
pub async fn look(url: &str) -> Result<Conn, EngineError> {
    connect(url, 1).await?.acquire().await.map(Conn::from).map_err(crate::sql::failed)
}

/// Whether row-level security does not hold for the connection's role.
pub async fn passes_walls(conn: &mut Conn) -> Result<bool, EngineError> {
    let sql = "SELECT CASE WHEN rolsuper OR rolbypassrls THEN 1 ELSE 0 END FROM pg_roles WHERE rolname = current_user";
    conn.row(sql, params![]).await?.map_or(Ok(false), |row| row.flag(0))
}

/// Tables with a tenant whose rows the database does not keep apart, by name.
pub async fn without_walls(conn: &mut Conn) -> Result<Vec<String>, EngineError> {
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped \
               WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace AND NOT (c.relrowsecurity AND c.relforcerowsecurity \
               AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid)) ORDER BY 1";
    conn.rows(sql, params![]).await?.iter().map(|row| row.text(0)).collect()
}

async fn connect(url: &str, connections: u32) -> Result<PgPool, EngineError> {
    // The address may hold a password: it never enters an error.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| EngineError::Invalid("the database address is not of the form postgres://USER:PASSWORD@HOST:PORT/NAME".to_owned()))?;
    let place = format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default());
    let options = options.application_name("migration-assistant").options([
        ("statement_timeout", "50s"),
        ("idle_in_transaction_session_timeout", "60s"),
        ("standard_conforming_strings", "on"),
    ]);
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(10)).connect_with(options).await;
    pool.map_err(|e| EngineError::Unavailable(format!("could not connect to the database {place}: {e}")))
}

/// Passes on what other processes tell. A lost connection is made anew; readers look by themselves meanwhile.
pub fn listen(pool: &Pool, changed: watch::Sender<u64>) -> Option<JoinHandle<()>> {
    let Pool::Postgres(pool) = pool.clone() else { return None };
    Some(tokio::spawn(async move {
        while !pool.is_closed() {
            if let Ok(mut listener) = PgListener::connect_with(&pool).await
                && listener.listen(CHANNEL).await.is_ok()
            {
                while listener.recv().await.is_ok() {
                    changed.send_modify(|n| *n += 1);
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }))
}
