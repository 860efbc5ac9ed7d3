//! Keys and key ranges as SQL: how key values are read, compared and ordered.

use super::quote::{hex, ident, text};
use super::values::{Form, form};
use ports::databases::{Column, Key, KeyPart, KeyRange, Table};

/// How a statement that reads rows begins. A table without transactions that our own session has locked for reading can be read by our
/// other sessions although somebody waits to write to it: without the word they would wait behind the writer, and the writer for us.
pub(super) const SELECT: &str = "SELECT HIGH_PRIORITY";

/// The key's columns, in key order.
pub(super) fn key_columns(table: &Table) -> Vec<&Column> {
    table.key.iter().filter_map(|name| table.columns.iter().find(|c| c.name == *name)).collect()
}

/// The expression whose text form is read as a key part.
pub(super) fn key_expression(column: &Column) -> String {
    let name = ident(&column.name);
    match form(column) {
        Form::Text | Form::Choice => format!("CONVERT({name} USING utf8mb4)"),
        Form::Bit => format!("{name}+0"),
        Form::Float => format!("{name}*1e0"),
        _ => name,
    }
}

/// Orders rows as [`Key`] compares: numbers by value, everything else by the bytes of its text.
pub(super) fn order_expression(column: &Column) -> String {
    match form(column) {
        Form::Integer | Form::Bit | Form::Binary => ident(&column.name),
        _ => format!("CAST({} AS BINARY)", key_expression(column)),
    }
}

/// What the server sent for [`key_expression`].
pub(super) fn key_part(column: &Column, value: Option<Vec<u8>>) -> KeyPart {
    let Some(bytes) = value else { return KeyPart::Null };
    let unsigned = column.type_name.contains("unsigned") || form(column) == Form::Bit;
    match form(column) {
        Form::Integer | Form::Bit => {
            let number = String::from_utf8_lossy(&bytes);
            match (unsigned, number.parse::<u64>(), number.parse::<i64>()) {
                (true, Ok(n), _) => KeyPart::UInt(n),
                (_, _, Ok(n)) => KeyPart::Int(n),
                _ => KeyPart::Text(number.into_owned()),
            }
        }
        Form::Binary | Form::Spatial => KeyPart::Bytes(bytes),
        _ => match String::from_utf8(bytes) {
            Ok(value) => KeyPart::Text(value),
            Err(raw) => KeyPart::Bytes(raw.into_bytes()),
        },
    }
}

/// A key part as a literal that compares with its column through the index.
pub(super) fn key_literal(column: &Column, part: &KeyPart) -> String {
    match part {
        KeyPart::Null => "NULL".to_owned(),
        KeyPart::Int(n) => n.to_string(),
        KeyPart::UInt(n) => n.to_string(),
        KeyPart::Bytes(bytes) => hex(bytes),
        KeyPart::Text(value) => match form(column) {
            Form::Text | Form::Choice => format!("_utf8mb4 {}", hex(value.as_bytes())),
            Form::Float if !value.contains('e') => format!("{value}e0"),
            Form::Float => value.clone(),
            // In quotes it would be compared as a double.
            Form::Plain if is_decimal(column) && is_number(value) => value.clone(),
            _ => text(value),
        },
    }
}

fn is_decimal(column: &Column) -> bool {
    ["decimal", "numeric", "fixed", "year"].iter().any(|name| column.type_name.to_ascii_lowercase().starts_with(name))
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// `WHERE` condition of a range. A bound may name only the first columns of the key.
pub(super) fn condition(table: &Table, range: &KeyRange) -> String {
    let columns = key_columns(table);
    let lower = range.lower.as_ref().map(|key| bound(&columns, key, '>', true));
    let upper = range.upper.as_ref().map(|key| bound(&columns, key, '<', false));
    let parts: Vec<_> = lower.into_iter().chain(upper).collect();
    if parts.is_empty() { "TRUE".to_owned() } else { parts.join(" AND ") }
}

/// `(a,b) > (x,y)` or `>=`, written out so that the index on (a, b) is used: row comparisons are not.
fn bound(columns: &[&Column], key: &Key, direction: char, inclusive: bool) -> String {
    let pairs: Vec<_> = columns.iter().zip(&key.0).map(|(c, p)| (ident(&c.name), key_literal(c, p))).collect();
    let Some(((last, last_value), before)) = pairs.split_last() else { return "TRUE".to_owned() };
    let equals = if inclusive { "=" } else { "" };
    let mut sql = format!("{last} {direction}{equals} {last_value}");
    for (name, value) in before.iter().rev() {
        sql = format!("{name} {direction}= {value} AND ({name} {direction} {value} OR ({sql}))");
    }
    format!("({sql})")
}

/// Equality with one key.
pub(super) fn equals(table: &Table, key: &Key) -> String {
    let parts: Vec<_> = key_columns(table).iter().zip(&key.0).map(|(c, p)| format!("{} = {}", ident(&c.name), key_literal(c, p))).collect();
    if parts.is_empty() { "FALSE".to_owned() } else { parts.join(" AND ") }
}

/// How many leading key columns may be cut at: those that every MySQL and MariaDB orders alike. A text column counts when its
/// collation exists, with the same order, in both products or at least in all versions of the one that has it.
pub(super) fn splittable(table: &Table) -> usize {
    key_columns(table).iter().take_while(|c| orders_alike(c)).count()
}

fn orders_alike(column: &Column) -> bool {
    match form(column) {
        Form::Integer | Form::Plain | Form::Binary | Form::Bit => true,
        Form::Text => {
            let collation = column.collation.as_deref().unwrap_or_default();
            !collation.is_empty() && !collation.contains("uca1400") && !collation.contains("nopad") && !collation.contains("mysql561")
        }
        Form::Float | Form::Choice | Form::Spatial | Form::Json | Form::Ascii => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::databases::ObjectName;

    fn table(columns: &[(&str, &str)]) -> Table {
        let column = |(name, kind): &(&str, &str)| Column {
            name: (*name).to_owned(),
            type_name: (*kind).to_owned(),
            nullable: false,
            generated: false,
            collation: kind.starts_with("varchar").then(|| "utf8mb4_bin".to_owned()),
        };
        let name = ObjectName { schema: String::new(), name: "t".to_owned() };
        Table { name, columns: columns.iter().map(column).collect(), key: columns.iter().map(|c| c.0.to_owned()).collect(), rows: 0, bytes: 0 }
    }

    #[test]
    fn ranges_are_written_for_the_index() {
        let one = table(&[("id", "bigint unsigned")]);
        let range = KeyRange { lower: Some(Key(vec![KeyPart::UInt(5)])), upper: Some(Key(vec![KeyPart::UInt(9)])) };
        assert_eq!(condition(&one, &range), "(`id` >= 5) AND (`id` < 9)");
        assert_eq!(condition(&one, &KeyRange::default()), "TRUE");

        let two = table(&[("a", "int"), ("b`", "varchar(9)")]);
        let key = Key(vec![KeyPart::Int(-1), KeyPart::Text("é".to_owned())]);
        let range = KeyRange { lower: Some(key.clone()), upper: Some(key) };
        assert_eq!(
            condition(&two, &range),
            "(`a` >= -1 AND (`a` > -1 OR (`b``` >= _utf8mb4 X'c3a9'))) AND (`a` <= -1 AND (`a` < -1 OR (`b``` < _utf8mb4 X'c3a9')))"
        );
        assert_eq!(splittable(&two), 2);

        let decimal = table(&[("d", "decimal(30,10)")]);
        let exact = KeyPart::Text("12345678901234567890.0000000001".to_owned());
        assert_eq!(equals(&decimal, &Key(vec![exact])), "`d` = 12345678901234567890.0000000001");
    }
}
