//! Looking before moving: what the source holds, what the destination has under the same names. Reads only.

use super::DatabaseMover;
use super::preflight::{Preflight, preflight};
use super::selection::{Selected, TableFilter, select};
use ports::Result;
use ports::databases::{Database, Schema, SchemaObject, Unmovable, View};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that the later phases need to know. Stored with the migration; holds no secret and no row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DatabasePlan {
    pub schema: Schema,
    pub tables: u64,
    /// Estimates of the source's engine.
    pub rows: u64,
    pub bytes: u64,
    pub objects: u64,
    pub unmovable: Vec<Unmovable>,
    /// What stays behind because nobody asked for it.
    #[serde(default)]
    pub left_out: Vec<Unmovable>,
    /// Objects of the destination that have the name of one of ours: they will be replaced.
    pub overwrites: Vec<SchemaObject>,
    /// What the destination will refuse to make, by a trial that was taken back.
    #[serde(default)]
    pub refused: Vec<Unmovable>,
    pub destination_exists: bool,
    pub version_source: String,
    pub version_destination: String,
}

impl DatabaseMover {
    /// Reads schema and estimates of the source, and what exists at the destination.
    pub async fn survey(&self) -> Result<DatabasePlan> {
        let Selected { schema, left_out } = select(read_schema(&self.source).await?, &self.options.tables)?;
        let Preflight { destination_exists, overwrites, refused } = preflight(&schema, &self.destination).await?;
        Ok(DatabasePlan {
            tables: schema.tables.len() as u64,
            rows: schema.tables.iter().map(|t| t.rows).sum(),
            bytes: schema.tables.iter().map(|t| t.bytes).sum(),
            objects: schema.objects.len() as u64,
            unmovable: schema.unmovable.clone(),
            left_out,
            overwrites,
            refused,
            destination_exists,
            version_source: schema.server.clone(),
            version_destination: if destination_exists { self.destination.version().await? } else { String::new() },
            schema,
        })
    }
}

/// [`preflight`] of what a migration with this filter would move of `schema`.
///
/// # Errors
/// Those of [`preflight`]; `Invalid` for a pattern that means no table.
pub async fn preflight_selected(schema: Schema, tables: &TableFilter, destination: &Arc<dyn Database>) -> Result<Preflight> {
    preflight(&select(schema, tables)?.schema, destination).await
}

async fn read_schema(database: &Arc<dyn Database>) -> Result<Schema> {
    let view = database.read(View::Latest { connections: 1 }).await?;
    let schema = view.schema().await;
    view.close().await?;
    schema
}
