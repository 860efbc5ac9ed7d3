//! What this migration has made and removed at the destination, written down before it is done: an undo acts on this and not on the plan.

use super::DatabasePlan;
use ports::databases::{ObjectKind, ObjectName, Phase, Schema, SchemaObject};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;

/// Whether the database was missing when it was about to be made.
const DATABASE: &str = "made:database";
/// The destination's own objects that were about to be removed.
const REMOVED: &str = "removed";
/// The objects that a restore brings back, fixed when it begins.
const RESTORING: &str = "restoring";

/// One object of the destination, by what names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    pub kind: ObjectKind,
    pub name: ObjectName,
    pub table: Option<ObjectName>,
}

impl ObjectKey {
    pub fn of(object: &SchemaObject) -> Self {
        Self { kind: object.kind, name: object.name.clone(), table: object.table.clone() }
    }
}

async fn recall<T: DeserializeOwned>(ledger: &dyn Ledger, key: &str) -> Result<Option<T>> {
    let Some(value) = ledger.recall(key).await? else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|e| {
        let reason = "what the migration has done at the destination cannot be read";
        ConnectorError::new(ErrorKind::Internal, "read", format!("note '{key}' of the tables' ledger"), reason).permanent().because(e)
    })
}

/// Notes whether the database is ours to remove, once: `absent` is what was seen just before making it.
pub(super) async fn database_begun(ledger: &dyn Ledger, absent: bool) -> Result<()> {
    if ledger.recall(DATABASE).await?.is_none() {
        ledger.remember(DATABASE, Some(json!(absent))).await?;
    }
    Ok(())
}

/// `None`: nothing was ever begun at the destination.
pub(super) async fn database(ledger: &dyn Ledger) -> Result<Option<bool>> {
    recall(ledger, DATABASE).await
}

/// Notes objects that are about to be removed. Adds to what is noted.
pub(super) async fn removing(ledger: &dyn Ledger, objects: &[SchemaObject]) -> Result<()> {
    let mut all = removed(ledger).await?;
    all.extend(objects.iter().map(ObjectKey::of));
    ledger.remember(REMOVED, Some(json!(all))).await
}

pub(super) async fn removed(ledger: &dyn Ledger) -> Result<BTreeSet<ObjectKey>> {
    Ok(recall(ledger, REMOVED).await?.unwrap_or_default())
}

fn phase_key(phase: Phase) -> &'static str {
    match phase {
        Phase::BeforeRows => "made:before_rows",
        Phase::Keys => "made:keys",
        Phase::AfterRows => "made:after_rows",
        Phase::AtTheEnd => "made:at_the_end",
    }
}

/// Objects that live and die with their table, or are shared on purpose: not dropped by themselves.
pub(super) fn has_no_life_of_its_own(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Index | ObjectKind::ForeignKey | ObjectKind::Constraint | ObjectKind::Property | ObjectKind::Extension)
}

/// Notes which objects of a phase are about to be made: those that `there`, the destination as it is now, does not have. Adds to what is noted.
pub(super) async fn making(ledger: &dyn Ledger, plan: &DatabasePlan, phase: Phase, there: &Schema) -> Result<()> {
    let standing: BTreeSet<ObjectKey> = there.objects.iter().map(ObjectKey::of).collect();
    let mut all: BTreeSet<ObjectKey> = recall(ledger, phase_key(phase)).await?.unwrap_or_default();
    let ours =
        plan.schema.objects.iter().filter(|o| o.phase == phase && (!has_no_life_of_its_own(o.kind) || o.kind == ObjectKind::Extension)).map(ObjectKey::of);
    all.extend(ours.filter(|o| !standing.contains(o)));
    ledger.remember(phase_key(phase), Some(json!(all))).await
}

/// How the destination described our objects when they had all been made.
const DESCRIBED: &str = "made:described";

/// The description of an object in short.
fn described(object: &SchemaObject) -> (ObjectKey, String) {
    (ObjectKey::of(object), blake3::hash(object.statements.join("\n").as_bytes()).to_hex()[..16].to_owned())
}

/// Notes how the destination describes what we made. Repeatable; the last one counts.
pub(super) async fn describe(ledger: &dyn Ledger, there: &Schema) -> Result<()> {
    let ours = objects(ledger).await?;
    let all: Vec<(ObjectKey, String)> = there.objects.iter().filter(|o| ours.contains(&ObjectKey::of(o))).map(described).collect();
    ledger.remember(DESCRIBED, Some(json!(all))).await
}

/// The objects of ours that somebody has changed since, tables aside, as the destination describes them now.
pub(super) async fn changed<'a>(ledger: &dyn Ledger, there: &'a Schema) -> Result<Vec<&'a SchemaObject>> {
    let Some(noted) = recall::<Vec<(ObjectKey, String)>>(ledger, DESCRIBED).await? else { return Ok(Vec::new()) };
    let noted: std::collections::BTreeMap<_, _> = noted.into_iter().collect();
    let changed = |o: &&SchemaObject| {
        let (key, now) = described(o);
        o.kind != ObjectKind::Table && !has_no_life_of_its_own(o.kind) && noted.get(&key).is_some_and(|then| *then != now)
    };
    Ok(there.objects.iter().filter(changed).collect())
}

/// All that was made or about to be.
pub(super) async fn objects(ledger: &dyn Ledger) -> Result<BTreeSet<ObjectKey>> {
    let mut all = BTreeSet::new();
    for phase in [Phase::BeforeRows, Phase::Keys, Phase::AfterRows, Phase::AtTheEnd] {
        all.extend(recall::<BTreeSet<ObjectKey>>(ledger, phase_key(phase)).await?.unwrap_or_default());
    }
    Ok(all)
}

/// The tables among them.
pub(super) async fn tables(ledger: &dyn Ledger) -> Result<BTreeSet<ObjectName>> {
    Ok(objects(ledger).await?.into_iter().filter(|o| o.kind == ObjectKind::Table).map(|o| o.name).collect())
}

/// What a restore is to bring back: fixed by its first try, so that a second one does not take half a table for a whole one.
pub(super) async fn restoring(ledger: &dyn Ledger, names: BTreeSet<ObjectName>) -> Result<BTreeSet<ObjectName>> {
    if let Some(fixed) = recall(ledger, RESTORING).await? {
        return Ok(fixed);
    }
    ledger.remember(RESTORING, Some(json!(names))).await?;
    Ok(names)
}
