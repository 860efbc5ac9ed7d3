//! What can be known of the destination before anything moves: which objects would be replaced, what others built on them, and what the
//! destination refuses to make. One list for `validate`, the dry run and the first step.

use super::standing;
use ports::databases::{Applied, Database, ObjectKind, Phase, Schema, SchemaObject, Unmovable};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

/// What a migration of a schema would meet.
#[derive(Debug, Clone, Default)]
pub struct Preflight {
    pub destination_exists: bool,
    /// Objects of the destination that have the name of one of the source's.
    pub overwrites: Vec<SchemaObject>,
    /// Objects that the destination refuses; the rest moves without them.
    pub refused: Vec<Unmovable>,
}

/// Looks at the destination for the objects of `ours`. Leaves nothing behind.
///
/// # Errors
/// `AlreadyExists` when others built on what would be replaced or have a name that is needed; `Unsupported` when a table or its key cannot be made;
/// `Permission` when a right is missing. All name every object.
pub async fn preflight(ours: &Schema, destination: &Arc<dyn Database>) -> Result<Preflight> {
    refuse_impossible(ours, destination.as_ref()).await?;
    let found = standing::look(destination, |there| standing::same_names(ours, there)).await?;
    let refused = standing::prove(ours, found.as_ref(), destination).await?;
    refuse_tables(ours, &destination.location(), &refused)?;
    let destination_exists = found.is_some();
    Ok(Preflight { destination_exists, overwrites: found.map(|f| f.objects).unwrap_or_default(), refused })
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

/// A migration cannot do without a table or its key.
fn refuse_tables(ours: &Schema, location: &str, refused: &[Unmovable]) -> Result<()> {
    let needed = |o: &SchemaObject| o.kind == ObjectKind::Table || o.phase == Phase::Keys;
    let is_needed = |u: &Unmovable| {
        let same = |o: &&SchemaObject| o.name.to_string() == u.name && format!("{:?}", o.kind).eq_ignore_ascii_case(&u.kind);
        ours.objects.iter().filter(same).any(needed)
    };
    if !refused.iter().any(is_needed) {
        return Ok(());
    }
    let named: Vec<String> = refused.iter().map(|u| format!("{} {} ({})", u.kind, u.name, u.reason)).collect();
    let reason = format!("the destination refuses objects without which rows cannot be moved: {}", named.join("; "));
    Err(ConnectorError::new(ErrorKind::Unsupported, "make the tables in", location, reason)
        .permanent()
        .advice("Grant the missing right or install what is missing at the destination, or leave these tables out of the migration"))
}
