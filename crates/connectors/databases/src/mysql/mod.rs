//! The connector for MySQL 8+ and MariaDB.
//!
//! ```text
//! server    how to reach it, how a session is set up      values   how each column type travels
//! snapshot  one moment for several sessions               ranges   keys and key ranges as SQL
//! schema    what there is (tables: columns and keys)      source   reading    split  cutting into ranges
//! rows      blocks of rows                                fingerprint  content hashes of rows and ranges
//! ddl       definitions taken apart and adapted           target   writing    load   the bulk statements
//! create    objects at the destination                    programs views, routines, triggers, events
//! cells     single cells                                  checks   before anything moves
//! trial     what a user may make                          rehearsal  rights that a schema needs
//! dependents  what others built on objects
//! ```
//!
//! Not here: retries, throttling, progress.

mod cells;
mod checks;
mod create;
mod ddl;
mod dependents;
mod errors;
mod fingerprint;
mod load;
mod place;
mod pool;
mod programs;
mod quote;
mod ranges;
mod rehearsal;
mod rows;
mod schema;
mod server;
mod snapshot;
mod source;
mod split;
mod tables;
mod target;
mod trial;
mod values;

use cells::MySqlCells;
use domain::spec::{DatabaseAt, DatabaseEngine};
use pool::Pool;
use ports::Result;
use ports::databases::{Applied, CellEditor, Database, RowSource, RowTarget, SchemaObject, View};
use server::{Server, Use};
use source::MySqlSource;
use std::sync::Arc;
use target::MySqlTarget;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loading {
    /// `LOAD DATA LOCAL INFILE` where the server allows it, else `INSERT`.
    Automatic,
    /// `INSERT` always: for proxies and services that say they allow local files but do not pass them on.
    Inserts,
}

/// A MySQL or MariaDB database.
#[derive(Debug)]
struct MySql {
    server: Arc<Server>,
    parallel: usize,
    loading: Loading,
}

/// Opens the door to a database. Connects when first asked for something.
///
/// # Errors
/// `Invalid` for a description that cannot work.
pub async fn open(at: &DatabaseAt, parallel: usize) -> Result<Arc<dyn Database>> {
    open_with(at, parallel, Loading::Automatic)
}

/// The same with a chosen way of writing.
///
/// # Errors
/// `Invalid` for a description that cannot work.
pub fn open_with(at: &DatabaseAt, parallel: usize, loading: Loading) -> Result<Arc<dyn Database>> {
    server::check_description(at)?;
    // Another part of the program may have chosen one already; then that one is used.
    rustls::crypto::ring::default_provider().install_default().ok();
    Ok(Arc::new(MySql { server: Arc::new(Server::new(at)), parallel: parallel.max(1), loading }))
}

#[async_trait::async_trait]
impl Database for MySql {
    fn engine(&self) -> DatabaseEngine {
        DatabaseEngine::MySql
    }

    fn location(&self) -> String {
        self.server.location()
    }

    fn name(&self) -> String {
        self.server.database().to_owned()
    }

    async fn version(&self) -> Result<String> {
        Ok(self.server.info().await?.text.clone())
    }

    async fn read(&self, view: View) -> Result<Arc<dyn RowSource>> {
        let pool = match view {
            View::Snapshot { connections } => snapshot::open(&self.server, connections.min(self.parallel), false).await?,
            View::Latest { connections } | View::Destination { connections } => {
                let pool = Pool::growing(Arc::clone(&self.server), Use::Read, connections.min(self.parallel));
                // Says at once when the database is missing or the password is wrong.
                drop(pool.lease().await?);
                pool
            }
        };
        Ok(Arc::new(MySqlSource::new(pool)))
    }

    async fn read_locked(&self, connections: usize) -> Result<Arc<dyn RowSource>> {
        Ok(Arc::new(MySqlSource::new(snapshot::open(&self.server, connections.min(self.parallel), true).await?)))
    }

    async fn write(&self) -> Result<Arc<dyn RowTarget>> {
        self.server.info().await?;
        Ok(Arc::new(MySqlTarget::new(Pool::growing(Arc::clone(&self.server), Use::Write, self.parallel), self.loading)))
    }

    fn place(&self) -> Option<Arc<dyn ports::place::DatabasePlace>> {
        Some(Arc::new(Self { server: Arc::clone(&self.server), parallel: self.parallel, loading: self.loading }))
    }

    async fn would_create(&self, objects: &[SchemaObject]) -> Result<Vec<Applied>> {
        let target = MySqlTarget::new(Pool::growing(Arc::clone(&self.server), Use::Write, 1), self.loading);
        let mut out = Vec::with_capacity(objects.len());
        for object in objects {
            out.push(create::would_create(&target, object).await?);
        }
        Ok(out)
    }

    fn cells(&self) -> Option<Arc<dyn CellEditor>> {
        Some(Arc::new(MySqlCells::new(Pool::growing(Arc::clone(&self.server), Use::Write, self.parallel))))
    }
}
