//! Step 3: every file of the selected mount points, in bulk, while the source lives; in warm mode pass after pass behind it.
//!
//! Undo removes what we made at the target VM and restores what we replaced or deleted, the cutover's changes included.

use super::job::{Job, Place};
use super::warm;
use crate::adapters::{RunLedger, RunObserver, StepResult, failed, step_error};
use crate::application::{
    CHOOSE_ANOTHER, LATER_FILES, directories_conflict, is_absent, mark_of, recall, remove_mark, remove_root, restores, timed, told, value,
};
use crate::late_backup::LateBackup;
use domain::workloads::{Mode, parents};
use engine::{Step, StepContext, StepError};
use movers::files::FilesBackup;
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct Replicate {
    pub job: Arc<Job>,
}

/// Note: the directories that were missing at the target, the mount point's own first and then those above it.
fn missing(index: usize) -> String {
    format!("replicate.missing.{index}")
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
            let note = missing(place.index);
            if cx.recall(&note).await?.is_none() {
                cx.remember(&note, Some(json!(self.missing(cx.run_id(), place).await?))).await?;
            }
            if let Some(problem) = directories_conflict(place.source.as_ref(), place.target.as_ref(), &mark_of(Some(cx.run_id()))).await.map_err(step_error)? {
                return Err(failed(ErrorKind::Invalid, problem, CHOOSE_ANOTHER));
            }
            place.target.prepare().await.map_err(step_error)?;
            let bulk = place.mover.copy(&place.bulk(cx), &observer, cx.stopping()).await.map_err(step_error)?;
            observer.info("replication", format!("{}: {} files are at {}", place.name, bulk.files, self.job.spec.target.title()));
            copied.push(json!({"mount_point_name": place.name, "copied": value(&bulk)}));
        }
        let warm = match self.job.spec.mode {
            Mode::Warm => warm::hold(&self.job, cx, &observer).await?,
            Mode::Once => Value::Null,
        };
        Ok(timed(json!({"mount_points": copied, "warm": warm}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        if self.job.spec.target.image().is_some() {
            // Whoever made it takes it back as a whole.
            return Ok(());
        }
        let observer = RunObserver::new(cx);
        if !restores(cx, "restore_files") {
            observer.info("rollback", "The target VM's files stay as they are, as asked");
            return Ok(());
        }
        let backup = self.job.restorable(cx).await?;
        if let Some(backup) = &backup {
            self.job.refuse_lost_files(cx, backup).await?;
        }
        let mut discarded = LateBackup::for_discarded(&self.job.settings, cx, &self.job.spec.name, &self.job.spec.safety).await?;
        for (index, target) in self.job.targets(cx.run_id()).await?.iter().enumerate() {
            let ledger = |name: &str| RunLedger::new(cx.ledger(&format!("{name}.{index}")));
            let (bulk, last, own) = (ledger("files"), ledger("files-final"), ledger("backup"));
            let saved = match &backup {
                Some(backup) => self.job.saved_files(backup, index).await?,
                None => None,
            };
            let saved = saved.map(|store| FilesBackup { store, ledger: &own });
            remove_mark(target.as_ref(), cx.run_id()).await.map_err(step_error)?;
            let mut undoer = self.job.undoer(cx.run_id(), target).await?;
            if let Some(late) = &mut discarded {
                let kind = format!("{LATER_FILES}.{index}");
                undoer = undoer.discarding_later_changes(late.files_of(&kind, target.location(), self.job.spec.transfer.parallel_transfers).await?);
            }
            let undone = undoer.undo(&[&bulk, &last], saved, &observer, cx.stopping()).await.map_err(step_error)?;
            told(&observer, &undone, self.job.spec.safety.overwrite_without_backup, " at the target VM")?;
        }
        if let Some(late) = discarded {
            late.close(cx, &observer).await?;
        }
        self.remove_made(cx, &observer).await
    }
}

impl Replicate {
    /// What is not there yet of the way to a directory at the target.
    async fn missing(&self, run: &str, place: &Place) -> StepResult<Vec<String>> {
        if !is_absent(place.target.as_ref()).await? {
            return Ok(Vec::new());
        }
        let own = self.job.spec.selected[place.index].target();
        let mut out = vec![own.to_owned()];
        for parent in parents(own) {
            if !is_absent(self.job.at_target(run, &parent).await?.as_ref()).await? {
                break;
            }
            out.push(parent);
        }
        Ok(out)
    }

    /// Directories that we made go when they are empty: the last one that was made first, for one may lie on the way to another.
    async fn remove_made(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<()> {
        for index in (0..self.job.spec.selected.len()).rev() {
            for directory in recall::<Vec<String>>(cx, &missing(index)).await?.unwrap_or_default() {
                remove_root(self.job.at_target(cx.run_id(), &directory).await?.as_ref(), observer).await?;
            }
        }
        Ok(())
    }
}
