//! The objects of a file, in an order in which they can be made.
//!
//! A virtual table (full text, R-tree) keeps its rows in shadow tables: making it makes them, and their rows are copied like any
//! others. `sqlite_sequence` is copied as positions, statistics are gathered anew.

use super::sql::{self, ident};
use ports::databases::{Attached, Column, ObjectKind, ObjectName, Phase, Schema, SchemaObject, Table, Unmovable};
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// A line of `PRAGMA table_list`.
struct Listed {
    name: String,
    kind: String,
    without_rowid: bool,
}

pub fn read(connection: &Connection, path: &Path) -> rusqlite::Result<Schema> {
    let mut schema = Schema { server: super::product(), ..Schema::default() };
    schema.charset = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    "BINARY".clone_into(&mut schema.collation);
    schema.objects.push(file_settings(connection)?);
    let listed = list(connection)?;
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    for one in listed.iter().filter(|l| l.kind == "table" || l.kind == "shadow") {
        schema.tables.push(table(connection, one)?);
    }
    let rows: u64 = schema.tables.iter().map(|t| t.rows).sum();
    for table in &mut schema.tables {
        table.bytes = (size as f64 * table.rows as f64 / rows.max(1) as f64) as u64;
    }
    for one in listed.iter().filter(|l| l.kind == "table") {
        schema.objects.extend(object(connection, "table", &one.name, ObjectKind::Table, Phase::BeforeRows)?);
    }
    for one in listed.iter().filter(|l| l.kind == "virtual") {
        match connection.prepare(&format!("SELECT 1 FROM {}", ident(&one.name))) {
            Ok(_) => schema.objects.extend(object(connection, "table", &one.name, ObjectKind::Table, Phase::BeforeRows)?),
            Err(e) => schema.unmovable.push(Unmovable {
                kind: "virtual table".to_owned(),
                name: one.name.clone(),
                reason: format!("{e}; the tables that it keeps its rows in are copied as plain tables"),
            }),
        }
    }
    let kinds =
        [("index", ObjectKind::Index, Phase::AfterRows), ("view", ObjectKind::View, Phase::AtTheEnd), ("trigger", ObjectKind::Trigger, Phase::AtTheEnd)];
    for (word, kind, phase) in kinds {
        for name in names(connection, word)? {
            schema.objects.extend(object(connection, word, &name, kind, phase)?);
        }
    }
    let shadows: Vec<&str> = listed.iter().filter(|l| l.kind == "shadow").map(|l| l.name.as_str()).collect();
    schema.unmovable.extend(unread(connection, &schema, &shadows)?);
    schema.objects.extend(positions(connection)?);
    schema.objects.push(marks(connection)?);
    // Gathered anew, whatever the source has.
    schema.objects.push(property(Phase::AfterRows, STATISTICS, Vec::new()));
    schema.objects.sort_by_key(|o| o.phase);
    Ok(schema)
}

fn plain(name: &str) -> ObjectName {
    ObjectName { schema: String::new(), name: name.to_owned() }
}

fn property(phase: Phase, name: &str, statements: Vec<String>) -> SchemaObject {
    SchemaObject { kind: ObjectKind::Property, phase, name: plain(name), table: None, statements }
}

/// Settings that a file takes only while it is empty.
fn file_settings(connection: &Connection) -> rusqlite::Result<SchemaObject> {
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    let statements = vec![
        format!("PRAGMA encoding = '{encoding}'"),
        format!("PRAGMA page_size = {}", number("page_size")?),
        format!("PRAGMA auto_vacuum = {}", number("auto_vacuum")?),
    ];
    Ok(property(Phase::BeforeRows, "file settings", statements))
}

const MARKS: &str = "file marks";
const STATISTICS: &str = "planner statistics";

/// Marks that programs put into the file's header, and the way it keeps its journal.
fn marks(connection: &Connection) -> rusqlite::Result<SchemaObject> {
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let mut statements = vec![];
    for name in ["user_version", "application_id"] {
        let value = number(name)?;
        if value != 0 {
            statements.push(format!("PRAGMA {name} = {value}"));
        }
    }
    let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if journal.eq_ignore_ascii_case("wal") {
        statements.push("PRAGMA journal_mode = wal".to_owned());
    }
    Ok(property(Phase::AtTheEnd, MARKS, statements))
}

fn list(connection: &Connection) -> rusqlite::Result<Vec<Listed>> {
    let query = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| Ok(Listed { name: row.get(0)?, kind: row.get(1)?, without_rowid: row.get(2)? }))?;
    rows.collect()
}

fn names(connection: &Connection, word: &str) -> rusqlite::Result<Vec<String>> {
    // An index without SQL comes with its constraint.
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = ?1 AND sql IS NOT NULL ORDER BY rowid")?;
    statement.query_map([word], |row| row.get(0))?.collect()
}

fn object(connection: &Connection, word: &str, name: &str, kind: ObjectKind, phase: Phase) -> rusqlite::Result<Option<SchemaObject>> {
    let query = "SELECT sql, tbl_name FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND sql IS NOT NULL";
    let found = connection.query_row(query, [word, name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).optional()?;
    Ok(found.map(|(sql, on)| {
        let table = matches!(kind, ObjectKind::Index | ObjectKind::Trigger).then(|| plain(&on));
        SchemaObject { kind, phase, name: plain(name), table, statements: vec![sql] }
    }))
}

const POSITION: &str = "position of ";

/// Whether the object says where a counter stands: such a word grows old while the source lives, and is said again at the end.
pub fn is_position(object: &SchemaObject) -> bool {
    object.kind == ObjectKind::Property && object.name.name.starts_with(POSITION)
}

/// `schema` with the counters where they stand now.
pub fn with_positions(connection: &Connection, mut schema: Schema) -> rusqlite::Result<Schema> {
    schema.objects.retain(|o| !is_position(o));
    schema.objects.extend(positions(connection)?);
    Ok(schema)
}

/// The last numbers that AUTOINCREMENT gave; a table that has not given any has no line.
fn positions(connection: &Connection) -> rusqlite::Result<Vec<SchemaObject>> {
    let there = connection.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'", [], |_| Ok(())).optional()?;
    if there.is_none() {
        return Ok(Vec::new());
    }
    let query = "SELECT name, max(CAST(seq AS INTEGER)) FROM sqlite_sequence GROUP BY name UNION ALL SELECT name, NULL FROM sqlite_schema \
        WHERE type = 'table' AND sql LIKE '%autoincrement%' AND name NOT IN (SELECT name FROM sqlite_sequence) ORDER BY name";
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let position = |(name, seq): (String, Option<i64>)| {
        let quoted = literal(&name);
        let statements = match seq {
            Some(seq) => vec![
                format!("UPDATE sqlite_sequence SET seq = {seq} WHERE name = {quoted}"),
                format!(
                    "INSERT INTO sqlite_sequence (name, seq) SELECT {quoted}, {seq} WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {quoted})"
                ),
            ],
            None => vec![format!("DELETE FROM sqlite_sequence WHERE name = {quoted}")],
        };
        SchemaObject { table: Some(plain(&name)), ..property(Phase::AtTheEnd, &format!("{POSITION}{name}"), statements) }
    };
    rows.map(|row| row.map(position)).collect()
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The file's marks and statistics as they are now, including those that are not set.
pub fn attached(connection: &Connection) -> rusqlite::Result<Attached> {
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let mut marks = vec![format!("PRAGMA user_version = {}", number("user_version")?), format!("PRAGMA application_id = {}", number("application_id")?)];
    if !journal.eq_ignore_ascii_case("memory") && !journal.eq_ignore_ascii_case("off") {
        marks.push(format!("PRAGMA journal_mode = {}", journal.to_lowercase()));
    }
    let statistics = statistics(connection)?;
    let gathered = property(Phase::AfterRows, STATISTICS, statistics);
    Ok(Attached { containers: vec![property(Phase::AtTheEnd, MARKS, marks), gathered.clone()], ownership: vec![gathered], ..Attached::default() })
}

/// What ANALYZE has gathered. Ours gathers it anew, for other tables too.
fn statistics(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let there = |name: &str| connection.query_row("SELECT 1 FROM sqlite_schema WHERE name = ?1", [name], |_| Ok(())).optional();
    let mut statements = Vec::new();
    for name in ["sqlite_stat4", "sqlite_stat1"] {
        if there(name)?.is_none() {
            statements.push(format!("DROP TABLE IF EXISTS {name}"));
        }
    }
    if there("sqlite_stat1")?.is_some() {
        statements.push("DELETE FROM sqlite_stat1".to_owned());
        let mut rows = connection.prepare("SELECT quote(tbl), quote(idx), quote(stat) FROM sqlite_stat1")?;
        let insert = |row: &rusqlite::Row<'_>| {
            let [table, index, stat]: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok(format!("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ({table}, {index}, {stat})"))
        };
        for row in rows.query_map([], insert)? {
            statements.push(row?);
        }
    }
    Ok(statements)
}

/// Whatever the file lists and nothing has read.
fn unread(connection: &Connection, schema: &Schema, shadows: &[&str]) -> rusqlite::Result<Vec<Unmovable>> {
    let mut statement = connection.prepare("SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
    let listed = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut unread = Vec::new();
    for row in listed {
        let (kind, name) = row?;
        let same = |o: &SchemaObject| o.name.name == name && format!("{:?}", o.kind).eq_ignore_ascii_case(&kind);
        let known = schema.objects.iter().any(same) || shadows.contains(&name.as_str()) || schema.unmovable.iter().any(|u| u.name == name);
        if !known {
            let reason = "this version cannot read it: make it at the destination by hand".to_owned();
            unread.push(Unmovable { kind, name, reason });
        }
    }
    Ok(unread)
}

fn table(connection: &Connection, one: &Listed) -> rusqlite::Result<Table> {
    let mut columns = Vec::new();
    let mut primary: Vec<(i64, String)> = Vec::new();
    let mut statement = connection.prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1) ORDER BY cid")?;
    let mut rows = statement.query([&one.name])?;
    while let Some(row) = rows.next()? {
        let (name, place, hidden): (String, i64, i64) = (row.get(0)?, row.get(3)?, row.get(4)?);
        if place > 0 {
            primary.push((place, name.clone()));
        }
        columns.push(Column { name, type_name: row.get(1)?, nullable: !row.get::<_, bool>(2)?, generated: hidden >= 2, collation: None });
    }
    primary.sort();
    let key = if one.without_rowid {
        for (name, collation) in key_collations(connection, &one.name)? {
            columns.iter_mut().filter(|c| c.name == name).for_each(|c| c.collation = Some(collation.clone()));
        }
        primary.into_iter().map(|(_, name)| name).collect()
    } else {
        rowid_key(connection, one, &columns, &primary)?
    };
    let rows: i64 = connection.query_row(&format!("SELECT count(*) FROM {}", ident(&one.name)), [], |row| row.get(0))?;
    Ok(Table { name: plain(&one.name), columns, key, rows: rows as u64, bytes: 0 })
}

/// The column that is the row id, or the row id itself; nothing when columns hide all of its names.
fn rowid_key(connection: &Connection, one: &Listed, columns: &[Column], primary: &[(i64, String)]) -> rusqlite::Result<Vec<String>> {
    if let [(_, name)] = primary {
        // A primary key that is the row id needs no index of its own.
        let query = "SELECT count(*) FROM pragma_index_list(?1) WHERE origin = 'pk'";
        let own: i64 = connection.query_row(query, [&one.name], |row| row.get(0))?;
        if own == 0 {
            return Ok(vec![name.clone()]);
        }
    }
    Ok(sql::free_rowid(columns).map(str::to_owned).into_iter().collect())
}

/// The collations of the key's columns that do not compare bytes.
fn key_collations(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let query =
        "SELECT x.name, x.coll FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x WHERE l.origin = 'pk' AND x.key = 1 AND x.coll <> 'BINARY'";
    let mut statement = connection.prepare(query)?;
    statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
