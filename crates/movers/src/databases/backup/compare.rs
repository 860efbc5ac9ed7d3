//! Whether the destination still is what a backup saved: asked in the step that destroys.

use super::read::read_contents;
use ports::Result;
use ports::databases::{Database, Fingerprint, KeyRange, ObjectName, SchemaObject, View};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The names among `standing` that the backup in `dir` does not hold as they are now: other rows, another definition, or not saved at all. Reads only;
/// tables are compared by fingerprint.
pub async fn changed_since(database: &Arc<dyn Database>, dir: &Path, standing: &[SchemaObject]) -> Result<Vec<ObjectName>> {
    let (saved, contents) = read_contents(dir).await?;
    let view = database.read(View::Destination { connections: 1 }).await?;
    let outcome = async {
        let now = view.schema().await?;
        let mut changed = BTreeSet::new();
        for object in standing {
            let same = |objects: &[SchemaObject]| objects.iter().find(|o| o.kind == object.kind && o.name == object.name).map(|o| o.statements.clone());
            if same(&saved.objects) != same(&now.objects) {
                changed.insert(object.name.clone());
            }
        }
        for table in now.tables.iter().filter(|t| standing.iter().any(|o| o.name == t.name)) {
            let known = contents.tables.iter().find(|s| s.name == table.name);
            if known.is_none_or(|k| changed.contains(&k.name))
                || Some(view.fingerprint(table, &KeyRange::default()).await?) != known.map(|k| k.fingerprint.clone())
            {
                changed.insert(table.name.clone());
            }
        }
        Ok(changed.into_iter().collect())
    };
    let changed = outcome.await;
    view.close().await?;
    changed
}

/// The fingerprint of a table in the backup in `dir`; `None` when it holds no such table.
///
/// # Errors
/// When the backup's description cannot be read.
pub async fn saved_fingerprint(dir: &Path, table: &ObjectName) -> Result<Option<Fingerprint>> {
    let (_, contents) = read_contents(dir).await?;
    Ok(contents.tables.into_iter().find(|t| t.name == *table).map(|t| t.fingerprint))
}
