//! The schema, step by step. A database remembers how many steps it has seen; one that has seen more than we know is refused.

use crate::reach::Reach;
use crate::sql::{Conn, params};
use crate::writer::Doing;
use engine::EngineError;

/// In order; never changed once released, only added to.
const STEPS: [Step; 13] = [
    Step { both: include_str!("schema/0001.sql"), sqlite: "", postgres: "" },
    Step {
        both: include_str!("schema/0002.sql"),
        sqlite: include_str!("schema/0002_append_only_sqlite.sql"),
        postgres: include_str!("schema/0002_append_only_postgres.sql"),
    },
    Step { both: include_str!("schema/0003.sql"), sqlite: "", postgres: "" },
    Step { both: include_str!("schema/0004.sql"), sqlite: "", postgres: "" },
    Step { both: include_str!("schema/0005.sql"), sqlite: "", postgres: "ALTER TABLE bucket SET UNLOGGED;" },
    Step { both: "", sqlite: "", postgres: include_str!("schema/0006_walls_postgres.sql") },
    Step { both: include_str!("schema/0007.sql"), sqlite: "", postgres: "" },
    Step { both: include_str!("schema/0008.sql"), sqlite: include_str!("schema/0008_sqlite.sql"), postgres: include_str!("schema/0008_postgres.sql") },
    Step { both: include_str!("schema/0009.sql"), sqlite: "", postgres: "" },
    Step { both: include_str!("schema/0010.sql"), sqlite: "", postgres: "" },
    Step { both: include_str!("schema/0011.sql"), sqlite: "", postgres: include_str!("schema/0011_postgres.sql") },
    Step { both: include_str!("schema/0012.sql"), sqlite: "", postgres: "" },
    Step { both: include_str!("schema/0013.sql"), sqlite: "", postgres: "" },
];

/// The version that this program makes and needs.
pub const CURRENT: u64 = STEPS.len() as u64;

/// What both databases do, and what only one does.
struct Step {
    both: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Any number that only we use: serialises starters of PostgreSQL.
const STARTER: &str = "SELECT pg_advisory_xact_lock(7214051386)";

/// Brings the schema up to date, in one transaction.
pub async fn upgrade(conn: &mut Conn) -> Result<(), EngineError> {
    conn.begin(if conn.is_postgres() { "BEGIN" } else { "BEGIN IMMEDIATE" }, &Reach::All).await?;
    match steps(conn).await {
        Ok(()) => conn.script("COMMIT").await,
        Err(error) => {
            conn.script("ROLLBACK").await?;
            Err(error)
        }
    }
}

/// The version of an existing schema.
pub fn version(conn: &mut Conn) -> Doing<'_, u64> {
    Box::pin(async move { conn.row("SELECT version FROM schema_version", params![]).await?.map_or(Ok(0), |row| row.count(0)) })
}

async fn steps(conn: &mut Conn) -> Result<(), EngineError> {
    if conn.is_postgres() {
        conn.script(STARTER).await?;
        // A step may go over every row.
        conn.script("SET LOCAL statement_timeout = 0").await?;
    }
    conn.script("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
    let seen = match conn.row("SELECT version FROM schema_version", params![]).await? {
        Some(row) => row.count(0)? as usize,
        None => {
            conn.run("INSERT INTO schema_version (version) VALUES (0)", params![]).await?;
            0
        }
    };
    if seen > STEPS.len() {
        return Err(EngineError::Invalid(format!(
            "the database has schema version {seen}, this program knows versions up to {}: a newer program has used it. Start that program, or give this one another database",
            STEPS.len()
        )));
    }
    for step in &STEPS[seen..] {
        let own = if conn.is_postgres() { step.postgres } else { step.sqlite };
        for script in [step.both, own].into_iter().filter(|s| !s.is_empty()) {
            conn.script(script).await?;
        }
    }
    conn.run("UPDATE schema_version SET version = $1", params![STEPS.len() as u64]).await?;
    Ok(())
}
