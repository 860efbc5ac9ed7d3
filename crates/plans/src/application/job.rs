//! What all steps of one migration share: the specification, the open doors, and the names of ledgers and notes.

use super::later::SavedTables;
use super::same_place;
use crate::Settings;
use crate::adapters::{RunLedger, StepResult, failed, step_error};
use crate::site::{Doors, Site, database_options, file_options};
use domain::spec::{MigrationSpec, SystemKind};
use engine::{StepContext, StepError};
use movers::databases::{DatabaseMover, DatabasePlan};
use movers::files::{FilesMover, FilesPlan};
use ports::ErrorKind;
use ports::files::FileTarget;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::OnceCell;

pub struct Job {
    pub settings: Settings,
    pub spec: MigrationSpec,
    site: OnceCell<Site>,
    destination: OnceCell<Doors>,
    /// What [`super::later::secure`] found, once per worker's claim.
    pub secured: OnceCell<Option<SavedTables>>,
}

/// Names of the run's ledgers.
pub mod ledgers {
    pub const FILES: &str = "files";
    pub const TABLES: &str = "tables";
    pub const BACKUP: &str = "backup";
    pub const ADDRESSES: &str = "addresses";
    pub const LAST_PASS: &str = "files-final";
}

/// Keys of the run's notes.
pub mod notes {
    pub const FILES_PLAN: &str = "plan.files";
    pub const DATABASE_PLAN: &str = "plan.database";
    pub const DATABASE_NAME: &str = "destination.database";
    pub const BACKUP: &str = crate::backups::NOTE;
}

impl Job {
    pub fn new(settings: Settings, spec: MigrationSpec) -> Self {
        Self { settings, spec, site: OnceCell::new(), destination: OnceCell::new(), secured: OnceCell::new() }
    }

    /// Both sides, opened on first use.
    pub async fn site(&self) -> StepResult<&Site> {
        self.site.get_or_try_init(|| Site::open(&self.spec, self.settings.connectors.as_ref())).await.map_err(step_error)
    }

    /// The destination alone: taking back needs no source.
    pub async fn destination(&self, cx: &StepContext) -> StepResult<&Doors> {
        let name = recall::<String>(cx, notes::DATABASE_NAME).await?;
        let open = || Site::open_destination(&self.spec, name.as_deref(), self.settings.connectors.as_ref());
        self.destination.get_or_try_init(open).await.map_err(step_error)
    }

    /// Asked again by the step that destroys: names may lead elsewhere by now.
    pub async fn refuse_same_place(&self, run: &str) -> StepResult<()> {
        let site = self.site().await?;
        let (from, to) = (site.source_database_at.as_ref(), site.destination_database_at.as_ref());
        match same_place::conflict(&self.spec, from, to, self.settings.connectors.as_ref(), &same_place::mark_of(Some(run))).await.map_err(step_error)? {
            Some(problem) => Err(failed(ErrorKind::Invalid, problem, same_place::CHOOSE_ANOTHER)),
            None => Ok(()),
        }
    }

    pub async fn files_mover(&self, cx: &StepContext) -> StepResult<Option<FilesMover>> {
        match self.site().await?.files_mover(&self.spec, cx.run_id()) {
            Some(mover) => mover.with_owners().await.map(Some).map_err(step_error),
            None => Ok(None),
        }
    }

    pub async fn database_mover(&self) -> StepResult<Option<DatabaseMover>> {
        Ok(self.site().await?.database_mover(&self.spec))
    }

    /// A mover for taking back: it never looks at the source, so the destination stands in for it.
    pub async fn files_undoer(&self, cx: &StepContext) -> StepResult<Option<FilesMover>> {
        match self.destination(cx).await?.files.clone() {
            Some(files) => undoer_of(files, &self.spec, cx.run_id()).await.map(Some).map_err(step_error),
            None => Ok(None),
        }
    }

    /// The same for the database.
    pub async fn database_undoer(&self, cx: &StepContext) -> StepResult<Option<DatabaseMover>> {
        let database = self.destination(cx).await?.database.clone();
        Ok(database.map(|d| DatabaseMover::new(d.clone(), d, database_options(&self.spec))))
    }
}

/// The mover that takes back, or looks what taking back would do, in this destination.
pub(super) async fn undoer_of(files: Arc<dyn FileTarget>, spec: &MigrationSpec, run: &str) -> ports::Result<FilesMover> {
    let options = file_options(spec, spec.source.kind == SystemKind::Wordpress, run);
    FilesMover::new(files.clone(), files, options).with_owners().await
}

pub fn ledger(cx: &StepContext, name: &str) -> RunLedger {
    RunLedger::new(cx.ledger(name))
}

/// A note of the run, read back as what it was.
pub async fn recall<T: DeserializeOwned>(cx: &StepContext, key: &str) -> StepResult<Option<T>> {
    let Some(value) = cx.recall(key).await? else { return Ok(None) };
    let read = serde_json::from_value(value);
    read.map(Some).map_err(|e| StepError::permanent("internal", format!("The run's note '{key}' cannot be read: {e}")))
}

pub async fn files_plan(cx: &StepContext) -> StepResult<Option<FilesPlan>> {
    recall(cx, notes::FILES_PLAN).await
}

pub async fn database_plan(cx: &StepContext) -> StepResult<Option<DatabasePlan>> {
    recall(cx, notes::DATABASE_PLAN).await
}

/// Whether a rollback is to restore this part. Without options: all of them.
pub fn restores(cx: &StepContext, what: &str) -> bool {
    let options = cx.options();
    let choice = options.get(what).or_else(|| options.get("rollback_options").and_then(|o| o.get(what)));
    choice.and_then(Value::as_bool).unwrap_or(true)
}

/// Adds how long the step took, for the report.
pub fn timed(mut output: Value, began: Instant) -> Value {
    output["duration_seconds"] = json!(milliseconds(began.elapsed().as_secs_f64()));
    output
}

/// A report took as long as all its steps, and the one that made it.
pub fn timed_report(report: Value, began: Instant) -> Value {
    let mut report = timed(report, began);
    let steps = report["steps"].as_array().into_iter().flatten();
    let all: f64 = steps.chain([&report]).filter_map(|s| s["duration_seconds"].as_f64()).sum();
    report["duration_seconds"] = json!(milliseconds(all));
    report
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

pub fn value<T: serde::Serialize>(of: &T) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_took_as_long_as_its_steps() {
        let report = json!({"steps": [{"duration_seconds": 1.5}, {"duration_seconds": null}, {"duration_seconds": 2.25}]});
        assert!(timed_report(report, Instant::now())["duration_seconds"].as_f64().is_some_and(|s| (3.75..4.0).contains(&s)));
    }
}
