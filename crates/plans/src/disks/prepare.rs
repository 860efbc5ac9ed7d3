//! Step 2: from here on the migration has the machine: the one whose disk leaves, or a new one.
//!
//! Undo gives the first back as it was, and removes the second with all its files.

use super::job::{Job, disk, notes};
use super::validate::full;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::{is_absent, remove_root, restores, timed};
use engine::{Step, StepContext, StepError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

const NAME: &str = "prepare";
const TITLE: &str = "Preparing destination";

/// Takes the machine whose disk leaves, and makes the destination's root.
pub struct Take {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Take {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        TITLE
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (id, outside) = (self.job.known_machine(cx).await?, self.job.outside().await.map_err(step_error)?);
        self.job.machines.holds.take(cx.tenant(), &id, cx.run_id()).await.map_err(step_error)?;
        if cx.recall(notes::ROOT_ABSENT).await?.is_none() {
            cx.remember(notes::ROOT_ABSENT, Some(json!(is_absent(outside.as_ref()).await?))).await?;
        }
        outside.prepare().await.map_err(step_error)?;
        RunObserver::new(cx).info("planning", format!("The virtual machine {id} stays off until this migration has ended"));
        Ok(timed(json!({"vm_id": id}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        if restores(cx, "restore_files") && cx.recall(notes::ROOT_ABSENT).await? == Some(json!(true)) {
            remove_root(self.job.outside().await.map_err(step_error)?.as_ref(), &RunObserver::new(cx)).await?;
        }
        let id = self.job.known_machine(cx).await?;
        self.job.machines.holds.release(cx.tenant(), &id, cx.run_id()).await.map_err(step_error)
    }
}

/// Makes the machine that the disk is for.
pub struct Make {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Make {
    fn name(&self) -> &'static str {
        NAME
    }

    fn title(&self) -> &'static str {
        TITLE
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (disk, machines) = (disk(cx)?, &self.job.machines);
        // Its id is written down before it is made, so that nothing is made that nobody knows of.
        let id = match self.job.machine(cx).await? {
            Some(id) => id,
            None => {
                let id = machines.holds.new_id();
                cx.remember(notes::MACHINE, Some(json!(id))).await?;
                id
            }
        };
        machines.holds.make(cx.tenant(), &id, cx.run_id(), &disk.machine).await.map_err(step_error)?;
        let directory = machines.disks.staging(&id, cx.run_id()).await.map_err(step_error)?;
        let local = self.job.local(&directory).await.map_err(step_error)?;
        full(local.free_space().await.map_err(step_error)?, disk.bytes, "The disk of this node")?;
        RunObserver::new(cx).info("planning", format!("The new virtual machine has the id {id}"));
        Ok(timed(json!({"vm_id": id}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let Some(id) = self.job.machine(cx).await? else { return Ok(()) };
        let holds = &self.job.machines.holds;
        if restores(cx, "restore_files") {
            return holds.discard(cx.tenant(), &id, cx.run_id()).await.map_err(step_error);
        }
        RunObserver::new(cx).info("rollback", "The new virtual machine stays, as asked");
        holds.release(cx.tenant(), &id, cx.run_id()).await.map_err(step_error)
    }
}
