//! SQLite files: reading without writing a byte, writing range by range, the schema from `sqlite_schema`.
//!
//! ```text
//! file    ways to open, and what they leave untouched      source   views, ranges, rows, hashes
//! values  cells as bytes, hashes of rows                   target   file, objects, rows
//! sql     quoting and ranges over keys                     schema   objects in order
//! cells   changing single values                           checks   before anything moves
//! snapshot  a copy of a file whose writers must not wait   dependents  what others built on objects
//! ```
//! Row ids are kept: a table with row ids and no integer key of its own travels with its row id as the first cell and has it
//! as its key (`rowid`), so that ranges always follow the file's own order.

mod cells;
mod checks;
mod dependents;
mod error;
mod file;
mod place;
mod schema;
mod snapshot;
mod source;
mod sql;
mod target;
mod values;

use domain::spec::{DatabaseAt, DatabaseEngine};
use ports::databases::{CellEditor, Database, RowFormat, RowSource, RowTarget, View};
use ports::{ConnectorError, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What all our row streams are.
const FORMAT: RowFormat = RowFormat::SqliteCells;

/// One database file.
pub struct Sqlite {
    path: PathBuf,
}

/// Opens the door to a database file. The file is opened when first asked for something. `parallel` does not matter: a file has
/// one writer, and readers are counted by their view.
///
/// # Errors
/// `Invalid` when the path is not absolute.
pub async fn open(at: &DatabaseAt, _parallel: usize) -> Result<Arc<dyn Database>> {
    let path = PathBuf::from(&at.database);
    if !path.is_absolute() {
        return Err(ConnectorError::new(ErrorKind::Invalid, "open", at.describe(), "the path of the file is not absolute"));
    }
    Ok(Arc::new(Sqlite { path }))
}

#[async_trait::async_trait]
impl Database for Sqlite {
    fn engine(&self) -> DatabaseEngine {
        DatabaseEngine::Sqlite
    }

    fn location(&self) -> String {
        location(&self.path)
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    async fn version(&self) -> Result<String> {
        Ok(product())
    }

    async fn read(&self, view: View) -> Result<Arc<dyn RowSource>> {
        let path = self.path.clone();
        Ok(Arc::new(blocking("open", &self.path, move || source::Source::open(path, view)).await?))
    }

    async fn write(&self) -> Result<Arc<dyn RowTarget>> {
        Ok(Arc::new(target::Target::new(self.path.clone())))
    }

    fn place(&self) -> Option<Arc<dyn ports::place::DatabasePlace>> {
        Some(Arc::new(Self { path: self.path.clone() }))
    }

    fn cells(&self) -> Option<Arc<dyn CellEditor>> {
        Some(Arc::new(cells::Cells::new(self.path.clone())))
    }
}

fn location(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// The library is the server.
fn product() -> String {
    format!("SQLite {}", rusqlite::version())
}

/// Runs work on the file away from the threads that must not wait.
async fn blocking<T: Send + 'static>(operation: &str, path: &Path, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(ConnectorError::new(ErrorKind::Internal, operation, location(path), "the work on the file broke off").because(e)))
}
