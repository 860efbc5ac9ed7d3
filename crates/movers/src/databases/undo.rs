//! Taking a database back: what was made goes, what was removed comes back from its backup. Acts on what was done, not on the plan.

use super::before::DestinationBefore;
use super::made::{self, ObjectKey};
use super::prepare::describe;
use super::{DatabaseMover, DatabasePlan, DatabaseRestored, backup};
use ports::databases::{ObjectKind, ObjectName, Phase, RowTarget, Schema, SchemaObject, View};
use ports::observe::Level;
use ports::{ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// What an undo came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseUndone {
    /// Something was made or removed at the destination at all.
    pub begun: bool,
    pub removed: u64,
    pub removed_database: bool,
    /// What of ours could not be dropped, and why.
    pub left: Vec<Left>,
}

/// An object that stays although it was to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub object: String,
    pub reason: String,
}

impl DatabaseMover {
    /// Drops what we made: the database when it was absent before and holds nothing else, otherwise our objects in reverse order. An object that may
    /// not be dropped is named and stays; the rest goes. Repeatable. What was removed comes back with [`DatabaseMover::bring_back`].
    pub async fn undo(&self, plan: &DatabasePlan, ledger: &dyn Ledger, observer: &dyn Observer) -> Result<DatabaseUndone> {
        let Some(made_database) = made::database(ledger).await? else { return Ok(DatabaseUndone::default()) };
        let Some(there) = self.destination_schema().await? else { return Ok(DatabaseUndone { begun: true, ..DatabaseUndone::default() }) };
        let made = made::objects(ledger).await?;
        let others: Vec<&SchemaObject> = there.objects.iter().filter(|o| is_foreign(o, &made, plan)).collect();
        let target = self.destination.write().await?;
        let outcome = match (made_database, others.first()) {
            (true, None) => self.remove_database(target.as_ref(), observer).await,
            (keep, other) => {
                if let (true, Some(other)) = (keep, other) {
                    let message = format!(
                        "{} was made by this migration and stays: it holds {} objects that are not the migration's, such as the {}",
                        self.destination.location(),
                        others.len(),
                        describe(other)
                    );
                    observer.log(Level::Warning, "rollback", message, json!({"objects": others.len()}));
                }
                let before = Self::recorded_before(ledger).await?;
                match drop_made(plan, &made, &before, target.as_ref(), observer).await {
                    Ok(undone) => before.restore_containers(&plan.schema, target.as_ref(), observer).await.map(|()| undone),
                    Err(e) => Err(e),
                }
            }
        };
        target.close().await?;
        outcome
    }

    /// Restores from a backup in `dir` what this migration removed and is still missing. What stands under one of the names is not ours and stays as it
    /// is. Repeatable; every restored table is proven by its fingerprint.
    pub async fn bring_back(&self, dir: &Path, ledger: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<DatabaseRestored> {
        let removed: BTreeSet<ObjectName> = made::removed(ledger).await?.into_iter().map(|o| o.name).collect();
        let there = self.destination_schema().await?.unwrap_or_default();
        let standing: BTreeSet<ObjectName> = there.objects.iter().filter(|o| !made::has_no_life_of_its_own(o.kind)).map(|o| o.name.clone()).collect();
        let missing: BTreeSet<ObjectName> = removed.iter().filter(|name| !standing.contains(*name)).cloned().collect();
        let wanted = made::restoring(ledger, missing).await?;
        for name in removed.difference(&wanted) {
            let message = format!("The destination's own {name} was never removed, or somebody made it anew: it stays as it is");
            observer.log(Level::Info, "rollback", message, json!({}));
        }
        backup::restore(&self.destination, dir, Some(&wanted), observer, stop).await
    }

    /// The destination as it is now; `None` when there is no such database.
    pub(super) async fn destination_schema(&self) -> Result<Option<Schema>> {
        let view = match self.destination.read(View::Latest { connections: 1 }).await {
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let schema = view.schema().await;
        view.close().await?;
        schema.map(Some)
    }

    async fn remove_database(&self, target: &dyn RowTarget, observer: &dyn Observer) -> Result<DatabaseUndone> {
        observer.log(Level::Info, "database", format!("Removing the database that this migration made: {}", self.destination.location()), json!({}));
        target.remove(&self.whole_database()).await?;
        Ok(DatabaseUndone { begun: true, removed_database: true, ..DatabaseUndone::default() })
    }

    /// The database itself as an object, by the rule of the trait.
    pub(super) fn whole_database(&self) -> SchemaObject {
        SchemaObject {
            kind: ObjectKind::Schema,
            phase: Phase::BeforeRows,
            name: ObjectName { schema: String::new(), name: self.destination.name() },
            table: None,
            statements: Vec::new(),
        }
    }
}

/// Whether an object at the destination is somebody else's: neither made by us nor part of what every new database has.
fn is_foreign(object: &SchemaObject, made: &BTreeSet<ObjectKey>, plan: &DatabasePlan) -> bool {
    if made::has_no_life_of_its_own(object.kind) || object.kind == ObjectKind::Schema || made.contains(&ObjectKey::of(object)) {
        return false;
    }
    // What a table of ours brings along, such as the sequence of a column, has its own name only at the destination.
    let table_is_ours = |table: &ObjectName| made.iter().any(|m| m.kind == ObjectKind::Table && m.name == *table);
    let belongs = object.table.as_ref().is_some_and(table_is_ours);
    let planned = plan.schema.objects.iter().any(|o| o.kind == object.kind && o.name == object.name);
    !belongs && !planned
}

async fn drop_made(
    plan: &DatabasePlan,
    made: &BTreeSet<ObjectKey>,
    before: &DestinationBefore,
    target: &dyn RowTarget,
    observer: &dyn Observer,
) -> Result<DatabaseUndone> {
    let mut undone = DatabaseUndone { begun: true, ..DatabaseUndone::default() };
    for object in plan.schema.objects.iter().rev().filter(|o| made.contains(&ObjectKey::of(o)) && !before.holds(o)) {
        match target.remove(object).await {
            Ok(()) => undone.removed += 1,
            Err(e) if e.temporary => return Err(e),
            Err(e) => {
                let what = describe(object);
                observer.log(Level::Warning, "rollback", format!("The {what}, made by this migration, could not be dropped and stays: {e}"), json!({}));
                undone.left.push(Left { object: what, reason: e.to_string() });
            }
        }
    }
    Ok(undone)
}
