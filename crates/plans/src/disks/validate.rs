//! Step 1: looks at the machine or the image, and checks the other side. Changes nothing, so there is nothing to undo.

use super::job::{Job, Way};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::application::{judged, timed};
use crate::validation::{Limits, checks_within};
use domain::units;
use engine::{Step, StepContext, StepError};
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct Validate {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Validate {
    fn name(&self) -> &'static str {
        "validate"
    }

    fn title(&self) -> &'static str {
        "Validating configuration"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let checks = judged(checks_within(&self.job.spec, self.job.settings.connectors.as_ref(), Limits::QUICK).await, &observer)?;
        let disk = self.job.look(cx.tenant(), cx.run_id()).await.map_err(step_error)?;
        let way = self.job.way().map_err(step_error)?;
        let mut warnings = checks.warnings;
        if disk.sha256.is_none() && matches!(way, Way::In(_)) {
            warnings.push(format!("nobody vouches for {}: it has no description and no destination.sha256", disk.image));
        }
        for warning in &warnings {
            observer.warning("validation", warning.clone());
        }
        self.refuse_full(way, disk.bytes).await?;
        observer.info("planning", format!("The disk of {} takes {}; its guest sees {}", disk.machine.name, units::size(disk.bytes), units::size(disk.size)));
        let output = json!({"checks_performed": checks.checks_performed + 1, "checks_passed": checks.checks_passed + 1, "warnings": warnings, "disk": disk});
        Ok(timed(output, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Validate {
    /// The destination must have room for the image, as far as it says.
    async fn refuse_full(&self, way: Way<'_>, needed: u64) -> StepResult<()> {
        let Way::Out(_) = way else { return Ok(()) };
        let outside = self.job.outside().await.map_err(step_error)?;
        let free = match outside.free_space().await {
            // A root that does not exist yet tells nothing; writing will.
            Err(e) if e.kind == ErrorKind::NotFound => None,
            found => found.map_err(step_error)?,
        };
        full(free, needed, &outside.location())
    }
}

pub(super) fn full(free: Option<u64>, needed: u64, place: &str) -> StepResult<()> {
    match free {
        Some(free) if free < needed => {
            let message = format!("{place} has {} free, and the disk may need {}", units::size(free), units::size(needed));
            Err(failed(ErrorKind::NoSpace, message, "Free some space there"))
        }
        _ => Ok(()),
    }
}
