//! Databases behind the doors of `ports`: one module per engine family, independent of each other.
//!
//! Each module offers `open`, which checks nothing but the description and connects when first asked for something.

pub mod mysql;
pub mod postgres;
pub mod sqlite;

use domain::spec::{DatabaseAt, DatabaseEngine};
use ports::databases::Database;
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

/// Opens the door to a database. `parallel`: how many connections the caller will use side by side at most.
///
/// # Errors
/// `Unsupported` for an engine that has no connector here; `Invalid` for a description that cannot work.
pub async fn open(at: &DatabaseAt, parallel: usize) -> Result<Arc<dyn Database>> {
    match at.engine {
        DatabaseEngine::MySql => mysql::open(at, parallel).await,
        DatabaseEngine::PostgreSql => postgres::open(at, parallel).await,
        DatabaseEngine::Sqlite => sqlite::open(at, parallel).await,
        DatabaseEngine::MongoDb | DatabaseEngine::Redis => Err(ConnectorError::new(
            ErrorKind::Unsupported,
            "open",
            at.describe(),
            format!("this version has no connector for the database type '{}'", at.type_name),
        )),
    }
}
