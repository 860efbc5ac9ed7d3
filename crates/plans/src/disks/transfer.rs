//! The image on its way, in parts and resumable; and whether it has arrived.

use super::job::{Job, Way, disk, ledger, notes};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::application::{MISMATCH, recall, restores, timed, told, value};
use domain::units;
use engine::{Step, StepContext, StepError};
use movers::files::{FilesPlan, PathProblem};
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Undo removes what was written outside; what was written beside a new machine's disk goes with its directory.
pub struct TransferFiles {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for TransferFiles {
    fn name(&self) -> &'static str {
        "files"
    }

    fn title(&self) -> &'static str {
        "Transferring files"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let (mover, ledger) = (self.job.mover(cx).await?, ledger(cx));
        if recall::<FilesPlan>(cx, notes::FILES_PLAN).await?.is_none() {
            let plan = mover.plan(&ledger, &observer, cx.stopping()).await.map_err(step_error)?;
            if plan.overwrites > 0 {
                let message = "Something was written to the destination under the image's name meanwhile, and nothing is ever replaced";
                return Err(failed(ErrorKind::AlreadyExists, message, "Roll back, and choose another name or prefix"));
            }
            cx.remember(notes::FILES_PLAN, Some(value(&plan))).await?;
        }
        let copied = mover.copy(&ledger, &observer, cx.stopping()).await.map_err(step_error)?;
        if let Some(PathProblem { path, reason, .. }) = copied.problems.listed.first() {
            return Err(failed(ErrorKind::Changed, format!("{path} could not be transferred: {reason}"), "Roll back, and start again"));
        }
        self.sweep(cx).await?;
        observer.info("file_transfer", format!("{} are transferred", units::size(copied.bytes)));
        Ok(timed(json!({"bulk": copied}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let observer = RunObserver::new(cx);
        if let Way::In(_) = self.job.way().map_err(step_error)? {
            let Some(id) = self.job.machine(cx).await? else { return Ok(()) };
            return self.job.machines.disks.clear(&id, cx.run_id()).await.map_err(step_error);
        }
        if recall::<FilesPlan>(cx, notes::FILES_PLAN).await?.is_none() {
            // What stands there is not ours: nothing was copied.
            return Ok(());
        }
        if !restores(cx, "restore_files") {
            observer.info("rollback", "The image stays at the destination, as asked");
            return Ok(());
        }
        let undone = self.job.undoer(cx).await?.undo(&[&ledger(cx)], None, &observer, cx.stopping()).await.map_err(step_error)?;
        told(&observer, &undone, false, "")
    }
}

impl TransferFiles {
    /// What a crash left half written outside goes.
    async fn sweep(&self, cx: &StepContext) -> StepResult<()> {
        match self.job.way().map_err(step_error)? {
            Way::Out(_) => self.job.outside().await.map_err(step_error)?.sweep(cx.run_id()).await.map_err(step_error),
            Way::In(_) => Ok(()),
        }
    }
}

/// Reads only, so there is no undo.
pub struct Verify {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn title(&self) -> &'static str {
        "Verifying migration"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let image = match self.job.way().map_err(step_error)? {
            Way::In(_) => self.examine(cx).await?,
            Way::Out(_) => Value::Null,
        };
        if !self.job.spec.safety.verify_after {
            observer.warning("verification", "What was written is not read back: verify_after is off");
            return Ok(timed(json!({"verified": false, "reason": "verify_after is off", "image": image}), began));
        }
        let found = self.job.mover(cx).await?.verify(&[&ledger(cx)], &observer, cx.stopping()).await.map_err(step_error)?;
        if let Some(first) = found.mismatches.first() {
            let message = format!("{} is not stored as it was read: {}. Roll back, and start again", first.path, first.reason);
            return Err(StepError::permanent(MISMATCH, message).details(json!({"files": found.mismatched, "retryable": false})));
        }
        observer.info("verification", format!("{} files are stored as they were read", found.files));
        Ok(timed(json!({"verified": true, "files": found, "image": image}), began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Verify {
    /// The image that is here now: whether it is the one that somebody vouches for, and one that a guest may be given.
    async fn examine(&self, cx: &StepContext) -> StepResult {
        let (wanted, id) = (disk(cx)?, self.job.known_machine(cx).await?);
        let found = self.job.machines.disks.examine(&id, cx.run_id(), wanted.staged(), wanted.format).await.map_err(step_error)?;
        if let Some(sha256) = wanted.sha256.as_ref().filter(|sha256| **sha256 != found.sha256) {
            let message = format!("{} has the SHA-256 {}, not {sha256}", wanted.image, found.sha256);
            return Err(failed(ErrorKind::Corrupt, message, "It was damaged or replaced at the source; compare it with its origin, then roll back"));
        }
        if found.size != wanted.size {
            let message = format!("{} was of {} when it was looked at, and is of {}", wanted.image, units::size(wanted.size), units::size(found.size));
            return Err(failed(ErrorKind::Changed, message, "Roll back, and start again"));
        }
        Ok(value(&found))
    }
}
