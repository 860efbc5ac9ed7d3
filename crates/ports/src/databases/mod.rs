//! Doors to databases: reading on one consistent snapshot, writing range by range, comparing by fingerprints.
//!
//! Rows of one engine family travel in that family's own bulk form ([`RowFormat`]), so nothing is converted on the way. A key
//! range is the unit of copying, of verification and of repair: writing a range replaces whatever the range held, in one
//! transaction, so writing it twice has the effect of once.

mod schema;

pub use schema::{Attached, Column, ObjectKind, ObjectName, Phase, Schema, SchemaObject, Table, Unmovable};

use crate::check::Examine;
use crate::{ConnectorError, ErrorKind, Result};
use bytes::Bytes;
use domain::spec::DatabaseEngine;
use futures::stream::BoxStream;
use std::sync::Arc;

/// The bulk form of rows. Both sides must speak the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// Tab-separated, backslash-escaped, `\N` for NULL, `\n` after each row: what `LOAD DATA` reads with character set
    /// `binary`. BIT values travel as hexadecimal text (the writer converts, by the column's type).
    MySqlText,
    /// PostgreSQL `COPY … (FORMAT text)`.
    PostgresText,
    /// PostgreSQL `COPY … (FORMAT binary)` without header and trailer. A table with a type whose binary form may differ between
    /// servers travels as `COPY … (FORMAT text)` instead; both ends see that from its [`Table`].
    PostgresBinary,
    /// SQLite's values: per cell a type byte (0 NULL, 1 i64, 2 f64, 3 text, 4 blob) and, for text and blob, a u32 length; little-endian.
    SqliteCells,
}

/// Some rows of one table. Never splits a row.
#[derive(Debug, Clone)]
pub struct RowBlock {
    pub rows: u64,
    pub data: Bytes,
}

/// One value of a key, in an order-preserving type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum KeyPart {
    Null,
    Int(i64),
    UInt(u64),
    /// Text or any type that the engine reads back from its own text form (dates, decimals, UUIDs).
    Text(String),
    Bytes(Vec<u8>),
}

/// The key columns' values, in the order of [`Table::key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Key(pub Vec<KeyPart>);

/// Rows with `lower <= key < upper`; a missing bound is open. A table without a key has the one range that is open on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct KeyRange {
    pub lower: Option<Key>,
    pub upper: Option<Key>,
}

/// Row count and an order-independent hash of the content, computed inside the database. Equal content gives equal fingerprints
/// across all versions and flavours of one engine family.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    pub rows: u64,
    pub hash: String,
}

/// What [`RowSource::rows_with_fingerprint`] streams.
#[derive(Debug, Clone)]
pub enum Reading {
    Rows(RowBlock),
    /// Once, after the last row.
    Fingerprint(Fingerprint),
}

/// How to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All connections see one moment: exported snapshot, or a lock held for the moment of opening all of them.
    Snapshot { connections: usize },
    /// Whatever is committed when each statement runs.
    Latest { connections: usize },
    /// The same, and what an interrupted writer left half done is taken back first, where only somebody who may write can do that (SQLite). For destinations.
    Destination { connections: usize },
}

/// One database, source or destination.
#[async_trait::async_trait]
pub trait Database: Examine {
    fn engine(&self) -> DatabaseEngine;

    /// For people: `mysql://user@host:3306/shop`. No secret.
    fn location(&self) -> String;

    /// The database's own name (the file's path for SQLite). As a [`SchemaObject`] of kind `Schema` with this name, an empty schema and no
    /// statements it stands for the database itself: [`RowTarget::remove`] then removes the whole database (or file).
    fn name(&self) -> String;

    /// Server product and version: `MariaDB 10.11.14`.
    async fn version(&self) -> Result<String>;

    async fn read(&self, view: View) -> Result<Arc<dyn RowSource>>;

    /// [`View::Snapshot`], in which tables without transactions take part too: where the user may, they are locked for reading until
    /// the view is closed, so their writers wait. For short views: a last pass, a backup.
    ///
    /// # Errors
    /// Those of [`Database::read`].
    async fn read_locked(&self, connections: usize) -> Result<Arc<dyn RowSource>> {
        self.read(View::Snapshot { connections }).await
    }

    async fn write(&self) -> Result<Arc<dyn RowTarget>>;

    /// What [`RowTarget::create`] would answer for each of these objects here, as far as their descriptions tell. Changes nothing; the
    /// server may still refuse.
    ///
    /// # Errors
    /// Those of asking the server what it knows.
    async fn would_create(&self, objects: &[SchemaObject]) -> Result<Vec<Applied>> {
        Ok(vec![Applied::AsIs; objects.len()])
    }

    /// The place as such: which database it is, and locks in it. `None` where the connector cannot tell.
    fn place(&self) -> Option<Arc<dyn crate::place::DatabasePlace>> {
        None
    }

    /// Changing single cells by key (rewriting a site's address). `None` where the connector cannot.
    fn cells(&self) -> Option<Arc<dyn CellEditor>>;
}

/// Reading. Calls may run side by side, up to the connections of the view; more wait.
#[async_trait::async_trait]
pub trait RowSource: Send + Sync {
    fn format(&self) -> RowFormat;

    /// All that the database holds, and what cannot be moved, by name.
    async fn schema(&self) -> Result<Schema>;

    /// Tables that this view does not hold at one moment: what is read of them is a mixture when they change meanwhile.
    fn outside_snapshot(&self) -> Vec<ObjectName> {
        Vec::new()
    }

    /// `schema` with the positions of its counters (sequences, AUTOINCREMENT) as they stand now. Counters are no part of a snapshot: asked after the
    /// rows' snapshot was taken, none stands behind a number that those rows hold.
    ///
    /// # Errors
    /// Those of [`RowSource::schema`].
    async fn positions(&self, schema: &Schema) -> Result<Schema> {
        let _ = schema;
        self.schema().await
    }

    /// What hangs on these objects besides their own descriptions: what goes with them when they are dropped, what bringing the same objects back
    /// needs beyond [`RowSource::schema`], and what keeps them from being dropped. Reads only.
    ///
    /// # Errors
    /// Those of [`RowSource::schema`].
    async fn attached(&self, names: &[ObjectName]) -> Result<Attached> {
        let _ = names;
        Ok(Attached::default())
    }

    /// Cuts a table into ranges of about `rows` rows along its key, first lower and last upper bound open. At least one range.
    async fn split(&self, table: &Table, rows: u64) -> Result<Vec<KeyRange>>;

    /// Streams a range in blocks of at most about 1 MiB.
    fn rows(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<RowBlock>>;

    async fn fingerprint(&self, table: &Table, range: &KeyRange) -> Result<Fingerprint>;

    /// [`RowSource::rows`] that end with their fingerprint, the same that [`RowSource::fingerprint`] gives, so that the range is read once: each
    /// row's hash is computed in the database, in the statement that reads the row, or by us with the database's own functions from what was
    /// read. `None`: this engine cannot do both at once.
    fn rows_with_fingerprint(&self, _table: &Table, _range: &KeyRange) -> Option<BoxStream<'static, Result<Reading>>> {
        None
    }

    /// Key and content hash of each row of a range, in key order, to name the rows that differ. Without a key: an error `Unsupported`.
    fn row_hashes(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<(Key, String)>>;

    /// Ends the view and frees its connections.
    async fn close(&self) -> Result<()>;
}

/// What became of a schema object at the destination.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Applied {
    AsIs,
    /// Made with a change that the report must name: `"collation uca1400_ai_ci → utf8mb4_0900_ai_ci"`.
    Adapted(String),
    /// Could not be made there, and why. Named in the report, never dropped silently.
    Refused(String),
}

/// Writing.
#[async_trait::async_trait]
pub trait RowTarget: Send + Sync {
    fn format(&self) -> RowFormat;

    /// Makes the database if it is missing, with what [`Schema::making`] says as far as the server can. What became of it, when it was made by
    /// this call.
    async fn prepare(&self, like: &Schema) -> Result<Option<Applied>>;

    /// Makes an object from the source's description (a table: columns, defaults, generated columns, primary key, character set; its other
    /// indexes and foreign keys are objects of their own, so that they come after the rows). Already there with our definition: `AsIs`. Repeatable.
    async fn create(&self, object: &SchemaObject) -> Result<Applied>;

    /// Whether a range of this table means the same rows here as at the source. Where it does not, the table is one range.
    ///
    /// # Errors
    /// Those of asking the server what it knows.
    async fn takes_ranges(&self, _table: &Table) -> Result<bool> {
        Ok(true)
    }

    /// What others built on these objects of the destination and dropping them would break, where the server drops them all the same: foreign keys of
    /// other tables, views, triggers of other tables. By name; a doubt is named too. What the server itself refuses to drop is told by
    /// [`RowSource::attached`]. Reads only.
    ///
    /// # Errors
    /// Those of the connection.
    async fn dependents(&self, _objects: &[SchemaObject]) -> Result<Vec<Unmovable>> {
        Ok(Vec::new())
    }

    /// Proves by a trial that is taken back that all objects of `schema` can be made, and that `replaced`, objects of the destination that would be
    /// dropped for them, could be made again: gives what of `schema` [`RowTarget::create`] would refuse, with the reason. Only as far as that leaves no
    /// trace and keeps nobody waiting. `replaced` is empty where the database is not there yet.
    ///
    /// # Errors
    /// `Permission` when this user lacks a right that one of these objects needs, with their names; those of the connection.
    async fn rehearse(&self, _schema: &Schema, _replaced: &[SchemaObject]) -> Result<Vec<Unmovable>> {
        Ok(Vec::new())
    }

    /// Whether objects of different tables that follow the rows ([`Phase::AfterRows`]) may be made side by side, with nothing to win
    /// or to lose by their order. Objects of one table never are.
    fn tables_apart(&self) -> bool {
        false
    }

    /// Drops an object. Absent is fine.
    async fn remove(&self, object: &SchemaObject) -> Result<()>;

    /// Replaces a range of a table with these rows, in one transaction; gives the number of rows written. Foreign keys and triggers do not act.
    async fn replace(&self, table: &Table, range: &KeyRange, rows: BoxStream<'static, Result<RowBlock>>) -> Result<u64> {
        self.replace_where(table, range, Terms::default(), rows).await
    }

    /// [`RowTarget::replace`] of a range that holds no rows, or exactly rows with one of these fingerprints. Anything else is left alone, and the answer is
    /// `AlreadyExists`; see [`foreign_rows`]. Compared in the transaction that replaces; where nothing is expected, nothing is deleted either, so that a row
    /// that comes at that moment stays or collides. `proof`: what the range must hold before it is committed; else it is taken back, and the answer is
    /// [`not_as_sent`].
    async fn replace_if(
        &self,
        table: &Table,
        range: &KeyRange,
        expected: &[Fingerprint],
        proof: Option<&Fingerprint>,
        rows: BoxStream<'static, Result<RowBlock>>,
    ) -> Result<u64> {
        self.replace_where(table, range, Terms { expected: Some(expected), proof }, rows).await
    }

    /// [`RowTarget::replace`] and [`RowTarget::replace_if`] in one, by the terms.
    async fn replace_where(&self, table: &Table, range: &KeyRange, terms: Terms<'_>, rows: BoxStream<'static, Result<RowBlock>>) -> Result<u64>;

    /// Drops a table, described by `object`, if each of these ranges holds no rows or rows with one of its fingerprints. Compared and dropped while nobody
    /// else can write to it, where the server can do that. False: it holds something else, and stays. Absent is fine.
    async fn remove_table_if(&self, object: &SchemaObject, table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool>;

    /// After the last range: planner statistics, sequence positions, whatever the engine wants once. Repeatable.
    async fn finish(&self, schema: &Schema) -> Result<()>;

    /// Lets act what [`RowTarget::create`] made but held back, because it changes rows by itself (events): called after verification,
    /// with the schema whose objects were made. Repeatable.
    ///
    /// # Errors
    /// Those of the server; what was enabled before stays enabled.
    async fn enable(&self, _schema: &Schema) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()>;
}

/// What must hold when a range is replaced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// What may stand in the range beside nothing; `None`: anything may.
    pub expected: Option<&'a [Fingerprint]>,
    /// What the range must hold before it is committed; `None`: it is not looked at.
    pub proof: Option<&'a Fingerprint>,
}

/// The answer of [`RowTarget::replace_if`] where somebody else's rows stand. `table`: as messages name it.
pub fn foreign_rows(table: impl Into<String>) -> ConnectorError {
    ConnectorError::new(ErrorKind::AlreadyExists, "write to", table, "it holds rows that this migration did not write").permanent()
}

/// The answer of [`RowTarget::replace_if`] where the server stores something else than what it was sent.
pub fn not_as_sent(table: impl Into<String>) -> ConnectorError {
    ConnectorError::new(ErrorKind::Corrupt, "write to", table, "the server stores a range of it differently from what was sent")
        .permanent()
        .advice("Compare the column types and collations of both sides; something at the destination changes the values, such as a trigger or a narrower type")
}

/// Whether a range that holds `found` may be replaced where these are expected.
pub fn is_expected(found: &Fingerprint, expected: &[Fingerprint]) -> bool {
    found.rows == 0 || expected.contains(found)
}

/// The values of some text columns of one row; `None` is NULL. Bytes as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    pub key: Key,
    pub values: Vec<Option<Vec<u8>>>,
}

/// Finding and changing single cells.
#[async_trait::async_trait]
pub trait CellEditor: Send + Sync {
    /// Rows in which one of the columns contains one of the needles, case-sensitively, in key order.
    fn containing(&self, table: &Table, columns: &[String], needles: &[String]) -> BoxStream<'static, Result<Cells>>;

    /// The same columns of the rows with these keys; a missing row is left out.
    async fn fetch(&self, table: &Table, columns: &[String], keys: &[Key]) -> Result<Vec<Cells>>;

    /// Writes the columns of these rows, in one transaction. Repeatable.
    async fn update(&self, table: &Table, columns: &[String], rows: &[Cells]) -> Result<()>;
}
