//! The gathered objects and their order.
//!
//! Phases first: what a table or an index needs comes with it, what needs something later comes later. Then, within the
//! whole, each object after all that it depends on; among equals by kind and name, so that the order is always the same.

use super::Catalog;
use ports::Result;
use ports::databases::{ObjectKind, ObjectName, Phase, SchemaObject};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

/// A row of a catalog: the catalog's own id and the row's.
pub type Address = (u32, u32);

#[derive(Default)]
pub struct Draft {
    objects: Vec<SchemaObject>,
    /// Which object makes a catalog row. Several rows may belong to one object (a table and its row type).
    makers: HashMap<Address, usize>,
    /// Rows that are a part of another row: a default of its table, a row type, an index behind a constraint.
    inner: HashMap<Address, Address>,
    needs: Vec<BTreeSet<usize>>,
}

impl Draft {
    pub fn add(&mut self, address: Option<Address>, object: SchemaObject) -> usize {
        let place = self.objects.len();
        self.objects.push(object);
        self.needs.push(BTreeSet::new());
        if let Some(address) = address {
            self.makers.insert(address, place);
        }
        place
    }

    /// This catalog row comes into being with that object.
    pub fn comes_with(&mut self, address: Address, place: usize) {
        self.makers.insert(address, place);
    }

    /// The object that makes this row, or the row that it is a part of.
    pub fn maker(&self, address: Address) -> Option<usize> {
        self.makers.get(&self.owner_of(address)).copied()
    }

    /// The row that this one is a part of, if no object makes it by itself.
    pub fn owner_of(&self, address: Address) -> Address {
        let mut at = address;
        // Longer chains than this are circles.
        for _ in 0..8 {
            match self.inner.get(&at).filter(|_| !self.makers.contains_key(&at)) {
                Some(owner) => at = *owner,
                None => break,
            }
        }
        at
    }

    pub fn objects(&self) -> &[SchemaObject] {
        &self.objects
    }

    /// The catalog rows of these objects.
    pub fn addresses(&self, places: &HashSet<usize>) -> HashSet<Address> {
        self.makers.iter().filter(|(_, place)| places.contains(place)).map(|(address, _)| *address).collect()
    }

    /// The object lives and dies with this table.
    pub fn belongs_to(&mut self, place: usize, table: ObjectName) {
        self.objects[place].table = Some(table);
    }

    /// What a property of this object belongs to; nothing for what holds other objects.
    pub fn subject(&self, place: usize) -> Option<ObjectName> {
        let object = &self.objects[place];
        match object.kind {
            ObjectKind::Schema | ObjectKind::Extension => None,
            _ => Some(object.table.clone().unwrap_or_else(|| object.name.clone())),
        }
    }

    pub fn needs(&mut self, place: usize, other: Option<usize>) {
        if let Some(other) = other.filter(|o| *o != place) {
            self.needs[place].insert(other);
        }
    }

    /// Adds the catalogs' dependencies and sorts.
    pub async fn into_order(mut self, catalog: &Catalog<'_>) -> Result<Vec<SchemaObject>> {
        for (from, to, how) in Self::dependencies(catalog).await? {
            // A sequence names the table that owns it; that is said after both are there.
            let (from, to) = (self.maker(from), self.maker(to));
            let owned = |place: usize| how == "a" && self.objects[place].kind == ObjectKind::Sequence;
            if let Some(from) = from.filter(|f| matches!(how.as_str(), "n" | "a" | "i") && !owned(*f)) {
                self.needs(from, to);
            }
        }
        self.settle_phases();
        Ok(self.sorted())
    }

    /// Rows that no object names but that carry dependencies: defaults, row types, array types, view rules, constraint indexes, clones of
    /// triggers and foreign keys on partitions.
    pub async fn read_inner_rows(&mut self, catalog: &Catalog<'_>) -> Result<()> {
        let query = "SELECT classid, objid, refclassid, refobjid FROM pg_catalog.pg_depend WHERE deptype = 'i' AND objid >= 16384 \
            UNION ALL SELECT 2604::oid, oid, 1259::oid, adrelid FROM pg_catalog.pg_attrdef \
            UNION ALL SELECT 1247::oid, reltype, 1259::oid, oid FROM pg_catalog.pg_class WHERE reltype <> 0 \
            UNION ALL SELECT 1247::oid, typarray, 1247::oid, oid FROM pg_catalog.pg_type WHERE typarray <> 0 AND oid >= 16384 \
            UNION ALL SELECT 2618::oid, oid, 1259::oid, ev_class FROM pg_catalog.pg_rewrite WHERE rulename = '_RETURN' \
            UNION ALL SELECT 1259::oid, conindid, 2606::oid, oid FROM pg_catalog.pg_constraint WHERE contype IN ('p', 'u', 'x') \
            UNION ALL SELECT 2606::oid, oid, 1247::oid, contypid FROM pg_catalog.pg_constraint WHERE contypid <> 0 \
            UNION ALL SELECT 2606::oid, oid, 2606::oid, conparentid FROM pg_catalog.pg_constraint WHERE conparentid <> 0 \
            UNION ALL SELECT 2606::oid, oid, 1259::oid, conrelid FROM pg_catalog.pg_constraint WHERE conparentid = 0 AND conrelid <> 0 \
            AND (contype = 'n' OR contype = 'c' AND NOT conislocal) \
            UNION ALL SELECT 2606::oid, tgconstraint, 2620::oid, oid FROM pg_catalog.pg_trigger WHERE tgconstraint <> 0 AND NOT tgisinternal \
            UNION ALL SELECT 2620::oid, oid, 2620::oid, tgparentid FROM pg_catalog.pg_trigger WHERE tgparentid <> 0";
        for row in catalog.rows(query).await? {
            self.inner.insert((row.get(0), row.get(1)), (row.get(2), row.get(3)));
        }
        Ok(())
    }

    /// The catalogs' dependencies: which row needs which, and how.
    pub async fn dependencies(catalog: &Catalog<'_>) -> Result<Vec<(Address, Address, String)>> {
        let query = "SELECT classid, objid, refclassid, refobjid, deptype::text FROM pg_catalog.pg_depend WHERE objid >= 16384 AND refobjid >= 16384";
        let rows = catalog.rows(query).await?;
        Ok(rows.iter().map(|r| ((r.get(0), r.get(1)), (r.get(2), r.get(3)), r.get(4))).collect())
    }

    /// Pulls what early objects need to their phase, then pushes objects behind what they need.
    fn settle_phases(&mut self) {
        let fixed = |o: &SchemaObject| matches!(o.kind, ObjectKind::Table | ObjectKind::Type | ObjectKind::Sequence | ObjectKind::Index);
        let mut open: Vec<usize> = (0..self.objects.len()).filter(|i| fixed(&self.objects[*i])).collect();
        while let Some(place) = open.pop() {
            let phase = self.objects[place].phase;
            for other in self.needs[place].clone() {
                // A view that an index belongs to is not pulled: the index waits for it.
                if self.objects[other].phase > phase && self.objects[other].kind == ObjectKind::Routine {
                    self.objects[other].phase = phase;
                    open.push(other);
                }
            }
        }
        let mut changed = true;
        while changed {
            changed = false;
            for place in 0..self.objects.len() {
                let latest = self.needs[place].iter().map(|o| self.objects[*o].phase).max();
                if let Some(latest) = latest.filter(|l| *l > self.objects[place].phase && self.objects[place].kind != ObjectKind::Table) {
                    self.objects[place].phase = behind(self.objects[place].kind, latest);
                    changed = true;
                }
            }
        }
    }

    fn sorted(self) -> Vec<SchemaObject> {
        let count = self.objects.len();
        let mut waiting: Vec<usize> = self.needs.iter().map(BTreeSet::len).collect();
        let mut wanted_by: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (place, needs) in self.needs.iter().enumerate() {
            for other in needs {
                wanted_by[*other].push(place);
            }
        }
        let rank = |place: usize| {
            let o = &self.objects[place];
            Reverse((o.phase, rank_of(o.kind), o.name.clone(), place))
        };
        let mut ready: BinaryHeap<_> = (0..count).filter(|p| waiting[*p] == 0).map(rank).collect();
        let mut left: BTreeSet<usize> = (0..count).collect();
        let mut order = Vec::with_capacity(count);
        while !left.is_empty() {
            // A circle (a check that calls a function over its own table): begin with its first object by rank.
            let next = ready.pop().or_else(|| left.iter().map(|p| rank(*p)).max());
            let Some(Reverse((.., place))) = next else { break };
            if !left.remove(&place) {
                continue;
            }
            order.push(place);
            for other in &wanted_by[place] {
                waiting[*other] = waiting[*other].saturating_sub(1);
                if waiting[*other] == 0 {
                    ready.push(rank(*other));
                }
            }
        }
        let mut objects: Vec<Option<SchemaObject>> = self.objects.into_iter().map(Some).collect();
        let mut sorted: Vec<SchemaObject> = order.into_iter().filter_map(|p| objects[p].take()).collect();
        sorted.sort_by_key(|o| o.phase);
        sorted
    }
}

/// The phase of an object that needs one of this phase. Only keys, indexes and what is said about them belong between the rows and the end.
fn behind(kind: ObjectKind, latest: Phase) -> Phase {
    match kind {
        ObjectKind::Index | ObjectKind::Constraint | ObjectKind::Property => latest,
        _ if latest > Phase::BeforeRows => Phase::AtTheEnd,
        _ => latest,
    }
}

fn rank_of(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Schema => 0,
        ObjectKind::Extension => 1,
        ObjectKind::Type => 2,
        ObjectKind::Sequence => 3,
        ObjectKind::Table => 4,
        ObjectKind::Routine => 5,
        ObjectKind::Index => 6,
        ObjectKind::Constraint => 7,
        ObjectKind::ForeignKey => 8,
        ObjectKind::View => 9,
        ObjectKind::Trigger => 10,
        ObjectKind::Property => 11,
        ObjectKind::Event => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: ObjectKind, phase: Phase, name: &str) -> SchemaObject {
        let name = ObjectName { schema: String::new(), name: name.to_owned() };
        SchemaObject { kind, phase, name, table: None, statements: vec![String::new()] }
    }

    #[test]
    fn objects_stand_after_what_they_need_and_needs_come_early() {
        let mut draft = Draft::default();
        let view = draft.add(None, object(ObjectKind::View, Phase::AtTheEnd, "a"));
        let reader = draft.add(None, object(ObjectKind::Routine, Phase::BeforeRows, "reads_view"));
        let default = draft.add(None, object(ObjectKind::Routine, Phase::AtTheEnd, "z_default"));
        let table = draft.add(None, object(ObjectKind::Table, Phase::BeforeRows, "t"));
        draft.needs(view, Some(table));
        draft.needs(reader, Some(view));
        draft.needs(table, Some(default));
        draft.settle_phases();
        let names: Vec<_> = draft.sorted().into_iter().map(|o| o.name.name).collect();
        assert_eq!(names, ["z_default", "t", "a", "reads_view"]);
    }

    #[test]
    fn a_circle_still_gives_every_object_once() {
        let mut draft = Draft::default();
        let a = draft.add(None, object(ObjectKind::Table, Phase::BeforeRows, "a"));
        let b = draft.add(None, object(ObjectKind::Routine, Phase::BeforeRows, "b"));
        draft.needs(a, Some(b));
        draft.needs(b, Some(a));
        draft.settle_phases();
        assert_eq!(draft.sorted().len(), 2);
    }
}
