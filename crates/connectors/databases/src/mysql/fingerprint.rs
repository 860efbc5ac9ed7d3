//! The content hash of a row, computed by the server, and the order-independent sum of a range's hashes.
//!
//! A row's hash is the first 64 bits of the SHA-256 of its canonical form; a range's is the sum of them, which counts a row that
//! is there twice, too. (MD5 and SHA-1 left MySQL with 9.6.)

use super::errors::failure;
use super::quote::ident;
use super::ranges::{SELECT, condition};
use super::values::canonical;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Value};
use ports::databases::{Fingerprint, KeyRange, Table};
use ports::{ConnectorError, ErrorKind};

/// SHA-256 over the canonical form of a row, in hexadecimal.
pub(super) fn row_hash(table: &Table) -> String {
    let cells: Vec<_> = table.columns.iter().flat_map(canonical).collect();
    format!("SHA2(CONCAT(_binary'',{}),256)", cells.join(",',',"))
}

/// The part of [`row_hash`] that is added up: 16 hexadecimal digits.
pub(super) fn row_digits(table: &Table) -> String {
    format!("LEFT({},16)", row_hash(table))
}

/// Stands in the sum for a row that the server could not hash: more than the hashes of any table's rows come to.
const LOST: u128 = 10u128.pow(35);

/// Adds up a range inside the server.
pub(super) async fn of_range(conn: &mut Conn, table: &Table, range: &KeyRange) -> Result<Fingerprint, Trouble> {
    sum(conn, table, range, SELECT, "").await
}

/// The same, and until the transaction ends nobody else changes the range.
pub(super) async fn of_locked_range(conn: &mut Conn, table: &Table, range: &KeyRange) -> Result<Fingerprint, Trouble> {
    sum(conn, table, range, "SELECT", " FOR UPDATE").await
}

async fn sum(conn: &mut Conn, table: &Table, range: &KeyRange, select: &str, locking: &str) -> Result<Fingerprint, Trouble> {
    let sql = format!(
        "{select} COUNT(*), CAST(SUM(IFNULL(CAST(CONV({},16,10) AS UNSIGNED),{LOST})) AS CHAR) FROM {} WHERE {}{locking}",
        row_digits(table),
        ident(&table.name.name),
        condition(table, range)
    );
    // The texts of numbers and hashes are ASCII; with one byte per character the servers handle them a fifth faster.
    conn.query_drop("SET character_set_connection=latin1").await?;
    let row: Option<(u64, Option<String>)> = conn.query_first(sql).await?;
    conn.query_drop("SET character_set_connection=utf8mb4").await?;
    let (rows, sum) = row.unwrap_or_default();
    let sum = sum.unwrap_or_else(|| "0".to_owned());
    match sum.parse::<u128>() {
        Ok(hashed) if hashed < LOST => Ok(Fingerprint { rows, hash: sum }),
        _ => Err(Trouble::Lost),
    }
}

/// Why there is no fingerprint.
#[derive(Debug)]
pub(super) enum Trouble {
    Server(Error),
    /// The server could not hash a row: a fingerprint would leave it out.
    Lost,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl Trouble {
    pub fn into_error(self, operation: &str, subject: String) -> ConnectorError {
        match self {
            Self::Server(error) => failure(operation, subject, error),
            Self::Lost => {
                let reason = "the server could not compute the hash of a row: one of its values is larger than max_allowed_packet, or NULL where it may not be";
                ConnectorError::new(ErrorKind::Invalid, operation, subject, reason).permanent().advice("Raise max_allowed_packet at both servers")
            }
        }
    }
}

/// The same sum, taken from the rows as they pass by.
#[derive(Debug, Default)]
pub(super) struct Sum {
    rows: u64,
    sum: u128,
}

impl Sum {
    /// Counts a row. `digits`: what the server sent for [`row_digits`].
    pub fn add(&mut self, digits: Option<Value>) -> Result<(), Trouble> {
        let Some(Value::Bytes(digits)) = digits else { return Err(Trouble::Lost) };
        let number = std::str::from_utf8(&digits).ok().and_then(|d| u64::from_str_radix(d, 16).ok());
        self.sum += u128::from(number.ok_or(Trouble::Lost)?);
        self.rows += 1;
        Ok(())
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint { rows: self.rows, hash: self.sum.to_string() }
    }
}
