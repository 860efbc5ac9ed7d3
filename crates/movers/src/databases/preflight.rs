//! What can be known of the destination before anything moves: which objects would be replaced, what others built on them, and what the
//! destination refuses to make. One list for `validate`, the dry run and the first step.

use super::before::refuse_held;
use ports::databases::{Applied, Database, ObjectKind, ObjectName, Phase, Schema, SchemaObject, Unmovable, View};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeSet;
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
/// `AlreadyExists` when others built on what would be replaced; `Unsupported` when a table or its key cannot be made. Both name every object.
pub async fn preflight(ours: &Schema, destination: &Arc<dyn Database>) -> Result<Preflight> {
    refuse_impossible(ours, destination.as_ref()).await?;
    let view = match destination.read(View::Destination { connections: 1 }).await {
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(Preflight::default()),
        other => other?,
    };
    let looked = async {
        let overwrites = same_names(ours, view.schema().await?);
        let names: Vec<_> = overwrites.iter().map(|o| o.name.clone()).collect();
        if !names.is_empty() {
            refuse_held(&destination.location(), &view.attached(&names).await?.holding)?;
        }
        Ok(overwrites)
    };
    let looked: Result<Vec<SchemaObject>> = looked.await;
    view.close().await?;
    let overwrites = match looked {
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(Preflight::default()),
        other => other?,
    };
    let target = destination.write().await?;
    let refused = target.rehearse(ours).await;
    target.close().await?;
    let refused = refused?;
    refuse_tables(ours, &destination.location(), &refused)?;
    Ok(Preflight { destination_exists: true, overwrites, refused })
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

/// A name as the destination compares it: SQLite never tells cases apart, MySQL and MariaDB do so in names of tables alone (and there not everywhere,
/// which the server then says itself).
fn folded(name: &ObjectName, class: u8, sqlite: bool) -> ObjectName {
    if name.schema.is_empty() && (sqlite || class != 0) { ObjectName { schema: String::new(), name: name.name.to_lowercase() } } else { name.clone() }
}

/// Where schemas are, a trigger's name is its table's own affair.
fn place(object: &SchemaObject, sqlite: bool) -> (u8, ObjectName, Option<ObjectName>) {
    let own = object.kind == ObjectKind::Trigger && !object.name.schema.is_empty();
    let class = class(object.kind);
    (class, folded(&object.name, class, sqlite), object.table.clone().filter(|_| own))
}

/// Objects of `theirs` that have the name of one of `ours`.
pub(super) fn same_names(ours: &Schema, theirs: Schema) -> Vec<SchemaObject> {
    let sqlite = theirs.server.starts_with("SQLite");
    let names: BTreeSet<_> = ours.objects.iter().map(|o| place(o, sqlite)).filter(|(c, ..)| *c < 5).collect();
    theirs.objects.into_iter().filter(|o| class(o.kind) < 5 && names.contains(&place(o, sqlite))).collect()
}
