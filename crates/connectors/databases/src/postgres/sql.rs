//! Pieces of SQL: quoting, ranges over keys, and the canonical form of values for hashes.
//!
//! Everything here is decided from the [`Table`] description alone (plus how this server sorts text), so that source and
//! destination decide alike.

use ports::databases::{Column, Key, KeyPart, KeyRange, ObjectName, Table};

/// `"a ""quoted"" name"`.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn qualified(name: &ObjectName) -> String {
    if name.schema.is_empty() { ident(&name.name) } else { format!("{}.{}", ident(&name.schema), ident(&name.name)) }
}

/// A string literal (`standard_conforming_strings` is on in our sessions).
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Among the options of a new database: the C library's locales.
pub const LIBC: &str = " LOCALE_PROVIDER libc";

/// How a column's values travel and are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Its own hash function tells any two different values apart.
    Itself,
    /// This function's bytes tell them apart (scale of a numeric, sign of a zero, …).
    Sent(&'static str),
    /// The text form does; the binary form is the same on all versions.
    Text,
    /// As `Text`, but the binary form is not to be trusted across servers.
    TextOnly,
}

pub fn form(type_name: &str) -> Form {
    match base_type(type_name).as_str() {
        "boolean" | "smallint" | "integer" | "bigint" | "text" | "character varying" | "uuid" | "bytea" | "date" | "oid" => Form::Itself,
        "timestamp without time zone" | "timestamp with time zone" | "time without time zone" => Form::Itself,
        "real" => Form::Sent("float4send"),
        "double precision" => Form::Sent("float8send"),
        "numeric" => Form::Sent("numeric_send"),
        "interval" => Form::Sent("interval_send"),
        "time with time zone" => Form::Sent("timetz_send"),
        "character" => Form::Sent("bpcharsend"),
        "inet" => Form::Sent("inet_send"),
        "cidr" => Form::Sent("cidr_send"),
        "json" | "jsonb" | "bit" | "bit varying" | "point" | "box" | "circle" | "line" | "lseg" | "path" | "polygon" => Form::Text,
        "macaddr" | "macaddr8" | "integer[]" | "bigint[]" | "smallint[]" | "text[]" | "boolean[]" | "uuid[]" | "double precision[]" => Form::Text,
        _ => Form::TextOnly,
    }
}

/// The type without its modifiers: `timestamp(3) with time zone` is `timestamp with time zone`.
pub fn base_type(type_name: &str) -> String {
    match (type_name.find('('), type_name.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &type_name[..open], &type_name[close + 1..]),
        _ => type_name.to_owned(),
    }
}

/// Whether the table's rows travel in binary: measured a quarter faster than text on both ends, and exact for these types.
pub fn travels_binary(table: &Table) -> bool {
    written(table).all(|c| form(&c.type_name) != Form::TextOnly)
}

/// The columns that are written: all but the computed ones.
pub fn written(table: &Table) -> impl Iterator<Item = &Column> {
    table.columns.iter().filter(|c| !c.generated)
}

/// A written column as it is sent. A built-in function or operator that shares its name goes by its number, which is the same on every server.
pub fn sent(column: &Column) -> String {
    let name = ident(&column.name);
    match column.type_name.as_str() {
        "regproc" | "regoper" => format!("CASE WHEN {name}::oid < 16384 THEN {name}::oid::text ELSE {name}::text END"),
        _ => name,
    }
}

/// How this server's database sorts and stores text.
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// The default collation compares bytes, so an index of it serves comparisons by bytes.
    pub bytewise: bool,
    /// Text is stored as UTF-8 (or as bytes of no known encoding), so its bytes can be hashed as they are.
    pub utf8: bool,
    /// SQL_ASCII: nobody knows what its bytes mean, so they travel as they are.
    pub unknown: bool,
}

/// The value in a form whose bytes (or whose own hash function) tell any two different values apart.
pub fn cell_form(column: &Column, text: Text) -> String {
    let name = ident(&column.name);
    let as_text = |expression: String| if text.utf8 { expression } else { format!("pg_catalog.convert_to({expression}, 'UTF8')") };
    match form(&column.type_name) {
        Form::Itself if is_text(&column.type_name) && column.collation.is_some() => as_text(format!("{name}::text COLLATE pg_catalog.\"C\"")),
        Form::Itself if is_text(&column.type_name) => as_text(name),
        Form::Itself => name,
        Form::Sent(function) => format!("pg_catalog.{function}({name})"),
        Form::Text | Form::TextOnly => as_text(format!("{name}::text COLLATE pg_catalog.\"C\"")),
    }
}

pub fn is_text(type_name: &str) -> bool {
    matches!(base_type(type_name).as_str(), "text" | "character varying" | "character" | "name")
}

fn is_integer(type_name: &str) -> bool {
    matches!(type_name, "smallint" | "integer" | "bigint")
}

/// The key's columns, or nothing when one of them cannot be compared alike everywhere: then the table is one range.
pub fn range_key(table: &Table) -> Option<Vec<&Column>> {
    let known = |c: &&Column| {
        let base = base_type(&c.type_name);
        is_integer(&base)
            || matches!(
                base.as_str(),
                "text" | "character varying" | "character" | "uuid" | "date" | "numeric" | "bytea" | "oid" | "boolean" | "timestamp without time zone"
            )
            || base == "timestamp with time zone"
            || base == "time without time zone"
    };
    let columns: Vec<&Column> = key_columns(table).collect();
    (!columns.is_empty() && columns.len() == table.key.len() && columns.iter().all(known)).then_some(columns)
}

pub fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.key.iter().filter_map(|k| table.columns.iter().find(|c| c.name == *k))
}

/// The column as ranges compare it: text always by its bytes, whatever the collation, because two servers sort words differently.
pub fn ordered(column: &Column, text: Text) -> String {
    let name = ident(&column.name);
    let served = text.bytewise && column.collation.is_none();
    if is_text(&column.type_name) && !served { format!("{name} COLLATE pg_catalog.\"C\"") } else { name }
}

/// Whether a range over the key can use the key's index.
pub fn range_uses_index(table: &Table, text: Text) -> bool {
    key_columns(table).all(|c| !ordered(c, text).contains("COLLATE"))
}

/// ` WHERE …` for a range, or nothing for the whole table.
pub fn where_range(table: &Table, range: &KeyRange, text: Text) -> String {
    let columns: Vec<&Column> = key_columns(table).collect();
    let left = row(columns.iter().map(|c| ordered(c, text)));
    let bound = |key: &Key| row(columns.iter().zip(&key.0).map(|(c, part)| value(c, part)));
    let lower = range.lower.as_ref().map(|k| format!("{left} >= {}", bound(k)));
    let upper = range.upper.as_ref().map(|k| format!("{left} < {}", bound(k)));
    let parts: Vec<String> = lower.into_iter().chain(upper).collect();
    if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
}

/// ` key = …` for one row.
pub fn where_key(table: &Table, key: &Key) -> String {
    let parts: Vec<String> = key_columns(table).zip(&key.0).map(|(c, part)| format!("{} = {}", ident(&c.name), value(c, part))).collect();
    parts.join(" AND ")
}

fn row(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.len() == 1 { parts.concat() } else { format!("ROW({})", parts.join(", ")) }
}

fn value(column: &Column, part: &KeyPart) -> String {
    let text = match part {
        KeyPart::Null => return "NULL".to_owned(),
        KeyPart::Int(n) => n.to_string(),
        KeyPart::UInt(n) => n.to_string(),
        KeyPart::Text(t) => t.clone(),
        KeyPart::Bytes(b) => format!("\\x{}", hex::encode(b)),
    };
    // Plain `character` would mean one character.
    let base = base_type(&column.type_name);
    format!("{}::{}", literal(&text), if base == "character" { "bpchar" } else { base.as_str() })
}

/// The key's columns as text, for the answer of a query.
pub fn key_as_text(columns: &[&Column]) -> String {
    columns.iter().map(|c| format!("{}::text", ident(&c.name))).collect::<Vec<_>>().join(", ")
}

/// Sorts as [`Key`] does: numbers as numbers, bytes as bytes, all else by the bytes of its text.
pub fn key_order(columns: &[&Column]) -> String {
    let one = |c: &&Column| {
        let name = ident(&c.name);
        let plain = is_integer(&c.type_name) || matches!(c.type_name.as_str(), "bytea" | "uuid");
        if plain { name } else { format!("{name}::text COLLATE pg_catalog.\"C\"") }
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A key's part from its text.
pub fn part(column: &Column, text: Option<String>) -> KeyPart {
    let Some(text) = text else { return KeyPart::Null };
    if is_integer(&column.type_name) {
        return text.parse().map_or(KeyPart::Text(text), KeyPart::Int);
    }
    match text.strip_prefix("\\x").map(hex::decode) {
        Some(Ok(bytes)) if column.type_name == "bytea" => KeyPart::Bytes(bytes),
        _ => KeyPart::Text(text),
    }
}
