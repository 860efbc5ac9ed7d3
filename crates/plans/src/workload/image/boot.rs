//! After verification: the table of file systems and the boot loader. The workload's files are as they were read until then.
//!
//! Undo: none, the image goes as a whole.

use super::of;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::{timed, value};
use crate::workload::job::Job;
use domain::workloads::mount_point_key;
use engine::{Step, StepContext, StepError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct MakeBootable {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for MakeBootable {
    fn name(&self) -> &'static str {
        "boot"
    }

    fn title(&self) -> &'static str {
        "Making the image bootable"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let (_, image) = of(&self.job)?;
        let moved: Vec<String> = self.job.spec.selected.iter().map(|s| mount_point_key(s.target())).collect();
        let boot = self.job.image(cx.run_id()).await?.make_bootable(&moved).await.map_err(step_error)?;
        if boot.bootable {
            observer.info("image", format!("A machine starts {} from {}", boot.kernel.as_deref().unwrap_or_default(), image.path));
        } else {
            observer.warning("image", format!("No machine starts from {} by itself: {}", image.path, boot.reason));
        }
        Ok(timed(json!({"boot": value(&boot)}), began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}
