//! Room for a SQLite database: it is a file, so the file system of its directory says how much can still be written.

use domain::spec::{DatabaseAt, DatabaseEngine, FilesAt};
use ports::{Connectors, Result};
use std::path::Path;

/// Bytes that can still be written where a SQLite file lies or will lie; `None` for other engines.
pub async fn for_database(at: Option<&DatabaseAt>, connectors: &dyn Connectors) -> Result<Option<u64>> {
    let Some(at) = at.filter(|at| at.engine == DatabaseEngine::Sqlite) else { return Ok(None) };
    let Some(directory) = Path::new(&at.database).parent() else { return Ok(None) };
    let at = FilesAt::Local { root: directory.to_string_lossy().into_owned() };
    connectors.files(&at, 1).await?.free_space().await
}
