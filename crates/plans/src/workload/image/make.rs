//! First step of a workload that becomes an image: checks that one can be made here, and makes it with an empty file system.
//!
//! Undo removes everything that is unfinished.

use super::of;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::timed;
use crate::workload::job::Job;
use engine::{Step, StepContext, StepError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct MakeImage {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for MakeImage {
    fn name(&self) -> &'static str {
        "image"
    }

    fn title(&self) -> &'static str {
        "Making the disk image"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (images, image) = of(&self.job)?;
        images.check(image).await.map_err(step_error)?;
        images.begin(cx.run_id(), image).await.map_err(step_error)?;
        RunObserver::new(cx).info("image", format!("A disk of {} GiB for {} is made", image.size_gib, image.path));
        Ok(timed(json!({"path": image.path, "format": image.format, "size": image.bytes()}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let (images, image) = of(&self.job)?;
        images.remove(cx.run_id(), image, None).await.map(drop).map_err(step_error)
    }
}
