//! Connections: how they are opened, what their sessions are set to, and how several calls share a bounded number of them.
//!
//! A [`Lease`] that is dropped without [`Lease::give_back`] closes its connection at once, which rolls back whatever was
//! open on it. So a failed or abandoned call never leaves a half-used connection behind.

use super::error::{Tried, tried};
use super::sql::Text;
use super::tls;
use domain::spec::{DatabaseAt, TlsMode};
use ports::{ErrorKind, Result};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

/// Opening, from the first packet to the finished session set-up.
const OPEN_WITHIN: Duration = Duration::from_secs(12);

/// Text forms that are the same on every server; names always with their schema; nothing filtered or cut off behind our back.
const SESSION: &str = "SELECT pg_catalog.set_config('search_path', '', false); \
    SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; \
    SET bytea_output = 'hex'; SET xmloption = 'content'; SET standard_conforming_strings = on; SET row_security = off; \
    SET quote_all_identifiers = off; SET client_min_messages = 'warning'; SET check_function_bodies = off; \
    SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET synchronize_seqscans = off; SET jit = off";

/// Never fewer: one waits for its server while the other is served.
const FEWEST: usize = 2;

/// One server and the way in.
pub struct Server {
    pub at: DatabaseAt,
    /// For people.
    pub location: String,
}

/// An open connection; dropping it cuts it, and the server rolls back what was open on it.
pub struct Connection {
    pub client: Client,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Server {
    pub fn new(at: &DatabaseAt) -> Self {
        Self { at: at.clone(), location: at.describe() }
    }

    /// How many of the wanted connections are worth having at once.
    fn side_by_side(&self, wanted: usize) -> usize {
        side_by_side(&self.at.host, wanted, std::thread::available_parallelism().map_or(FEWEST, usize::from))
    }

    fn config(&self, database: &str) -> Config {
        let mut config = Config::new();
        config.host(&self.at.host).port(self.at.port).user(&self.at.username).dbname(database);
        config.application_name("migration-assistant").connect_timeout(Duration::from_secs(8));
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_mins(1));
        if let Some(password) = &self.at.password {
            config.password(password.expose());
        }
        config.ssl_mode(match self.at.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyFull => SslMode::Require,
        });
        config
    }

    /// A connection to the database itself.
    pub async fn open(&self) -> Result<Connection> {
        self.open_to(&self.at.database).await
    }

    /// A connection to the database that every server has, to make or drop ours.
    pub async fn open_maintenance(&self) -> Result<Connection> {
        match self.open_to("postgres").await {
            Err(e) if e.kind == ErrorKind::NotFound => self.open_to("template1").await,
            other => other,
        }
    }

    /// A connection to any database of the server.
    pub async fn open_to(&self, database: &str) -> Result<Connection> {
        let t = tried("connect to", &self.location);
        tokio::time::timeout(OPEN_WITHIN, self.open_untimed(database, t)).await.unwrap_or_else(|_| {
            let words = format!("no answer within {} seconds", OPEN_WITHIN.as_secs());
            Err(t.error(ErrorKind::TimedOut, words).advice("Check host and port, and that firewalls let us through"))
        })
    }

    async fn open_untimed(&self, database: &str, t: Tried<'_>) -> Result<Connection> {
        let (client, wire) = self.config(database).connect(tls::connector(&self.at)?).await.map_err(|e| t.failed(e))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = wire.await {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        })
        .abort_handle();
        let connection = Connection { client, driver };
        connection.client.batch_execute(SESSION).await.map_err(|e| t.failed(e))?;
        Ok(connection)
    }
}

/// A server on this machine shares its processors with us and, as a rule, with the migration's other server: more connections than processors
/// only take turns. Measured with five million rows and both servers on two processors, four took 5 % longer than two. A tunnel looks the same.
fn side_by_side(host: &str, wanted: usize, processors: usize) -> usize {
    let here = host.starts_with('/') || host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if here { wanted.min(processors.max(FEWEST)) } else { wanted }
}

/// How this database stores and sorts text.
pub async fn text_of(client: &Client) -> Result<Text, tokio_postgres::Error> {
    let query = "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate::text, pg_catalog.to_jsonb(d)->>'datlocprovider', \
        pg_catalog.to_jsonb(d)->>'datlocale' FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()";
    let row = client.query_one(query, &[]).await?;
    let (encoding, collate): (String, String) = (row.get(0), row.get(1));
    let (provider, locale): (Option<String>, Option<String>) = (row.get(2), row.get(3));
    let by_bytes = |name: &str| matches!(name, "C" | "POSIX" | "C.UTF-8" | "C.UTF8" | "C.utf8");
    let bytewise = match provider.as_deref() {
        Some("i") => false,
        Some("b") => locale.as_deref().is_some_and(by_bytes),
        _ => by_bytes(&collate),
    };
    let unknown = encoding == "SQL_ASCII";
    Ok(Text { bytewise, utf8: unknown || encoding == "UTF8", unknown })
}

/// Up to a number of connections with the same session, opened when needed.
pub struct Pool {
    pub server: Arc<Server>,
    /// Run on each new connection, after [`SESSION`].
    opening: String,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// The right to use one connection.
pub struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(server: Arc<Server>, connections: usize, opening: impl Into<String>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(server.side_by_side(connections.max(1))));
        Arc::new(Self { server, opening: opening.into(), idle: Mutex::new(Vec::new()), permits })
    }

    /// Waits for a free connection, opening one when none is idle.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease> {
        let t = tried("use", &self.server.location);
        let closed = |_| t.error(ErrorKind::Invalid, "this view of the database has been closed");
        let permit = self.permits.clone().acquire_owned().await.map_err(closed)?;
        let idle = self.idle().pop().filter(|c| !c.client.is_closed());
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = self.server.open().await?;
                connection.client.batch_execute(&self.opening).await.map_err(|e| tried("prepare the session on", &self.server.location).failed(e))?;
                connection
            }
        };
        Ok(Lease { pool: self.clone(), connection: Some(connection), _permit: permit })
    }

    /// Refuses new leases and closes idle connections.
    pub fn close(&self) {
        self.permits.close();
        self.forget_idle();
    }

    /// Closes idle connections; new ones may be opened.
    pub fn forget_idle(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    pub fn client(&self) -> &Client {
        // Only `give_back` takes it, and that consumes the lease.
        &self.connection.as_ref().expect("a lease holds its connection until it is given back").client
    }

    /// Everything asked on it is answered: the next caller may have the connection.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take().filter(|c| !c.client.is_closed() && !self.pool.permits.is_closed()) {
            self.pool.idle().push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::side_by_side;

    #[test]
    fn only_a_server_of_this_machine_is_bound_by_its_processors() {
        for host in ["127.0.0.1", "::1", "localhost", "/run/postgresql"] {
            assert_eq!([(4, 2), (4, 1), (4, 8), (1, 8)].map(|(wanted, processors)| side_by_side(host, wanted, processors)), [2, 2, 4, 1], "{host}");
        }
        for host in ["10.0.0.5", "db.example.com", "localhost.example.com"] {
            assert_eq!(side_by_side(host, 4, 2), 4, "{host}");
        }
    }
}
