//! Checking a server before anything moves.

use super::MySql;
use super::quote::ident;
use super::schema::rights;
use super::server::Use;
use super::snapshot;
use super::trial::{self, Kind};
use futures::FutureExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::check::{Check, CheckOutcome, Examine, Finding, Role};
use ports::{ConnectorError, ErrorKind};
use std::collections::BTreeSet;

/// What is tried where the schema to be moved is not known: [`super::rehearsal`] tries what that needs.
const KINDS: [Kind; 6] = [Kind::ForeignKeys, Kind::Views, Kind::Procedures, Kind::Functions, Kind::Triggers, Kind::Events];

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
        let advice = self.reading_rights().await?;
        if let Some(missing) = unreadable(&mut conn).await.map_err(broken)? {
            return Ok(CheckOutcome::Failed { finding: finding("username", missing, advice), kind: ErrorKind::Permission });
        }
        let hidden = rights::read(&mut conn, self.server.database()).await.map_err(broken)?.missing();
        let held = snapshot::can_hold_still(&self.server).await?;
        let outside = snapshot::outside_of_transactions(&mut conn).await.map_err(broken)?;
        conn.disconnect().await.ok();
        if !hidden.is_empty() {
            let kinds: Vec<_> = hidden.iter().map(|(kind, right)| format!("{kind} ({right} is missing)")).collect();
            let issue = format!("this user does not see all of the database: {}. What it does not see stays behind", kinds.join(", "));
            return Ok(warning("username", issue, advice));
        }
        if !held {
            let issue = "the user may neither FLUSH TABLES nor LOCK TABLES, so a consistent copy reads over one connection";
            return Ok(warning("username", issue, "Grant RELOAD (or LOCK TABLES on the database) for a faster copy"));
        }
        if !outside.is_empty() {
            let named: Vec<_> = outside.iter().take(3).map(String::as_str).collect();
            let issue = format!("{} tables without transactions take no part in a snapshot: {}", outside.len(), named.join(", "));
            let advice = "The last pass and backups lock them for reading: whoever writes to them waits meanwhile. Convert them to InnoDB for a true snapshot";
            return Ok(warning("database", issue, advice));
        }
        Ok(CheckOutcome::Passed("tables, views, routines, triggers and events can be read, on one snapshot".to_owned()))
    }

    /// The rights with which nothing stays unseen.
    async fn reading_rights(&self) -> Result<&'static str, ConnectorError> {
        let info = self.server.info().await?;
        Ok(if !info.mariadb {
            "Grant SELECT, SHOW VIEW, TRIGGER, EVENT and EXECUTE on the database, and SHOW_ROUTINE, to this user"
        } else if info.version >= (11, 3, 0) {
            "Grant SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE and SHOW CREATE ROUTINE on the database to this user"
        } else {
            "Grant SELECT, SHOW VIEW, TRIGGER, EVENT and EXECUTE on the database, and SELECT on mysql.proc, to this user"
        })
    }

    /// Really makes, fills and drops a table and one of each other kind of object (in a database of its own when the destination is still
    /// to be made).
    async fn may_write(&self) -> Result<CheckOutcome, ConnectorError> {
        let server = &self.server;
        let mut conn = server.session_without_database(Use::Write).await?;
        let found = trial::run(&mut conn, server.database(), &KINDS).await.map_err(|e| server.failed("make, fill and drop a table in", e))?;
        conn.disconnect().await.ok();
        let info = server.info().await?;
        if !found.refused.is_empty() {
            let refused: Vec<String> = found.refused.iter().map(|r| format!("{} ({})", r.kind.name(), r.reason)).collect();
            let advice: BTreeSet<String> = found.refused.iter().map(|r| r.kind.advice(r.code)).collect();
            let issue = format!("this user could not make {}. A migration that brings or replaces such objects is refused", refused.join("; "));
            return Ok(warning("username", issue, format!("At the destination: {}", advice.into_iter().collect::<Vec<_>>().join("; "))));
        }
        if !found.hidden.is_empty() {
            let issue = format!(
                "this user does not see all {} of the destination: what it does not see cannot be saved before it is replaced",
                found.hidden.join(", ")
            );
            return Ok(warning("username", issue, self.reading_rights().await?));
        }
        if !info.local_infile {
            let issue = "the server does not allow LOAD DATA LOCAL; rows are written with INSERT, which is slower";
            return Ok(warning("host", issue, "SET GLOBAL local_infile = ON at the destination for a faster copy"));
        }
        Ok(CheckOutcome::Passed("a table, a view, a routine, a trigger and an event were made and dropped".to_owned()))
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
