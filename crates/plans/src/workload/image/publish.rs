//! Closes the image, checks its file system, brings it into its format, and puts it at its path; never over anything.
//!
//! Which file it is going to be is noted before it gets its name, so that undo removes that very file and no other one.

use super::of;
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::application::{recall, restores, timed, value};
use crate::workload::job::Job;
use domain::units;
use engine::{Step, StepContext, StepError};
use ports::ErrorKind;
use ports::images::{Boot, Sealed};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Note: the file that is the image.
const SEALED: &str = "image.sealed";

pub struct Publish {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Publish {
    fn name(&self) -> &'static str {
        "publish"
    }

    fn title(&self) -> &'static str {
        "Finishing the disk image"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (images, image) = of(&self.job)?;
        let sealed = if let Some(sealed) = recall::<Sealed>(cx, SEALED).await? {
            sealed
        } else {
            let sealed = self.seal(cx).await?;
            cx.remember(SEALED, Some(value(&sealed))).await?;
            sealed
        };
        images.publish(cx.run_id(), image, &sealed).await.map_err(step_error)?;
        RunObserver::new(cx).info("image", format!("{} is whole; it takes {} on the disk", image.path, units::size(sealed.bytes)));
        Ok(timed(json!({"path": image.path, "bytes": sealed.bytes}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let observer = RunObserver::new(cx);
        let Some(sealed) = recall::<Sealed>(cx, SEALED).await? else { return Ok(()) };
        let (images, image) = of(&self.job)?;
        if !restores(cx, "restore_files") {
            observer.info("rollback", "The image stays as it is, as asked");
            return Ok(());
        }
        if images.remove(cx.run_id(), image, Some(&sealed)).await.map_err(step_error)? {
            observer.warning("rollback", format!("{} is not the file that this migration made; it is left alone", image.path));
        }
        cx.remember(SEALED, None).await
    }
}

impl Publish {
    /// Opened even when nothing is left to write: after a crash the file system's journal is replayed by that.
    async fn seal(&self, cx: &StepContext) -> StepResult<Sealed> {
        let (images, image) = of(&self.job)?;
        let boot = cx.output_of("boot").map(|output| output["boot"].clone()).unwrap_or_default();
        let boot: Boot =
            serde_json::from_value(boot).map_err(|e| failed(ErrorKind::Internal, format!("What the step before has stored cannot be read: {e}"), ""))?;
        self.job.image(cx.run_id()).await?.close().await.map_err(step_error)?;
        tokio::select! {
            sealed = images.seal(cx.run_id(), image, &boot) => sealed.map_err(step_error),
            () = cx.stopping().cancelled() => Err(StepError::stopped()),
        }
    }
}
