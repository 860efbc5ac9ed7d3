//! What the last pass overwrites and the plan knew nothing of: it is saved first, into the run's own backup.
//!
//! A run that had nothing to save until then gets a backup for it, which goes again when it stays empty. The manifest says
//! `verified` all the time, because the mover reads every single file back before it touches the original.

use super::backup::{self, files_store};
use super::job::{Job, notes, recall};
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::backups::{self, Backup, BackupState, Part};
use engine::StepContext;
use futures::TryStreamExt;
use ports::files::{EntryKind, FileTarget};
use std::sync::Arc;

/// The kind of the part that holds files.
const FILES: &str = "files";

pub struct LateBackup {
    backup: Backup,
    pub store: Arc<dyn FileTarget>,
}

impl LateBackup {
    /// `None` when the migration makes no backups. Repeatable.
    pub async fn open(job: &Job, cx: &StepContext, location: String) -> StepResult<Option<Self>> {
        if !job.spec.safety.backup_before {
            return Ok(None);
        }
        let mut backup = match own(job, cx).await? {
            Some(backup) => backup,
            None => backup::begin(job, cx).await?,
        };
        backup.state = BackupState::Verified;
        if backup.part(FILES).is_none() {
            backup.parts.push(Part { kind: FILES.to_owned(), location, ..Part::default() });
        }
        backups::write(&job.settings, &backup).await.map_err(step_error)?;
        let dir = backups::directory(&job.settings, &backup.id).map_err(step_error)?;
        let store = files_store(job, &dir).await?;
        store.prepare().await.map_err(step_error)?;
        Ok(Some(Self { backup, store }))
    }

    /// Counts what the backup holds now; the backup when something was added to it. An empty one is removed. Repeatable.
    pub async fn close(mut self, job: &Job, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<Backup>> {
        self.store.sweep(cx.run_id()).await.map_err(step_error)?;
        let (items, bytes) = held(self.store.as_ref()).await?;
        let before = self.backup.part(FILES).map_or(0, |p| p.items);
        for part in self.backup.parts.iter_mut().filter(|p| p.kind == FILES) {
            (part.items, part.bytes) = (items, bytes);
        }
        self.backup.parts.retain(|p| p.items > 0);
        self.backup.bytes = self.backup.parts.iter().map(|p| p.bytes).sum();
        if self.backup.parts.is_empty() {
            backups::remove(&job.settings, &self.backup.id).await.map_err(step_error)?;
            cx.remember(notes::BACKUP, None).await?;
            return Ok(None);
        }
        backups::write(&job.settings, &self.backup).await.map_err(step_error)?;
        if items == before {
            return Ok(None);
        }
        let words = format!("{} more files that stood at the destination were saved into {} before they were overwritten", items - before, self.backup.id);
        observer.info("backup", words);
        Ok(Some(self.backup))
    }
}

/// The run's verified backup.
async fn own(job: &Job, cx: &StepContext) -> StepResult<Option<Backup>> {
    let Some(id) = recall::<String>(cx, notes::BACKUP).await? else { return Ok(None) };
    let found = backups::read(&job.settings, &id).await.map_err(step_error)?;
    Ok(found.filter(|b| b.run == cx.run_id() && b.state == BackupState::Verified))
}

async fn held(store: &dyn FileTarget) -> StepResult<(u64, u64)> {
    let mut entries = store.list();
    let (mut items, mut bytes) = (0, 0);
    while let Some(entry) = entries.try_next().await.map_err(step_error)? {
        if matches!(entry.kind, EntryKind::File { .. }) {
            items += 1;
            bytes += entry.size();
        }
    }
    Ok((items, bytes))
}
