//! Making room at the destination, making the objects of a phase, and taking all of it back.

use super::{DatabaseMover, DatabasePlan};
use ports::databases::{Applied, ObjectKind, ObjectName, Phase, RowTarget, SchemaObject};
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

/// The note that says: from here on the destination's objects are ours to drop.
const BEGUN: &str = "prepare:begun";

impl DatabaseMover {
    /// Drops the objects that are overwritten, makes the database and what must stand before the rows. Repeatable.
    pub async fn prepare(&self, plan: &DatabasePlan, ledger: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<Prepared> {
        ledger.remember(BEGUN, Some(json!({"database_absent": !plan.destination_exists}))).await?;
        let target = self.destination.write().await?;
        let outcome = self.make_room(plan, target.as_ref(), observer, stop).await;
        target.close().await?;
        outcome
    }

    async fn make_room(&self, plan: &DatabasePlan, target: &dyn RowTarget, observer: &dyn Observer, stop: &CancellationToken) -> Result<Prepared> {
        let database = target.prepare(&plan.schema).await?;
        for object in plan.overwrites.iter().rev() {
            target.remove(object).await?;
            observer.log(Level::Info, "database", format!("Removed the destination's {} to make room", describe(object)), json!({}));
        }
        let mut applied = self.create_phase(plan, Phase::BeforeRows, target, observer, stop).await?;
        if let Some(Applied::Adapted(change)) = database {
            observer.log(Level::Warning, "database", format!("Adapted the new database: {change}"), json!({}));
            let whole = self.whole_database();
            applied.insert(0, AppliedObject { kind: whole.kind, name: whole.name, applied: Applied::Adapted(change) });
        }
        Ok(Prepared { made_database: !plan.destination_exists, replaced: plan.overwrites.len() as u64, applied })
    }

    /// Makes all objects of a phase in the schema's order. A refused object is named, not dropped silently; a refused table or
    /// key is an error: rows would have nowhere to go, or could not be found again.
    pub(super) async fn create_phase(
        &self,
        plan: &DatabasePlan,
        phase: Phase,
        target: &dyn RowTarget,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<Vec<AppliedObject>> {
        let mut out = Vec::new();
        for object in plan.schema.objects.iter().filter(|o| o.phase == phase) {
            out.push(create_one(object, target, observer, stop).await?);
        }
        Ok(out)
    }

    /// Drops all that we made: the database when it was absent before, otherwise our objects in reverse order. Repeatable. What was
    /// overwritten comes back by restoring the backup, which is the caller's next call.
    pub async fn undo(&self, plan: &DatabasePlan, ledger: &dyn Ledger, observer: &dyn Observer) -> Result<()> {
        let Some(begun) = ledger.recall(BEGUN).await? else { return Ok(()) };
        let target = match self.destination.write().await {
            Err(e) if e.kind == ports::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let outcome = if begun["database_absent"] == true {
            observer.log(Level::Info, "database", format!("Removing the database that this migration made: {}", self.destination.location()), json!({}));
            target.remove(&self.whole_database()).await
        } else {
            drop_all(plan, target.as_ref()).await
        };
        target.close().await?;
        outcome
    }

    /// The database itself as an object, by the rule of the door.
    fn whole_database(&self) -> SchemaObject {
        SchemaObject {
            kind: ObjectKind::Schema,
            phase: Phase::BeforeRows,
            name: ObjectName { schema: String::new(), name: self.destination.name() },
            table: None,
            statements: Vec::new(),
        }
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

async fn drop_all(plan: &DatabasePlan, target: &dyn RowTarget) -> Result<()> {
    for object in plan.schema.objects.iter().rev() {
        // An index or a key goes with its table; an extension or a schema may serve others.
        let own = !matches!(object.kind, ObjectKind::Index | ObjectKind::ForeignKey | ObjectKind::Constraint | ObjectKind::Property | ObjectKind::Extension);
        if own {
            target.remove(object).await?;
        }
    }
    Ok(())
}

pub(super) fn describe(object: &SchemaObject) -> String {
    let kind = format!("{:?}", object.kind).to_lowercase();
    match &object.table {
        Some(table) => format!("{kind} {} of {table}", object.name),
        None => format!("{kind} {}", object.name),
    }
}
