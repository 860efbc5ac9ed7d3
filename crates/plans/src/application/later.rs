//! What other people wrote at the destination since this migration wrote there: what becomes of it.

use super::backup::{Restorable, add_verified, next_kind, or_begun, own, save_database};
use super::job::{Job, database_plan, ledger, ledgers, recall, restores, value};
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::backups;
use crate::late_backup::LateBackup;
use engine::StepContext;
use movers::databases::{LaterRows, TableChange};
use ports::observe::Level;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Note: the tables with later rows that a rollback has saved, and where.
const SAVED: &str = "rollback.later_tables";
/// The part of the run's backup that holds them.
const PART: &str = "later-database";

/// What a pass does with rows that others wrote into our tables.
pub fn later_rows(job: &Job, late: Option<&LateBackup>) -> StepResult<LaterRows> {
    match late {
        Some(late) => late.rows().map(LaterRows::Save),
        None if job.spec.safety.overwrite_without_backup => Ok(LaterRows::Overwrite),
        None => Ok(LaterRows::Refuse),
    }
}

/// Tables that were saved before a rollback dropped them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedTables {
    pub backup: String,
    pub directory: String,
    pub tables: Vec<TableChange>,
}

/// Before anything is taken back: the way back is complete, and what others wrote into our tables since is saved. Reads the destination; writes only
/// into the run's backup. Repeatable: what was saved once is not saved again.
pub async fn secure(job: &Job, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<SavedTables>> {
    job.secured.get_or_try_init(|| secure_once(job, cx, observer)).await.cloned()
}

async fn secure_once(job: &Job, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<SavedTables>> {
    if let Some(restorable) = Restorable::find(job, cx).await? {
        restorable.check(job, cx).await?;
    }
    if !restores(cx, "restore_database") {
        return Ok(None);
    }
    if let Some(saved) = recall::<SavedTables>(cx, SAVED).await? {
        return Ok(Some(saved));
    }
    let (Some(undoer), Some(plan)) = (job.database_undoer(cx).await?, database_plan(cx).await?) else { return Ok(None) };
    let changes = undoer.later_changes(&plan, &ledger(cx, ledgers::TABLES), cx.stopping()).await.map_err(step_error)?;
    if changes.is_empty() {
        return Ok(None);
    }
    save(job, cx, observer, changes).await.map(Some)
}

async fn save(job: &Job, cx: &StepContext, observer: &RunObserver, changes: Vec<TableChange>) -> StepResult<SavedTables> {
    let destination = job.destination(cx).await?;
    let Some(database) = &destination.database else { return Err(crate::adapters::failed(ports::ErrorKind::Internal, "the destination has no database", "")) };
    let mut backup = or_begun(own(job, cx).await?, job, cx).await?;
    // Beside what an earlier try has saved, never over it.
    let kind = next_kind(&backup, PART);
    let dir = backups::directory(&job.settings, &backup.id).map_err(step_error)?.join(&kind);
    let names: Vec<_> = changes.iter().map(|c| c.table.clone()).collect();
    let part = save_database(&kind, database, Some(&names), &dir, observer, cx).await?;
    add_verified(job, &mut backup, part).await?;
    let saved = SavedTables { backup: backup.id, directory: dir.display().to_string(), tables: changes };
    cx.remember(SAVED, Some(value(&saved))).await?;
    for table in &saved.tables {
        let message = format!(
            "Table {} was changed after this migration wrote it ({} rows then, {} now): it was saved as it is into {} before it is taken back",
            table.table, table.rows_written, table.rows_now, saved.directory
        );
        ports::Observer::log(observer, Level::Warning, "rollback", message, json!({"table": table, "backup": saved.backup}));
    }
    Ok(saved)
}
