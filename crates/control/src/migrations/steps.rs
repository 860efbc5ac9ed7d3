//! The steps of a migration, for status and detail.

use crate::time;
use engine::{RunView, StepState, StepView};
use serde::Serialize;
use utoipa::ToSchema;

/// One step of the plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Step {
    #[schema(example = "transfer_files")]
    pub name: String,
    #[schema(example = "Transferring files")]
    pub title: String,
    /// `pending`, `running`, `completed`, `failed` or `undone`.
    #[schema(example = "running")]
    pub status: &'static str,
    pub attempts: u32,
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    /// Seconds, up to now for the step that runs; null for one that was taken back.
    pub duration: Option<f64>,
}

pub(super) fn of(view: &RunView) -> Vec<Step> {
    view.steps.iter().map(|step| one(step, view)).collect()
}

fn one(step: &StepView, view: &RunView) -> Step {
    Step {
        name: step.name.clone(),
        title: step.title.clone(),
        status: word(step.state),
        attempts: step.attempts,
        start_time: time::maybe(step.started_at),
        end_time: time::maybe(step.ended_at),
        duration: step
            .started_at
            .filter(|_| step.state != StepState::Undone)
            .map(|from| time::seconds(from, step.ended_at.unwrap_or(view.ended_at.unwrap_or(view.now)))),
    }
}

fn word(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Begun => "running",
        StepState::Done => "completed",
        StepState::Undone => "undone",
        StepState::Failed => "failed",
    }
}
