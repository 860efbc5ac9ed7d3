//! What people wrote, where and when. It knows nothing of the product's ledgers.

use super::places::{Files, Tables};
use std::collections::{BTreeMap, BTreeSet};

/// What the source was in one standstill, or between two changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    pub files: Files,
    pub tables: Tables,
}

#[derive(Debug, Default)]
pub struct Model {
    /// The source as people left it.
    pub source: Moment,
    /// Every state that the source had since the run began, with the number of the call before which it came.
    pub history: Vec<(u64, Moment)>,
    /// The source stands still now.
    pub standing: bool,
    /// The source in each period of maintenance mode.
    pub standstills: Vec<Moment>,
    /// Texts that people have a right to find again, by where they put them.
    pub owed: BTreeMap<Spot, BTreeSet<String>>,
    /// Texts that people wrote at the destination, whenever.
    pub authored: BTreeSet<String>,
    /// Places at the destination that people changed since the run began, with the number of the call.
    pub touched: BTreeMap<Spot, u64>,
    /// Somebody removed the backups: what only they held is owed no more.
    pub backups_deleted: bool,
}

/// A place at the destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    File(String),
    Row(String, i64),
}

impl Model {
    /// People change the source before the call of this number.
    pub fn source_changed(&mut self, call: u64, change: impl FnOnce(&mut Moment)) {
        change(&mut self.source);
        self.history.push((call, self.source.clone()));
    }

    /// People put `text` where they found `found`.
    pub fn put(&mut self, spot: Spot, found: Option<&str>, text: &str) {
        let owed = self.owed.entry(spot).or_default();
        if let Some(found) = found {
            owed.remove(found);
        }
        owed.insert(text.to_owned());
        self.authored.insert(text.to_owned());
    }

    /// People remove what they found.
    pub fn took(&mut self, spot: &Spot, found: &str) {
        if let Some(owed) = self.owed.get_mut(spot) {
            owed.remove(found);
        }
    }

    pub fn touch(&mut self, spot: Spot, call: u64) {
        self.touched.insert(spot, call);
    }

    /// The source's states that were current at or after this call.
    pub fn since(&self, call: u64) -> impl Iterator<Item = &Moment> {
        let first = self.history.iter().rposition(|(at, _)| *at <= call).unwrap_or(0);
        self.history[first..].iter().map(|(_, moment)| moment)
    }
}
