//! What follows the rows: keys and indexes. Where the target makes those of different tables apart, a table's come as soon as its last
//! range is copied, while other tables are still on their way; otherwise all come at the end, in the schema's order.

use super::prepare::create_one;
use super::{AppliedObject, DatabasePlan};
use futures::{StreamExt, TryStreamExt};
use ports::databases::{ObjectName, Phase, RowTarget, SchemaObject};
use ports::{Observer, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

type Lane<'a> = Vec<&'a SchemaObject>;

/// The objects of one copy that are still to be made, and those that are.
pub(super) struct AfterRows<'a> {
    target: &'a dyn RowTarget,
    observer: &'a dyn Observer,
    stop: &'a CancellationToken,
    plan: &'a DatabasePlan,
    /// Per table the objects in their order; one lane for all where the target wants them in order.
    lanes: Mutex<BTreeMap<Option<&'a ObjectName>, Lane<'a>>>,
    /// Ranges that a table still waits for, by its position in the schema.
    open: Mutex<BTreeMap<usize, u64>>,
    made: Mutex<Vec<AppliedObject>>,
}

impl<'a> AfterRows<'a> {
    pub fn new(plan: &'a DatabasePlan, target: &'a dyn RowTarget, observer: &'a dyn Observer, stop: &'a CancellationToken) -> Self {
        let mut following: Lane<'a> = plan.schema.objects.iter().filter(|o| !matches!(o.phase, Phase::BeforeRows | Phase::AtTheEnd)).collect();
        following.sort_by_key(|o| o.phase);
        let apart = target.tables_apart();
        let mut lanes: BTreeMap<_, Lane<'a>> = BTreeMap::new();
        for object in following {
            lanes.entry(apart.then(|| object.table.as_ref().unwrap_or(&object.name))).or_default().push(object);
        }
        Self { target, observer, stop, plan, lanes: Mutex::new(lanes), open: Mutex::default(), made: Mutex::default() }
    }

    /// A range of this table is still to be copied.
    pub fn wait_for(&self, table: usize) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner).entry(table).or_default() += 1;
    }

    /// A range of this table is copied; with its last one, makes what follows it.
    pub async fn range_done(&self, table: usize) -> Result<()> {
        let last = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let left = open.entry(table).or_default();
            *left = left.saturating_sub(1);
            *left == 0
        };
        let name = self.plan.schema.tables.get(table).map(|t| &t.name);
        let Some(name) = name.filter(|_| last) else { return Ok(()) };
        let lane = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&Some(name));
        self.make(lane.unwrap_or_default()).await
    }

    /// Makes what is left, `parallel` tables at once, and gives all that was made.
    pub async fn rest(&self, parallel: usize) -> Result<Vec<AppliedObject>> {
        let lanes = std::mem::take(&mut *self.lanes.lock().unwrap_or_else(PoisonError::into_inner));
        // The futures are made before the first await: they borrow the same things and nothing of each other.
        let work: Vec<_> = lanes.into_values().map(|lane| self.make(lane)).collect();
        futures::stream::iter(work).buffered(parallel).try_collect::<()>().await?;
        let mut made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        made.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(made)
    }

    async fn make(&self, lane: Lane<'a>) -> Result<()> {
        for object in lane {
            let applied = create_one(object, self.target, self.observer, self.stop).await?;
            self.made.lock().unwrap_or_else(PoisonError::into_inner).push(applied);
        }
        Ok(())
    }
}
