//! Quoting, and ranges over keys, from the [`Table`] description alone.

use ports::databases::{Column, Key, KeyPart, KeyRange, Table};
use rusqlite::types::{Value, ValueRef};

/// The names of a row's id; a column of such a name hides it.
const ROWIDS: [&str; 3] = ["rowid", "_rowid_", "oid"];

pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name by which rows of these columns are found by their id; none when columns hide them all.
pub fn free_rowid(columns: &[Column]) -> Option<&'static str> {
    ROWIDS.into_iter().find(|id| !columns.iter().any(|c| c.name.eq_ignore_ascii_case(id)))
}

/// The row id's name, when it travels as the first cell and is the key.
pub fn rowid(table: &Table) -> Option<&'static str> {
    free_rowid(&table.columns).filter(|id| table.key == [*id])
}

/// What is written: the row id if it is the key, and all columns but the computed ones.
pub fn written(table: &Table) -> Vec<String> {
    listed(table, table.columns.iter().filter(|c| !c.generated))
}

/// What is compared: all of that and the computed columns.
pub fn compared(table: &Table) -> Vec<String> {
    listed(table, table.columns.iter())
}

fn listed<'a>(table: &Table, columns: impl Iterator<Item = &'a Column>) -> Vec<String> {
    let rowid = rowid(table).map(str::to_owned);
    rowid.into_iter().chain(columns.map(|c| ident(&c.name))).collect()
}

/// The key's columns as they are selected.
pub fn key_columns(table: &Table) -> Vec<String> {
    rowid(table).map_or_else(|| table.key.iter().map(|k| ident(k)).collect(), |id| vec![id.to_owned()])
}

/// The key's expressions, in the order that the table's own tree has.
pub fn key(table: &Table) -> Vec<String> {
    let one = |name: &String| {
        if let Some(id) = rowid(table) {
            return id.to_owned();
        }
        let collation = table.columns.iter().find(|c| c.name == *name).and_then(|c| c.collation.as_deref());
        collation.map_or_else(|| ident(name), |c| format!("{} COLLATE {}", ident(name), ident(c)))
    };
    table.key.iter().map(one).collect()
}

/// The key as its answers sort: by type, then numbers as numbers, text and blobs by bytes.
pub fn key_order(table: &Table) -> String {
    let plain = |name: &String| rowid(table).map_or_else(|| format!("{} COLLATE BINARY", ident(name)), str::to_owned);
    table.key.iter().map(plain).collect::<Vec<_>>().join(", ")
}

/// `(a, b)`, or `a` alone.
fn row(parts: &[String]) -> String {
    if let [one] = parts { one.clone() } else { format!("({})", parts.join(", ")) }
}

/// ` WHERE …` for a range and its parameters; nothing for the whole table.
pub fn where_range(table: &Table, range: &KeyRange) -> (String, Vec<Value>) {
    let left = row(&key(table));
    let mut parts = Vec::new();
    let mut values = Vec::new();
    for (bound, operator) in [(&range.lower, ">="), (&range.upper, "<")] {
        let Some(bound) = bound else { continue };
        let marks = vec!["?".to_owned(); bound.0.len()];
        parts.push(format!("{left} {operator} {}", row(&marks)));
        values.extend(bound.0.iter().map(value));
    }
    if parts.is_empty() { (String::new(), values) } else { (format!(" WHERE {}", parts.join(" AND ")), values) }
}

/// `key = ?` with as many parameters as the key has parts.
pub fn where_key(table: &Table) -> String {
    key(table).iter().map(|k| format!("{k} = ?")).collect::<Vec<_>>().join(" AND ")
}

pub fn value(part: &KeyPart) -> Value {
    match part {
        KeyPart::Null => Value::Null,
        KeyPart::Int(n) => Value::Integer(*n),
        KeyPart::UInt(n) => i64::try_from(*n).map_or_else(|_| Value::Text(n.to_string()), Value::Integer),
        KeyPart::Text(t) => Value::Text(t.clone()),
        KeyPart::Bytes(b) => Value::Blob(b.clone()),
    }
}

/// A key's part from a value. Broken numbers become their text, which a column of numbers reads back.
pub fn part(cell: ValueRef<'_>) -> KeyPart {
    match cell {
        ValueRef::Null => KeyPart::Null,
        ValueRef::Integer(n) => KeyPart::Int(n),
        ValueRef::Real(x) => KeyPart::Text(format!("{x:?}")),
        ValueRef::Text(t) => KeyPart::Text(String::from_utf8_lossy(t).into_owned()),
        ValueRef::Blob(b) => KeyPart::Bytes(b.to_vec()),
    }
}

/// The first cells of a row as its key.
pub fn key_of(row: &rusqlite::Row<'_>, parts: usize) -> rusqlite::Result<Key> {
    (0..parts).map(|i| row.get_ref(i).map(part)).collect::<rusqlite::Result<_>>().map(Key)
}

/// Whether a value can stand as a bound: it comes back from its [`KeyPart`] exactly.
pub fn can_bound(cell: ValueRef<'_>) -> bool {
    match cell {
        ValueRef::Integer(_) | ValueRef::Blob(_) => true,
        ValueRef::Text(t) => std::str::from_utf8(t).is_ok(),
        ValueRef::Null | ValueRef::Real(_) => false,
    }
}
