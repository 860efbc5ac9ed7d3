//! What the engines' own tests share beyond the suite: what was not made as it is, and which rows differ.

use crate::suite::{Copied, hashes};
use ports::databases::{Applied, Database, Key, KeyRange, RowSource, Table, View};
use std::sync::Arc;

/// The objects that were not made as they are, with what became of them.
pub fn changed(copied: &Copied) -> Vec<String> {
    let told = copied.applied.iter().filter(|(_, a)| *a != Applied::AsIs);
    told.map(|(o, a)| format!("{:?} {}: {a:?}", o.kind, o.name)).collect()
}

pub async fn latest(which: &Arc<dyn Database>) -> Arc<dyn RowSource> {
    which.read(View::Latest { connections: 2 }).await.unwrap_or_else(|e| panic!("{e}"))
}

/// The keys of the rows that differ, told by the row hashes of both sides.
pub async fn differing(from: &Arc<dyn Database>, to: &Arc<dyn Database>, table: &Table) -> Vec<Key> {
    let mut sides = Vec::new();
    for which in [from, to] {
        let rows = hashes(&*latest(which).await, table, &KeyRange::default()).await;
        assert!(rows.is_sorted_by(|a, b| a.0 < b.0), "the rows of {} come in the order of their keys", table.name);
        sides.push(rows);
    }
    let only = |one: usize, other: usize| sides[one].iter().filter(|row| !sides[other].contains(row)).map(|row| row.0.clone()).collect::<Vec<_>>();
    let mut keys = [only(0, 1), only(1, 0)].concat();
    keys.sort();
    keys.dedup();
    keys
}
