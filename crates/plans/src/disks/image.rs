//! A disk becomes a file, and a file becomes a disk.

use super::description::Description;
use super::job::{Job, disk};
use super::validate::full;
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::application::timed;
use crate::backups;
use domain::spec::description_of;
use domain::units;
use engine::{Step, StepContext, StepError};
use ports::{ConnectorError, ErrorKind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Step 3 on the way out: the disk with all that lies below it as one file beside it, and its description. Undo removes both.
pub struct Export {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Export {
    fn name(&self) -> &'static str {
        "export"
    }

    fn title(&self) -> &'static str {
        "Exporting disk"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (found, id, run) = (disk(cx)?, self.job.known_machine(cx).await?, cx.run_id());
        let disks = &self.job.machines.disks;
        let directory = disks.staging(&id, run).await.map_err(step_error)?;
        let local = self.job.local(&directory).await.map_err(step_error)?;
        full(local.free_space().await.map_err(step_error)?, found.bytes, "The disk of this node")?;
        cx.operation(json!({"type": "export", "source": id, "destination": found.image, "progress": 0.0}));
        let file = tokio::select! {
            biased;
            () = cx.stopping().cancelled() => return Err(step_error(ConnectorError::stopped("export the disk of", id))),
            exported = disks.export(&id, run, &found.image, self.compresses()) => exported.map_err(step_error)?,
        };
        let described = Description::new(run, &id, &found.machine, &found.image, file.clone());
        backups::write_file(&directory, &description_of(&found.image), described.text()).await.map_err(step_error)?;
        RunObserver::new(cx).info("export", format!("The disk is one file of {} with the SHA-256 {}", units::size(file.bytes), file.sha256));
        Ok(timed(json!({"image": found.image, "file": file}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let id = self.job.known_machine(cx).await?;
        self.job.machines.disks.clear(&id, cx.run_id()).await.map_err(step_error)
    }
}

impl Export {
    fn compresses(&self) -> bool {
        matches!(self.job.way(), Ok(super::job::Way::Out(machine)) if machine.compress)
    }
}

/// Step 5 on the way in: the image becomes the machine's disk. It goes with the machine, so there is nothing to undo.
pub struct Import {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Import {
    fn name(&self) -> &'static str {
        "import"
    }

    fn title(&self) -> &'static str {
        "Importing disk"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (found, id) = (disk(cx)?, self.job.known_machine(cx).await?);
        let adopting = self.job.machines.disks.adopt(&id, cx.run_id(), found.staged(), found.format);
        tokio::select! {
            biased;
            () = cx.stopping().cancelled() => return Err(step_error(ConnectorError::stopped("import the disk of", id))),
            adopted = adopting => adopted.map_err(step_error)?,
        }
        let (_, size) = self.job.machines.disks.disk(&id).await.map_err(step_error)?;
        if size != found.size {
            let message = format!("The disk of the new machine has {}, and the image was of {}", units::size(size), units::size(found.size));
            return Err(failed(ErrorKind::Corrupt, message, "Roll back, and look at the image"));
        }
        RunObserver::new(cx).info("import", format!("The image is the disk of the virtual machine {id}"));
        Ok(timed(json!({"vm_id": id, "size": size}), began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}
