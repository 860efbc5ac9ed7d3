//! Step 4: the rows in bulk while the site lives, then the indexes. A database that moves alone is finished here.
//!
//! Undo is `prepare`'s: it drops the tables with their rows.

use super::job::{Job, database_plan, ledger, ledgers, timed, value};
use crate::adapters::{RunObserver, StepResult, step_error};
use engine::{Step, StepContext, StepError};
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
        let (Some(mover), Some(plan)) = (self.job.database_mover().await?, database_plan(cx).await?) else {
            observer.info("database", "There is no database to migrate");
            return Ok(timed(json!({"copied": null}), began));
        };
        let tables = ledger(cx, ledgers::TABLES);
        let copied = mover.copy(&plan, &tables, &observer, cx.stopping()).await.map_err(step_error)?;
        observer.info("database", format!("Copied {} rows of {} tables", copied.rows, copied.tables));
        let mut output = json!({"copied": copied, "last_pass": null});
        if self.job.site().await?.source.files.is_none() {
            output["last_pass"] = value(&mover.final_pass(&plan, &tables, &observer, cx.stopping()).await.map_err(step_error)?);
        }
        Ok(timed(output, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}
