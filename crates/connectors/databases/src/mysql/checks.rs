//! Checking a server before anything moves.

use super::MySql;
use super::quote::{ident, text};
use super::server::Use;
use super::snapshot;
use futures::FutureExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::check::{Check, CheckOutcome, Examine, Finding, Role};
use ports::{ConnectorError, ErrorKind};

impl Examine for MySql {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        let mut checks = vec![
            Check { name: "connectivity", run: self.check_connectivity().boxed() },
            Check { name: "credentials", run: self.check_credentials(role).boxed() },
            Check { name: "permissions", run: self.check_permissions(role).boxed() },
            Check { name: "version", run: self.check_version().boxed() },
            Check { name: "character_set", run: self.check_character_set(role).boxed() },
            Check { name: "large_rows", run: self.check_large_rows(role).boxed() },
            Check { name: "clock", run: self.check_clock().boxed() },
        ];
        if role == Role::Destination {
            let unknown = CheckOutcome::Passed("unknown: the server does not tell how much room its disks have".to_owned());
            checks.push(Check { name: "free_space", run: std::future::ready(unknown).boxed() });
        }
        checks
    }
}

fn finding(field: &str, issue: impl Into<String>, suggestion: impl Into<String>) -> Finding {
    Finding { field: field.to_owned(), issue: issue.into(), suggestion: suggestion.into() }
}

fn failed(field: &str, error: ConnectorError) -> CheckOutcome {
    let field = match error.kind {
        ErrorKind::Authentication => "username",
        ErrorKind::NotFound => "database",
        ErrorKind::Unreachable | ErrorKind::TimedOut => "host",
        ErrorKind::HostKey => "tls",
        _ => field,
    };
    CheckOutcome::Failed {
        kind: error.kind,
        finding: finding(field, format!("could not {} {}: {}", error.operation, error.subject, error.reason), error.advice),
    }
}

fn warning(field: &str, issue: impl Into<String>, suggestion: impl Into<String>) -> CheckOutcome {
    CheckOutcome::Warning(finding(field, issue, suggestion))
}

impl MySql {
    async fn check_connectivity(&self) -> CheckOutcome {
        let at = self.server.at();
        match tokio::time::timeout(std::time::Duration::from_secs(10), tokio::net::TcpStream::connect((at.host.as_str(), at.port))).await {
            Ok(Ok(_)) => CheckOutcome::Passed(format!("{}:{} answers", at.host, at.port)),
            Ok(Err(e)) => failed("host", self.server.failed("reach", e.into())),
            Err(_) => failed("host", self.server.failed("reach", std::io::Error::from(std::io::ErrorKind::TimedOut).into())),
        }
    }

    async fn check_credentials(&self, role: Role) -> CheckOutcome {
        match self.server.session(Use::Read).await {
            Ok(conn) => {
                conn.disconnect().await.ok();
                CheckOutcome::Passed(format!("'{}' may log in", self.server.at().username))
            }
            Err(e) if e.kind == ErrorKind::NotFound && role == Role::Destination => {
                CheckOutcome::Passed(format!("the database '{}' will be made", self.server.database()))
            }
            Err(e) => failed("username", e),
        }
    }

    async fn check_permissions(&self, role: Role) -> CheckOutcome {
        let outcome = match role {
            Role::Source => self.may_read().await,
            Role::Destination => self.may_write().await,
        };
        outcome.unwrap_or_else(|e| failed("username", e))
    }

    async fn may_read(&self) -> Result<CheckOutcome, ConnectorError> {
        let mut conn = self.server.session(Use::Read).await?;
        let broken = |e| self.server.failed("read", e);
        let missing = unreadable(&mut conn).await.map_err(broken)?;
        if let Some(missing) = missing {
            let kind = ErrorKind::Permission;
            let advice = "Grant SELECT, SHOW VIEW, TRIGGER and EVENT on the database to this user";
            return Ok(CheckOutcome::Failed { finding: finding("username", missing, advice), kind });
        }
        let held = snapshot::hold_still(&mut conn, &self.server).await.map_err(|e| self.server.failed("take a consistent snapshot of", e))?;
        conn.query_drop("UNLOCK TABLES").await.map_err(broken)?;
        let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE='BASE TABLE' AND ENGINE<>'InnoDB' LIMIT 3";
        let outside: Vec<String> = conn.query(sql).await.map_err(broken)?;
        conn.disconnect().await.ok();
        if !held {
            let issue = "the user may neither FLUSH TABLES nor LOCK TABLES, so a consistent copy reads over one connection";
            return Ok(warning("username", issue, "Grant RELOAD (or LOCK TABLES on the database) for a faster copy"));
        }
        if !outside.is_empty() {
            let issue = format!("tables outside of InnoDB take no part in the snapshot: {}", outside.join(", "));
            return Ok(warning("database", issue, "Changes to them during the copy are caught by the final pass; convert them to InnoDB for a true snapshot"));
        }
        Ok(CheckOutcome::Passed("tables, views, triggers and events can be read, on one snapshot".to_owned()))
    }

    /// Really makes, fills and drops a table (in a database of its own when the destination is still to be made).
    async fn may_write(&self) -> Result<CheckOutcome, ConnectorError> {
        let server = &self.server;
        let mut conn = server.session_without_database(Use::Write).await?;
        let trial = format!("migration_trial_{:016x}", rand::random::<u64>());
        let sql = format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}", text(server.database()));
        let there: Option<u64> = conn.query_first(sql).await.map_err(|e| server.failed("look for", e))?;
        let (home, own) = if there == Some(0) { (trial.clone(), true) } else { (server.database().to_owned(), false) };
        let tried = trial_table(&mut conn, &home, &trial, own).await;
        let clean = if own { format!("DROP DATABASE IF EXISTS {}", ident(&home)) } else { format!("DROP TABLE IF EXISTS {}.{}", ident(&home), ident(&trial)) };
        let cleaned = conn.query_drop(clean).await;
        tried.and(cleaned).map_err(|e| server.failed("make, fill and drop a table in", e))?;
        conn.disconnect().await.ok();
        let info = server.info().await?;
        if !info.local_infile {
            let issue = "the server does not allow LOAD DATA LOCAL; rows are written with INSERT, which is slower";
            return Ok(warning("host", issue, "SET GLOBAL local_infile = ON at the destination for a faster copy"));
        }
        Ok(CheckOutcome::Passed("a table was made, filled and dropped".to_owned()))
    }

    async fn check_version(&self) -> CheckOutcome {
        match self.server.info().await {
            Ok(info) if info.version < (if info.mariadb { (10, 2, 0) } else { (8, 0, 0) }) => warning(
                "host",
                format!("{} is older than what this connector is made for (MySQL 8.0, MariaDB 10.2)", info.text),
                "Upgrade the server, or check the result with care",
            ),
            Ok(info) => CheckOutcome::Passed(info.text.clone()),
            Err(e) => failed("host", e),
        }
    }

    async fn check_character_set(&self, role: Role) -> CheckOutcome {
        let sql = "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME=DATABASE()";
        let mut conn = match self.server.session(Use::Read).await {
            Ok(conn) => conn,
            Err(e) if e.kind == ErrorKind::NotFound && role == Role::Destination => {
                return CheckOutcome::Passed("the database will take the source's".to_owned());
            }
            Err(e) => return failed("database", e),
        };
        let found: Result<Option<(String, String)>, Error> = conn.query_first(sql).await;
        conn.disconnect().await.ok();
        match found {
            Ok(row) => {
                let (charset, collation) = row.unwrap_or_default();
                CheckOutcome::Passed(format!("{charset} ({collation})"))
            }
            Err(e) => failed("database", self.server.failed("read the character set of", e)),
        }
    }

    async fn check_large_rows(&self, role: Role) -> CheckOutcome {
        match self.server.info().await {
            Ok(info) if role == Role::Destination && info.max_allowed_packet < 16 << 20 => {
                let issue = format!("max_allowed_packet is {} bytes: larger rows will be refused", info.max_allowed_packet);
                warning("host", issue, "SET GLOBAL max_allowed_packet = 67108864 at the destination")
            }
            Ok(info) => CheckOutcome::Passed(format!("rows of up to {} bytes", info.max_allowed_packet)),
            Err(e) => failed("host", e),
        }
    }

    async fn check_clock(&self) -> CheckOutcome {
        let mut conn = match self.server.session_without_database(Use::Read).await {
            Ok(conn) => conn,
            Err(e) => return failed("host", e),
        };
        let theirs: Result<Option<f64>, Error> = conn.query_first("SELECT UNIX_TIMESTAMP(NOW(6))").await;
        conn.disconnect().await.ok();
        match theirs {
            Ok(theirs) => {
                let skew = theirs.unwrap_or_default() - jiff::Timestamp::now().as_microsecond() as f64 / 1e6;
                if skew.abs() > 60.0 {
                    return warning("host", format!("the server's clock differs from ours by {skew:.0} s"), "Set the clocks (NTP)");
                }
                CheckOutcome::Passed(format!("differs by {:.1} s", skew.abs()))
            }
            Err(e) => failed("host", self.server.failed("read the clock of", e)),
        }
    }
}

/// What this user may not read, if anything.
async fn unreadable(conn: &mut Conn) -> Result<Option<String>, Error> {
    let sql = "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()";
    for (name, kind) in conn.query::<(String, String), _>(sql).await? {
        let statement = if kind == "VIEW" { format!("SHOW CREATE VIEW {}", ident(&name)) } else { format!("SELECT 1 FROM {} LIMIT 0", ident(&name)) };
        match conn.query_drop(statement).await {
            Ok(()) => {}
            // Broken views (1356) are a matter for the report, not for the rights.
            Err(Error::Server(e)) if matches!(e.code, 1044 | 1142 | 1143 | 1227) => return Ok(Some(format!("'{name}' may not be read: {}", e.message))),
            Err(Error::Server(_)) => {}
            Err(e) => return Err(e),
        }
    }
    for (sql, what) in [("SHOW EVENTS", "events"), ("SHOW TRIGGERS", "triggers")] {
        match conn.query_drop(sql).await {
            Ok(()) => {}
            Err(Error::Server(e)) if matches!(e.code, 1044 | 1142 | 1227) => return Ok(Some(format!("its {what} may not be read: {}", e.message))),
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

async fn trial_table(conn: &mut Conn, home: &str, trial: &str, make_home: bool) -> Result<(), Error> {
    if make_home {
        conn.query_drop(format!("CREATE DATABASE {}", ident(home))).await?;
    }
    let table = format!("{}.{}", ident(home), ident(trial));
    conn.query_drop(format!("CREATE TABLE {table} (id INT PRIMARY KEY, t VARCHAR(10))")).await?;
    conn.query_drop(format!("INSERT INTO {table} VALUES (1, 'x')")).await?;
    conn.query_drop(format!("ALTER TABLE {table} ADD KEY (t)")).await?;
    conn.query_drop(format!("DELETE FROM {table} WHERE id = 1")).await?;
    conn.query_drop(format!("DROP TABLE {table}")).await
}
