//! A run as a line of a list: what is known of it without looking at its steps.

use crate::RunState;
use crate::view::{LedgerTotals, RunView, Sample, StepState};
use jiff::Timestamp;

/// See the module's comment.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLine {
    pub id: String,
    pub kind: String,
    pub state: RunState,
    /// JSON text: whoever shows a long list reads no more of them than it shows.
    pub labels: String,
    pub rolls_back_by_itself: bool,
    /// See [`RunView::is_interrupted`].
    pub is_interrupted: bool,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub steps: usize,
    pub steps_completed: usize,
    pub at_work: Option<AtWork>,
}

/// The first step that has begun, and what tells how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct AtWork {
    pub step: String,
    /// Totals per ledger name.
    pub ledgers: Vec<(String, LedgerTotals)>,
    /// The run's newest progress sample.
    pub sample: Option<Sample>,
}

impl From<&RunView> for RunLine {
    fn from(view: &RunView) -> Self {
        let begun = view.steps.iter().find(|s| s.state == StepState::Begun);
        Self {
            id: view.id.clone(),
            kind: view.kind.clone(),
            state: view.state,
            labels: view.labels.to_string(),
            rolls_back_by_itself: view.rolls_back_by_itself,
            is_interrupted: view.is_interrupted,
            created_at: view.created_at,
            started_at: view.started_at,
            ended_at: view.ended_at,
            steps: view.steps.len(),
            steps_completed: view.steps_completed(),
            at_work: begun.map(|s| AtWork { step: s.name.clone(), ledgers: view.ledgers.clone(), sample: view.sample.clone() }),
        }
    }
}
