//! The postgres connector.

use domain::spec::DatabaseAt;
use ports::databases::Database;
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

/// Opens the door to a database of this family.
///
/// # Errors
/// `Invalid` for a description that cannot work.
pub async fn open(at: &DatabaseAt, _parallel: usize) -> Result<Arc<dyn Database>> {
    Err(ConnectorError::new(ErrorKind::Unsupported, "open", at.describe(), "this connector is not there yet"))
}
