//! Adding up a run's ledgers: which ledger counts files, which counts rows, and how far the current step is.

use engine::{LedgerTotals, RunLine, RunState, RunView, Sample, StepState};
use serde_json::Value;

/// Ledgers whose items are files: `files` and `files-final` of a site, `files.0`, `files-final.0`, … of a workload's mount points. The final
/// pass plans only what changed since the bulk pass.
const FILES: &str = "files";
/// The ledger whose items are rows.
const TABLES: &str = "tables";

/// What the names of the ledgers begin with whose bytes are what a migration moves.
pub(crate) const MOVING_LEDGERS: &[&str] = &[FILES, TABLES];

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
                name if name.starts_with(FILES) => {
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
    let begun = view.steps.iter().find(|s| s.state == StepState::Begun);
    let current = begun.map(|s| step_fraction(&s.name, &view.ledgers, view.sample.as_ref()));
    percent(view.state, view.steps.len(), view.steps_completed(), current)
}

/// The same for a line of a list.
pub(super) fn progress_of_line(line: &RunLine) -> f64 {
    let current = line.at_work.as_ref().map(|w| step_fraction(&w.step, &w.ledgers, w.sample.as_ref()));
    percent(line.state, line.steps, line.steps_completed, current)
}

fn percent(state: RunState, steps: usize, completed: usize, current: Option<f64>) -> f64 {
    if steps == 0 {
        return if state == RunState::Completed { 100.0 } else { 0.0 };
    }
    let percent = (completed as f64 + current.unwrap_or(0.0)) / steps as f64 * 100.0;
    (percent * 10.0).floor() / 10.0
}

/// From 0 to 1, and never quite 1 while it runs.
fn step_fraction(step: &str, ledgers: &[(String, LedgerTotals)], sample: Option<&Sample>) -> f64 {
    let of_ledger = ledger_fraction(ledgers.iter().filter(|(name, _)| is_ledger_of(step, name)).map(|(_, totals)| totals));
    let told = || {
        let sample = sample.filter(|s| s.step == step)?;
        sample.operation.get("progress").and_then(Value::as_f64).map(|p| p / 100.0)
    };
    of_ledger.or_else(told).unwrap_or(0.0).clamp(0.0, 0.99)
}

/// Whether the ledger tells how far a step is.
fn is_ledger_of(step: &str, ledger: &str) -> bool {
    match step {
        "files" => ledger == FILES,
        "database" => ledger == TABLES,
        "replicate" => ledger.strip_prefix(FILES).is_some_and(|rest| rest.starts_with('.')),
        _ => false,
    }
}

fn ledger_fraction<'a>(ledgers: impl Iterator<Item = &'a LedgerTotals>) -> Option<f64> {
    let (mut bytes, mut items) = ((0, 0), (0, 0));
    for totals in ledgers {
        bytes = (bytes.0 + totals.bytes_done, bytes.1 + totals.bytes);
        items = (items.0 + totals.items_done, items.1 + totals.items);
    }
    let (done, all) = if bytes.1 > 0 { bytes } else { items };
    (all > 0).then(|| done as f64 / all as f64)
}
