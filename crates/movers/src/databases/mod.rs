//! Moving a database: survey, prepare, copy by key ranges, a final pass by fingerprints, verify, undo.
//!
//! ```text
//! survey ─► prepare (database, tables) ─► copy (ranges, then indexes) ─► final pass (compare, repair; then keys, views, …) ─► verify
//! ```
//! Every table is cut into key ranges; a range is one chunk of the ledger. Copying replaces the destination's range in one
//! transaction. The bulk copy may run while the source lives, even over several snapshots after a crash: the final pass compares
//! all ranges on ONE snapshot and replaces those that differ, so the destination equals that snapshot. How each engine reads and
//! writes is the connectors' business.
//!
//! What is done at the destination is noted before it is done (`made`), what is written has its fingerprint noted (`chunk`): an undo acts on these
//! notes, and finds by them what other people have written since (`later`).

mod after_rows;
mod backup;
mod before;
mod chunk;
mod copy;
mod dropping;
mod edits;
mod final_pass;
mod later;
mod made;
mod preflight;
mod prepare;
mod retry;
mod selection;
mod send_again;
mod standing;
mod survey;
mod undo;
mod verify;

pub use backup::{DatabaseBackup, DatabaseRestored, SavedTable, back_up, changed_since, check, restore, saved_fingerprint};
pub use copy::TablesCopied;
pub use dropping::TableKeeper;
pub use edits::Edited;
pub use final_pass::FinalPass;
pub use later::{LaterRows, TableChange};
pub use preflight::{Preflight, preflight};
pub use prepare::{AppliedObject, Prepared};
pub use selection::{SiteTables, TableFilter};
pub use survey::{DatabasePlan, preflight_selected};
pub use undo::{DatabaseUndone, Left};
pub use verify::{DatabaseVerified, Scope, TableVerified};

use ports::databases::Database;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Ranges in flight at once; also the connections per side.
    pub parallel: usize,
    /// Rows of one range at most; wide rows get shorter ranges.
    pub rows_per_range: u64,
    /// How often one range is tried again after a temporary error.
    pub retries: u32,
    /// The copy's own snapshot is the final state (nobody has to stand still): the copy records the fingerprints itself, and
    /// the final pass compares again only after an interruption.
    pub single_pass: bool,
    /// Which tables move.
    pub tables: TableFilter,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { parallel: 4, rows_per_range: 100_000, retries: 4, single_pass: false, tables: TableFilter::default() }
    }
}

/// Moves one database to another of the same engine family. Cheap to make; holds no connection between calls.
pub struct DatabaseMover {
    source: Arc<dyn Database>,
    destination: Arc<dyn Database>,
    options: DatabaseOptions,
    later: LaterRows,
}

impl DatabaseMover {
    pub fn new(source: Arc<dyn Database>, destination: Arc<dyn Database>, options: DatabaseOptions) -> Self {
        Self { source, destination, options, later: LaterRows::Refuse }
    }
}
