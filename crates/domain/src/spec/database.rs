//! Where a database lives.

use super::files::check_host;
use crate::Secret;
use crate::decode::{Fields, Problems};

/// The family that decides which connector serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseEngine {
    /// MySQL 8+ and MariaDB, also as cloud services.
    MySql,
    PostgreSql,
    Sqlite,
    MongoDb,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Disable,
    /// TLS when the server offers it, without checking its certificate.
    Prefer,
    Require,
    VerifyFull,
}

#[derive(Debug, Clone)]
pub struct DatabaseAt {
    pub engine: DatabaseEngine,
    /// The word of the document: `mysql`, `aurora-mysql`, …
    pub type_name: String,
    /// Empty for SQLite.
    pub host: String,
    pub port: u16,
    pub username: String,
    pub password: Option<Secret>,
    /// Database name, or the file's absolute path for SQLite. Empty only at the destination of a WordPress whose database is
    /// still to be read from its `wp-config.php`.
    pub database: String,
    pub tls: TlsMode,
    /// PEM text of the certificate authority, or the path of a file that holds it.
    pub ca: Option<String>,
}

impl DatabaseAt {
    /// For people: where it is, with no secret in it.
    pub fn describe(&self) -> String {
        match self.engine {
            DatabaseEngine::Sqlite => self.database.clone(),
            _ => format!("{}://{}@{}:{}/{}", self.type_name, self.username, self.host, self.port, self.database),
        }
    }
}

/// Which side of the migration is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

pub(super) const TYPES: [(&str, DatabaseEngine, u16); 9] = [
    ("mysql", DatabaseEngine::MySql, 3306),
    ("mariadb", DatabaseEngine::MySql, 3306),
    ("aurora-mysql", DatabaseEngine::MySql, 3306),
    ("postgresql", DatabaseEngine::PostgreSql, 5432),
    ("aurora-postgres", DatabaseEngine::PostgreSql, 5432),
    ("cloud-sql", DatabaseEngine::MySql, 3306),
    ("sqlite", DatabaseEngine::Sqlite, 0),
    ("mongodb", DatabaseEngine::MongoDb, 27017),
    ("redis", DatabaseEngine::Redis, 6379),
];

/// Reads a `database` object. On a destination the name may be left out: [`super::MigrationSpec`] takes the source's.
pub(super) fn read(f: &mut Fields<'_>, side: Side, p: &mut Problems) -> Option<DatabaseAt> {
    let word = f.required_text("type", p);
    let known = TYPES.iter().find(|(name, ..)| *name == word);
    if known.is_none() && !word.is_empty() {
        let list = TYPES.map(|(name, ..)| name).join(", ");
        p.note(f.path("type"), format!("Invalid database type: '{word}' (one of: {list})"));
    }
    let kind = known.copied();
    let at = read_as(f, kind, side, p);
    kind.map(|_| at)
}

/// Reads the connection fields for a type that is already known (a database-only `source`).
pub(super) fn read_as(f: &mut Fields<'_>, kind: Option<(&str, DatabaseEngine, u16)>, side: Side, p: &mut Problems) -> DatabaseAt {
    let (type_name, engine, default_port) = kind.unwrap_or(("", DatabaseEngine::MySql, 3306));
    let (host, cluster) = (f.text("host", p), f.text("cluster", p));
    let host = host.or(cluster);
    let port = f.integer("port", 1..=65535, p).map_or(default_port, |n| n as u16);
    let username = f.text("username", p);
    let password = f.text("password", p).map(Secret::new);
    let tls = [("disable", TlsMode::Disable), ("prefer", TlsMode::Prefer), ("require", TlsMode::Require), ("verify-full", TlsMode::VerifyFull)];
    let tls = f.choice("tls", &tls, p).unwrap_or(TlsMode::Prefer);
    let ca = f.text("ca", p);
    let inherited = side == Side::Destination && engine != DatabaseEngine::Sqlite && !f.has("database");
    let database = if inherited {
        f.value("database");
        String::new()
    } else {
        f.required_text("database", p)
    };
    if engine == DatabaseEngine::Sqlite {
        for field in ["host", "username", "password"] {
            if f.has(field) {
                p.note(f.path(field), "has no meaning for sqlite, which is a file");
            }
        }
        if !database.is_empty() && !database.starts_with('/') {
            p.note(f.path("database"), format!("must be an absolute path, not '{database}'"));
        }
    } else if kind.is_some() {
        match &host {
            Some(h) if !h.trim().is_empty() => check_host(h, &f.path("host"), p),
            _ => p.note(f.path("host"), "is required (for a cloud service, 'cluster' is accepted too)"),
        }
        if username.as_deref().is_none_or(|u| u.trim().is_empty()) && engine != DatabaseEngine::Redis {
            p.note(f.path("username"), "is required");
        }
    }
    DatabaseAt {
        engine,
        type_name: type_name.to_owned(),
        host: host.unwrap_or_default(),
        port,
        username: username.unwrap_or_default(),
        password,
        database,
        tls,
        ca,
    }
}
