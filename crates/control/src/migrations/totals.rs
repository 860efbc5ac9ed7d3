//! Adding up a run's ledgers: which ledger counts files, which counts rows, and how far the whole is.

use super::high_water;
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

/// Percent of the work that a migration is: what is copied, backed up and verified, by bytes, files and rows. See [`weights`].
pub(super) fn progress(view: &RunView) -> f64 {
    progress_of_line(&RunLine::from(view))
}

/// The same for a line of a list.
pub(super) fn progress_of_line(line: &RunLine) -> f64 {
    high_water::of(&line.id, line.state, computed(line))
}

fn computed(line: &RunLine) -> f64 {
    if line.steps == 0 {
        return if line.state == RunState::Completed { 100.0 } else { 0.0 };
    }
    let ledgers = line.at_work.as_ref().map(|w| w.ledgers.as_slice()).unwrap_or_default();
    let weights = weights(plans::step_names(&line.kind, line.steps), line.steps, ledgers);
    let whole: f64 = weights.iter().sum();
    let before: f64 = weights.iter().take(line.steps_completed).sum();
    let fraction = line.at_work.as_ref().map_or(0.0, |w| step_fraction(&w.step, &w.ledgers, w.sample.as_ref()));
    let current = weights.get(line.steps_completed).copied().unwrap_or(0.0) * fraction;
    ((before + current) / whole * 1000.0).floor() / 10.0
}

/// What a step that moves nothing counts, in percent.
const SMALL: f64 = 1.0;
/// What a file and a row count beside their bytes: opening, naming and finishing them.
const FILE_BYTES: f64 = 32.0 * 1024.0;
const ROW_BYTES: f64 = 200.0;
/// Verification reads what is stored once more, and a backup saves what will be replaced, each beside what is copied.
const VERIFY_SHARE: f64 = 0.5;
const BACKUP_SHARE: f64 = 0.1;

/// How much each step counts. Steps whose names are not known count the same.
fn weights(names: Option<&[&str]>, steps: usize, ledgers: &[(String, LedgerTotals)]) -> Vec<f64> {
    let Some(names) = names else { return vec![1.0; steps] };
    let work = |is: &dyn Fn(&str) -> bool, item: f64| -> f64 {
        ledgers.iter().filter(|(name, _)| is(name)).map(|(_, totals)| totals.bytes as f64 + totals.items as f64 * item).sum()
    };
    let (mut files, mut tables) = (work(&|name| name.starts_with(FILES), FILE_BYTES), work(&|name| name == TABLES, ROW_BYTES));
    if files + tables <= 0.0 {
        (files, tables) = (4.0, if names.contains(&"database") { 3.0 } else { 0.0 });
    }
    let saved = work(&|name| name == "backup", FILE_BYTES);
    let moving = files + tables;
    let of = |name: &str| match name {
        "files" | "replicate" => Some(files),
        "database" => Some(tables),
        "verify" => Some(moving * VERIFY_SHARE),
        "backup" => Some(if saved > 0.0 { saved } else { moving * BACKUP_SHARE }),
        _ => None,
    };
    let whole: f64 = names.iter().filter_map(|name| of(name)).sum();
    let small = names.iter().filter(|name| of(name).is_none()).count() as f64 * SMALL;
    names.iter().map(|name| of(name).map_or(SMALL, |work| work / whole * (100.0 - small))).collect()
}

/// From 0 to 1, and never quite 1 while it runs. A large file moves long before its ledger says that it is done: then the step's own account or the
/// bytes on their way tell more.
fn step_fraction(step: &str, ledgers: &[(String, LedgerTotals)], sample: Option<&Sample>) -> f64 {
    let of_ledger = ledger_fraction(step, ledgers, sample.filter(|s| s.step == step));
    let told = || {
        let sample = sample.filter(|s| s.step == step)?;
        sample.operation.get("progress").and_then(Value::as_f64).map(|p| p / 100.0)
    };
    of_ledger.or_else(told).unwrap_or(0.0).clamp(0.0, 0.99)
}

/// Whether the ledger tells how far a step is.
fn is_ledger_of(step: &str, ledger: &str) -> bool {
    match step {
        "backup" => ledger == "backup",
        "files" => ledger == FILES,
        "database" => ledger == TABLES,
        "replicate" => ledger.strip_prefix(FILES).is_some_and(|rest| rest.starts_with('.')),
        _ => false,
    }
}

fn ledger_fraction(step: &str, ledgers: &[(String, LedgerTotals)], sample: Option<&Sample>) -> Option<f64> {
    let (mut bytes, mut items, mut arrived) = ((0, 0), (0, 0), 0);
    for (name, totals) in ledgers {
        arrived += totals.bytes_done;
        if is_ledger_of(step, name) {
            bytes = (bytes.0 + totals.bytes_done, bytes.1 + totals.bytes);
            items = (items.0 + totals.items_done, items.1 + totals.items);
        }
    }
    if bytes.1 == 0 {
        return (items.1 > 0).then(|| items.0 as f64 / items.1 as f64);
    }
    let on_their_way = sample.map_or(0, |s| s.bytes.saturating_sub(arrived)).min(bytes.1.saturating_sub(bytes.0));
    Some((bytes.0 + on_their_way) as f64 / bytes.1 as f64)
}

/// Bytes that are still to be copied or read again for verification.
pub(super) fn bytes_left(view: &RunView) -> f64 {
    let totals = Totals::of(view);
    let verified = match view.steps.iter().find(|s| s.name == "verify").map(|s| s.state) {
        None | Some(StepState::Done) => 1.0,
        Some(StepState::Begun) => step_fraction("verify", &view.ledgers, view.sample.as_ref()),
        Some(_) => 0.0,
    };
    totals.bytes().saturating_sub(totals.bytes_done()) as f64 + totals.bytes() as f64 * VERIFY_SHARE * (1.0 - verified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    const NAMES: &[&str] = &["validate", "backup", "prepare", "database", "files", "configuration", "verify", "finish"];

    fn ledger(name: &str, bytes: u64, bytes_done: u64) -> (String, LedgerTotals) {
        (name.to_owned(), LedgerTotals { bytes, bytes_done, ..LedgerTotals::default() })
    }

    fn sample(bytes: u64) -> Sample {
        let step = "files".to_owned();
        Sample { at: Timestamp::UNIX_EPOCH, step, bytes, items: 0, retries: 0, rate_current: 1.0, rate_average: 1.0, rate_peak: 1.0, operation: Value::Null }
    }

    #[test]
    fn weights_follow_the_bytes() {
        let even = weights(Some(NAMES), 8, &[ledger("files", 900, 0), ledger("tables", 100, 0)]);
        assert!((even.iter().sum::<f64>() - 100.0).abs() < 1e-9);
        assert!((even[4] / even[3] - 9.0).abs() < 1e-9 && (even[6] / even[4] - 500.0 / 900.0).abs() < 1e-9, "{even:?}");
        assert_eq!(weights(None, 3, &[]), [1.0; 3]);
    }

    #[test]
    fn step_fraction_of_one_large_file_moves_with_its_bytes() {
        let ledgers = [ledger("tables", 50, 50), ledger("files", 1000, 0)];
        let shown: Vec<f64> = [50, 300, 550, 99_999].map(|sent| step_fraction("files", &ledgers, Some(&sample(sent)))).to_vec();
        assert_eq!(shown, [0.0, 0.25, 0.5, 0.99]);
    }
}
