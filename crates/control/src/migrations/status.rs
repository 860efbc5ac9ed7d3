//! Document 3's status of a migration, with the exact numbers beside the printed ones.

use super::steps::{self, Step};
use super::totals::{self, Totals};
use crate::workloads::{self, WorkloadStatus};
use crate::{Control, Error, time};
use domain::units;
use engine::{RunState, RunView, Sample, StepError, StepState};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A rate is told as the current one for so many seconds after it was measured.
const FRESH: f64 = 5.0;

/// Answer of `GET /migrations/{id}/status`, and the body of every WebSocket message.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Status {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// The same as `session_id`.
    pub id: String,
    pub name: String,
    /// `interrupted` is one that should be at work and that nobody works on: its server is gone; `interrupted_state` says what it was at.
    /// `created`, `scheduled`, `running`, `interrupted`, `paused`, `completed`, `failed`, `cancelled`, `rolling_back`, `rolled_back` or `stuck`.
    /// A migration that failed and was taken back by itself is `failed`; `rolled_back` is one that somebody had taken back.
    #[schema(example = "running")]
    pub status: &'static str,
    /// Of an interrupted migration: `running` or `rolling_back`.
    #[schema(example = "running")]
    pub interrupted_state: Option<&'static str>,
    /// Everything was taken back, by itself or because somebody asked.
    #[schema(example = false)]
    pub rolled_back: bool,
    /// Percent, from real totals.
    #[schema(example = 65.5)]
    pub progress: f64,
    #[schema(example = "Transferring files")]
    pub current_step: Option<String>,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    /// Seconds from start to end, or to now.
    #[schema(example = 1125.5)]
    pub duration: Option<f64>,
    pub error: Option<Problem>,
    #[schema(example = 5)]
    pub steps_completed: usize,
    #[schema(example = 8)]
    pub steps_total: usize,
    pub performance_metrics: Performance,
    pub current_operation: Option<Operation>,
    pub steps: Vec<Step>,
    /// The migration ended with named leftovers: see the report.
    pub partial: bool,
    /// The backup of what the migration replaced, once it was made; `null` again when the migration was finalised.
    #[schema(example = "backup-20240826-143022")]
    pub backup_id: Option<String>,
    /// The node that has the migration's backup: only its servers go on with the migration or take it back.
    #[schema(example = "web1-3f9a2c1d")]
    pub node: Option<String>,
    /// Number of the newest event that this status takes account of.
    pub last_event: u64,
    /// What document 0 shows beside; only of a workload's migration.
    #[serde(flatten)]
    pub workload: Option<WorkloadStatus>,
}

/// Why a migration failed, paused by itself or is stuck.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Stable word: `unreachable`, `authentication`, `verification_mismatch`, …
    #[schema(example = "no_space")]
    pub code: String,
    /// A whole sentence: what was tried, on what, why it failed, what to do.
    pub message: String,
    /// Name of the step.
    pub step: Option<String>,
    /// The same may succeed later without anybody changing anything.
    pub retryable: bool,
    #[schema(value_type = Object)]
    pub details: Value,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Performance {
    #[schema(example = "2.3 MB/s")]
    pub transfer_rate_current: String,
    #[schema(example = "2.1 MB/s")]
    pub transfer_rate_average: String,
    #[schema(example = 12847)]
    pub files_transferred: u64,
    #[schema(example = 15847)]
    pub files_total: u64,
    #[schema(example = "12.1 GB")]
    pub data_transferred: String,
    #[schema(example = "15.5 GB")]
    pub data_total: String,
    /// Bytes per second.
    pub transfer_rate_current_bytes: f64,
    pub transfer_rate_average_bytes: f64,
    /// Seconds that copying and verifying will still take at the average rate; null while that cannot be told.
    pub estimated_remaining: Option<f64>,
    #[schema(example = 13_019_963_392_u64)]
    pub data_transferred_bytes: u64,
    pub data_total_bytes: u64,
    pub rows_transferred: u64,
    /// The source's own estimate until all its tables are planned.
    pub rows_total: u64,
}

/// What is being worked on right now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Operation {
    #[serde(rename = "type")]
    #[schema(example = "file_transfer")]
    pub kind: String,
    #[schema(example = "/var/www/html/wp-content/uploads/2024/08/")]
    pub source: String,
    #[schema(example = "s3://my-new-website/wp-content/uploads/2024/08/")]
    pub destination: String,
    /// Percent of this operation.
    #[schema(example = 78.2)]
    pub progress: f64,
}

impl Control {
    pub async fn status(&self, tenant: &str, id: &str) -> Result<Status, Error> {
        let view = self.view(tenant, id, "look at").await?;
        let waits = self.waiting_for_node(&view).await?;
        let status = of(&view);
        Ok(Status { error: waits.or(status.error), ..status })
    }
}

pub(super) fn of(view: &RunView) -> Status {
    Status {
        session_id: view.id.clone(),
        id: view.id.clone(),
        name: super::label(view, "name").to_owned(),
        status: word(view),
        interrupted_state: view.is_interrupted.then(|| view.state.word()),
        rolled_back: view.state == RunState::RolledBack,
        progress: totals::progress(view),
        current_step: current_step(view),
        start_time: time::maybe(view.started_at),
        end_time: time::maybe(view.ended_at),
        duration: duration(view),
        error: view.error.as_ref().map(|e| problem(view, e)),
        steps_completed: view.steps_completed(),
        steps_total: view.steps.len(),
        performance_metrics: performance(view),
        current_operation: view.sample.as_ref().filter(|_| view.state.is_active()).and_then(operation),
        steps: steps::of(view),
        partial: view.steps.iter().any(|s| flag(s.output.as_ref(), "partial")),
        backup_id: backup_of(view).filter(|_| view.finalized.is_none()),
        node: view.pinned_to.clone(),
        last_event: view.last_event,
        workload: workloads::status(view),
    }
}

fn backup_of(view: &RunView) -> Option<String> {
    view.steps.iter().find_map(|s| s.output.as_ref()?.pointer("/backup/id")?.as_str().map(str::to_owned))
}

/// The word that callers see. Document 3's clients wait for `completed`, `failed` or `cancelled`: a failure that took itself back has
/// ended as one.
pub(crate) fn word(view: &RunView) -> &'static str {
    word_of(view.state, view.rolls_back_by_itself, view.is_interrupted)
}

/// The word of a migration that should be at work, and that nobody works on.
pub(super) const INTERRUPTED: &str = "interrupted";

pub(super) fn word_of(state: RunState, rolls_back_by_itself: bool, is_interrupted: bool) -> &'static str {
    if is_interrupted {
        return INTERRUPTED;
    }
    if state == RunState::RolledBack && rolls_back_by_itself { RunState::Failed.word() } else { state.word() }
}

fn flag(output: Option<&Value>, name: &str) -> bool {
    output.and_then(|o| o.get(name)).and_then(Value::as_bool).unwrap_or(false)
}

/// Title of the step that is at work, or where it stopped; `None` before the start and after the end.
fn current_step(view: &RunView) -> Option<String> {
    let title = |step: &engine::StepView| step.title.clone();
    match view.state {
        RunState::Created | RunState::Scheduled | RunState::Completed | RunState::RolledBack => None,
        RunState::RollingBack | RunState::Stuck => {
            let next = view.steps.iter().rev().find(|s| matches!(s.state, StepState::Done | StepState::Begun | StepState::Failed));
            next.map(|s| format!("Taking back: {}", s.title))
        }
        RunState::Failed => view.steps.iter().find(|s| s.state == StepState::Failed).or_else(|| view.current_step()).map(title),
        RunState::Running | RunState::Paused | RunState::Cancelled => view.current_step().map(title),
    }
}

pub(super) fn duration(view: &RunView) -> Option<f64> {
    view.started_at.map(|from| time::seconds(from, view.ended_at.unwrap_or(view.now)))
}

fn problem(view: &RunView, error: &StepError) -> Problem {
    let failed = view.steps.iter().find(|s| s.state == StepState::Failed).or_else(|| view.steps.iter().find(|s| s.error.is_some()));
    Problem {
        code: error.kind.clone(),
        message: error.message.clone(),
        step: failed.map(|s| s.name.clone()),
        retryable: error.temporary,
        // An error of few words still has an object for more.
        details: if error.details.is_object() { error.details.clone() } else { serde_json::json!({}) },
    }
}

/// The rate now: zero when nothing runs or the last sample is old.
pub(super) fn current_rate(view: &RunView) -> f64 {
    let fresh = |s: &&Sample| view.state.is_active() && time::seconds(s.at, view.now) <= FRESH;
    view.sample.as_ref().filter(fresh).map_or(0.0, |s| s.rate_current)
}

fn performance(view: &RunView) -> Performance {
    let totals = Totals::of(view);
    let (current, average) = (current_rate(view), view.sample.as_ref().map_or(0.0, |s| s.rate_average));
    Performance {
        transfer_rate_current: units::rate(current),
        transfer_rate_average: units::rate(average),
        files_transferred: totals.files_done,
        files_total: totals.files,
        data_transferred: units::size(totals.bytes_done()),
        data_total: units::size(totals.bytes()),
        transfer_rate_current_bytes: current,
        transfer_rate_average_bytes: average,
        estimated_remaining: super::metrics::remaining(view, &totals).map(|seconds| (seconds * 10.0).round() / 10.0),
        data_transferred_bytes: totals.bytes_done(),
        data_total_bytes: totals.bytes(),
        rows_transferred: totals.rows_done,
        rows_total: totals.rows,
    }
}

fn operation(sample: &Sample) -> Option<Operation> {
    let text = |name: &str| sample.operation.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Operation {
        kind: text("type")?,
        source: text("source").unwrap_or_default(),
        destination: text("destination").unwrap_or_default(),
        progress: sample.operation.get("progress").and_then(Value::as_f64).map_or(0.0, |p| (p * 10.0).round() / 10.0),
    })
}
