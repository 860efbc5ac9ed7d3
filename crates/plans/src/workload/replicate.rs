//! Step 3: every file of the selected mount points, in bulk, while the source lives; in warm mode pass after pass behind it.
//!
//! Undo removes what we made at the target VM and restores what we replaced or deleted, the cutover's changes included.

use super::job::Job;
use super::warm;
use crate::adapters::{RunLedger, RunObserver, StepResult, step_error};
use crate::application::{is_absent, remove_root, restores, timed, told, value};
use crate::backups;
use domain::workloads::Mode;
use engine::{Step, StepContext, StepError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct Replicate {
    pub job: Arc<Job>,
}

/// Note: whether the directory was missing at the target.
fn root_absent(index: usize) -> String {
    format!("replicate.root_absent.{index}")
}

#[async_trait::async_trait]
impl Step for Replicate {
    fn name(&self) -> &'static str {
        "replicate"
    }

    fn title(&self) -> &'static str {
        "Replicating mount points"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let mut copied = Vec::new();
        for place in self.job.places(cx.run_id()).await? {
            let note = root_absent(place.index);
            if cx.recall(&note).await?.is_none() {
                cx.remember(&note, Some(json!(is_absent(place.target.as_ref()).await?))).await?;
            }
            place.target.prepare().await.map_err(step_error)?;
            let bulk = place.mover.copy(&place.bulk(cx), &observer, cx.stopping()).await.map_err(step_error)?;
            observer.info("replication", format!("{}: {} files are at the target VM", place.name, bulk.files));
            copied.push(json!({"mount_point_name": place.name, "copied": value(&bulk)}));
        }
        let warm = match self.job.spec.mode {
            Mode::Warm => warm::hold(&self.job, cx, &observer, self.job.places(cx.run_id()).await?).await?,
            Mode::Once => Value::Null,
        };
        Ok(timed(json!({"mount_points": copied, "warm": warm}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let observer = RunObserver::new(cx);
        if !restores(cx, "restore_files") {
            observer.info("rollback", "The target VM's files stay as they are, as asked");
            return Ok(());
        }
        let backup = self.job.restorable(cx).await?;
        for (index, target) in self.job.targets().await?.iter().enumerate() {
            let store = match &backup {
                Some(backup) if backup.part(&format!("files.{index}")).is_some() => {
                    let dir = backups::directory(&self.job.settings, &backup.id).map_err(step_error)?;
                    Some(self.job.store(&dir, index).await?)
                }
                _ => None,
            };
            let (bulk, last) = (RunLedger::new(cx.ledger(&format!("files.{index}"))), RunLedger::new(cx.ledger(&format!("files-final.{index}"))));
            let undone = self.job.undoer(cx.run_id(), target).await?.undo(&[&bulk, &last], store, &observer, cx.stopping()).await.map_err(step_error)?;
            told(&observer, &undone, self.job.spec.safety.overwrite_without_backup, " at the target VM")?;
            if cx.recall(&root_absent(index)).await? == Some(json!(true)) {
                remove_root(target.as_ref(), &observer).await?;
            }
        }
        Ok(())
    }
}
