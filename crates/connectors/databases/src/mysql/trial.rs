//! What a user may make at a destination, found out by making it under temporary names and dropping it again.

use super::quote::{ident, text};
use super::schema::rights::{self, Rights};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, ServerError};

/// What the trial found.
pub(super) struct Found {
    /// What could not be made.
    pub refused: Vec<Refusal>,
    /// Kinds of objects of which this user does not see all.
    pub hidden: Vec<&'static str>,
}

/// One kind of object that this user could not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub kind: Kind,
    /// Of the server's answer; 0 when the user's rights tell it.
    pub code: u16,
    /// Why, in the server's words.
    pub reason: String,
}

/// What is tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ForeignKeys,
    Views,
    Procedures,
    Functions,
    /// Functions that do not say what they do.
    VagueFunctions,
    Triggers,
    Events,
    /// Objects that run in the name of this account: user, host.
    Definer(String, String),
}

impl Kind {
    pub fn name(&self) -> String {
        match self {
            Self::ForeignKeys => "foreign keys".to_owned(),
            Self::Views => "views".to_owned(),
            Self::Procedures => "procedures".to_owned(),
            Self::Functions => "functions".to_owned(),
            Self::VagueFunctions => "functions that are neither DETERMINISTIC nor say what they read".to_owned(),
            Self::Triggers => "triggers".to_owned(),
            Self::Events => "events".to_owned(),
            Self::Definer(user, host) => format!("definer {user}@{host}"),
        }
    }

    /// The right that it needs on the database.
    fn right(&self) -> Option<&'static str> {
        match self {
            Self::ForeignKeys => Some("REFERENCES"),
            Self::Views => Some("CREATE VIEW"),
            Self::Procedures | Self::Functions | Self::VagueFunctions => Some("CREATE ROUTINE"),
            Self::Triggers => Some("TRIGGER"),
            Self::Events => Some("EVENT"),
            Self::Definer(..) => None,
        }
    }

    /// What lets the user make it.
    pub fn advice(&self, code: u16) -> String {
        match (self, self.right()) {
            (_, _) if matches!(code, 1418 | 1419) => "set log_bin_trust_function_creators = 1 at the server".to_owned(),
            (Self::Definer(..), _) | (_, None) => {
                "grant SET_ANY_DEFINER (MySQL), SET USER (MariaDB) or SUPER to this user, or give the objects another definer".to_owned()
            }
            (_, Some(right)) => format!("grant {right} on the database to this user"),
        }
    }

    /// Statements of which one makes it: each needs another right besides.
    fn statements(&self, trial: &Names<'_>) -> Vec<String> {
        let (table, name) = (trial.of(""), |suffix| trial.of(suffix));
        match self {
            Self::ForeignKeys => vec![format!("CREATE TABLE {} (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES {table} (id))", name("_f"))],
            Self::Views => vec![format!("CREATE VIEW {} AS SELECT id FROM {table}", name("_v"))],
            Self::Procedures => vec![format!("CREATE PROCEDURE {}() SELECT 1", name("_p"))],
            Self::Functions => vec![format!("CREATE FUNCTION {}() RETURNS INT DETERMINISTIC RETURN 1", name("_p"))],
            Self::VagueFunctions => vec![format!("CREATE FUNCTION {}() RETURNS INT RETURN 1", name("_p"))],
            Self::Triggers => vec![format!("CREATE TRIGGER {} BEFORE INSERT ON {table} FOR EACH ROW SET NEW.t = 'x'", name("_t"))],
            Self::Events => vec![format!("CREATE EVENT {} ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", name("_e"))],
            Self::Definer(user, host) => {
                let account = format!("DEFINER={}@{}", ident(user), ident(host));
                vec![
                    format!("CREATE {account} SQL SECURITY INVOKER VIEW {} AS SELECT 1", name("_v")),
                    format!("CREATE {account} PROCEDURE {}() SELECT 1", name("_p")),
                    format!("CREATE {account} EVENT {} ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", name("_e")),
                    format!("CREATE {account} TRIGGER {} BEFORE INSERT ON {table} FOR EACH ROW SET NEW.t = 'x'", name("_t")),
                ]
            }
        }
    }
}

/// The temporary names.
struct Names<'a> {
    home: &'a str,
    trial: String,
}

impl Names<'_> {
    fn of(&self, suffix: &str) -> String {
        format!("{}.{}", ident(self.home), ident(&format!("{}{suffix}", self.trial)))
    }
}

/// Makes and drops a table and one object of each of these kinds. Where the database is not there, in one of its own, or by the user's rights where
/// that may not be made. Fails when not even the table can be made, filled and dropped.
pub(super) async fn run(conn: &mut Conn, database: &str, kinds: &[Kind]) -> Result<Found, Error> {
    let trial = format!("migration_trial_{:016x}", rand::random::<u64>());
    let sql = format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}", text(database));
    let there: Option<u64> = conn.query_first(sql).await?;
    let own = there == Some(0);
    let rights = rights::read(conn, database).await?;
    if own {
        match conn.query_drop(format!("CREATE DATABASE {}", ident(&trial))).await {
            Err(Error::Server(e)) if e.code == 1044 && rights.has("CREATE") => return Ok(Found { refused: by_rights(&rights, kinds), hidden: Vec::new() }),
            other => other?,
        }
    }
    let names = Names { home: if own { &trial } else { database }, trial: trial.clone() };
    let tried = try_all(conn, &names, kinds).await;
    let cleaned = if own { conn.query_drop(format!("DROP DATABASE IF EXISTS {}", ident(&trial))).await } else { clean(conn, &names).await };
    let refused = tried?;
    cleaned?;
    let hidden = if own { Vec::new() } else { rights.missing().into_iter().map(|(kind, _)| kind).collect() };
    Ok(Found { refused, hidden })
}

fn by_rights(rights: &Rights, kinds: &[Kind]) -> Vec<Refusal> {
    let missing = |kind: &Kind| kind.right().filter(|right| !rights.has(right));
    let refusal = |kind: &Kind| Some(Refusal { kind: kind.clone(), code: 0, reason: format!("{} on the database is missing", missing(kind)?) });
    kinds.iter().filter_map(refusal).collect()
}

async fn try_all(conn: &mut Conn, names: &Names<'_>, kinds: &[Kind]) -> Result<Vec<Refusal>, Error> {
    let table = names.of("");
    conn.query_drop(format!("CREATE TABLE {table} (id INT PRIMARY KEY, t VARCHAR(10))")).await?;
    conn.query_drop(format!("INSERT INTO {table} VALUES (1, 'x')")).await?;
    conn.query_drop(format!("ALTER TABLE {table} ADD KEY (t)")).await?;
    conn.query_drop(format!("DELETE FROM {table} WHERE id = 1")).await?;
    let mut refused = Vec::new();
    for kind in kinds {
        if let Some(e) = try_one(conn, names, kind).await? {
            refused.push(Refusal { kind: kind.clone(), code: e.code, reason: format!("the server says: {}", e.message) });
        }
        // The next kind uses the same names.
        drop_programs(conn, names).await?;
    }
    Ok(refused)
}

/// The server's refusal. A definer is refused where it says so (1227): other missing rights are told by their own kinds.
async fn try_one(conn: &mut Conn, names: &Names<'_>, kind: &Kind) -> Result<Option<ServerError>, Error> {
    let definer = matches!(kind, Kind::Definer(..));
    for statement in kind.statements(names) {
        match conn.query_drop(statement).await {
            Ok(()) => return Ok(None),
            Err(Error::Server(e)) if definer && e.code != 1227 => {}
            Err(Error::Server(e)) => return Ok(Some(e)),
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

const PROGRAMS: [(&str, &str); 5] = [("EVENT", "_e"), ("TRIGGER", "_t"), ("PROCEDURE", "_p"), ("FUNCTION", "_p"), ("VIEW", "_v")];

async fn drop_programs(conn: &mut Conn, names: &Names<'_>) -> Result<(), Error> {
    drop_each(conn, names, &PROGRAMS).await
}

async fn clean(conn: &mut Conn, names: &Names<'_>) -> Result<(), Error> {
    let programs = drop_programs(conn, names).await;
    let tables = drop_each(conn, names, &[("TABLE", "_f"), ("TABLE", "")]).await;
    programs.and(tables)
}

async fn drop_each(conn: &mut Conn, names: &Names<'_>, objects: &[(&str, &str)]) -> Result<(), Error> {
    let mut failed = None;
    for (kind, suffix) in objects {
        match conn.query_drop(format!("DROP {kind} IF EXISTS {}", names.of(suffix))).await {
            Ok(()) => {}
            // Who may not make it may not drop it either.
            Err(Error::Server(e)) if !suffix.is_empty() && matches!(e.code, 1044 | 1142 | 1227 | 1370 | 1419) => {}
            // The others are dropped all the same.
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    failed.map_or(Ok(()), Err)
}
