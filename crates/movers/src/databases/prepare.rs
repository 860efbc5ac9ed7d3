//! Making room at the destination, and making the objects of a phase.

use super::dropping::{self, Doomed, TableKeeper};
use super::made::{self, ObjectKey};
use super::{DatabaseMover, DatabasePlan};
use ports::databases::{Applied, ObjectKind, ObjectName, Phase, RowTarget, SchemaObject, Table};
use ports::observe::Level;
use ports::{ConnectorError, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What became of one object at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedObject {
    pub kind: ObjectKind,
    pub name: ObjectName,
    pub applied: Applied,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// The database did not exist and was made.
    pub made_database: bool,
    pub replaced: u64,
    pub applied: Vec<AppliedObject>,
}

impl DatabaseMover {
    /// The destination's objects that stand in the way now: same-named ones that this migration did not make. Reads only.
    pub async fn standing(&self, plan: &DatabasePlan, ledger: &dyn Ledger) -> Result<Vec<SchemaObject>> {
        let Some(there) = self.destination_schema().await? else { return Ok(Vec::new()) };
        let ours = made::objects(ledger).await?;
        Ok(super::standing::same_names(&plan.schema, &there).into_iter().filter(|o| !ours.contains(&ObjectKey::of(o))).collect())
    }

    /// Makes the database and drops `standing`, each table as `keeper` has it saved; then makes what must be there before the rows. What is removed or
    /// made is noted in the ledger before it is done. Without a keeper tables go as they are. Repeatable.
    pub async fn prepare(
        &self,
        plan: &DatabasePlan,
        standing: &[SchemaObject],
        keeper: Option<&dyn TableKeeper>,
        ledger: &dyn Ledger,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<Prepared> {
        self.record_before(plan, standing, ledger).await?;
        let there = self.destination_schema().await?;
        made::database_begun(ledger, there.is_none()).await?;
        let tables = there.map(|schema| schema.tables).unwrap_or_default();
        let target = self.destination.write().await?;
        let outcome = self.make_room(plan, (standing, &tables), keeper, ledger, target.as_ref(), observer, stop).await;
        target.close().await?;
        outcome
    }

    #[allow(clippy::too_many_arguments)]
    async fn make_room(
        &self,
        plan: &DatabasePlan,
        (standing, tables): (&[SchemaObject], &[Table]),
        keeper: Option<&dyn TableKeeper>,
        ledger: &dyn Ledger,
        target: &dyn RowTarget,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<Prepared> {
        let database = target.prepare(&plan.schema).await?;
        if !standing.is_empty() {
            made::removing(ledger, standing).await?;
        }
        for object in standing.iter().rev() {
            match tables.iter().find(|t| object.kind == ObjectKind::Table && t.name == object.name) {
                Some(there) => dropping::drop_table(Doomed { object, there, ours: None }, target, keeper).await?,
                None => target.remove(object).await?,
            }
            observer.log(Level::Info, "database", format!("Removed the destination's {} to make room", describe(object)), json!({}));
        }
        let mut applied = self.create_phase(plan, Phase::BeforeRows, ledger, target, observer, stop).await?;
        if let Some(Applied::Adapted(change)) = database {
            observer.log(Level::Warning, "database", format!("Adapted the new database: {change}"), json!({}));
            let whole = self.whole_database();
            applied.insert(0, AppliedObject { kind: whole.kind, name: whole.name, applied: Applied::Adapted(change) });
        }
        let replaced = made::removed(ledger).await?.len() as u64;
        Ok(Prepared { made_database: made::database(ledger).await? == Some(true), replaced, applied })
    }

    /// Makes all objects of a phase in the schema's order. A refused object is named, not dropped silently; a refused table or
    /// key is an error: rows would have nowhere to go, or could not be found again.
    pub(super) async fn create_phase(
        &self,
        plan: &DatabasePlan,
        phase: Phase,
        ledger: &dyn Ledger,
        target: &dyn RowTarget,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<Vec<AppliedObject>> {
        let there = self.destination_schema().await?.unwrap_or_default();
        made::making(ledger, plan, phase, &there).await?;
        let before = Self::recorded_before(ledger).await?;
        let mut out = Vec::new();
        for object in plan.schema.objects.iter().filter(|o| o.phase == phase) {
            if before.is_others(&plan.schema, object) {
                out.push(left_to_others(object, observer));
                continue;
            }
            out.push(create_one(object, target, observer, stop).await?);
        }
        Ok(out)
    }
}

pub(super) async fn create_one(object: &SchemaObject, target: &dyn RowTarget, observer: &dyn Observer, stop: &CancellationToken) -> Result<AppliedObject> {
    if stop.is_cancelled() {
        return Err(ConnectorError::stopped("create", describe(object)));
    }
    let applied = target.create(object).await?;
    match &applied {
        Applied::AsIs => {}
        Applied::Adapted(change) => observer.log(Level::Warning, "database", format!("Adapted {}: {change}", describe(object)), json!({})),
        Applied::Refused(reason) if object.kind == ObjectKind::Table || object.phase == Phase::Keys => {
            return Err(ConnectorError::new(ports::ErrorKind::Unsupported, "create", describe(object), reason.clone()).permanent());
        }
        Applied::Refused(reason) => observer.log(Level::Warning, "database", format!("Could not make {}: {reason}", describe(object)), json!({})),
    }
    Ok(AppliedObject { kind: object.kind, name: object.name.clone(), applied })
}

/// What is said about a database or a schema that holds other things too stays as they have it, by name.
fn left_to_others(object: &SchemaObject, observer: &dyn Observer) -> AppliedObject {
    let reason = "the destination holds other tables too, so it stays as it is there".to_owned();
    observer.log(Level::Warning, "database", format!("Left {}: {reason}", describe(object)), json!({}));
    AppliedObject { kind: object.kind, name: object.name.clone(), applied: Applied::Refused(reason) }
}

pub(super) fn describe(object: &SchemaObject) -> String {
    let kind = format!("{:?}", object.kind).to_lowercase();
    match &object.table {
        Some(table) => format!("{kind} {} of {table}", object.name),
        None => format!("{kind} {}", object.name),
    }
}
