//! The one place that names connectors: from a description to an open door, within a time limit.

use domain::spec::{DatabaseAt, FilesAt};
use ports::databases::Database;
use ports::files::FileTarget;
use ports::{ConnectorError, ErrorKind, Result};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Longest that opening a door may take.
const OPENING: Duration = Duration::from_secs(15);

/// Every connector that this binary has.
pub struct Connectors;

#[async_trait::async_trait]
impl ports::Connectors for Connectors {
    async fn files(&self, at: &FilesAt, parallel: usize) -> Result<Arc<dyn FileTarget>> {
        within(at.describe(), connectors_files::open(at, parallel)).await
    }

    async fn database(&self, at: &DatabaseAt, parallel: usize) -> Result<Arc<dyn Database>> {
        within(at.describe(), connectors_databases::open(at, parallel)).await
    }
}

async fn within<T>(subject: String, opening: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(OPENING, opening).await.unwrap_or_else(|_| {
        let reason = format!("there was no answer within {} seconds", OPENING.as_secs());
        Err(ConnectorError::new(ErrorKind::TimedOut, "connect to", subject, reason).advice("Check the host name, the port and the firewalls on the way."))
    })
}
