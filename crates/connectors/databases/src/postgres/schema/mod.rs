//! The catalogs as objects with the statements that make them, in an order in which they can be made.
//!
//! ```text
//! containers  schemas, extensions, types, collations, sequences
//! tables      tables with columns, keys and checks; partitions
//! routines    functions, procedures, aggregates
//! later       indexes, constraints, views, triggers, rules, policies
//! properties  positions, comments
//! rights      grants and revocations
//! leftovers   what stays behind, by name
//! attached    what hangs on objects from outside, owners, exact rights
//! draft       gathers them all, and sorts by the catalogs' own dependencies
//! ```
//! What belongs to an extension comes with the extension.

mod attached;
mod containers;
mod draft;
mod later;
mod leftovers;
mod properties;
mod rights;
mod routines;
mod tables;

use super::error::tried;
use super::sql::LIBC;
use draft::Draft;
pub use later::ROW_SECURITY;
use ports::Result;
use ports::databases::{Attached, ObjectName, Schema, Table, Unmovable};
pub use properties::is_position;
use tokio_postgres::{Client, Row};

/// The catalogs of one database, asked through one connection.
struct Catalog<'a> {
    client: &'a Client,
    location: &'a str,
}

impl Catalog<'_> {
    async fn rows(&self, query: &str) -> Result<Vec<Row>> {
        self.client.query(query, &[]).await.map_err(|e| tried("read the schema of", self.location).failed(e))
    }
}

/// All objects, in no order yet, the tables that hold rows, and what cannot be carried.
async fn gathered(catalog: &Catalog<'_>) -> Result<(Draft, Vec<Table>, Vec<Unmovable>)> {
    let mut draft = Draft::default();
    containers::gather(catalog, &mut draft).await?;
    let tables = tables::gather(catalog, &mut draft).await?;
    routines::gather(catalog, &mut draft).await?;
    later::gather(catalog, &mut draft).await?;
    draft.read_inner_rows(catalog).await?;
    let mut unmovable = leftovers::gather(catalog, &draft).await?;
    unmovable.extend(properties::gather(catalog, &mut draft).await?);
    unmovable.extend(rights::gather(catalog, &mut draft).await?);
    Ok((draft, tables, unmovable))
}

/// What hangs on the named objects.
pub async fn attached(client: &Client, location: &str, names: &[ObjectName]) -> Result<Attached> {
    let catalog = Catalog { client, location };
    let (draft, ..) = gathered(&catalog).await?;
    attached::read(&catalog, &draft, names).await
}

/// `schema` with the sequences where they stand now.
pub async fn with_positions(client: &Client, location: &str, schema: &Schema) -> Result<Schema> {
    properties::refreshed(&Catalog { client, location }, schema).await
}

/// Reads everything that the database holds.
pub async fn read(client: &Client, location: &str) -> Result<Schema> {
    let catalog = Catalog { client, location };
    let (draft, tables, unmovable) = gathered(&catalog).await?;
    // The catalog's columns for locales differ between versions; as JSON, a missing one is NULL.
    let facts = format!(
        "SELECT pg_catalog.current_setting('server_version'), pg_catalog.pg_encoding_to_char(encoding), datcollate::text, \
        pg_catalog.format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_catalog.pg_encoding_to_char(encoding), datcollate, datctype) || \
        CASE j->>'datlocprovider' WHEN 'c' THEN '{LIBC}' WHEN 'b' THEN pg_catalog.format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', j->>'datlocale') \
        WHEN 'i' THEN pg_catalog.format(' LOCALE_PROVIDER icu ICU_LOCALE %L', COALESCE(j->>'datlocale', j->>'daticulocale')) || \
        COALESCE(pg_catalog.format(' ICU_RULES %L', NULLIF(j->>'daticurules', '')), '') ELSE '' END \
        FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d) AS j) AS q WHERE datname = pg_catalog.current_database()"
    );
    let facts = catalog.rows(&facts).await?;
    let fact = |i: usize| facts.first().map(|row| row.get::<_, String>(i)).unwrap_or_default();
    let objects = draft.into_order(&catalog).await?;
    Ok(Schema { tables, objects, unmovable, server: super::product(&fact(0)), charset: fact(1), collation: fact(2), making: fact(3) })
}

/// Rows of a table by what the planner knows, scaled to the table's size now; by size alone when it knows nothing.
pub fn estimated_rows(size: i64, reltuples: f64, relpages: i32) -> u64 {
    let pages = size as f64 / 8192.0;
    let guess = if reltuples > 0.0 && relpages > 0 { reltuples / f64::from(relpages) * pages } else { size as f64 / 100.0 };
    guess.ceil().max(0.0) as u64
}

/// A condition: the namespace `n` is a user's and the object `alias` (a row of catalog `class`) does not belong to an extension.
fn ours(class: &str, alias: &str) -> String {
    format!(
        "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e \
         WHERE e.classid = 'pg_catalog.{class}'::regclass AND e.objid = {alias}.oid AND e.deptype = 'e')"
    )
}

/// Object ids of the catalogs themselves; the same on every server.
mod class {
    pub const TYPE: u32 = 1247;
    pub const PROC: u32 = 1255;
    pub const RELATION: u32 = 1259;
    pub const CONSTRAINT: u32 = 2606;
    pub const NAMESPACE: u32 = 2615;
    pub const REWRITE: u32 = 2618;
    pub const TRIGGER: u32 = 2620;
    pub const EXTENSION: u32 = 3079;
    pub const POLICY: u32 = 3256;
    pub const STATISTIC: u32 = 3381;
    pub const COLLATION: u32 = 3456;
    pub const EVENT_TRIGGER: u32 = 3466;
}
