//! What the engine tells about runs.

use crate::hold::Stance;
use crate::{RunState, StepError, Trace};
use jiff::Timestamp;
use serde_json::Value;

/// A run to be created.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: String,
    pub tenant: String,
    pub kind: String,
    /// May hold secrets: the store seals it.
    pub input: Value,
    /// Plain, for lists and filters: name, types. Never secrets.
    pub labels: Value,
    /// The run of the same tenant that stands still while a worker has this one in its hands ([`crate::hold`]).
    pub holds: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub states: Vec<RunState>,
    /// Of those that were rolled back only the ones that did it by themselves (true) or on somebody's wish (false).
    pub rolled_back_by_itself: Option<bool>,
    /// Runs of this kind, also those that only one node takes (`kind@node`).
    pub kind: Option<String>,
    /// Only runs that hold this one.
    pub holds: Option<String>,
    /// Runs behind the one that was created then and has this id, in the order of the list (keyset paging).
    pub after: Option<(Timestamp, String)>,
    pub limit: u32,
    pub offset: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Pending,
    /// Intent written; outcome not yet.
    Begun,
    Done,
    Undone,
    Failed,
}

impl StepState {
    pub const ALL: [Self; 5] = [Self::Pending, Self::Begun, Self::Done, Self::Undone, Self::Failed];

    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Failed => "failed",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

#[derive(Debug, Clone)]
pub struct StepView {
    pub index: u32,
    pub name: String,
    pub title: String,
    pub version: u32,
    pub state: StepState,
    pub attempts: u32,
    pub output: Option<Value>,
    pub error: Option<StepError>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// Everything about one run, from one consistent read.
#[derive(Debug, Clone)]
pub struct RunView {
    pub id: String,
    pub tenant: String,
    pub kind: String,
    pub state: RunState,
    pub labels: Value,
    pub steps: Vec<StepView>,
    pub error: Option<StepError>,
    /// The trace that whoever started it, or took it back, was part of.
    pub trace: Option<Trace>,
    /// The rollback, under way or done, followed a failure by itself; nobody asked for it.
    pub rolls_back_by_itself: bool,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Database clock of the read.
    pub now: Timestamp,
    pub owner: Option<String>,
    pub epoch: u64,
    /// Totals per ledger name.
    pub ledgers: Vec<(String, LedgerTotals)>,
    /// Newest progress sample.
    pub sample: Option<Sample>,
    /// Sequence number of the run's newest event.
    pub last_event: u64,
    /// See [`NewRun::holds`].
    pub holds: Option<String>,
    /// Whether it can stand still for others, and does; `None`: not now.
    pub stance: Option<Stance>,
    /// Since when it cannot be rolled back any more.
    pub finalized: Option<Finalized>,
    /// The node that has state which the run needs (its backup): no other may claim it.
    pub pinned_to: Option<String>,
    /// A worker holds the run: its lease has not run out.
    pub held: bool,
    /// It was at work, should be, and nobody has had it for some seconds.
    pub is_interrupted: bool,
}

/// Somebody gave up the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalized {
    pub at: Timestamp,
    /// Who, if known.
    pub by: Option<String>,
}

impl RunView {
    pub fn steps_completed(&self) -> usize {
        self.steps.iter().filter(|s| s.state == StepState::Done).count()
    }

    /// The step that is begun, or the next pending one of a running run.
    pub fn current_step(&self) -> Option<&StepView> {
        self.steps.iter().find(|s| s.state == StepState::Begun).or_else(|| self.steps.iter().find(|s| s.state == StepState::Pending))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LedgerTotals {
    pub chunks: u64,
    pub chunks_done: u64,
    pub items: u64,
    pub items_done: u64,
    pub bytes: u64,
    pub bytes_done: u64,
    pub sealed: bool,
}

/// A measured moment of a running step, taken about once a second from its live counters.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub step: String,
    /// Counters since the run started, all steps together (re-sent bytes included).
    pub bytes: u64,
    pub items: u64,
    pub retries: u64,
    /// Bytes per second: since the last sample, over the whole run, and the highest seen.
    pub rate_current: f64,
    pub rate_average: f64,
    pub rate_peak: f64,
    /// The step's current operation, as it described it.
    pub operation: Value,
}

/// One entry of a run's event stream. `seq` ascends within a run, starting at 1; old progress may be missing.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Event {
    pub run: String,
    pub seq: u64,
    pub at: Timestamp,
    /// `run.created`, `run.started`, `run.paused`, …, `step.begun`, `step.done`, `step.failed`, `step.undone`, `progress`, `log`.
    pub kind: String,
    /// DEBUG, INFO, WARNING or ERROR.
    pub level: String,
    pub component: String,
    pub message: String,
    pub details: Value,
}
