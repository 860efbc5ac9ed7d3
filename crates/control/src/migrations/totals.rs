//! Adding up a run's ledgers: which ledger counts files, which counts rows, and how far the current step is.

use engine::{LedgerTotals, RunView, StepState};
use serde_json::Value;

/// Ledgers whose items are files of the site. The final pass plans only what changed since the bulk pass.
const FILES: &str = "files";
const FILES_FINAL: &str = "files-final";
/// The ledger whose items are rows.
const TABLES: &str = "tables";

/// The ledgers whose bytes are what a migration moves.
pub(crate) const MOVING_LEDGERS: &[&str] = &[FILES, FILES_FINAL, TABLES];

/// What was moved and what there is to move.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Totals {
    pub files: u64,
    pub files_done: u64,
    pub rows: u64,
    pub rows_done: u64,
    pub database_bytes: u64,
    pub database_bytes_done: u64,
    pub file_bytes: u64,
    pub file_bytes_done: u64,
}

impl Totals {
    pub fn of(view: &RunView) -> Self {
        let mut out = Self::default();
        for (name, ledger) in &view.ledgers {
            match name.as_str() {
                FILES | FILES_FINAL => {
                    out.files += ledger.items;
                    out.files_done += ledger.items_done;
                    out.file_bytes += ledger.bytes;
                    out.file_bytes_done += ledger.bytes_done;
                }
                TABLES => {
                    out.rows += ledger.items;
                    out.rows_done += ledger.items_done;
                    out.database_bytes += ledger.bytes;
                    out.database_bytes_done += ledger.bytes_done;
                }
                _ => {}
            }
        }
        out
    }

    pub fn bytes(&self) -> u64 {
        self.file_bytes + self.database_bytes
    }

    pub fn bytes_done(&self) -> u64 {
        self.file_bytes_done + self.database_bytes_done
    }
}

/// Percent of the whole plan: steps done, and the part of the current step that its ledger (or, without one, its own account) shows.
pub(super) fn progress(view: &RunView) -> f64 {
    let total = view.steps.len();
    if total == 0 {
        return if view.state == engine::RunState::Completed { 100.0 } else { 0.0 };
    }
    let current = view.steps.iter().find(|s| s.state == StepState::Begun).map_or(0.0, |s| step_fraction(view, &s.name));
    let percent = (view.steps_completed() as f64 + current) / total as f64 * 100.0;
    (percent * 10.0).floor() / 10.0
}

/// From 0 to 1, and never quite 1 while it runs.
fn step_fraction(view: &RunView, step: &str) -> f64 {
    let of_ledger = view.ledgers.iter().find(|(name, _)| ledger_of(step) == Some(name.as_str())).and_then(|(_, totals)| ledger_fraction(totals));
    let told = || {
        let sample = view.sample.as_ref().filter(|s| s.step == step)?;
        sample.operation.get("progress").and_then(Value::as_f64).map(|p| p / 100.0)
    };
    of_ledger.or_else(told).unwrap_or(0.0).clamp(0.0, 0.99)
}

fn ledger_of(step: &str) -> Option<&'static str> {
    match step {
        "files" => Some(FILES),
        "database" => Some(TABLES),
        _ => None,
    }
}

fn ledger_fraction(totals: &LedgerTotals) -> Option<f64> {
    if totals.bytes > 0 {
        return Some(totals.bytes_done as f64 / totals.bytes as f64);
    }
    (totals.items > 0).then(|| totals.items_done as f64 / totals.items as f64)
}
