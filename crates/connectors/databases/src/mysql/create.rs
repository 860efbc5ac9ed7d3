//! Making and dropping schema objects at a destination, adapted to what the server there knows.

use super::ddl::adapt::{self, Dialect, Notes};
use super::ddl::lexer::{Mode, words};
use super::ddl::stored;
use super::ddl::table::{Item, TableDefinition};
use super::errors::{refuses_definition, server_words};
use super::programs::{self, Definition};
use super::quote::{ident, text};
use super::server::{Server, Use};
use super::target::MySqlTarget;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use ports::databases::{Applied, Fingerprint, KeyRange, ObjectKind, SchemaObject, Table, is_expected};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeMap;

/// Asks the destination what it knows.
pub(super) async fn read_dialect(server: &Server) -> Result<Dialect> {
    let info = server.info().await?;
    let failed = |e| server.failed("read the character sets of", e);
    let mut conn = server.session_without_database(Use::Read).await?;
    let full = info.mariadb && info.version >= (10, 10, 0);
    let sql = if full {
        "SELECT FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    } else {
        "SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    };
    let collations: Vec<(String, Option<String>)> = conn.query(sql).await.map_err(failed)?;
    let defaults = "SELECT CHARACTER_SET_NAME, DEFAULT_COLLATE_NAME FROM information_schema.CHARACTER_SETS";
    let defaults: Vec<(String, String)> = conn.query(defaults).await.map_err(failed)?;
    let engines: Vec<String> = conn.query("SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES','DEFAULT')").await.map_err(failed)?;
    conn.disconnect().await.ok();
    Ok(Dialect {
        mariadb: info.mariadb,
        collations: collations.into_iter().map(|(name, charset)| (name, charset.unwrap_or_default())).collect(),
        defaults: defaults.into_iter().collect::<BTreeMap<_, _>>(),
        engines: engines.into_iter().map(|e| e.to_ascii_uppercase()).collect(),
    })
}

const NO_SEQUENCES: &str = "sequences exist only in MariaDB";

/// Makes an object; see [`ports::databases::RowTarget::create`].
pub(super) async fn create(target: &MySqlTarget, object: &SchemaObject) -> Result<Applied> {
    let server = target.server();
    let dialect = target.dialect().await?;
    if object.kind == ObjectKind::Sequence && !dialect.mariadb {
        return Ok(Applied::Refused(NO_SEQUENCES.to_owned()));
    }
    let source = Definition::of(object, server, &server.info().await?.identity);
    let mut conn = server.session(Use::Write).await?;
    let made = match object.kind {
        ObjectKind::Table => table(&mut conn, &source, dialect).await,
        ObjectKind::Index | ObjectKind::ForeignKey => key(&mut conn, object, dialect).await,
        ObjectKind::Property => property(&mut conn, object, dialect).await,
        _ => programs::make(&mut conn, object, &source, dialect).await,
    };
    conn.disconnect().await.ok();
    match made {
        Ok(applied) => Ok(applied),
        Err(Trouble::Different) => {
            Err(ConnectorError::new(ErrorKind::AlreadyExists, "make", subject(server, object), "a different one of that name is already there")
                .advice("Drop it first, or choose another database"))
        }
        Err(Trouble::Server(e)) if refuses_definition(&e) => {
            let (code, message) = server_words(&e).unwrap_or_default();
            Ok(Applied::Refused(format!("the server does not accept its definition: {message} (error {code})")))
        }
        Err(Trouble::Server(e)) => Err(super::errors::failure("make", subject(server, object), e)),
    }
}

fn subject(server: &Server, object: &SchemaObject) -> String {
    let kind = format!("{:?}", object.kind).to_lowercase();
    format!("{kind} {} in {}", object.name, server.location())
}

pub(super) enum Trouble {
    Server(Error),
    /// Something else has the name.
    Different,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

pub(super) fn told(notes: Notes) -> Applied {
    if notes.is_empty() { Applied::AsIs } else { Applied::Adapted(notes.join("; ")) }
}

async fn table(conn: &mut Conn, source: &Definition<'_>, dialect: &Dialect) -> Result<Applied, Trouble> {
    let (definition, notes) = match adapted_table(source, dialect) {
        Ok(adapted) => adapted,
        Err(reason) => return Ok(Applied::Refused(reason)),
    };
    match conn.query_drop(definition.render()).await {
        Ok(()) => Ok(told(notes)),
        Err(Error::Server(e)) if e.code == 1050 => {
            if same_table(conn, &definition).await? {
                Ok(told(notes))
            } else {
                Err(Trouble::Different)
            }
        }
        Err(e) => Err(e.into()),
    }
}

/// The definition of a table as it will be made, with what was changed; or why it cannot be.
fn adapted_table(source: &Definition<'_>, dialect: &Dialect) -> Result<(TableDefinition, Notes), String> {
    let not_understood = || "its definition was not understood".to_owned();
    let (sql, doubts) = source.text(source.statements.last().ok_or_else(not_understood)?, Mode::default());
    let mut definition = TableDefinition::parse(&sql).ok_or_else(not_understood)?;
    if source.at_home && !dialect.mariadb {
        definition.inherit_collations();
    }
    let (definition, mut notes) = adapt::table(definition, dialect)?;
    notes.extend(doubts);
    Ok((definition, notes))
}

/// What would become of an object, as far as its text tells: nothing is asked of the server but what it knows.
pub(super) async fn would_create(target: &MySqlTarget, object: &SchemaObject) -> Result<Applied> {
    let server = target.server();
    let dialect = target.dialect().await?;
    let source = Definition::of(object, server, &server.info().await?.identity);
    let told_or_refused = |outcome: Result<Notes, String>| outcome.map_or_else(Applied::Refused, told);
    Ok(match object.kind {
        ObjectKind::Sequence if !dialect.mariadb => Applied::Refused(NO_SEQUENCES.to_owned()),
        ObjectKind::Table => told_or_refused(adapted_table(&source, dialect).map(|(_, notes)| notes)),
        ObjectKind::Index => told_or_refused(object.statements.iter().try_fold(Notes::new(), |mut all, sql| {
            all.extend(adapt::index_statement(sql, dialect)?.1);
            Ok(all)
        })),
        ObjectKind::View | ObjectKind::Routine | ObjectKind::Trigger | ObjectKind::Event => told(programs::adapted(object, &source, dialect).1),
        _ => Applied::AsIs,
    })
}

/// Whether the table that is there has our definition: the server itself words ours, under a temporary name, and the two texts
/// are compared. Indexes and foreign keys that came later are allowed.
async fn same_table(conn: &mut Conn, wanted: &TableDefinition) -> Result<bool, Error> {
    let mut probe = TableDefinition { name: format!("migration_probe_{:016x}", rand::random::<u64>()), ..wanted.clone() }.without_position();
    probe.items.iter_mut().for_each(|item| {
        // The names of checks are unique per database.
        if let Item::Other { text } = item {
            *text = nameless(text);
        }
    });
    let there = shown(conn, &wanted.name).await?;
    conn.query_drop(probe.render()).await?;
    let ours = shown(conn, &probe.name).await;
    conn.query_drop(format!("DROP TABLE {}", ident(&probe.name))).await?;
    let (Some(there), Some(ours)) = (there, ours?) else { return Ok(false) };
    let texts = |t: &TableDefinition| t.items.iter().map(|i| nameless(i.text())).collect::<Vec<_>>();
    let (held, needed) = (texts(&there), texts(&ours));
    let late = |item: &Item| matches!(item, Item::Index { .. } | Item::ForeignKey { .. });
    let nothing_else = there.items.iter().filter(|i| !late(i)).all(|i| needed.contains(&nameless(i.text())));
    Ok(there.options == ours.options && needed.iter().all(|n| held.contains(n)) && nothing_else)
}

async fn shown(conn: &mut Conn, name: &str) -> Result<Option<TableDefinition>, Error> {
    let row: Option<Row> = conn.query_first(format!("SHOW CREATE TABLE {}", ident(name))).await?;
    let sql: Option<Vec<u8>> = row.and_then(|r| r.get_opt(1)).and_then(std::result::Result::ok);
    let sql = sql.and_then(stored::definition);
    Ok(sql.and_then(|sql| TableDefinition::parse(&sql)).map(TableDefinition::without_position))
}

/// `` CONSTRAINT `name` CHECK (…) `` without the name.
fn nameless(text: &str) -> String {
    let all = words(text);
    match all.as_slice() {
        [first, name, check, ..] if first.is("CONSTRAINT") && check.is("CHECK") => {
            text.trim_start()["CONSTRAINT".len()..].trim_start().trim_start_matches(name.text).trim_start().to_owned()
        }
        _ => text.to_owned(),
    }
}

/// Secondary indexes and foreign keys.
async fn key(conn: &mut Conn, object: &SchemaObject, dialect: &Dialect) -> Result<Applied, Trouble> {
    let (Some(sql), Some(table)) = (object.statements.first(), &object.table) else {
        return Ok(Applied::Refused("its description has no statement".to_owned()));
    };
    let (sql, notes) = match adapt::index_statement(sql, dialect) {
        Ok(adapted) => adapted,
        Err(reason) => return Ok(Applied::Refused(reason)),
    };
    match conn.query_drop(sql.as_str()).await {
        Ok(()) => Ok(told(notes)),
        Err(Error::Server(e)) if matches!(e.code, 1061 | 1826 | 1022 | 121 | 1005) => {
            let same_name = |item: &Item| match item {
                Item::Index { name, .. } => object.kind == ObjectKind::Index && *name == object.name.name,
                Item::ForeignKey { name, .. } => object.kind == ObjectKind::ForeignKey && *name == object.name.name,
                _ => false,
            };
            let there = shown(conn, &table.name).await?.and_then(|t| t.items.into_iter().find(same_name));
            match there {
                Some(item) if worded_alike(&sql).ends_with(&worded_alike(item.text())) => Ok(told(notes)),
                Some(_) => Err(Trouble::Different),
                None => Err(Error::Server(e).into()),
            }
        }
        Err(e) => Err(e.into()),
    }
}

/// Without what one product writes out and the other leaves out because it is the default.
fn worded_alike(key: &str) -> String {
    let defaults = ["ON DELETE NO ACTION", "ON UPDATE NO ACTION", "ON DELETE RESTRICT", "ON UPDATE RESTRICT", "USING BTREE"];
    let plain = defaults.iter().fold(key.to_owned(), |text, phrase| text.replace(phrase, ""));
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The database's own defaults are said when it is made ([`ports::databases::RowTarget::prepare`]). A database that was there
/// before keeps its own.
async fn property(conn: &mut Conn, object: &SchemaObject, dialect: &Dialect) -> Result<Applied, Trouble> {
    let mut all = Notes::new();
    for sql in &object.statements {
        if sql.starts_with("GRANT ") {
            all.extend(grant(conn, sql).await?);
            continue;
        }
        let here: Option<String> = conn.query_first("SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME=DATABASE()").await?;
        let here = here.unwrap_or_default();
        let (adapted, notes) = adapt::statement(sql, Mode::default(), dialect);
        let wanted = words(&adapted).last().map(|t| t.text.to_owned()).unwrap_or_default();
        if wanted.eq_ignore_ascii_case(&here) {
            all.extend(notes);
        } else {
            all.push(format!("the database was there before and keeps its default collation {here} (the source's: {wanted})"));
        }
    }
    Ok(told(all))
}

/// A right on a routine, for an account that may not be there.
async fn grant(conn: &mut Conn, sql: &str) -> Result<Option<String>, Error> {
    match conn.query_drop(sql).await {
        Ok(()) => Ok(None),
        Err(Error::Server(e)) => Ok(Some(format!("a right was left out ({sql}): {}", e.message))),
        Err(e) => Err(e),
    }
}

/// Whether a table, view or sequence of that name is there.
pub(super) async fn exists(conn: &mut Conn, name: &str) -> Result<bool, Error> {
    let sql = format!("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME={}", text(name));
    Ok(conn.query_first::<u64, _>(sql).await?.unwrap_or(0) > 0)
}

/// Whether no trigger of another table has this trigger's name: names of triggers belong to the database.
pub(super) async fn may_drop_trigger(conn: &mut Conn, trigger: &SchemaObject) -> Result<bool, Error> {
    let name = text(&trigger.name.name);
    let sql = format!("SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() AND TRIGGER_NAME={name}");
    let tables: Vec<String> = conn.query(sql).await?;
    let own = trigger.table.as_ref().map(|t| t.name.as_str()).unwrap_or_default();
    Ok(tables.iter().all(|table| table.eq_ignore_ascii_case(own)))
}

pub(super) fn drop_statements(object: &SchemaObject) -> Vec<String> {
    let name = ident(&object.name.name);
    let table = object.table.as_ref().map(|t| ident(&t.name)).unwrap_or_default();
    match object.kind {
        ObjectKind::Table => vec![format!("DROP TABLE IF EXISTS {name}")],
        ObjectKind::View => vec![format!("DROP VIEW IF EXISTS {name}")],
        ObjectKind::Trigger => vec![format!("DROP TRIGGER IF EXISTS {name}")],
        ObjectKind::Event => vec![format!("DROP EVENT IF EXISTS {name}")],
        ObjectKind::Sequence => vec![format!("DROP SEQUENCE IF EXISTS {name}")],
        ObjectKind::Index => vec![format!("ALTER TABLE {table} DROP INDEX {name}")],
        ObjectKind::ForeignKey => vec![format!("ALTER TABLE {table} DROP FOREIGN KEY {name}")],
        ObjectKind::Routine => {
            let create = object.statements.last().map_or("", String::as_str);
            let kind = words(create).iter().take(12).find(|t| t.is("FUNCTION") || t.is("PROCEDURE")).map(|t| t.text.to_owned());
            kind.map_or_else(|| vec!["FUNCTION".to_owned(), "PROCEDURE".to_owned()], |k| vec![k]).iter().map(|k| format!("DROP {k} IF EXISTS {name}")).collect()
        }
        ObjectKind::Schema | ObjectKind::Extension | ObjectKind::Type | ObjectKind::Constraint | ObjectKind::Property => Vec::new(),
    }
}

/// Drops a table if its ranges hold what is expected. It is locked meanwhile, where the user may do that.
pub(super) async fn remove_table_if(server: &Server, object: &SchemaObject, table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool> {
    let failed = |e| super::errors::failure("drop", subject(server, object), e);
    let mut conn = match server.session(Use::Write).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(true),
        other => other?,
    };
    match conn.query_drop(format!("LOCK TABLES {} WRITE", ident(&table.name.name))).await {
        Err(Error::Server(e)) if e.code == 1146 => return Ok(true),
        // Not allowed: compared right before it is dropped.
        Err(Error::Server(e)) if matches!(e.code, 1044 | 1142 | 1143 | 1227) => {}
        other => other.map_err(failed)?,
    }
    let mut same = true;
    for (range, fingerprints) in expected {
        match super::fingerprint::of_range(&mut conn, table, range).await {
            Ok(found) => same &= is_expected(&found, fingerprints),
            Err(super::fingerprint::Trouble::Server(Error::Server(e))) if e.code == 1146 => return Ok(true),
            Err(e) => return Err(e.into_error("compare", subject(server, object))),
        }
    }
    if same {
        for sql in drop_statements(object) {
            conn.query_drop(sql).await.map_err(failed)?;
        }
    }
    conn.disconnect().await.ok();
    Ok(same)
}

/// Drops an object. An object of the kind `Schema` is the whole database, and must have its name.
pub(super) async fn remove(server: &Server, object: &SchemaObject) -> Result<()> {
    let failed = |e| super::errors::failure("drop", subject(server, object), e);
    if object.kind == ObjectKind::Schema {
        if object.name.name != server.database() {
            return Err(ConnectorError::new(
                ErrorKind::Invalid,
                "drop",
                subject(server, object),
                "this is not the database that the connection was opened for",
            ));
        }
        let mut conn = server.session_without_database(Use::Write).await?;
        conn.query_drop(format!("DROP DATABASE IF EXISTS {}", ident(server.database()))).await.map_err(failed)?;
        conn.disconnect().await.ok();
        return Ok(());
    }
    if object.kind == ObjectKind::Sequence && !server.info().await?.mariadb {
        return Ok(());
    }
    let mut conn = match server.session(Use::Write).await {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if object.kind == ObjectKind::Trigger && !may_drop_trigger(&mut conn, object).await.map_err(failed)? {
        // Another table's; ours is not there.
        conn.disconnect().await.ok();
        return Ok(());
    }
    for sql in drop_statements(object) {
        match conn.query_drop(sql).await {
            // Absent is fine: the key, its table.
            Err(Error::Server(e)) if matches!(e.code, 1091 | 1146 | 1360 | 1305) => {}
            other => other.map_err(failed)?,
        }
    }
    conn.disconnect().await.ok();
    Ok(())
}
