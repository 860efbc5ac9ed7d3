//! Step 5: every file of every mount point by hash. Reads only, so there is no undo.

use super::job::Job;
use super::passes::Passes;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::{MISMATCH, timed};
use engine::{Step, StepContext, StepError};
use movers::files::{FilesVerified, SentAgain};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Differences named in the error; the counts are exact.
const NAMED: usize = 20;

pub struct Verify {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn title(&self) -> &'static str {
        "Verifying mount points"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        if !self.job.spec.safety.verify_after {
            observer.warning("verification", "Not verified: verify_after is off");
            return Ok(timed(json!({"verified": false, "reason": "verify_after is off"}), began));
        }
        let (mut found, mut differences, mut mismatched) = (Vec::new(), Vec::new(), 0);
        for place in self.job.places(cx.run_id()).await? {
            let (bulk, last) = (place.bulk(cx), place.last(cx));
            let mut verified = place.mover.verify(&[&bulk, &last], &observer, cx.stopping()).await.map_err(step_error)?;
            if !verified.is_equal() && self.send_again(cx, &observer, place.index, &verified).await? {
                verified = place.mover.verify(&[&bulk, &last], &observer, cx.stopping()).await.map_err(step_error)?;
            }
            differences.extend(verified.mismatches.iter().map(|m| format!("{} in {}: {}", m.path, place.name, m.reason)));
            mismatched += verified.mismatched;
            observer.info("verification", format!("{}: {} files are stored as they were read", place.name, verified.files));
            found.push(json!({"mount_point_name": place.name, "files": verified}));
        }
        if mismatched > 0 {
            return Err(mismatch(mismatched, &differences));
        }
        Ok(timed(json!({"verified": true, "mount_points": found}), began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Verify {
    /// Copies what differs once more; false when there was nothing that could be.
    async fn send_again(&self, cx: &StepContext, observer: &RunObserver, index: usize, found: &FilesVerified) -> StepResult<bool> {
        let passes = Passes::open(&self.job, cx).await?;
        let mut sent = Ok(SentAgain::default());
        for (place, mover) in passes.places.iter().filter(|(place, _)| place.index == index) {
            sent = mover.send_again(&place.bulk(cx), &place.last(cx), found, observer, cx.stopping()).await;
        }
        passes.close(cx, observer).await?;
        Ok(sent.map_err(step_error)?.files > 0)
    }
}

fn mismatch(count: u64, differences: &[String]) -> StepError {
    let named: Vec<&String> = differences.iter().take(NAMED).collect();
    let list = named.iter().map(|d| d.as_str()).collect::<Vec<_>>().join("; ");
    let message = format!(
        "Verification found {count} files that differ: {list}. Something else writes to the target VM, or its storage is damaged; find out what, then roll back and start again"
    );
    StepError::permanent(MISMATCH, message).details(json!({"files": count, "differences": named, "retryable": false}))
}
