//! One server: how to reach it, how a session is set up, and what kind of server it is.
//!
//! All sessions speak UTF-8 to the server and get bytes back as they are stored (`character_set_results = NULL`), in UTC, with
//! a `sql_mode` that accepts whatever the source accepted (zero dates included). Truncation is caught by looking at the warnings.

use super::errors::failure;
use domain::spec::{DatabaseAt, TlsMode};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

/// A server that does not answer is given up after this time.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// `ALLOW_INVALID_DATES` and no `NO_ZERO_DATE`: what one server stored, the next must take.
pub(super) const SQL_MODE: &str = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION";

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    Write,
}

/// What kind of server answered.
#[derive(Debug, Clone)]
pub(super) struct ServerInfo {
    pub mariadb: bool,
    pub version: (u16, u16, u16),
    /// `MariaDB 10.11.14`, `MySQL 9.7.0`.
    pub text: String,
    /// What the server calls itself, alike for every session and every address.
    pub identity: String,
    pub local_infile: bool,
    pub max_allowed_packet: u64,
}

#[derive(Debug)]
pub(super) struct Server {
    at: DatabaseAt,
    info: OnceCell<ServerInfo>,
    /// `tls: prefer` found out that the server has no TLS.
    plain: AtomicBool,
}

impl Server {
    pub fn new(at: &DatabaseAt) -> Self {
        Self { at: at.clone(), info: OnceCell::new(), plain: AtomicBool::new(at.tls == TlsMode::Disable) }
    }

    /// For people, without a secret.
    pub fn location(&self) -> String {
        self.at.describe()
    }

    pub fn database(&self) -> &str {
        &self.at.database
    }

    pub fn at(&self) -> &DatabaseAt {
        &self.at
    }

    /// The letter for an error while doing something to the database as a whole.
    pub fn failed(&self, operation: impl Into<String>, error: Error) -> ConnectorError {
        failure(operation, self.location(), error)
    }

    pub async fn info(&self) -> Result<&ServerInfo> {
        self.info
            .get_or_try_init(|| async {
                let mut conn = self.raw().await?;
                let info = read_info(&mut conn).await.map_err(|e| self.failed("read the version of", e))?;
                conn.disconnect().await.ok();
                Ok(info)
            })
            .await
    }

    /// A session in the database.
    ///
    /// # Errors
    /// `NotFound` when the database is missing.
    pub async fn session(&self, purpose: Use) -> Result<Conn> {
        let mut conn = self.session_without_database(purpose).await?;
        let enter = format!("USE {}", super::quote::ident(&self.at.database));
        conn.query_drop(enter).await.map_err(|e| self.failed("open", e))?;
        Ok(conn)
    }

    /// A session in no database, to make or drop it.
    pub async fn session_without_database(&self, purpose: Use) -> Result<Conn> {
        let info = self.info().await?.clone();
        let mut conn = self.raw().await?;
        self.prepare(&mut conn, &info, purpose).await.map_err(|e| self.failed("set up a session at", e))?;
        Ok(conn)
    }

    async fn prepare(&self, conn: &mut Conn, info: &ServerInfo, purpose: Use) -> Result<(), Error> {
        conn.query_drop("SET NAMES utf8mb4").await?;
        conn.query_drop(format!(
            "SET SESSION character_set_results=NULL, time_zone='+00:00', sql_mode='{SQL_MODE}', net_write_timeout=3600, net_read_timeout=3600, \
             wait_timeout=28800, sql_safe_updates=0, foreign_key_checks=0, sql_quote_show_create=1, lock_wait_timeout=60"
        ))
        .await?;
        let isolation = if purpose == Use::Read { "REPEATABLE READ" } else { "READ COMMITTED" };
        conn.query_drop(format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}")).await?;
        for setting in optional_settings(info, purpose) {
            // Not every server has it, not every user may set it; none is needed for correctness.
            match conn.query_drop(format!("SET SESSION {setting}")).await {
                Ok(()) | Err(Error::Server(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// A bare connection, within the time limit.
    pub async fn raw(&self) -> Result<Conn> {
        let plain = self.plain.load(Ordering::Relaxed);
        match self.dial(!plain).await {
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if self.at.tls == TlsMode::Prefer => {
                self.plain.store(true, Ordering::Relaxed);
                self.dial(false).await
            }
            other => other,
        }
        .map_err(|e| self.failed("connect to", e))
    }

    async fn dial(&self, tls: bool) -> Result<Conn, Error> {
        let limit = || std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer");
        tokio::time::timeout(CONNECT_LIMIT, Conn::new(self.options(tls))).await.unwrap_or_else(|_| Err(limit().into()))
    }

    fn options(&self, tls: bool) -> Opts {
        let password = self.at.password.as_ref().map(|p| p.expose().to_owned());
        OptsBuilder::default()
            .ip_or_hostname(self.at.host.clone())
            .tcp_port(self.at.port)
            .user(Some(self.at.username.clone()))
            .pass(password)
            .prefer_socket(false)
            .max_allowed_packet(Some(1 << 30))
            .wait_timeout(Some(28_800))
            .stmt_cache_size(0)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .ssl_opts(tls.then(|| self.tls_options()))
            .into()
    }

    fn tls_options(&self) -> SslOpts {
        if self.at.tls != TlsMode::VerifyFull {
            return SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
        }
        match &self.at.ca {
            Some(pem) if pem.contains("-----BEGIN") => {
                SslOpts::default().with_disable_built_in_roots(true).with_root_certs(vec![pem.clone().into_bytes().into()])
            }
            Some(path) => SslOpts::default().with_disable_built_in_roots(true).with_root_certs(vec![std::path::PathBuf::from(path).into()]),
            None => SslOpts::default(),
        }
    }
}

/// Refuses a description that can never work.
pub(super) fn check_description(at: &DatabaseAt) -> Result<()> {
    if at.host.is_empty() {
        return Err(ConnectorError::new(ErrorKind::Invalid, "open", at.describe(), "no host is given"));
    }
    Ok(())
}

fn optional_settings(info: &ServerInfo, purpose: Use) -> Vec<&'static str> {
    let mut settings = if info.mariadb {
        vec!["max_statement_time=0", "idle_transaction_timeout=0", "idle_readonly_transaction_timeout=0", "check_constraint_checks=1"]
    } else {
        vec!["max_execution_time=0", "information_schema_stats_expiry=0", "sql_generate_invisible_primary_key=OFF"]
    };
    if purpose == Use::Write {
        settings.extend(["innodb_lock_wait_timeout=120", "max_error_count=65535"]);
        if !info.mariadb {
            settings.extend(["sql_require_primary_key=OFF", "restrict_fk_on_non_standard_key=OFF", "innodb_ddl_buffer_size=134217728"]);
        }
    }
    settings
}

async fn read_info(conn: &mut Conn) -> Result<ServerInfo, Error> {
    let sql = "SELECT VERSION(), @@version_comment, @@local_infile, @@max_allowed_packet";
    let row: Option<(String, String, u8, u64)> = conn.query_first(sql).await?;
    let (version, comment, local_infile, max_allowed_packet) = row.unwrap_or_default();
    let mariadb = version.contains("MariaDB") || comment.contains("MariaDB") || comment.contains("mariadb");
    let numbers: String = version.trim_start_matches("5.5.5-").chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts = numbers.split('.').map(|n| n.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let product = if mariadb { "MariaDB" } else { "MySQL" };
    let identity = if mariadb { "SELECT CONCAT_WS(':', @@hostname, @@port, @@datadir)" } else { "SELECT @@server_uuid" };
    let identity: Option<String> = conn.query_first(identity).await?;
    Ok(ServerInfo {
        mariadb,
        version: (next(), next(), next()),
        text: format!("{product} {numbers}"),
        identity: identity.unwrap_or_default(),
        local_infile: local_infile == 1,
        max_allowed_packet,
    })
}
