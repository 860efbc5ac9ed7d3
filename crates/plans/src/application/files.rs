//! Step 5: files in bulk while the site lives; then, in maintenance mode where the site has one, the last pass: first the
//! database, then the files, so that both show one moment.
//!
//! Undo removes the files that we made and restores those that we replaced or deleted.

use super::backup::{Restorable, files_store};
use super::job::{Job, database_plan, ledger, ledgers, restores, timed, value};
use super::later::{later_rows, secure};
use super::maintenance::{self, REFRESH};
use super::standstill;
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::backups::Backup;
use crate::late_backup::LateBackup;
use crate::wordpress::detect;
use crate::wordpress::maintenance::FILE;
use engine::{Step, StepContext, StepError};
use futures::future::BoxFuture;
use movers::databases::LaterRows;
use movers::files::{FilesBackup, FilesMover, FilesUndone, ProblemKind};
use ports::ErrorKind;
use ports::files::{FilePath, FileTarget};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct TransferFiles {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for TransferFiles {
    fn name(&self) -> &'static str {
        "files"
    }

    fn title(&self) -> &'static str {
        "Transferring files"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let (Some(mover), Some(source)) = (self.job.files_mover(cx).await?, self.job.site().await?.source.files.clone()) else {
            observer.info("file_transfer", "There are no files to transfer");
            return Ok(timed(json!({"bulk": null, "last_pass": null, "database_last_pass": null, "standstill_seconds": 0.0}), began));
        };
        let bulk = mover.copy(&ledger(cx, ledgers::FILES), &observer, cx.stopping()).await.map_err(step_error)?;
        let (mover, late) = keeping(&self.job, cx, mover).await?;
        let later = later_rows(&self.job, late.as_ref())?;
        let number = standstill::begin(cx).await?;
        let file = self.close_site(cx, source.as_ref(), &observer).await?;
        let last = self.last_pass_refreshing(cx, &observer, &mover, source.as_ref(), file.as_ref(), later, number).await;
        // Whatever the last pass came to, the site lives again before anything else happens.
        let left = maintenance::leave(cx, source.as_ref(), &observer).await;
        let ended = standstill::end(cx).await?;
        let saved = close(late, cx, &observer).await;
        let mut output = last?;
        let state = left?;
        output["backup"] = saved?.as_ref().map_or(Value::Null, value);
        output["bulk"] = value(&bulk);
        output["standstill"] = value(&ended);
        let closed_ms = if file.is_some() { standstill::total_ms(cx).await? } else { 0 };
        output["standstill_seconds"] = json!(closed_ms as f64 / 1000.0);
        output["maintenance"] =
            json!({"used": file.is_some(), "unavailable": state.unavailable, "proven": file.is_some() && state.unproven.is_none(), "unproven": state.unproven});
        Ok(timed(output, began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let observer = RunObserver::new(cx);
        maintenance::stand_down(&self.job, cx).await?;
        if !restores(cx, "restore_files") {
            observer.info("rollback", "The destination's files stay as they are, as asked");
            return Ok(());
        }
        secure(&self.job, cx, &observer).await?;
        let Some(mut undoer) = self.job.files_undoer(cx).await? else { return Ok(()) };
        let backup = match Restorable::find(&self.job, cx).await? {
            Some(restorable) => restorable.files(&self.job).await?,
            None => None,
        };
        let asked_without = backup.is_none() && self.job.spec.safety.overwrite_without_backup;
        let (bulk, last, own) = (ledger(cx, ledgers::FILES), ledger(cx, ledgers::LAST_PASS), ledger(cx, ledgers::BACKUP));
        let backup = backup.map(|store| FilesBackup { store, ledger: &own });
        let mut discarded = LateBackup::for_discarded(&self.job.settings, cx, &self.job.spec.name, &self.job.spec.safety).await?;
        if let Some(late) = &mut discarded {
            let location = self.job.destination(cx).await?.files.as_ref().map(|f| f.location()).unwrap_or_default();
            undoer = undoer.discarding_later_changes(late.files_of(LATER_FILES, location, self.job.spec.transfer.parallel_transfers).await?);
        }
        let undone = undoer.undo(&[&bulk, &last], backup, &observer, cx.stopping()).await.map_err(step_error)?;
        if let Some(late) = discarded {
            late.close(cx, &observer).await?;
        }
        told(&observer, &undone, asked_without, "")
    }

    async fn stand_down(&self, cx: &StepContext) -> Result<(), StepError> {
        maintenance::stand_down(&self.job, cx).await
    }
}

impl TransferFiles {
    /// Closes a WordPress for its visitors; the file that does it, or `None` where nothing was closed.
    async fn close_site(&self, cx: &StepContext, source: &dyn FileTarget, observer: &RunObserver) -> StepResult<Option<FilePath>> {
        let site = self.job.site().await?;
        let Some(wordpress) = site.wordpress.as_ref().filter(|_| self.job.spec.safety.maintenance_mode) else { return Ok(None) };
        let Some(core) = &wordpress.core else {
            let why = "WordPress's own files (wp-settings.php) were not found below the web root".to_owned();
            maintenance::unavailable(cx, observer, maintenance::state(cx).await?, why).await?;
            return Ok(None);
        };
        let file = detect::below(core, FILE);
        if !maintenance::enter(cx, source, &file, observer).await? {
            return Ok(None);
        }
        maintenance::prove(cx, self.job.settings.connectors.as_ref(), self.job.spec.source.url.as_deref(), core, observer).await?;
        Ok(Some(file))
    }

    /// The last pass, while the maintenance file is kept fresh.
    async fn last_pass_refreshing(
        &self,
        cx: &StepContext,
        observer: &RunObserver,
        mover: &FilesMover,
        source: &dyn FileTarget,
        file: Option<&FilePath>,
        later: LaterRows,
        standstill: u64,
    ) -> StepResult {
        let mut pass = self.last_pass(cx, observer, mover, later, standstill);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + REFRESH, REFRESH);
        loop {
            tokio::select! {
                done = &mut pass => return done,
                _ = ticks.tick() => if let Some(file) = file { maintenance::write(cx, source, file).await.map_err(step_error)? },
            }
        }
    }

    /// Boxed, because a future that is polled beside others must be `Send` for every lifetime in it.
    fn last_pass<'a>(
        &'a self,
        cx: &'a StepContext,
        observer: &'a RunObserver,
        mover: &'a FilesMover,
        later: LaterRows,
        standstill: u64,
    ) -> BoxFuture<'a, StepResult> {
        Box::pin(async move {
            let mut database_pass = Value::Null;
            if let (Some(database), Some(plan)) = (self.job.database_mover().await?, database_plan(cx).await?) {
                let database = database.with_later_rows(later.clone());
                let pass = database.final_pass(&plan, &ledger(cx, ledgers::TABLES), standstill, observer, cx.stopping()).await.map_err(step_error)?;
                observer.info("database", format!("The last pass brought {} of {} ranges up to date", pass.repaired, pass.ranges));
                database_pass = value(&pass);
            }
            let (bulk, own) = (ledger(cx, ledgers::FILES), ledger(cx, ledgers::LAST_PASS));
            let last = mover.final_pass(&bulk, &own, observer, cx.stopping()).await.map_err(step_error)?;
            Ok(json!({"last_pass": last, "database_last_pass": database_pass}))
        })
    }
}

/// The mover for the last pass: what it overwrites without the plan's knowledge is saved first, or lost where that was asked for.
pub(super) async fn keeping(job: &Job, cx: &StepContext, mover: FilesMover) -> StepResult<(FilesMover, Option<LateBackup>)> {
    let location = job.destination(cx).await?.files.as_ref().map(|f| f.location()).unwrap_or_default();
    Ok(match LateBackup::open(&job.settings, cx, &job.spec.name, &job.spec.safety).await? {
        Some(mut late) => {
            let store = files_store(job, &late.directory()?).await?;
            late.keep("files", location, &store).await?;
            (mover.backing_up_into(store), Some(late))
        }
        None if job.spec.safety.overwrite_without_backup => (mover.overwriting(), None),
        None => (mover, None),
    })
}

/// Counts what was saved late.
pub(super) async fn close(late: Option<LateBackup>, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<Backup>> {
    match late {
        Some(late) => late.close(cx, observer).await,
        None => Ok(None),
    }
}

/// The part of a backup that holds files which others changed and a rollback took back all the same.
pub(crate) const LATER_FILES: &str = "later-files";

/// Says what was taken back. Something that should have come back and did not is an error, unless its backup is damaged: then no further try would
/// bring it back, it is named, and the rollback goes on. `at`: where, for people; may be empty.
pub(crate) fn told(observer: &RunObserver, undone: &FilesUndone, asked_without: bool, at: &str) -> StepResult<()> {
    for kept in &undone.kept.listed {
        observer.warning("rollback", format!("{} was left alone: {}", kept.path, kept.reason));
    }
    for saved in &undone.saved_later.listed {
        observer.warning("rollback", format!("{} was saved and then taken back, as asked: {}", saved.path, saved.reason));
    }
    for lost in &undone.not_restored.listed {
        observer.warning("rollback", format!("{} could not be restored: {}", lost.path, lost.reason));
    }
    let unnamed = undone.not_restored.count.saturating_sub(undone.not_restored.listed.len() as u64);
    if unnamed > 0 {
        observer.warning("rollback", format!("{unnamed} more files could not be restored{at}"));
    }
    let failing = undone.not_restored.count.saturating_sub(undone.backup_damaged);
    if failing > 0 && !asked_without {
        let first = undone.not_restored.listed.iter().find(|p| p.kind != ProblemKind::BackupDamaged);
        let message = format!("{failing} files could not be restored{at}; the first is {}", first.map_or_else(String::new, |p| p.path.to_string()));
        return Err(failed(ErrorKind::Corrupt, message, "See the log for each of them; restore them by hand, then resolve the migration"));
    }
    observer.info("rollback", format!("Removed {} of our files and restored {} files, each compared by hash", undone.removed, undone.restored));
    Ok(())
}
