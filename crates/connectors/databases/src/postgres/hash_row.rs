//! A row's hash from its binary form: the number that [`super::hash::row_hash`] has the server compute, computed by us while the row passes.
//!
//! So a bulk copy costs the source its rows and no more. The destination always computes its fingerprint itself, from what it
//! stores. Tables with a type whose binary form is not what the server's function hashes are left to the server.

use super::connection::Connection;
use super::hash::{self, CHAINED_COLUMNS};
use super::hash_bytes as hashed;
use super::sql::{Form, Text, base_type, form, ident, is_text};
use ports::databases::{Column, ObjectName, Table};
use std::ops::Range;

/// What a value's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Short,
    Integer,
    Long,
    Oid,
    Boolean,
    Date,
    /// Microseconds.
    Moment,
    /// A numeric of a fixed scale.
    Scaled,
    /// Text, and what has a function for its bytes.
    Bytes,
    /// Text after a byte with its version.
    Jsonb,
    /// As `Bytes`, but the chain hashes it as an array of one.
    Boxed,
}

impl Kind {
    fn of(type_name: &str) -> Option<Self> {
        let base = base_type(type_name);
        Some(match base.as_str() {
            "smallint" => Self::Short,
            "integer" => Self::Integer,
            "bigint" => Self::Long,
            "oid" => Self::Oid,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "timestamp without time zone" | "timestamp with time zone" | "time without time zone" => Self::Moment,
            "uuid" | "json" => Self::Bytes,
            "jsonb" => Self::Jsonb,
            "bytea" => Self::Boxed,
            "numeric" if type_name.contains('(') => Self::Scaled,
            _ => match form(type_name) {
                Form::Itself if is_text(&base) => Self::Bytes,
                Form::Sent(_) => Self::Boxed,
                _ => return None,
            },
        })
    }

    /// The type's own hash, as a record has it.
    fn own(self, value: &[u8], seed: u64) -> Option<u64> {
        let long = || value.try_into().map(i64::from_be_bytes).ok();
        let integer = || value.try_into().map(u32::from_be_bytes).ok();
        Some(match self {
            Self::Short => hashed::word(i32::from(i16::from_be_bytes(value.try_into().ok()?)) as u32, seed),
            Self::Integer | Self::Oid | Self::Date => hashed::word(integer()?, seed),
            Self::Boolean => hashed::word(u32::from(*value.first()?), seed),
            Self::Long | Self::Moment => hashed::long(long()?, seed),
            Self::Jsonb => hashed::bytes(value.strip_prefix(&[1])?, seed),
            Self::Bytes | Self::Boxed | Self::Scaled => hashed::bytes(value, seed),
        })
    }

    /// The value's hash on top of the values before it.
    fn step(self, value: &[u8], seed: u64) -> Option<u64> {
        match self {
            Self::Long => Some(hashed::word(0, seed ^ u64::from_be_bytes(value.try_into().ok()?))),
            Self::Scaled => {
                let negative = matches!(value.get(4..6)?, [0x40 | 0xf0, 0]);
                hashed::numeric(value, seed ^ u64::from(negative))
            }
            Self::Date | Self::Moment | Self::Boxed => self.own(value, seed).map(|h| h.wrapping_add(31)),
            _ => self.own(value, seed),
        }
    }
}

/// Hashes the rows of one table.
#[derive(Debug)]
pub struct RowHash {
    kinds: Vec<Kind>,
    /// Positions of the columns as the chain takes them.
    chain: Vec<usize>,
    /// Where the values of the row at hand are.
    places: Vec<Option<Range<usize>>>,
}

impl RowHash {
    /// Nothing for a table that only its server can hash.
    pub fn of(table: &Table) -> Option<Self> {
        let columns = &table.columns;
        if columns.is_empty() || columns.len() > CHAINED_COLUMNS || columns.iter().any(|c| c.generated) {
            return None;
        }
        let kinds = columns.iter().map(|c| Kind::of(&c.type_name)).collect::<Option<Vec<_>>>()?;
        let (nullable, sure): (Vec<usize>, Vec<usize>) = (0..columns.len()).partition(|n| columns[*n].nullable);
        Some(Self { kinds, chain: [nullable, sure].concat(), places: vec![None; columns.len()] })
    }

    /// The hash of one row as COPY sends it; nothing when it is not such a row.
    pub fn row(&mut self, row: &[u8]) -> Option<i64> {
        let whole = self.find(row)?;
        let value = |n: &usize| self.places.get(*n).cloned().flatten().and_then(|place| row.get(place));
        let hash = if whole {
            self.chain.iter().try_fold(0, |seed, n| self.kinds.get(*n)?.step(value(n)?, seed))?
        } else {
            self.kinds.iter().enumerate().try_fold(0u64, |sum, (n, kind)| {
                let own = value(&n).map_or(Some(0), |v| kind.own(v, 0))?;
                Some(sum.wrapping_mul(31).wrapping_add(own))
            })?
        };
        Some(hash as i64)
    }

    /// Finds the values; whether there is one in every column.
    fn find(&mut self, row: &[u8]) -> Option<bool> {
        let (count, _) = row.split_first_chunk::<2>()?;
        if usize::from(u16::from_be_bytes(*count)) != self.places.len() {
            return None;
        }
        let (mut at, mut whole) = (2, true);
        for place in &mut self.places {
            let length = i32::from_be_bytes(*row.get(at..)?.first_chunk::<4>()?);
            at += 4;
            let end = at + usize::try_from(length.max(0)).ok()?;
            *place = (length >= 0).then_some(at..end);
            whole &= length >= 0;
            at = end;
        }
        (at == row.len()).then_some(whole)
    }
}

/// A type, a value of it in SQL, and its binary form.
const SAMPLES: [(&str, &str, &[u8]); 14] = [
    ("smallint", "-2", &[0xff, 0xfe]),
    ("integer", "70000", &[0, 1, 0x11, 0x70]),
    ("bigint", "-5000000000", &[0xff, 0xff, 0xff, 0xfe, 0xd5, 0xfa, 0x0e, 0]),
    ("oid", "4000000000", &[0xee, 0x6b, 0x28, 0]),
    ("boolean", "true", &[1]),
    ("uuid", "00010203-0405-0607-0809-0a0b0c0d0e0f", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    ("numeric(12,3)", "-1234.56", &[0, 2, 0, 0, 0x40, 0, 0, 3, 0x04, 0xd2, 0x15, 0xe0]),
    ("text", "a sentence of more than a dozen", b"a sentence of more than a dozen"),
    ("jsonb", "{\"a\":1.0}", b"\x01{\"a\": 1.0}"),
    ("date", "1999-12-31", &[0xff, 0xff, 0xff, 0xff]),
    ("timestamp with time zone", "2000-01-01 00:00:01+00", &[0, 0, 0, 0, 0, 0x0f, 0x42, 0x40]),
    ("bytea", "\\x00ff", &[0, 0xff]),
    ("double precision", "-0", &[0x80, 0, 0, 0, 0, 0, 0, 0]),
    ("numeric", "NaN", &[0, 0, 0, 0, 0xc0, 0, 0, 0]),
];

/// The samples as a table: its last column may be NULL.
fn sample_table() -> Table {
    let last = SAMPLES.len();
    let column =
        |n: usize, type_name: &str| Column { name: format!("c{n}"), type_name: type_name.to_owned(), nullable: n == last, generated: false, collation: None };
    let mut columns: Vec<Column> = SAMPLES.iter().enumerate().map(|(n, (type_name, ..))| column(n, type_name)).collect();
    columns.push(column(last, "integer"));
    Table { name: ObjectName { schema: String::new(), name: "sample".to_owned() }, columns, key: Vec::new(), rows: 1, bytes: 0 }
}

/// The hashes of the samples' row by our own reckoning, with a last value and without.
fn sample_hashes() -> Option<[i64; 2]> {
    let mut hash = RowHash::of(&sample_table())?;
    let mut row = (SAMPLES.len() as u16 + 1).to_be_bytes().to_vec();
    for (_, _, sent) in SAMPLES {
        row.extend((sent.len() as u32).to_be_bytes());
        row.extend(sent);
    }
    let full = [row.as_slice(), &4u32.to_be_bytes(), &7u32.to_be_bytes()].concat();
    row.extend((-1i32).to_be_bytes());
    Some([hash.row(&full)?, hash.row(&row)?])
}

/// Whether this server's hashes are the ones that we compute.
pub async fn alike(connection: &Connection, text: Text) -> Result<bool, tokio_postgres::Error> {
    let table = sample_table();
    let values = SAMPLES.iter().map(|(type_name, value, _)| format!("'{value}'::{type_name}"));
    let names: Vec<String> = table.columns.iter().map(|c| ident(&c.name)).collect();
    let values: Vec<String> = values.chain(["last".to_owned()]).zip(&names).map(|(value, name)| format!("{value} AS {name}")).collect();
    let query = format!(
        "SELECT {} FROM (SELECT {} FROM (VALUES (1, 7), (2, NULL::integer)) AS v(place, last) ORDER BY place) AS sample",
        hash::row_hash(&table, text),
        values.join(", ")
    );
    let found: Vec<i64> = connection.client.query(&query, &[]).await?.iter().map(|r| r.get(0)).collect();
    Ok(sample_hashes().is_some_and(|wanted| found == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_have_the_hashes_that_a_server_gave() {
        assert_eq!(sample_hashes(), Some([-2_624_802_357_489_982_189, 6_395_839_063_780_348_841]));
    }

    #[test]
    fn a_row_of_another_shape_has_no_hash() {
        let mut table = sample_table();
        table.columns.truncate(2);
        let mut hash = RowHash::of(&table).expect("both types are known");
        let row = [0, 2, 0, 0, 0, 2, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9];
        assert!(hash.row(&row).is_some());
        for broken in [&row[..15], &row[..3], &[], &[0, 1, 0, 0, 0, 2, 0, 1], &[0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0, 0, 9]] {
            assert_eq!(hash.row(broken), None, "{broken:?}");
        }
        table.columns[0].type_name = "point".to_owned();
        assert!(RowHash::of(&table).is_none());
    }
}
