//! Looking a database over without changing it; a server may be at work on it.

use crate::keys::Keyring;
use crate::sql::{Conn, params};
use crate::{maintenance_keys, postgres, reach, schema, sqlite};
use engine::EngineError;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub schema: u64,
    /// What this program needs.
    pub needs: u64,
    /// What SQLite says of damaged pages and indexes; empty when all is well.
    pub damage: Vec<String>,
    /// Rows that refer to rows that are gone.
    pub dangling: u64,
    pub secrets: u64,
    /// Secrets that cannot be opened with the keys in the data directory.
    pub unreadable: u64,
    /// Tables of PostgreSQL in which tenants are not kept apart by the database.
    pub without_walls: Vec<String>,
    /// What servers could not read and pass over: what it is, and why.
    pub set_aside: Vec<String>,
    /// Whether our role on PostgreSQL may pass those walls; works, and is worth a warning.
    pub passes_walls: bool,
}

impl Checked {
    pub fn is_good(&self) -> bool {
        self.schema == self.needs
            && self.damage.is_empty()
            && self.dangling == 0
            && self.unreadable == 0
            && self.without_walls.is_empty()
            && self.set_aside.is_empty()
    }
}

/// The file of a `sqlite:` address; `None` for PostgreSQL.
pub fn sqlite_file(url: &str, data_dir: &Path) -> Option<PathBuf> {
    url.strip_prefix("sqlite:").map(|rest| sqlite::path_of(rest, data_dir))
}

/// Looks the database over. Without a key file every secret counts as unreadable.
pub async fn check(url: &str, data_dir: &Path) -> Result<Checked, EngineError> {
    let mut conn = match sqlite_file(url, data_dir) {
        Some(file) => sqlite::look(&file).await?,
        None => postgres::look(url).await?,
    };
    let schema = schema::version(&mut conn).await.map_err(|e| EngineError::Invalid(format!("this is no database of this program: {e}")))?;
    let mut found = Checked { schema, needs: schema::CURRENT, ..Checked::default() };
    if conn.is_postgres() {
        reach::everything(&mut conn).await?;
        found.passes_walls = postgres::passes_walls(&mut conn).await?;
        if schema == schema::CURRENT {
            found.without_walls = postgres::without_walls(&mut conn).await?;
        }
    } else {
        damage(&mut conn, &mut found).await?;
    }
    if (2..=schema::CURRENT).contains(&schema) {
        (found.secrets, found.unreadable) = match Keyring::existing(data_dir) {
            Ok(keys) => maintenance_keys::count(&mut conn, &keys, None).await?,
            Err(_) => everything(&mut conn).await?,
        };
    }
    if schema == schema::CURRENT {
        let items = crate::set_aside::all(&mut conn).await?;
        found.set_aside = items.into_iter().map(|i| format!("{} {} of tenant {}: {}", i.kind, i.id, i.tenant, i.reason)).collect();
    }
    conn.discard();
    Ok(found)
}

async fn damage(conn: &mut Conn, found: &mut Checked) -> Result<(), EngineError> {
    for row in conn.rows("PRAGMA integrity_check(20)", params![]).await? {
        found.damage.extend(Some(row.text(0)?).filter(|line| line != "ok"));
    }
    found.dangling = conn.rows("PRAGMA foreign_key_check", params![]).await?.len() as u64;
    Ok(())
}

/// Without keys nothing can be opened.
async fn everything(conn: &mut Conn) -> Result<(u64, u64), EngineError> {
    let sql = "SELECT (SELECT count(*) FROM run) + (SELECT count(*) FROM memo) + (SELECT count(*) FROM record WHERE secret IS NOT NULL)";
    let all = conn.row(sql, params![]).await?.map_or(Ok(0), |r| r.count(0))?;
    Ok((all, all))
}
