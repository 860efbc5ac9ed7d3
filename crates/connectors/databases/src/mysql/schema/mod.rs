//! Reading what a database holds besides rows: tables, indexes, foreign keys, views, routines, triggers, events, sequences.
//!
//! What the catalogue lists is entered in a tally and leaves it only as an object that was read or as a thing that is named with
//! the reason why it stays behind. What the catalogue does not show to this user is named as well ([`rights`]).
//!
//! The order of `Schema::objects` is an order in which they can be made.

mod programs;
pub(super) mod rights;

use super::ddl::origin::Origin;
use super::ddl::stored;
use super::ddl::table::{Item, TableDefinition};
use super::errors::failure;
use super::quote::{ident, text};
use super::server::Server;
use super::tables::{self, Found, TableEntry};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use ports::databases::{ObjectKind, ObjectName, Phase, Schema, SchemaObject, Table, Unmovable};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeSet;

/// Reads everything. The session's result character set is UTF-8 in the meantime.
pub(super) async fn read(conn: &mut Conn, server: &Server) -> Result<Schema> {
    let info = server.info().await?;
    let failed = |e| server.failed("read the schema of", e);
    conn.query_drop("SET character_set_results=utf8mb4").await.map_err(failed)?;
    let origin = Origin { database: server.database().to_owned(), server: info.identity.clone() }.statement();
    let schema = Schema { server: info.text.clone(), ..Schema::default() };
    let mut reader = Reader { conn, origin, schema, tally: Tally::default() };
    reader.everything(info.mariadb).await.map_err(failed)?;
    let Reader { conn, mut schema, tally, .. } = reader;
    conn.query_drop("SET character_set_results=NULL").await.map_err(failed)?;
    tally.prove_empty(server)?;
    let rights = rights::read(conn, server.database()).await.map_err(failed)?;
    schema.unmovable.extend(rights.hidden_kinds(server.database()));
    Ok(schema)
}

/// What became of one thing that the catalogue lists: there is no third way.
#[must_use]
enum Seen {
    /// Its objects, in the order in which they are made.
    Read(Vec<SchemaObject>),
    /// It stays behind, for this reason.
    Named(String),
}

/// Kind and name of what the catalogue lists and nobody has dealt with yet.
#[derive(Default)]
struct Tally(BTreeSet<(String, String)>);

impl Tally {
    fn list(&mut self, kind: &str, name: &str) {
        self.0.insert((kind.to_owned(), name.to_owned()));
    }

    fn prove_empty(&self, server: &Server) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.0.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        let reason = format!("the catalogue lists what was neither read nor named: {}", names.join(", "));
        Err(ConnectorError::new(ErrorKind::Internal, "read the schema of", server.location(), reason).permanent())
    }
}

struct Reader<'a> {
    conn: &'a mut Conn,
    /// The statement that says where the definitions come from.
    origin: String,
    schema: Schema,
    tally: Tally,
}

impl Reader<'_> {
    async fn everything(&mut self, mariadb: bool) -> Result<(), Error> {
        self.defaults(mariadb).await?;
        let found = tables::read(self.conn).await?;
        let programs = programs::list(self.conn).await?;
        self.enter(&found, &programs);
        self.sequences(&found).await?;
        self.tables(&found).await?;
        self.routines(&programs).await?;
        self.views(&found).await?;
        self.triggers(&programs).await?;
        self.events(&programs).await?;
        self.schema.objects.sort_by_key(|o| o.phase);
        Ok(())
    }

    fn enter(&mut self, found: &Found, programs: &programs::Listed) {
        found.tables.iter().for_each(|t| self.tally.list("table", &t.table.name.name));
        found.views.iter().for_each(|v| self.tally.list("view", v));
        found.sequences.iter().for_each(|s| self.tally.list("sequence", s));
        programs.routines.iter().for_each(|(kind, name)| self.tally.list(&kind.to_lowercase(), name));
        programs.triggers.iter().for_each(|(name, _)| self.tally.list("trigger", name));
        programs.events.iter().for_each(|(name, _)| self.tally.list("event", name));
    }

    /// Takes a thing off the tally, with what became of it.
    fn settle(&mut self, kind: &str, name: &str, seen: Seen) {
        self.tally.0.remove(&(kind.to_owned(), name.to_owned()));
        match seen {
            Seen::Read(objects) => self.schema.objects.extend(objects),
            Seen::Named(reason) => self.schema.unmovable.push(Unmovable { kind: kind.to_owned(), name: name.to_owned(), reason }),
        }
    }

    /// The database's own defaults: said when it is made, and compared where it is there already.
    async fn defaults(&mut self, mariadb: bool) -> Result<(), Error> {
        let comment = if mariadb { "SCHEMA_COMMENT" } else { "''" };
        let sql = |comment: &str| {
            format!("SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {comment} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME=DATABASE()")
        };
        let found: Option<(String, String, Option<String>)> = match self.conn.query_first(sql(comment)).await {
            // MariaDB before 10.5 has no comments of databases.
            Err(Error::Server(e)) if e.code == 1054 => self.conn.query_first(sql("''")).await?,
            other => other?,
        };
        let (charset, collation, comment) = found.unwrap_or_default();
        let defaults = format!("CHARACTER SET = {charset} COLLATE = {collation}");
        self.schema.objects.push(object(ObjectKind::Property, Phase::BeforeRows, "default character set", vec![format!("ALTER DATABASE {defaults}")]));
        let comment = comment.filter(|c| !c.is_empty()).map(|c| format!(" COMMENT = {}", text(&c))).unwrap_or_default();
        self.schema.making = format!("{defaults}{comment}");
        (self.schema.charset, self.schema.collation) = (charset, collation);
        Ok(())
    }

    async fn show(&mut self, statement: &str) -> Result<Option<Row>, Error> {
        self.conn.query_first(statement).await
    }

    async fn sequences(&mut self, found: &Found) -> Result<(), Error> {
        for name in &found.sequences {
            let row = self.show(&format!("SHOW CREATE SEQUENCE {}", ident(name))).await?;
            let seen = match shown(row.as_ref(), "Create Table") {
                Shown::Text(create) => {
                    let next: Option<i64> = self.conn.query_first(format!("SELECT next_not_cached_value FROM {}", ident(name))).await?;
                    let position = next.map(|n| format!("ALTER SEQUENCE {} RESTART WITH {n}", ident(name)));
                    let statements = [Some(create), position].into_iter().flatten().collect();
                    Seen::Read(vec![object(ObjectKind::Sequence, Phase::BeforeRows, name, statements)])
                }
                other => Seen::Named(other.reason()),
            };
            self.settle("sequence", name, seen);
        }
        Ok(())
    }

    async fn tables(&mut self, found: &Found) -> Result<(), Error> {
        for entry in &found.tables {
            let name = &entry.table.name.name;
            let seen = match self.show(&format!("SHOW CREATE TABLE {}", ident(name))).await {
                Ok(row) => match shown(row.as_ref(), "Create Table") {
                    Shown::Text(create) => self.table(entry, &create),
                    other => Seen::Named(other.reason()),
                },
                Err(Error::Server(e)) if is_broken(&e) => Seen::Named(format!("the server cannot read it: {}", e.message)),
                Err(e) => return Err(e),
            };
            if matches!(seen, Seen::Read(_)) {
                self.schema.tables.push(entry.table.clone());
            }
            self.settle("table", name, seen);
            if entry.versioned {
                let reason = "the table keeps old versions of its rows (SYSTEM VERSIONING); only the current rows can be read";
                self.schema.unmovable.push(Unmovable { kind: "row history".to_owned(), name: name.clone(), reason: reason.to_owned() });
            }
        }
        Ok(())
    }

    fn table(&self, entry: &TableEntry, create: &str) -> Seen {
        if entry.table.columns.is_empty() {
            return Seen::Named("this user sees none of its columns, or it was made this very moment".to_owned());
        }
        let Some(mut definition) = TableDefinition::parse(create) else {
            return Seen::Named(format!("its definition was not understood: {create}"));
        };
        tables::name_collations(&mut definition, &entry.table, &entry.collation);
        let late = definition.take_late(entry.key_index.as_deref());
        let name = &entry.table.name.name;
        let table = object(ObjectKind::Table, Phase::BeforeRows, name, vec![self.origin.clone(), definition.render()]);
        Seen::Read(std::iter::once(table).chain(late.iter().map(|item| key(&entry.table, item))).collect())
    }
}

/// A secondary index or a foreign key as an object of its own.
fn key(table: &Table, item: &Item) -> SchemaObject {
    let (kind, phase) = match item {
        Item::ForeignKey { .. } => (ObjectKind::ForeignKey, Phase::AtTheEnd),
        _ => (ObjectKind::Index, Phase::AfterRows),
    };
    let statement = format!("ALTER TABLE {} ADD {}", ident(&table.name.name), item.text());
    SchemaObject { table: Some(table.name.clone()), ..object(kind, phase, item.name(), vec![statement]) }
}

fn object(kind: ObjectKind, phase: Phase, name: &str, statements: Vec<String>) -> SchemaObject {
    SchemaObject { kind, phase, name: named(name), table: None, statements }
}

fn named(name: &str) -> ObjectName {
    ObjectName { schema: String::new(), name: name.to_owned() }
}

/// Whether the thing itself is at fault, so that trying again or other rights would not help.
fn is_broken(error: &mysql_async::ServerError) -> bool {
    let kind = failure("", "", Error::Server(error.clone())).kind;
    matches!(kind, ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::Name)
}

/// A definition as the server shows it.
enum Shown {
    Text(String),
    /// The server names the object but does not show its text.
    Hidden,
    /// Its bytes are no text.
    NotText,
}

impl Shown {
    fn reason(&self) -> String {
        let reason = match self {
            Self::NotText => "its definition holds bytes that are no text (UTF-8)",
            _ => "this user may not read its definition (being its definer or SHOW_ROUTINE / SELECT on mysql.proc is needed)",
        };
        reason.to_owned()
    }
}

/// A column of a `SHOW …` row, by its label.
fn shown(row: Option<&Row>, label: &str) -> Shown {
    let bytes = row.and_then(|row| {
        let at = row.columns_ref().iter().position(|c| c.name_str().eq_ignore_ascii_case(label))?;
        row.as_ref(at).cloned()
    });
    match bytes {
        Some(mysql_async::Value::Bytes(bytes)) => stored::definition(bytes).map_or(Shown::NotText, Shown::Text),
        _ => Shown::Hidden,
    }
}
