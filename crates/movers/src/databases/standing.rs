//! The destination's objects that stand in the way, and what must hold before one of them is dropped: nobody else built on them, no name that is needed
//! belongs to a table that stays, and this user may make all that is to be made. One list for `validate`, the dry run, the first step and the step
//! that drops.

use ports::databases::{Attached, Database, ObjectKind, ObjectName, Schema, SchemaObject, Unmovable, View};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was seen at the destination in one look.
pub(super) struct Standing {
    pub there: Schema,
    /// What is to be dropped.
    pub objects: Vec<SchemaObject>,
    pub attached: Attached,
}

/// Looks at the destination; `choose` gives what of it is to be dropped. `None` when there is no such database.
pub(super) async fn look(destination: &Arc<dyn Database>, choose: impl FnOnce(&Schema) -> Vec<SchemaObject> + Send) -> Result<Option<Standing>> {
    let absent = |e: ConnectorError| if e.kind == ErrorKind::NotFound { Ok(None) } else { Err(e) };
    let view = match destination.read(View::Destination { connections: 1 }).await {
        Err(e) => return absent(e),
        Ok(view) => view,
    };
    let looked = async {
        let there = view.schema().await?;
        let objects = choose(&there);
        let names: Vec<ObjectName> = objects.iter().map(|o| o.name.clone()).collect();
        let attached = view.attached(&names).await?;
        Ok(Standing { there, objects, attached })
    };
    let looked = looked.await;
    view.close().await?;
    // An engine that opens the database only when asked.
    looked.map_or_else(absent, |standing| Ok(Some(standing)))
}

/// Refuses what must not or could not be replaced. Gives what of `ours` the destination refuses to make. Leaves nothing behind.
///
/// # Errors
/// `AlreadyExists` when others built on what would be dropped, or have a name that is needed; `Permission` when this user lacks a right that is needed.
/// All name every object.
pub(super) async fn prove(ours: &Schema, standing: Option<&Standing>, destination: &Arc<dyn Database>) -> Result<Vec<Unmovable>> {
    let target = destination.write().await?;
    let proven = async {
        let Some(standing) = standing else { return target.rehearse(ours, &[]).await };
        let mut holding = standing.attached.holding.clone();
        if !standing.objects.is_empty() {
            holding.extend(target.dependents(&standing.objects).await?);
        }
        let taken = [standing.clashes(ours), standing.unreadable(ours)].concat();
        refuse_others(&destination.location(), &holding, &taken)?;
        target.rehearse(ours, &standing.going()).await
    };
    let proven = proven.await;
    target.close().await?;
    proven
}

impl Standing {
    /// What is dropped, and what goes with it.
    fn going(&self) -> Vec<SchemaObject> {
        let goes_along = |o: &&SchemaObject| o.table.as_ref().is_some_and(|table| self.drops(table)) && !self.objects.contains(o);
        self.objects.iter().chain(self.there.objects.iter().filter(goes_along)).cloned().collect()
    }

    fn drops(&self, table: &ObjectName) -> bool {
        self.objects.iter().any(|o| class(o.kind) == 0 && o.name == *table)
    }

    /// Objects of tables that stay, whose names `ours` needs: where there are no schemas, some names belong to the database and not to a table.
    fn clashes(&self, ours: &Schema) -> Vec<Unmovable> {
        let server = self.there.server.as_str();
        let sqlite = server.starts_with("SQLite");
        let keys = ["MySQL", "MariaDB 10.", "MariaDB 11."].iter().any(|known| server.starts_with(known));
        let is_shared = |o: &&SchemaObject| {
            let kind = match o.kind {
                ObjectKind::Trigger => true,
                ObjectKind::Index => sqlite,
                ObjectKind::ForeignKey => keys,
                _ => false,
            };
            kind && o.name.schema.is_empty()
        };
        let needed = |theirs: &SchemaObject| {
            let name = |o: &SchemaObject| folded(&o.name, class(ObjectKind::Trigger), sqlite);
            ours.objects.iter().any(|o| o.kind == theirs.kind && name(o) == name(theirs))
        };
        let moves = |table: &ObjectName| {
            let same = |o: &SchemaObject| folded(&o.name, 0, sqlite) == folded(table, 0, sqlite);
            self.drops(table) || ours.objects.iter().any(|o| class(o.kind) == 0 && same(o))
        };
        let stays = |o: &SchemaObject| {
            let table = o.table.as_ref().filter(|table| !moves(table))?;
            let reason = format!("it belongs to {table}, which does not move");
            Some(Unmovable { kind: word(o.kind), name: o.name.to_string(), reason })
        };
        self.there.objects.iter().filter(is_shared).filter(|o| needed(o)).filter_map(stays).collect()
    }

    /// Objects whose names `ours` needs and that cannot be read there: they could not be saved before they are replaced.
    fn unreadable(&self, ours: &Schema) -> Vec<Unmovable> {
        let sqlite = self.there.server.starts_with("SQLite");
        let is_needed = |theirs: &&Unmovable| {
            let kind = match theirs.kind.as_str() {
                "table" | "virtual table" => ObjectKind::Table,
                "view" => ObjectKind::View,
                "sequence" => ObjectKind::Sequence,
                "procedure" | "function" => ObjectKind::Routine,
                "trigger" => ObjectKind::Trigger,
                "event" => ObjectKind::Event,
                _ => return false,
            };
            let name = folded(&ObjectName { schema: String::new(), name: theirs.name.clone() }, class(kind), sqlite);
            ours.objects.iter().any(|o| class(o.kind) == class(kind) && folded(&o.name, class(kind), sqlite) == name)
        };
        self.there.unmovable.iter().filter(is_needed).cloned().collect()
    }
}

fn word(kind: ObjectKind) -> String {
    if kind == ObjectKind::ForeignKey { "foreign key".to_owned() } else { format!("{kind:?}").to_lowercase() }
}

/// An error that names what others built on objects that would be replaced, and what has a name that is needed.
fn refuse_others(location: &str, holding: &[Unmovable], clashes: &[Unmovable]) -> Result<()> {
    let named = |what: &str, of: &[Unmovable]| {
        let list: Vec<String> = of.iter().map(|h| format!("{} {} ({})", h.kind, h.name, h.reason)).collect();
        (!list.is_empty()).then(|| format!("{what}: {}", list.join("; ")))
    };
    let parts = [named("others built on what would be replaced", holding), named("names that the migration needs are taken", clashes)];
    let reasons: Vec<String> = parts.into_iter().flatten().collect();
    if reasons.is_empty() {
        return Ok(());
    }
    Err(ConnectorError::new(ErrorKind::AlreadyExists, "replace objects of", location, reasons.join(". "))
        .permanent()
        .advice("Drop or rename these at the destination, or leave what they need out of the migration"))
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
pub(super) fn same_names(ours: &Schema, theirs: &Schema) -> Vec<SchemaObject> {
    let sqlite = theirs.server.starts_with("SQLite");
    let names: BTreeSet<_> = ours.objects.iter().map(|o| place(o, sqlite)).filter(|(c, ..)| *c < 5).collect();
    theirs.objects.iter().filter(|o| class(o.kind) < 5 && names.contains(&place(o, sqlite))).cloned().collect()
}
