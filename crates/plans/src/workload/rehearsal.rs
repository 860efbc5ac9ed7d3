//! Test clones: migrations whose source is what another one has replicated so far. Their steps read only while that one stands still
//! ([`engine::hold`]); before and after it goes on with its passes.

use crate::adapters::StepResult;
use engine::{Hold, Level, Presence, RunState, Step, StepContext, StepError};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How often the other migration is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// A step that reads its source; in a migration that clones nothing the step alone.
pub struct Rehearsed(pub Arc<dyn Step>);

#[async_trait::async_trait]
impl Step for Rehearsed {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn title(&self) -> &'static str {
        self.0.title()
    }

    fn version(&self) -> u32 {
        self.0.version()
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        until_still(cx).await?;
        let output = self.0.run(cx).await?;
        match cx.hold().await? {
            Hold::Free | Hold::Still => Ok(output),
            Hold::Wait(_) => Err(StepError::temporary("changed", "The migration that is cloned went on while it was read; the step is done again")),
            Hold::Lost(state) => Err(lost(state)),
        }
    }

    async fn undo(&self, cx: &StepContext, output: Option<&Value>) -> Result<(), StepError> {
        self.0.undo(cx, output).await
    }

    async fn probe(&self, cx: &StepContext) -> Result<Presence, StepError> {
        self.0.probe(cx).await
    }

    async fn stand_down(&self, cx: &StepContext) -> Result<(), StepError> {
        self.0.stand_down(cx).await
    }
}

async fn until_still(cx: &StepContext) -> StepResult<()> {
    let mut told = None;
    loop {
        let state = match cx.hold().await? {
            Hold::Free | Hold::Still => return Ok(()),
            Hold::Lost(state) => return Err(lost(state)),
            Hold::Wait(state) => state,
        };
        if told.replace(state) != Some(state) {
            let words = format!("Waits until the migration that is cloned stands still; it is {state} now");
            cx.log(Level::Info, "replication", words, Value::Null);
        }
        pause(cx, LOOK).await?;
    }
}

/// A while, or until the run is to stop.
pub(super) async fn pause(cx: &StepContext, time: Duration) -> StepResult<()> {
    tokio::select! {
        () = cx.stopping().cancelled() => Err(StepError::stopped()),
        () = tokio::time::sleep(time) => Ok(()),
    }
}

fn lost(state: Option<RunState>) -> StepError {
    let now = match state {
        None => "was deleted".to_owned(),
        Some(RunState::Running | RunState::Paused) => "has gone on to its cutover".to_owned(),
        Some(state) => format!("is {} now", state.word().replace('_', " ")),
    };
    let message = format!(
        "The migration that is cloned {now}, so that what it replicated cannot be read in peace any more. What this test clone has copied is no proof; roll it back, \
         and make another one while that migration waits between two passes"
    );
    StepError::permanent("changed", message)
}
