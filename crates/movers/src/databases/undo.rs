//! Taking a database back: what was made goes, what was removed comes back from its backup. Acts on what was done, not on the plan.

use super::before::DestinationBefore;
use super::dropping::{self, Doomed, Expected, TableKeeper};
use super::made::{self, ObjectKey};
use super::prepare::describe;
use super::{DatabaseMover, DatabasePlan, DatabaseRestored, backup};
use ports::databases::{KeyRange, ObjectKind, ObjectName, Phase, RowTarget, Schema, SchemaObject, Table, View};
use ports::observe::Level;
use ports::{ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
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
    ///
    /// A table goes while it holds what we wrote; what others wrote there is saved by `keeper` first. Without one it goes as it is.
    pub async fn undo(&self, plan: &DatabasePlan, ledger: &dyn Ledger, keeper: Option<&dyn TableKeeper>, observer: &dyn Observer) -> Result<DatabaseUndone> {
        let Some(made_database) = made::database(ledger).await? else { return Ok(DatabaseUndone::default()) };
        let Some(there) = self.destination_schema().await? else { return Ok(DatabaseUndone { begun: true, ..DatabaseUndone::default() }) };
        let made = made::objects(ledger).await?;
        let mut others: Vec<String> = there.objects.iter().filter(|o| is_foreign(o, &made, plan)).map(describe).collect();
        others.extend(unmoved(&there));
        let target = self.destination.write().await?;
        if let (true, Some(other)) = (made_database, others.first()) {
            let message = format!(
                "{} was made by this migration and stays: it holds {} objects that are not the migration's, such as the {}",
                self.destination.location(),
                others.len(),
                other
            );
            observer.log(Level::Warning, "rollback", message, json!({"objects": others.len()}));
        }
        let before = Self::recorded_before(ledger).await?;
        for object in made::changed(ledger, &there).await? {
            let message = format!("The {} was changed by others after this migration made it", describe(object));
            observer.log(
                Level::Warning,
                "rollback",
                format!("{message}: it was saved as it is before it is taken back"),
                json!({"definition": object.statements}),
            );
            if let Some(keeper) = keeper {
                keeper.keep(&object.name).await?;
            }
        }
        let made = Made { plan, objects: &made, before: &before, tables: &there.tables, written: dropping::written(plan, ledger).await? };
        let outcome = self.undo_on(made, made_database && others.is_empty(), target.as_ref(), keeper, observer).await;
        target.close().await?;
        outcome
    }

    async fn undo_on(
        &self,
        made: Made<'_>,
        whole: bool,
        target: &dyn RowTarget,
        keeper: Option<&dyn TableKeeper>,
        observer: &dyn Observer,
    ) -> Result<DatabaseUndone> {
        let (plan, objects, before) = (made.plan, made.objects, made.before);
        let undone = drop_made(made, target, keeper, observer).await?;
        // Looked at again: what came since is somebody else's.
        let emptied = whole && undone.left.is_empty() && {
            let there = self.destination_schema().await?.unwrap_or_default();
            !there.objects.iter().any(|o| o.kind == ObjectKind::Table || is_foreign(o, objects, plan)) && unmoved(&there).is_empty()
        };
        if emptied {
            return self.remove_database(target, observer).await;
        }
        before.restore_containers(&plan.schema, target, observer).await?;
        Ok(undone)
    }

    /// Restores from a backup in `dir` what this migration removed and is still missing. What stands under one of the names is not ours and stays as it
    /// is. Repeatable; every restored table is proven by its fingerprint.
    pub async fn bring_back(
        &self,
        dir: &Path,
        ledger: &dyn Ledger,
        keeper: Option<&dyn TableKeeper>,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<DatabaseRestored> {
        let keys = made::removed(ledger).await?;
        let removed: BTreeSet<ObjectName> = keys.iter().map(|o| o.name.clone()).collect();
        let there = self.destination_schema().await?.unwrap_or_default();
        // By kind, too: a table and a procedure may share a name.
        let standing: BTreeSet<_> = there.objects.iter().filter(|o| !made::has_no_life_of_its_own(o.kind)).map(|o| (o.kind, &o.name)).collect();
        let missing: BTreeSet<ObjectName> = keys.iter().filter(|o| !standing.contains(&(o.kind, &o.name))).map(|o| o.name.clone()).collect();
        let wanted = made::restoring(ledger, missing).await?;
        for name in removed.difference(&wanted) {
            let message = format!("The destination's own {name} was never removed, or somebody made it anew: it stays as it is");
            observer.log(Level::Info, "rollback", message, json!({}));
        }
        backup::restore(&self.destination, dir, Some(&wanted), keeper, observer, stop).await
    }

    /// The destination as it is now; `None` when there is no such database.
    pub(super) async fn destination_schema(&self) -> Result<Option<Schema>> {
        let view = match self.destination.read(View::Destination { connections: 1 }).await {
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

/// Kinds of what a reader names though it is no object of its own.
const NO_OBJECTS: [&str; 9] = [
    "owner",
    "default rights",
    "database setting",
    "database rights",
    "database comment",
    "security label",
    "tablespace",
    "rows of an extension",
    "row history",
];

/// Objects of the destination of kinds that are never moved, so that somebody else has made them.
fn unmoved(there: &Schema) -> Vec<String> {
    let is_object = |kind: &str| !NO_OBJECTS.contains(&kind) && kind != "comment" && !kind.contains("right") && !kind.contains("grant");
    there.unmovable.iter().filter(|u| is_object(&u.kind) && !u.name.ends_with(".*")).map(|u| format!("{} {}", u.kind, u.name)).collect()
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

/// What we made, and what we wrote into it.
struct Made<'a> {
    plan: &'a DatabasePlan,
    objects: &'a BTreeSet<ObjectKey>,
    before: &'a DestinationBefore,
    /// As the destination describes them.
    tables: &'a [Table],
    written: BTreeMap<ObjectName, Expected>,
}

impl Made<'_> {
    async fn drop(&mut self, object: &SchemaObject, target: &dyn RowTarget, keeper: Option<&dyn TableKeeper>) -> Result<()> {
        let there = self.tables.iter().find(|t| object.kind == ObjectKind::Table && t.name == object.name);
        let Some(there) = there else { return target.remove(object).await };
        let planned = self.plan.schema.tables.iter().find(|t| t.name == object.name);
        // Nothing was written yet: it must be empty.
        let written = self.written.remove(&object.name).unwrap_or_else(|| vec![(KeyRange::default(), Vec::new())]);
        dropping::drop_table(Doomed { object, there, ours: planned.map(|table| (table, written)) }, target, keeper).await
    }
}

async fn drop_made(mut made: Made<'_>, target: &dyn RowTarget, keeper: Option<&dyn TableKeeper>, observer: &dyn Observer) -> Result<DatabaseUndone> {
    let mut undone = DatabaseUndone { begun: true, ..DatabaseUndone::default() };
    let (plan, objects, before) = (made.plan, made.objects, made.before);
    for object in plan.schema.objects.iter().rev().filter(|o| objects.contains(&ObjectKey::of(o)) && !before.holds(o)) {
        match made.drop(object, target, keeper).await {
            Ok(()) => undone.removed += 1,
            // Somebody writes there now: trying again may succeed, and until then nothing is put in its place.
            Err(e) if e.temporary || e.kind == ErrorKind::Changed => return Err(e),
            Err(e) => {
                let what = describe(object);
                observer.log(Level::Warning, "rollback", format!("The {what}, made by this migration, could not be dropped and stays: {e}"), json!({}));
                undone.left.push(Left { object: what, reason: e.to_string() });
            }
        }
    }
    Ok(undone)
}
