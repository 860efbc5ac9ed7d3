//! Step 3: the destination's root or bucket, its website settings, its database and tables.
//!
//! Undo drops the objects that we made, restores the database's backup and proves it, and takes the website settings back.

use super::backup::{Restorable, save_again};
use super::job::{Job, database_plan, ledger, ledgers, restores, timed, value};
use super::later::secure;
use super::same_place::remove_mark;
use super::table_keeper::BackupTables;
use super::to_be_made::{CHECK_THE_NAME, to_be_made};
use super::website;
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::site::Site;
use engine::{Step, StepContext, StepError};
use futures::StreamExt;
use movers::databases::TableKeeper;
use ports::ErrorKind;
use ports::databases::SchemaObject;
use ports::files::{FilePath, FileTarget};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Note: whether the destination's root was missing before.
const ROOT_ABSENT: &str = "prepare.root_absent";

pub struct Prepare {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Prepare {
    fn name(&self) -> &'static str {
        "prepare"
    }

    fn title(&self) -> &'static str {
        "Preparing destination"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let site = self.job.site().await?;
        self.job.refuse_same_place(cx.run_id()).await?;
        self.refuse_missing(site).await?;
        let mut output = json!({"root_made": false, "website": null, "database": null});
        if let Some(files) = &site.destination.files {
            if cx.recall(ROOT_ABSENT).await?.is_none() {
                cx.remember(ROOT_ABSENT, Some(json!(is_absent(files.as_ref()).await?))).await?;
            }
            files.prepare().await.map_err(step_error)?;
            output["root_made"] = cx.recall(ROOT_ABSENT).await?.unwrap_or_default();
            output["website"] = website::set_up(&self.job.spec, files.as_ref(), cx, &observer).await?;
        }
        if let (Some(mover), Some(plan)) = (self.job.database_mover().await?, database_plan(cx).await?) {
            let tables = ledger(cx, ledgers::TABLES);
            // Asked now, not when the plan was made: what is dropped here must be what was saved.
            let standing = mover.standing(&plan, &tables).await.map_err(step_error)?;
            self.refuse_unsaved(&standing)?;
            save_again(&self.job, cx, &observer, &standing).await?;
            let keeper = self.keeper(cx, &observer, "database").await?.filter(|_| self.job.spec.safety.backup_before);
            let keeper = keeper.as_ref().map(|k| k as &dyn TableKeeper);
            let prepared = mover.prepare(&plan, &standing, keeper, &tables, &observer, cx.stopping()).await.map_err(step_error)?;
            output["database"] = value(&prepared);
        } else {
            observer.info("database", "There is no database to prepare");
        }
        Ok(timed(output, began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let observer = RunObserver::new(cx);
        if restores(cx, "restore_database") {
            self.undo_database(cx, &observer).await?;
        } else {
            observer.info("rollback", "The destination's database stays as it is, as asked");
        }
        let destination = self.job.destination(cx).await?;
        let Some(files) = &destination.files else { return Ok(()) };
        remove_mark(files.as_ref(), cx.run_id()).await.map_err(step_error)?;
        if restores(cx, "restore_configuration") {
            website::take_back(files.as_ref(), cx).await?;
        }
        if restores(cx, "restore_files") && cx.recall(ROOT_ABSENT).await? == Some(json!(true)) {
            remove_root(files.as_ref(), &observer).await?;
        }
        Ok(())
    }
}

impl Prepare {
    /// Where nothing may be made, what is missing ends the migration before anything was changed.
    async fn refuse_missing(&self, site: &Site) -> StepResult<()> {
        if self.job.spec.destination.create {
            return Ok(());
        }
        let missing = to_be_made(&self.job.spec, site.destination.files.as_ref(), site.destination.database.as_ref()).await.map_err(step_error)?;
        match missing.first() {
            Some(missing) => Err(failed(ErrorKind::NotFound, missing.refusal(), CHECK_THE_NAME)),
            None => Ok(()),
        }
    }

    fn refuse_unsaved(&self, standing: &[SchemaObject]) -> StepResult<()> {
        let safety = &self.job.spec.safety;
        match standing.first() {
            Some(first) if !safety.backup_before && !safety.overwrite_without_backup => {
                let message = format!("{} database objects at the destination would be replaced without a backup, such as {}", standing.len(), first.name);
                let advice = "Leave safety.backup_before on, or set safety.overwrite_without_backup to true if nothing there is worth keeping";
                Err(failed(ErrorKind::AlreadyExists, message, advice))
            }
            _ => Ok(()),
        }
    }

    /// Where tables are saved at the moment in which they are dropped.
    async fn keeper<'a>(&'a self, cx: &'a StepContext, observer: &'a RunObserver, kind: &'static str) -> StepResult<Option<BackupTables<'a>>> {
        let database = self.job.destination(cx).await?.database.clone();
        Ok(database.map(|database| BackupTables { job: &self.job, cx, observer, database, kind }))
    }

    async fn undo_database(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<()> {
        let (Some(undoer), Some(plan)) = (self.job.database_undoer(cx).await?, database_plan(cx).await?) else { return Ok(()) };
        secure(&self.job, cx, observer).await?;
        let tables = ledger(cx, ledgers::TABLES);
        let keeper = self.keeper(cx, observer, "later-database").await?;
        let keeper = keeper.as_ref().map(|k| k as &dyn TableKeeper);
        let undone = undoer.undo(&plan, &tables, keeper, observer).await.map_err(step_error)?;
        if !undone.begun {
            observer.info("rollback", "Nothing was made or removed in the destination's database");
            return Ok(());
        }
        observer.info("rollback", "Removed what the migration made in the destination's database");
        let saved = Restorable::find(&self.job, cx).await?.map(|r| r.databases()).unwrap_or_default();
        for dir in &saved {
            let restored = undoer.bring_back(dir, &tables, keeper, observer, cx.stopping()).await.map_err(step_error)?;
            observer.info(
                "rollback",
                format!("Restored {} tables ({} rows) of the destination's database; every fingerprint equals the backup's", restored.tables, restored.rows),
            );
        }
        if saved.is_empty() && !plan.overwrites.is_empty() {
            observer.warning("rollback", format!("{} database objects were replaced without a backup, as asked, and are not restored", plan.overwrites.len()));
        }
        Ok(())
    }
}

/// Whether the root is not there at all.
pub(crate) async fn is_absent(files: &dyn FileTarget) -> StepResult<bool> {
    match files.list().next().await {
        Some(Err(e)) if e.kind == ErrorKind::NotFound => Ok(true),
        Some(Err(e)) => Err(step_error(e)),
        Some(Ok(_)) | None => Ok(false),
    }
}

/// The root that we made goes when it is empty and the system can remove it; an empty one is no harm.
pub(crate) async fn remove_root(files: &dyn FileTarget, observer: &RunObserver) -> StepResult<()> {
    match files.list().next().await {
        None => {}
        Some(Err(e)) if e.kind == ErrorKind::NotFound => return Ok(()),
        Some(Err(e)) => return Err(step_error(e)),
        Some(Ok(_)) => {
            observer.info("rollback", format!("{} stays: it holds files that are not this migration's", files.location()));
            return Ok(());
        }
    }
    if files.remove(&FilePath::default()).await.is_err() {
        observer.info("rollback", format!("{} was made by this migration and stays, empty", files.location()));
    }
    Ok(())
}
