//! What stood at the destination before its first object was dropped: what an undo must not drop, and what goes without being ours.
//!
//! Read by the step that destroys, recorded before it does, and never replaced by a later look.

use super::prepare::create_one;
use super::standing::{self, Standing};
use super::{AppliedObject, DatabaseMover, DatabasePlan};
use ports::databases::{Applied, Attached, ObjectKind, ObjectName, RowTarget, Schema, SchemaObject};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// The note that holds it.
const NOTE: &str = "prepare:before";

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DestinationBefore {
    /// Schemas and extensions: an undo drops none of them.
    containers: Vec<(ObjectKind, ObjectName)>,
    /// There are tables that this migration does not replace.
    shared: bool,
    attached: Attached,
}

impl DatabaseMover {
    /// What was recorded when the first preparation began; nothing when none did.
    pub(super) async fn recorded_before(ledger: &dyn Ledger) -> Result<DestinationBefore> {
        let note = ledger.recall(NOTE).await?;
        let read = note.map(serde_json::from_value).transpose();
        let damaged = |e| ConnectorError::new(ErrorKind::Internal, "read", "the note of what stood at the destination", "it cannot be read").because(e);
        Ok(read.map_err(|e| damaged(e).permanent())?.unwrap_or_default())
    }

    /// Looks at the destination and records what hangs on `standing`, which is about to be removed, beside what an earlier attempt has recorded.
    ///
    /// # Errors
    /// Those of [`standing::prove`]: then nothing may be removed.
    pub(super) async fn record_before(&self, plan: &DatabasePlan, standing: &[SchemaObject], ledger: &dyn Ledger) -> Result<DestinationBefore> {
        let first = ledger.recall(NOTE).await?.is_none();
        let mut before = Self::recorded_before(ledger).await?;
        if !first && standing.is_empty() {
            return Ok(before);
        }
        let seen = standing::look(&self.destination, |_| standing.to_vec()).await?;
        if !standing.is_empty() {
            // What it refuses to make was told by the survey.
            standing::prove(&plan.schema, seen.as_ref(), &self.destination).await?;
        }
        let found = seen.map(DestinationBefore::of).unwrap_or_default();
        if first {
            before = found;
        } else {
            let new = found.attached.severed.into_iter().filter(|o| !before.attached.severed.contains(o)).collect::<Vec<_>>();
            before.attached.severed.extend(new);
        }
        let note = serde_json::to_value(&before).map_err(|e| ConnectorError::new(ErrorKind::Internal, "record", NOTE, e.to_string()).because(e))?;
        ledger.remember(NOTE, Some(note)).await?;
        Ok(before)
    }
}

fn is_container(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Schema | ObjectKind::Extension)
}

impl DestinationBefore {
    fn of(Standing { there, objects, attached }: Standing) -> Self {
        let containers = there.objects.iter().filter(|o| is_container(o.kind)).map(|o| (o.kind, o.name.clone())).collect();
        let shared = there.tables.iter().any(|t| !objects.iter().any(|o| o.name == t.name));
        Self { containers, shared, attached }
    }

    /// Whether the object was there and serves others too.
    pub fn holds(&self, object: &SchemaObject) -> bool {
        is_container(object.kind) && self.containers.iter().any(|(kind, name)| *kind == object.kind && *name == object.name)
    }

    /// Whether the property is said about a database or schema that others use as well: it stays as they have it.
    pub fn is_others(&self, plan: &Schema, property: &SchemaObject) -> bool {
        let about_container = property.kind == ObjectKind::Property && property.table.is_none() && property.phase == ports::databases::Phase::AtTheEnd;
        let made_here = |o: &&SchemaObject| o.kind == ObjectKind::Schema && o.name.name == property.name.schema && !self.holds(o);
        self.shared && about_container && !plan.objects.iter().any(|o| made_here(&o))
    }

    /// Makes again what went with the replaced objects and belongs to others, now that objects of these names are there.
    pub async fn rejoin(&self, target: &dyn RowTarget, observer: &dyn Observer, stop: &CancellationToken) -> Result<Vec<AppliedObject>> {
        let mut made = Vec::new();
        for object in &self.attached.severed {
            made.push(create_one(object, target, observer, stop).await?);
        }
        Ok(made)
    }

    /// Says again about the database and its schemas what this migration said otherwise.
    pub async fn restore_containers(&self, plan: &Schema, target: &dyn RowTarget, observer: &dyn Observer) -> Result<()> {
        let ours = |o: &&SchemaObject| plan.objects.iter().any(|p| p.kind == o.kind && p.name == o.name && !self.is_others(plan, p));
        for object in self.attached.containers.iter().filter(ours) {
            if let Applied::Refused(reason) = target.create(object).await? {
                observer.log(Level::Warning, "rollback", format!("Could not bring back {}: {reason}", super::prepare::describe(object)), json!({}));
            }
        }
        Ok(())
    }
}
