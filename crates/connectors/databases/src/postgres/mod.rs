//! PostgreSQL 14 and later: reading on an exported snapshot, writing with COPY, the schema from the catalogs.
//!
//! ```text
//! connection  sessions, TLS, bounded pool       source, copy  snapshot, ranges, COPY out, hashes
//! sql, hash*  quoting, ranges, rows as numbers  target        prepare, COPY in, finish
//! schema/     catalogs → objects in order       objects       create and drop
//! cells       changing single values            checks        before anything moves
//! guard       autovacuum waits its turn                    rehearsal     a trial that is rolled back
//! ```
//! Rows travel as [`RowFormat::PostgresBinary`]; tables with types whose binary form may differ between servers travel as
//! text. Both ends see that from the same [`Table`](ports::databases::Table), so no block needs a mark.

mod cells;
mod checks;
mod connection;
mod copy;
mod error;
mod guard;
mod hash;
mod hash_bytes;
mod hash_row;
mod objects;
mod place;
mod rehearsal;
mod schema;
mod source;
mod sql;
mod target;
mod tls;

use connection::Server;
use domain::spec::{DatabaseAt, DatabaseEngine};
use error::tried;
use ports::databases::{CellEditor, Database, RowFormat, RowSource, RowTarget, View};
use ports::{ErrorKind, Result};
use std::sync::Arc;

/// What all our row streams say they are.
const FORMAT: RowFormat = RowFormat::PostgresBinary;

/// One PostgreSQL database.
pub struct Postgres {
    server: Arc<Server>,
    parallel: usize,
}

/// Opens the door to a PostgreSQL database. Connects when first asked for something. `parallel`: connections that write at
/// the same time.
///
/// # Errors
/// `Invalid` for a description that cannot work.
pub async fn open(at: &DatabaseAt, parallel: usize) -> Result<Arc<dyn Database>> {
    // Reads `ca` now, so that a bad file is told before anything starts.
    tls::connector(at)?;
    Ok(Arc::new(Postgres { server: Arc::new(Server::new(at)), parallel: parallel.max(1) }))
}

#[async_trait::async_trait]
impl Database for Postgres {
    fn engine(&self) -> DatabaseEngine {
        DatabaseEngine::PostgreSql
    }

    fn location(&self) -> String {
        self.server.location.clone()
    }

    fn name(&self) -> String {
        self.server.at.database.clone()
    }

    async fn version(&self) -> Result<String> {
        let connection = match self.server.open().await {
            Err(e) if e.kind == ErrorKind::NotFound => self.server.open_maintenance().await?,
            other => other?,
        };
        let t = tried("ask for the version of", &self.server.location);
        let row = connection.client.query_one("SHOW server_version", &[]).await.map_err(|e| t.failed(e))?;
        Ok(product(row.get(0)))
    }

    async fn read(&self, view: View) -> Result<Arc<dyn RowSource>> {
        Ok(Arc::new(source::Source::open(self.server.clone(), view).await?))
    }

    async fn write(&self) -> Result<Arc<dyn RowTarget>> {
        Ok(Arc::new(target::Target::new(self.server.clone(), self.parallel)))
    }

    fn place(&self) -> Option<Arc<dyn ports::place::DatabasePlace>> {
        Some(Arc::new(Self { server: self.server.clone(), parallel: self.parallel }))
    }

    fn cells(&self) -> Option<Arc<dyn CellEditor>> {
        Some(Arc::new(cells::Cells::new(self.server.clone(), self.parallel)))
    }
}

/// `PostgreSQL 15.18`, from `15.18 (Debian …)`.
fn product(server_version: &str) -> String {
    format!("PostgreSQL {}", server_version.split(' ').next().unwrap_or(server_version))
}
