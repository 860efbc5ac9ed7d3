//! Dropping tables: each only while it holds what is ours or was saved.

use super::DatabasePlan;
use super::chunk::{self, RangeSpec};
use super::copy::{CONFLICTS, restless};
use super::later::same_shape;
use ports::databases::{Fingerprint, KeyRange, ObjectName, RowTarget, SchemaObject, Table};
use ports::{Ledger, Result};
use std::collections::BTreeMap;

/// Where tables are saved before they are dropped.
#[async_trait::async_trait]
pub trait TableKeeper: Send + Sync {
    /// The fingerprints of all states of a table that were saved.
    async fn kept(&self, table: &ObjectName) -> Result<Vec<Fingerprint>>;

    /// Saves a table as it is now.
    async fn keep(&self, table: &ObjectName) -> Result<()>;
}

/// Key ranges, each with what may stand there.
pub(super) type Expected = Vec<(KeyRange, Vec<Fingerprint>)>;

/// What this migration wrote into its tables, range by range.
pub(super) async fn written(plan: &DatabasePlan, ledger: &dyn Ledger) -> Result<BTreeMap<ObjectName, Expected>> {
    let mut found: BTreeMap<ObjectName, Expected> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = ledger.all(after, 256).await?;
        let Some(last) = page.last().map(|c| c.seq) else { return Ok(found) };
        for chunk in &page {
            let spec: RangeSpec = chunk::decode(chunk)?;
            let table = chunk::table(plan, &spec, chunk.seq)?;
            found.entry(table.name.clone()).or_default().push((spec.range, chunk::ours(ledger, chunk.seq).await?));
        }
        after = Some(last);
    }
}

/// A table that is about to be dropped.
pub(super) struct Doomed<'a> {
    pub object: &'a SchemaObject,
    /// As the destination describes it.
    pub there: &'a Table,
    /// As we made it, with what we wrote; `None` when it is not ours.
    pub ours: Option<(&'a Table, Expected)>,
}

/// Drops the table once it holds what is ours or was saved; what others wrote there is saved first. Without a keeper whatever it holds goes, as asked.
pub(super) async fn drop_table(doomed: Doomed<'_>, target: &dyn RowTarget, keeper: Option<&dyn TableKeeper>) -> Result<()> {
    let Some(keeper) = keeper else { return target.remove(doomed.object).await };
    let name = &doomed.there.name;
    for _ in 0..CONFLICTS {
        if let Some((table, expected)) = doomed.ours.as_ref().filter(|(table, _)| same_shape(table, doomed.there))
            && target.remove_table_if(doomed.object, table, expected).await?
        {
            return Ok(());
        }
        let kept = keeper.kept(name).await?;
        if !kept.is_empty() && target.remove_table_if(doomed.object, doomed.there, &[(KeyRange::default(), kept)]).await? {
            return Ok(());
        }
        keeper.keep(name).await?;
    }
    Err(restless(doomed.there))
}
