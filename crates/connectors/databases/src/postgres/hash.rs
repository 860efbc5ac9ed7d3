//! One row as a 64-bit number: the same for the same content on every version, encoding and collation.
//!
//! Each value is hashed by its type's own function with the hash of the values before it as the seed. That is strict: with a
//! NULL among the values (or a value that its step cannot tell apart) the chain is NULL, and the record is hashed as a whole
//! instead. Measured on five million rows of six columns, the chain costs four fifths of the record.
//!
//! [`super::hash_row`] computes the same number from a row's bytes: what is changed here is changed there.

use super::sql::{Form, Text, base_type, cell_form, form, ident, is_text};
use ports::databases::{Column, Fingerprint, Table};

/// Wider tables are hashed as records: so deep an expression costs the server more than it saves.
pub const CHAINED_COLUMNS: usize = 100;

/// One row's 64-bit hash: an expression over the table's columns, the computed ones included.
pub fn row_hash(table: &Table, text: Text) -> String {
    let cells: Vec<String> = table.columns.iter().map(|c| cell_form(c, text)).collect();
    // A single column would be `ROW(a)`, which is a record too; no columns at all is `ROW()`.
    let record = format!("pg_catalog.hash_record_extended(ROW({}), 0)", cells.join(", "));
    if table.columns.is_empty() || table.columns.len() > CHAINED_COLUMNS {
        return record;
    }
    // What may be NULL comes first: then a row with one is not hashed nearly to its end before the chain breaks.
    let (nullable, sure): (Vec<_>, Vec<_>) = table.columns.iter().partition(|c| c.nullable);
    let chain = nullable.into_iter().chain(sure).fold("0::bigint".to_owned(), |seed, c| step(c, &seed, text));
    format!("COALESCE({chain}, {record})")
}

/// The hash of this value on top of the values before it; NULL when it is NULL.
fn step(column: &Column, seed: &str, text: Text) -> String {
    let name = ident(&column.name);
    let base = base_type(&column.type_name);
    match base.as_str() {
        "smallint" => return format!("pg_catalog.hashint2extended({name}, {seed})"),
        "integer" => return format!("pg_catalog.hashint4extended({name}, {seed})"),
        // Its own function folds a bigint to 32 bits, so that 1 and 4294967296 are the same to it; as a seed it counts in full.
        "bigint" => return format!("pg_catalog.hashint4extended(0, {seed} # {name})"),
        "oid" => return format!("pg_catalog.hashoidextended({name}, {seed})"),
        "boolean" => return format!("pg_catalog.hashint4extended({name}::int4, {seed})"),
        "uuid" => return format!("pg_catalog.uuid_hash_extended({name}, {seed})"),
        // With a fixed scale only the sign is not in its own function's hash.
        "numeric" if column.type_name.contains('(') => {
            return format!("pg_catalog.hash_numeric_extended({name}, {seed} # CASE WHEN {name} < 0 THEN 1::bigint ELSE 0::bigint END)");
        }
        _ => {}
    }
    let cell = cell_form(column, text);
    let textual = is_text(&column.type_name) && form(&column.type_name) == Form::Itself;
    match (textual || matches!(form(&column.type_name), Form::Text | Form::TextOnly), text.utf8) {
        (true, true) => format!("pg_catalog.hashtextextended({cell}, {seed})"),
        // The same number from the same bytes, where they had to be converted.
        (true, false) => format!("CASE WHEN {name} IS NOT NULL THEN pg_catalog.hash_record_extended(ROW({cell}), {seed}) END"),
        (false, _) => format!("CASE WHEN {name} IS NOT NULL THEN pg_catalog.hash_array_extended(ARRAY[{cell}], {seed}) END"),
    }
}

/// A fingerprint from the sum and the exclusive or of the rows' hashes.
pub fn fingerprint(sum: &str, xor: i64) -> String {
    format!("{sum}/{xor:016x}")
}

/// The fingerprint of rows whose hashes come one by one.
#[derive(Default)]
pub struct Tally {
    rows: u64,
    sum: i128,
    xor: i64,
}

impl Tally {
    pub fn add(&mut self, hash: i64) {
        self.rows += 1;
        self.sum += i128::from(hash);
        self.xor ^= hash;
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { rows: self.rows, hash: fingerprint(&self.sum.to_string(), self.xor) }
    }
}
