//! Where runs are stored: SQLite (embedded) and PostgreSQL (several machines), both behind the engine's [`engine::Journal`].

use engine::{EngineError, Journal};
use std::path::Path;
use std::sync::Arc;

/// Opens a store and brings its schema up to date. `url` is `sqlite:PATH`, `sqlite:` (the file `migration-assistant.db` in `data_dir`) or
/// `postgres://…`. `data_dir` holds the key file and the lock; it is made when missing.
pub async fn open(url: &str, data_dir: &Path) -> Result<Arc<dyn Journal>, EngineError> {
    Err(EngineError::Unavailable(format!("{url} in {}", data_dir.display())))
}
