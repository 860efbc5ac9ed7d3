//! Step 2: saves what the replication will overwrite or delete at the target VM; everything is read back.
//!
//! Undo keeps a verified backup (retention removes it) and removes an unfinished one.

use super::job::{Job, notes, plan_of};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::application::{recall, timed};
use crate::backups::{self, Backup, Part};
use domain::units;
use engine::{Step, StepContext, StepError};
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct BackUp {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for BackUp {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn title(&self) -> &'static str {
        "Creating backup"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        if let Some(why) = self.needless(cx).await? {
            observer.info("backup", format!("No backup is needed: {why}"));
            return Ok(timed(json!({"backup": null, "reason": why}), began));
        }
        let mut backup = backups::begin(&self.job.settings, cx, &self.job.spec.name, self.job.spec.safety.backup_retention_days).await?;
        let saved = self.save(cx, &observer, &mut backup).await;
        backups::conclude(&self.job.settings, &mut backup, saved).await?;
        observer.info("backup", format!("Backup {} is verified ({})", backup.id, units::size(backup.bytes)));
        Ok(timed(json!({"backup": backup}), began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let Some(id) = recall::<String>(cx, notes::BACKUP).await? else { return Ok(()) };
        backups::discard_if_useless(&self.job.settings, &id).await.map_err(step_error)
    }
}

impl BackUp {
    async fn needless(&self, cx: &StepContext) -> StepResult<Option<&'static str>> {
        if !self.job.spec.safety.backup_before {
            return Ok(Some("backup_before is off"));
        }
        for place in self.job.places(cx.run_id()).await? {
            if plan_of(cx, place.index).await?.is_some_and(|p| p.overwrites + p.deletes > 0) {
                return Ok(None);
            }
        }
        Ok(Some("nothing at the target VM will be overwritten or deleted"))
    }

    async fn save(&self, cx: &StepContext, observer: &RunObserver, backup: &mut Backup) -> StepResult<()> {
        let dir = backups::directory(&self.job.settings, &backup.id).map_err(step_error)?;
        for place in self.job.places(cx.run_id()).await? {
            if plan_of(cx, place.index).await?.is_none_or(|p| p.overwrites + p.deletes == 0) {
                continue;
            }
            let store = self.job.store(&dir, place.index).await?;
            store.prepare().await.map_err(step_error)?;
            let saved = place.mover.back_up(&place.bulk(cx), store, &place.saved(cx), observer, cx.stopping()).await.map_err(step_error)?;
            if let Some(problem) = saved.problems.listed.first() {
                let message = format!("{} could not be saved: {}", problem.path, problem.reason);
                return Err(failed(ErrorKind::Changed, message, "Nothing at the target VM was changed; start again"));
            }
            backup.bytes += saved.bytes;
            let kind = format!("files.{}", place.index);
            backup.parts.push(Part { kind, location: place.target.location(), items: saved.files, bytes: saved.bytes, ..Part::default() });
        }
        Ok(())
    }
}
