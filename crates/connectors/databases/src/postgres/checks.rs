//! What can be known before anything moves: is it there, may we, is it new enough, does it hold what we bring.

use super::Postgres;
use super::connection::Connection;
use super::error::tried;
use ports::check::{Check, CheckOutcome, Examine, Finding, Role};
use ports::{ConnectorError, ErrorKind, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// The oldest server whose functions we rely on, as `server_version_num` has it.
const OLDEST: i32 = 140_000;
/// Clocks further apart than this are worth a word, in seconds.
const CLOCK_TOLERANCE: f64 = 30.0;

/// What the people at the source will notice.
const LOAD: &str = "one snapshot is held while rows are copied: nobody waits for it, but old versions of changed rows are kept until it ends, and \
    ALTER and DROP of a table wait while the table is read";

type Outcome = Result<CheckOutcome>;

impl Examine for Postgres {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        let mut checks = vec![
            Check { name: "connectivity", run: Box::pin(async move { settle(self.connectivity().await) }) },
            Check { name: "credentials", run: Box::pin(async move { settle(self.credentials(role).await) }) },
            Check { name: "permissions", run: Box::pin(async move { settle(self.permissions(role).await) }) },
            Check { name: "version", run: Box::pin(async move { settle(self.server_version(role).await) }) },
            Check { name: "character_set", run: Box::pin(async move { settle(self.character_set(role).await) }) },
            Check { name: "connections", run: Box::pin(async move { settle(self.connections(role).await) }) },
            Check { name: "clock", run: Box::pin(async move { settle(self.clock(role).await) }) },
            Check { name: "row_level_security", run: Box::pin(async move { settle(self.row_security(role).await) }) },
        ];
        if role == Role::Source {
            checks.push(Check { name: "source_load", run: Box::pin(async { passed(LOAD) }) });
        }
        checks
    }
}

fn settle(outcome: Outcome) -> CheckOutcome {
    outcome.unwrap_or_else(|e| {
        let field = match e.kind {
            ErrorKind::Unreachable | ErrorKind::TimedOut => "database.host",
            ErrorKind::Authentication => "database.password",
            ErrorKind::HostKey | ErrorKind::Unsupported => "database.tls",
            ErrorKind::Permission => "database.username",
            _ => "database.database",
        };
        failed(field, e.to_string(), e.advice.clone(), e.kind)
    })
}

fn failed(field: &str, issue: String, suggestion: String, kind: ErrorKind) -> CheckOutcome {
    CheckOutcome::Failed { finding: Finding { field: field.to_owned(), issue, suggestion }, kind }
}

fn warning(field: &str, issue: String, suggestion: &str) -> CheckOutcome {
    CheckOutcome::Warning(Finding { field: field.to_owned(), issue, suggestion: suggestion.to_owned() })
}

fn passed(text: impl Into<String>) -> CheckOutcome {
    CheckOutcome::Passed(text.into())
}

impl Postgres {
    /// To the database, or on a destination that has none yet, to its server.
    async fn enter(&self, role: Role) -> Result<Connection> {
        match self.server.open().await {
            Err(e) if e.kind == ErrorKind::NotFound && role == Role::Destination => self.server.open_maintenance().await,
            other => other,
        }
    }

    fn failure(&self, error: tokio_postgres::Error) -> ConnectorError {
        tried("check", &self.server.location).failed(error)
    }

    /// Only whether a PostgreSQL server answers: a refused password or a missing database is an answer.
    async fn connectivity(&self) -> Outcome {
        match self.server.open().await {
            Ok(_) => Ok(passed(format!("{}:{} answers", self.server.at.host, self.server.at.port))),
            Err(e) if matches!(e.kind, ErrorKind::Authentication | ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Throttled) => {
                Ok(passed(format!("{}:{} answers", self.server.at.host, self.server.at.port)))
            }
            Err(e) => Err(e),
        }
    }

    async fn credentials(&self, role: Role) -> Outcome {
        self.enter(role).await?;
        Ok(passed(format!("user {} is accepted", self.server.at.username)))
    }

    async fn permissions(&self, role: Role) -> Outcome {
        match role {
            Role::Source => self.may_read().await,
            Role::Destination => self.may_write().await,
        }
    }

    async fn may_read(&self) -> Outcome {
        let connection = self.server.open().await?;
        let query = "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE c.relkind IN ('r', 'p', 'm', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)' \
            AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 1 LIMIT 5";
        let rows = connection.client.query(query, &[]).await.map_err(|e| self.failure(e))?;
        if rows.is_empty() {
            return Ok(passed("every table may be read"));
        }
        let names: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
        let user = &self.server.at.username;
        let advice = format!("GRANT pg_read_all_data TO {user}, or USAGE on the schemas and SELECT on their tables and sequences");
        Ok(failed("database.username", format!("user {user} may not read {}", names.join(", ")), advice, ErrorKind::Permission))
    }

    /// Rows that a policy hides from this user would stay behind: the session refuses to read such tables, so say it before.
    async fn row_security(&self, role: Role) -> Outcome {
        let connection = self.enter(role).await?;
        let query = "SELECT c.oid::regclass::text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity \
            AND pg_catalog.row_security_active(c.oid) ORDER BY 1";
        let rows = connection.client.query(query, &[]).await.map_err(|e| self.failure(e))?;
        if rows.is_empty() {
            return Ok(passed("no policy hides rows from this user"));
        }
        let user = &self.server.at.username;
        let names: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
        let issue = format!("row-level security hides rows from user {user} in {}", names.join(", "));
        let advice = format!("ALTER ROLE {user} BYPASSRLS, or use the tables' owner, for whom they must not say FORCE ROW LEVEL SECURITY");
        Ok(match role {
            Role::Source => failed("database.username", issue, advice, ErrorKind::Permission),
            // Only tables that are replaced are read there, for the backup.
            Role::Destination => warning("database.username", issue, &advice),
        })
    }

    /// Makes, fills and drops a table under a name of its own; without a database, asks whether one may be made.
    async fn may_write(&self) -> Outcome {
        let connection = match self.server.open().await {
            Err(e) if e.kind == ErrorKind::NotFound => return self.may_create_database().await,
            other => other?,
        };
        let trial = format!("migration_assistant_trial_{:016x}", rand::random::<u64>());
        let create = format!("CREATE TABLE public.{trial} (id bigint PRIMARY KEY, note text); INSERT INTO public.{trial} VALUES (1, 'trial')");
        let outcome = connection.client.batch_execute(&create).await.map_err(|e| self.failure(e));
        connection.client.batch_execute(&format!("DROP TABLE IF EXISTS public.{trial}")).await.map_err(|e| self.failure(e))?;
        outcome?;
        let query = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')";
        let schemas: bool = connection.client.query_one(query, &[]).await.map_err(|e| self.failure(e))?.get(0);
        if schemas {
            return Ok(passed("tables can be made, written and dropped"));
        }
        let issue = format!("user {} may not create schemas in this database", self.server.at.username);
        Ok(warning("database.username", issue, "GRANT CREATE ON DATABASE, if the source has schemas besides public"))
    }

    async fn may_create_database(&self) -> Outcome {
        let connection = self.server.open_maintenance().await?;
        let query = "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user";
        let may: bool = connection.client.query_one(query, &[]).await.map_err(|e| self.failure(e))?.get(0);
        if may {
            return Ok(passed(format!("database {} is not there yet and can be made", self.server.at.database)));
        }
        let issue = format!("database {} does not exist and user {} may not create databases", self.server.at.database, self.server.at.username);
        Ok(failed("database.database", issue, "Create the database, or ALTER ROLE … CREATEDB".to_owned(), ErrorKind::Permission))
    }

    async fn server_version(&self, role: Role) -> Outcome {
        let connection = self.enter(role).await?;
        let query = "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num')::int4";
        let row = connection.client.query_one(query, &[]).await.map_err(|e| self.failure(e))?;
        let (name, number): (String, i32) = (super::product(row.get(0)), row.get(1));
        if number >= OLDEST {
            return Ok(passed(name));
        }
        let advice = "Version 14 is the oldest that this program can read and write".to_owned();
        Ok(failed("database.host", format!("the server is {name}"), advice, ErrorKind::Unsupported))
    }

    async fn character_set(&self, role: Role) -> Outcome {
        let connection = self.enter(role).await?;
        let query =
            "SELECT pg_catalog.pg_encoding_to_char(encoding), datcollate::text FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";
        let row = connection.client.query_one(query, &[]).await.map_err(|e| self.failure(e))?;
        let (encoding, collation): (String, String) = (row.get(0), row.get(1));
        match (encoding.as_str(), role) {
            ("SQL_ASCII", Role::Source) => {
                let issue = "the database is SQL_ASCII: nobody knows the encoding of its text".to_owned();
                Ok(warning("database.database", issue, "Text that is not valid UTF-8 will be refused by the destination"))
            }
            ("UTF8", _) | (_, Role::Source) => Ok(passed(format!("{encoding}, sorted as {collation}"))),
            _ => Ok(warning("database.database", format!("the database stores text as {encoding}"), "Characters outside of it will be refused; prefer UTF8")),
        }
    }

    async fn connections(&self, role: Role) -> Outcome {
        let connection = self.enter(role).await?;
        let query = "SELECT pg_catalog.current_setting('max_connections')::int8 - pg_catalog.current_setting('superuser_reserved_connections')::int8 \
            - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend')";
        let free: i64 = connection.client.query_one(query, &[]).await.map_err(|e| self.failure(e))?.get(0);
        // A snapshot is held by one more, and a second pool reads while the first writes.
        let wanted = 2 * self.parallel as i64 + 2;
        if free >= wanted {
            return Ok(passed(format!("{free} connections are free")));
        }
        let issue = format!("{free} connections are free and up to {wanted} may be used");
        Ok(warning("database.host", issue, "Lower the parallelism or raise max_connections"))
    }

    async fn clock(&self, role: Role) -> Outcome {
        let connection = self.enter(role).await?;
        let query = "SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp())::float8";
        let theirs: f64 = connection.client.query_one(query, &[]).await.map_err(|e| self.failure(e))?.get(0);
        let ours = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs_f64()).unwrap_or_default();
        let apart = (theirs - ours).abs();
        if apart <= CLOCK_TOLERANCE {
            return Ok(passed(format!("{apart:.1} s apart")));
        }
        Ok(warning("database.host", format!("the server's clock is {apart:.0} s away from ours"), "Set both clocks by NTP"))
    }
}
