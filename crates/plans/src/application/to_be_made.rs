//! What a migration would make at the destination because it is not there: often a name that was mistyped.

use domain::spec::{FilesAt, MigrationSpec};
use futures::StreamExt;
use ports::databases::{Database, View};
use ports::files::FileTarget;
use ports::{ErrorKind, Result};
use std::sync::Arc;

/// What to do when it is refused.
pub const CHECK_THE_NAME: &str = "Check the name; make it first, or leave destination.create out so that the migration makes it";

/// A bucket or a database that does not exist yet.
pub struct ToBeMade {
    /// For people: `bucket shop`, `database 'shop'`.
    pub what: String,
    /// The field that names it.
    pub field: &'static str,
}

impl ToBeMade {
    /// Why it is refused with `destination.create: false`.
    pub fn refusal(&self) -> String {
        format!("the destination's {} does not exist, and destination.create is false", self.what)
    }
}

/// The destination's bucket and database, as far as they do not exist. Reads only. A directory that is missing is none of them.
///
/// # Errors
/// Those of the systems.
pub async fn to_be_made(spec: &MigrationSpec, files: Option<&Arc<dyn FileTarget>>, database: Option<&Arc<dyn Database>>) -> Result<Vec<ToBeMade>> {
    let mut found = Vec::new();
    if let (Some(FilesAt::S3(at)), Some(files)) = (&spec.destination.files, files)
        && is_missing(files.list().next().await.transpose().map(drop))?
    {
        found.push(ToBeMade { what: format!("bucket {}", at.bucket), field: "destination.bucket" });
    }
    if let Some(database) = database {
        let opened = match database.read(View::Latest { connections: 1 }).await {
            Ok(view) => view.close().await,
            Err(e) => Err(e),
        };
        if is_missing(opened)? {
            found.push(ToBeMade { what: format!("database '{}'", database.name()), field: "destination.database" });
        }
    }
    Ok(found)
}

fn is_missing(asked: Result<()>) -> Result<bool> {
    match asked {
        Ok(()) => Ok(false),
        Err(e) if e.kind == ErrorKind::NotFound => Ok(true),
        Err(e) => Err(e),
    }
}
