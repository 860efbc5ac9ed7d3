//! Step 4: the last pass: what changed at the source since the passes before. Whoever runs the workload stops it meanwhile; a source
//! that will not stand still is an error.
//!
//! Its changes are in the ledgers that step 3 takes back, so there is nothing of its own to undo.

use super::job::Job;
use super::passes::Passes;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::{recall, timed, value};
use engine::{Step, StepContext, StepError};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct Cutover {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Cutover {
    fn name(&self) -> &'static str {
        "cutover"
    }

    fn title(&self) -> &'static str {
        "Cutting over"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let first = first_begun(cx).await?;
        let passes = Passes::open(&self.job, cx).await?;
        let done = last_passes(cx, &observer, &passes).await;
        let saved = passes.close(cx, &observer).await;
        let mut output = json!({"mount_points": done?});
        output["backup"] = saved?;
        // Whoever stopped the workload for it counts from the first try.
        output["standstill_seconds"] = json!(Timestamp::now().duration_since(first).as_secs_f64().max(began.elapsed().as_secs_f64()));
        Ok(timed(output, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

/// Note: when the cutover was begun for the first time.
const BEGUN: &str = "cutover.begun";

async fn first_begun(cx: &StepContext) -> StepResult<Timestamp> {
    if let Some(at) = recall::<Timestamp>(cx, BEGUN).await? {
        return Ok(at);
    }
    let now = Timestamp::now();
    cx.remember(BEGUN, Some(value(&now))).await?;
    Ok(now)
}

async fn last_passes(cx: &StepContext, observer: &RunObserver, passes: &Passes<'_>) -> StepResult<Vec<Value>> {
    let mut done = Vec::new();
    for (place, mover) in &passes.places {
        let (bulk, last) = (place.bulk(cx), place.last(cx));
        let pass = mover.final_pass(&bulk, &last, observer, cx.stopping()).await.map_err(step_error)?;
        observer.info("cutover", format!("{}: the last pass brought {} files up to date and removed {}", place.name, pass.files, pass.removed));
        done.push(json!({"mount_point_name": place.name, "last_pass": value(&pass)}));
    }
    Ok(done)
}
