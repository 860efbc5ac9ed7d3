//! How each column type is read, travels and is written: the one table of forms.
//!
//! Text and blobs travel as stored. FLOAT and DOUBLE travel with all their digits (the server's own text form of a FLOAT
//! loses some). BIT values travel as hexadecimal text, spatial ones as the bytes that are stored. JSON travels as UTF-8.
//!
//! The fingerprint reads through other expressions than the copy wherever one of them can lose something (a function that gives NULL
//! for what is larger than `max_allowed_packet`), and takes no NULL for a value.

use super::quote::{hex, ident};
use ports::databases::Column;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Integer,
    /// Exact or temporal: its text form is exact and plain.
    Plain,
    Float,
    /// Bytes in the column's own character set.
    Text,
    /// ENUM and SET: text that the server orders by number.
    Choice,
    Binary,
    Bit,
    Spatial,
    Json,
    /// MariaDB's UUID and INET types: ASCII text that binary strings must not be taken for.
    Ascii,
}

pub(super) fn form(column: &Column) -> Form {
    let end = column.type_name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(column.type_name.len());
    match column.type_name[..end].to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => Form::Integer,
        "float" | "double" | "real" => Form::Float,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Form::Text,
        "enum" | "set" => Form::Choice,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Form::Binary,
        "bit" => Form::Bit,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection"
        | "vector" => Form::Spatial,
        "json" => Form::Json,
        "uuid" | "inet4" | "inet6" => Form::Ascii,
        _ => Form::Plain,
    }
}

/// The columns that are written; generated ones are left to the database.
pub(super) fn written(columns: &[Column]) -> impl Iterator<Item = &Column> {
    columns.iter().filter(|c| !c.generated)
}

/// The expression whose text form is what travels.
pub(super) fn read_expression(column: &Column) -> String {
    let name = ident(&column.name);
    match form(column) {
        Form::Float => format!("{name}*1e0"),
        Form::Bit => format!("HEX({name})"),
        Form::Json => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
        _ => name,
    }
}

/// How `LOAD DATA` turns the travelled text, held in `variable`, into the column's value; `None`: as it comes.
pub(super) fn load_expression(column: &Column, variable: &str) -> Option<String> {
    match form(column) {
        Form::Bit => Some(format!("CAST(CONV({variable},16,10) AS UNSIGNED)")),
        // Stored bytes: a reference system of four bytes, then 1 (little-endian). Backups of earlier versions hold hexadecimal text.
        Form::Spatial => Some(format!("IF(SUBSTRING({variable},5,1)=X'01',{variable},UNHEX({variable}))")),
        Form::Json => Some(format!("CONVERT({variable} USING utf8mb4)")),
        Form::Ascii => Some(format!("CONVERT({variable} USING ascii)")),
        _ => None,
    }
}

/// The travelled text as a literal of an `INSERT`.
pub(super) fn insert_literal(column: &Column, value: &[u8], out: &mut Vec<u8>) {
    let plain = value.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'\'' | b'\\') || *b == b' ');
    let mut quoted = |before: &str, after: &str| {
        out.extend_from_slice(before.as_bytes());
        if plain {
            out.push(b'\'');
            out.extend_from_slice(value);
            out.push(b'\'');
        } else {
            out.extend_from_slice(hex(value).as_bytes());
        }
        out.extend_from_slice(after.as_bytes());
    };
    match form(column) {
        Form::Integer | Form::Plain | Form::Float => quoted("", ""),
        Form::Text | Form::Choice | Form::Binary => quoted("_binary ", ""),
        Form::Bit => quoted("CAST(CONV(", ",16,10) AS UNSIGNED)"),
        Form::Spatial if value.get(4) == Some(&1) => quoted("_binary ", ""),
        Form::Spatial => quoted("UNHEX(", ")"),
        Form::Json => quoted("CONVERT(", " USING utf8mb4)"),
        Form::Ascii => quoted("CONVERT(", " USING ascii)"),
    }
}

/// The place of the travelled text, sent as a binary string, in a prepared `INSERT`.
pub(super) fn parameter(column: &Column) -> &'static str {
    match form(column) {
        Form::Bit => "CAST(CONV(?,16,10) AS UNSIGNED)",
        Form::Json => "CONVERT(? USING utf8mb4)",
        Form::Ascii => "CONVERT(? USING ascii)",
        _ => "?",
    }
}

/// Expressions for the fingerprint of one column, each plain text or bytes that cannot contain the separator unless a length
/// stands before it. Equal values give equal bytes on MySQL and MariaDB alike. Only a NULL that is stored is written as one. An
/// expression that gives NULL for anything else makes the whole row's form NULL, which is an error and never a fingerprint.
pub(super) fn canonical(column: &Column) -> Vec<String> {
    let name = ident(&column.name);
    let or = |value: String, else_: &str| if column.nullable { format!("IF({name} IS NULL,{else_},{value})") } else { value };
    match form(column) {
        Form::Integer | Form::Plain => vec![or(name.clone(), "'N'")],
        // As a string: beside one, the server would take the marker of NULL for an address or a UUID.
        Form::Ascii => vec![or(format!("CAST({name} AS CHAR)"), "'N'")],
        Form::Bit => vec![or(format!("{name}+0"), "'N'")],
        Form::Spatial => vec![or(format!("SHA2({name},256)"), "'N'")],
        Form::Float => vec![canonical_float(&name)],
        // Long values would not fit into one string with the rest of their row.
        Form::Text | Form::Binary if is_long(column) => vec![or(format!("SHA2({name},256)"), "'N'")],
        Form::Text | Form::Choice | Form::Binary => vec![or(format!("LENGTH({name})"), "'N'"), or(format!("CAST({name} AS BINARY)"), "''")],
        Form::Json => vec![or(format!("SHA2(CAST({name} AS CHAR CHARACTER SET utf8mb4),256)"), "'N'")],
    }
}

fn is_long(column: &Column) -> bool {
    let name = column.type_name.to_ascii_lowercase();
    ["mediumtext", "longtext", "mediumblob", "longblob"].iter().any(|long| name.starts_with(long))
}

/// The text form of a double differs between the two products (and may lose digits inside an expression), the conversion to
/// DECIMAL does not and keeps all 17 digits. Values beyond its range are first scaled by an exact power of two, which is
/// written beside them. Negative zero counts as zero.
fn canonical_float(name: &str) -> String {
    let power = format!("FLOOR(LOG2(ABS({name}*1e0))/100)");
    let scale = format!("POW(2,-50*{power})");
    format!(
        "CASE WHEN {name} IS NULL THEN 'N' WHEN {name}=0 OR ABS({name}*1e0) BETWEEN 1e-12 AND 1e33 THEN CAST({name}*1e0 AS DECIMAL(65,30)) \
         ELSE CONCAT(CAST({power} AS SIGNED),'p',CAST({name}*{scale}*{scale} AS DECIMAL(65,30))) END"
    )
}

/// Undoes the escapes of [`ports::databases::RowFormat::MySqlText`] for one cell; `None` is NULL.
pub(super) fn unescape(cell: &[u8]) -> Option<Vec<u8>> {
    if cell == b"\\N" {
        return None;
    }
    let mut out = Vec::with_capacity(cell.len());
    let mut bytes = cell.iter();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'\\' => match bytes.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                Some(other) => *other,
                None => b'\\',
            },
            b => *b,
        });
    }
    Some(out)
}

/// Appends one cell in the travelling form.
pub(super) fn escape(value: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, byte) in value.iter().enumerate() {
        let letter = match byte {
            b'\\' => b'\\',
            b'\t' => b't',
            b'\n' => b'n',
            0 => b'0',
            _ => continue,
        };
        out.extend_from_slice(&value[from..at]);
        out.extend_from_slice(&[b'\\', letter]);
        from = at + 1;
    }
    out.extend_from_slice(&value[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_travelling_form() {
        let all: Vec<u8> = (0..=255).collect();
        for value in [all.as_slice(), b"", b"N", b"\\N", b"\\", b"\t\n\0\\t"] {
            let mut cell = Vec::new();
            escape(value, &mut cell);
            assert!(!cell.contains(&b'\t') && !cell.contains(&b'\n') && !cell.contains(&0));
            assert_eq!(unescape(&cell).as_deref(), Some(value));
        }
        assert_eq!(unescape(b"\\N"), None);
    }
}
