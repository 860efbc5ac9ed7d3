//! A database, or some of its objects, as a directory: `schema.json`, one compressed file of rows per table, `rows.json` with the proof.
//!
//! Rows are kept in the engine's own bulk form, in frames: rows (u64), length (u32), bytes; little-endian, inside one zstd stream.

mod compare;
mod read;
mod write;

pub use compare::{changed_since, saved_fingerprint};
pub use read::{DatabaseRestored, check, restore};
pub(super) use write::save_range;
pub use write::{DatabaseBackup, SavedTable, back_up};

use ports::databases::{Attached, ObjectKind, ObjectName, RowFormat, RowSource, Schema, SchemaObject};
use ports::{ConnectorError, ErrorKind};
use serde::{Deserialize, Serialize};
use std::path::Path;

const SCHEMA_FILE: &str = "schema.json";
/// What hangs on the saved objects beside their descriptions. A backup of an older version has none.
const ATTACHED_FILE: &str = "attached.json";
const ROWS_FILE: &str = "rows.json";

/// `rows.json`: written last, so a directory without it is no backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Contents {
    format: RowFormat,
    tables: Vec<SavedTable>,
    /// BLAKE3 of `schema.json` and `attached.json`. A backup of an older version has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attached: Option<String>,
}

fn io_error(operation: &str, path: &Path, error: std::io::Error) -> ConnectorError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    let advice = match kind {
        ErrorKind::NoSpace => "Free space in the backup directory, then start again",
        ErrorKind::Permission => "Give the worker's user write access to the backup directory",
        _ => "",
    };
    ConnectorError::new(kind, operation, path.display().to_string(), error.to_string()).advice(advice).because(error)
}

/// The named objects with what belongs to them (everything when `None`), and what hangs on them.
async fn described(view: &dyn RowSource, only: Option<&[ObjectName]>) -> ports::Result<(Schema, Attached)> {
    let mut schema = view.schema().await?;
    let names: Vec<ObjectName> = match only {
        Some(names) => names.to_vec(),
        None => schema.objects.iter().map(|o| o.name.clone()).collect(),
    };
    if only.is_some() {
        let objects = &schema.objects;
        schema.tables.retain(|t| is_among(&t.name, &names, objects));
        schema.objects.retain(|o| names.contains(&o.name) || o.table.as_ref().is_some_and(|t| names.contains(t)));
    }
    let attached = view.attached(&names).await?;
    Ok((schema, attached))
}

/// Whether a table is one of the named, or holds the rows of one: a virtual table's shadow tables have no object of their own, and its name before theirs.
fn is_among<'a>(table: &ObjectName, names: impl IntoIterator<Item = &'a ObjectName>, objects: &[SchemaObject]) -> bool {
    let own = objects.iter().any(|o| o.kind == ObjectKind::Table && o.name == *table);
    let holds_rows_of = |name: &ObjectName| name.schema == table.schema && table.name.strip_prefix(&name.name).is_some_and(|rest| rest.starts_with('_'));
    names.into_iter().any(|name| name == table || (!own && holds_rows_of(name)))
}
