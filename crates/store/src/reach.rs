//! Which tenants a transaction reaches: one, or with a word of its own all. Every transaction says it at its begin.
//!
//! PostgreSQL holds the transaction to it (row-level security, `schema/0006_walls_postgres.sql`): a statement that forgets its tenant finds nothing of
//! others and writes nothing to them. SQLite has no such walls; there the statements' own conditions are all there is.

use crate::sql::{Conn, params};
use engine::EngineError;

/// The setting that the policies read. Unset or empty, it reaches nothing.
const SETTING: &str = "migration_assistant.tenant";
/// No tenant has this name: the tables refuse it.
const EVERYBODY: &str = "*";

/// See the module's comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    Tenant(String),
    /// For what a server does for all tenants: claiming, what is due, the outbox, counting, maintenance.
    All,
}

impl Reach {
    pub fn of(tenant: &str) -> Self {
        Self::Tenant(tenant.to_owned())
    }

    fn word(&self) -> Result<&str, EngineError> {
        match self {
            Self::All => Ok(EVERYBODY),
            Self::Tenant(name) if name == EVERYBODY || name.contains('\0') => Err(EngineError::Invalid("there can be no tenant of this name".to_owned())),
            Self::Tenant(name) => Ok(name),
        }
    }

    /// For [`Conn::begin`]. The name is quoted; `standard_conforming_strings` is on for our connections.
    pub fn setting(&self) -> Result<String, EngineError> {
        Ok(format!("SET LOCAL {SETTING} = '{}'", self.word()?.replace('\'', "''")))
    }
}

/// From here on the transaction of `conn` reaches `reach`.
pub async fn move_on(conn: &mut Conn, reach: &Reach) -> Result<(), EngineError> {
    if !conn.is_postgres() || conn.reach.as_ref() == Some(reach) {
        return Ok(());
    }
    conn.rows("SELECT set_config($1, $2, true)", params![SETTING, reach.word()?]).await?;
    conn.reach = Some(reach.clone());
    Ok(())
}

/// For the rest of a connection that nobody else gets.
pub async fn everything(conn: &mut Conn) -> Result<(), EngineError> {
    if conn.is_postgres() {
        conn.rows("SELECT set_config($1, $2, false)", params![SETTING, EVERYBODY]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name() {
        assert_eq!(Reach::of("o'brien'; DROP").setting().unwrap(), "SET LOCAL migration_assistant.tenant = 'o''brien''; DROP'");
        assert!(Reach::of("*").setting().is_err() && Reach::of("a\0b").setting().is_err());
    }
}
