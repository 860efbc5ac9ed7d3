//! Step 4: the rows in bulk while the site lives, then the indexes. A database that moves alone is finished here.
//!
//! Undo is `prepare`'s: it drops the tables with their rows.

use super::files::close;
use super::job::{Job, database_plan, ledger, ledgers, timed, value};
use super::later::later_rows;
use super::standstill;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::backups::Backup;
use crate::late_backup::LateBackup;
use engine::{Step, StepContext, StepError};
use movers::databases::{DatabaseMover, DatabasePlan, LaterRows};
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct MigrateDatabase {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for MigrateDatabase {
    fn name(&self) -> &'static str {
        "database"
    }

    fn title(&self) -> &'static str {
        "Migrating database"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let (Some(mut mover), Some(plan)) = (self.job.database_mover().await?, database_plan(cx).await?) else {
            observer.info("database", "There is no database to migrate");
            return Ok(timed(json!({"copied": null}), began));
        };
        let tables = ledger(cx, ledgers::TABLES);
        // Of every attempt, only its own snapshot can be the final state.
        let number = standstill::begin(cx).await?;
        if self.job.spec.safety.backup_before {
            mover = mover.with_later_rows(LaterRows::Unprepared);
        }
        let mut copied = mover.copy(&plan, &tables, number, &observer, cx.stopping()).await;
        if copied.as_ref().is_err_and(|e| e.kind == ErrorKind::AlreadyExists) {
            // Somebody wrote into a table that was just made: that is saved, too.
            let late = LateBackup::open(&self.job.settings, cx, &self.job.spec.name, &self.job.spec.safety).await?;
            mover = mover.with_later_rows(later_rows(&self.job, late.as_ref())?);
            copied = mover.copy(&plan, &tables, number, &observer, cx.stopping()).await;
            close(late, cx, &observer).await?;
        }
        let copied = copied.map_err(step_error)?;
        observer.info("database", format!("Copied {} rows of {} tables", copied.rows, copied.tables));
        let mut output = json!({"copied": copied, "last_pass": null});
        if self.job.site().await?.source.files.is_none() {
            let (pass, saved) = self.last_pass(cx, &observer, mover, &plan, number).await?;
            output["last_pass"] = pass;
            output["backup"] = saved.as_ref().map_or(Value::Null, value);
        }
        output["standstill"] = value(&standstill::end(cx).await?);
        Ok(timed(output, began))
    }

    async fn stand_down(&self, cx: &StepContext) -> Result<(), StepError> {
        standstill::end(cx).await.map(drop)
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl MigrateDatabase {
    /// A database that moves alone is finished here; what others wrote into our tables meanwhile is saved first.
    async fn last_pass(
        &self,
        cx: &StepContext,
        observer: &RunObserver,
        mover: DatabaseMover,
        plan: &DatabasePlan,
        number: u64,
    ) -> StepResult<(Value, Option<Backup>)> {
        let late = LateBackup::open(&self.job.settings, cx, &self.job.spec.name, &self.job.spec.safety).await?;
        let mover = mover.with_later_rows(later_rows(&self.job, late.as_ref())?);
        let pass = mover.final_pass(plan, &ledger(cx, ledgers::TABLES), number, observer, cx.stopping()).await.map_err(step_error);
        let saved = close(late, cx, observer).await?;
        Ok((value(&pass?), saved))
    }
}
