//! Looking before moving: what the source holds, what the destination has under the same names. Reads only.

use super::DatabaseMover;
use super::before::refuse_held;
use super::selection::{Selected, select};
use ports::databases::{Applied, Database, ObjectKind, Schema, SchemaObject, Unmovable, View};
use ports::{ConnectorError, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    pub destination_exists: bool,
    pub version_source: String,
    pub version_destination: String,
}

impl DatabaseMover {
    /// Reads schema and estimates of the source, and what exists at the destination.
    pub async fn survey(&self) -> Result<DatabasePlan> {
        let Selected { schema, left_out } = select(read_schema(&self.source).await?, &self.options.tables)?;
        refuse_impossible(&schema, self.destination.as_ref()).await?;
        let existing = match self.overwritten_objects(&schema).await {
            Ok(found) => Some(found),
            Err(e) if e.kind == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let destination_exists = existing.is_some();
        let overwrites = existing.unwrap_or_default();
        Ok(DatabasePlan {
            tables: schema.tables.len() as u64,
            rows: schema.tables.iter().map(|t| t.rows).sum(),
            bytes: schema.tables.iter().map(|t| t.bytes).sum(),
            objects: schema.objects.len() as u64,
            unmovable: schema.unmovable.clone(),
            left_out,
            overwrites,
            destination_exists,
            version_source: schema.server.clone(),
            version_destination: if destination_exists { self.destination.version().await? } else { String::new() },
            schema,
        })
    }
}

impl DatabaseMover {
    /// The destination's objects that have the name of one of ours.
    ///
    /// # Errors
    /// `AlreadyExists` when others built on one of them, so that it cannot be dropped.
    async fn overwritten_objects(&self, ours: &Schema) -> Result<Vec<SchemaObject>> {
        let view = self.destination.read(View::Latest { connections: 1 }).await?;
        let overwritten = async {
            let overwrites = same_names(ours, view.schema().await?);
            let names: Vec<_> = overwrites.iter().map(|o| o.name.clone()).collect();
            if !names.is_empty() {
                refuse_held(&self.destination.location(), &view.attached(&names).await?.holding)?;
            }
            Ok(overwrites)
        };
        let overwritten = overwritten.await;
        view.close().await?;
        overwritten
    }
}

async fn read_schema(database: &std::sync::Arc<dyn Database>) -> Result<Schema> {
    let view = database.read(View::Latest { connections: 1 }).await?;
    let schema = view.schema().await;
    view.close().await?;
    schema
}

/// Names the tables that the destination cannot have: their rows would have nowhere to go.
async fn refuse_impossible(schema: &Schema, destination: &dyn Database) -> Result<()> {
    let tables: Vec<SchemaObject> = schema.objects.iter().filter(|o| o.kind == ObjectKind::Table).cloned().collect();
    let would = destination.would_create(&tables).await?;
    let refused = tables.iter().zip(would).filter_map(|(table, would)| match would {
        Applied::Refused(reason) => Some(format!("{}: {reason}", table.name)),
        Applied::AsIs | Applied::Adapted(_) => None,
    });
    let refused: Vec<String> = refused.collect();
    if refused.is_empty() {
        return Ok(());
    }
    let reason = format!("the destination cannot have these tables: {}", refused.join("; "));
    Err(ConnectorError::new(ErrorKind::Unsupported, "move to", destination.location(), reason)
        .permanent()
        .advice("Leave them out (database.tables.exclude), change them at the source, or choose a destination of the source's product"))
}

/// Objects share one name space per class: a view stands in the way of a table.
fn class(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => 0,
        ObjectKind::Routine => 1,
        ObjectKind::Trigger => 2,
        ObjectKind::Event => 3,
        ObjectKind::Type => 4,
        // These live and die with their table, or are shared on purpose.
        ObjectKind::Schema | ObjectKind::Extension | ObjectKind::Index | ObjectKind::ForeignKey | ObjectKind::Constraint | ObjectKind::Property => 5,
    }
}

/// Their objects that have the name of one of ours.
pub(super) fn same_names(ours: &Schema, theirs: Schema) -> Vec<SchemaObject> {
    let names: BTreeSet<_> = ours.objects.iter().map(|o| (class(o.kind), &o.name)).filter(|(c, _)| *c < 5).collect();
    theirs.objects.into_iter().filter(|o| class(o.kind) < 5 && names.contains(&(class(o.kind), &o.name))).collect()
}
