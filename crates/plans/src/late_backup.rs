//! What a pass overwrites and the plan knew nothing of: it is saved first, into the run's own backup.
//!
//! A run that had nothing to save until then gets a backup for it, which goes again when it stays empty. The manifest says
//! `verified` all the time, because the mover reads every single file back before it touches the original.

use crate::Settings;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::recall;
use crate::backups::{self, Backup, BackupState, Part};
use domain::spec::{FilesAt, Safety};
use engine::StepContext;
use futures::TryStreamExt;
use jiff::Timestamp;
use ports::files::{EntryKind, FileTarget};
use std::path::PathBuf;
use std::sync::Arc;

/// The part, and its directory, with rows that others wrote into our tables.
const LATER_ROWS: &str = "later-rows";

pub(crate) struct LateBackup {
    settings: Settings,
    backup: Backup,
    retention_days: u32,
    /// Each with the kind of the part that it holds.
    stores: Vec<(String, Arc<dyn FileTarget>)>,
    /// The parts that were there before: they stay, also those that hold no file and no row.
    earlier: Vec<String>,
}

impl LateBackup {
    /// `None` when the migration makes no backups. `name` is the migration's. Repeatable.
    pub(crate) async fn open(settings: &Settings, cx: &StepContext, name: &str, safety: &Safety) -> StepResult<Option<Self>> {
        if !safety.backup_before {
            return Ok(None);
        }
        Self::begin(settings, cx, name, safety).await.map(Some)
    }

    /// The same for a rollback that is to discard later changes: they are saved whether or not the migration made backups.
    pub(crate) async fn for_discarded(settings: &Settings, cx: &StepContext, name: &str, safety: &Safety) -> StepResult<Option<Self>> {
        if !discards_later_changes(cx) {
            return Ok(None);
        }
        Self::begin(settings, cx, name, safety).await.map(Some)
    }

    async fn begin(settings: &Settings, cx: &StepContext, name: &str, safety: &Safety) -> StepResult<Self> {
        let found = own(settings, cx).await?;
        let earlier = found.iter().flat_map(|backup| &backup.parts).map(|part| part.kind.clone()).collect();
        let mut backup = match found {
            Some(backup) => backup,
            None => backups::begin(settings, cx, name, safety.backup_retention_days).await?,
        };
        backup.state = BackupState::Verified;
        let mut late = Self { settings: settings.clone(), backup, retention_days: safety.backup_retention_days, stores: Vec::new(), earlier };
        late.renew().await?;
        Ok(late)
    }

    /// Begins its retention again when half of it is over: a migration may be kept warm for longer than that.
    pub(crate) async fn renew(&mut self) -> StepResult<()> {
        let now = Timestamp::now();
        let (half, whole) = (backups::expiry(now, self.retention_days, 12), backups::expiry(now, self.retention_days, 24));
        if self.backup.expires > half {
            return Ok(());
        }
        self.backup.expires = whole;
        backups::write(&self.settings, &self.backup).await.map_err(step_error)
    }

    pub(crate) fn id(&self) -> &str {
        &self.backup.id
    }

    /// Where rows are saved that others wrote into our tables.
    pub(crate) fn rows(&self) -> StepResult<PathBuf> {
        Ok(self.directory()?.join(LATER_ROWS))
    }

    /// Where its parts lie.
    pub(crate) fn directory(&self) -> StepResult<PathBuf> {
        backups::directory(&self.settings, &self.backup.id).map_err(step_error)
    }

    /// A directory of its own in the backup, for files of `kind` that stood at `location`. Repeatable.
    pub(crate) async fn files_of(&mut self, kind: &str, location: String, parallel: usize) -> StepResult<Arc<dyn FileTarget>> {
        let at = FilesAt::Local { root: self.directory()?.join(kind).to_string_lossy().into_owned() };
        let store = self.settings.connectors.files(&at, parallel).await.map_err(step_error)?;
        self.keep(kind, location, &store).await?;
        Ok(store)
    }

    /// Lets `store` hold what stood at `location`, as the part `kind`. Repeatable.
    pub(crate) async fn keep(&mut self, kind: &str, location: String, store: &Arc<dyn FileTarget>) -> StepResult<()> {
        if self.backup.part(kind).is_none() {
            self.backup.parts.push(Part { kind: kind.to_owned(), location, ..Part::default() });
        }
        backups::write(&self.settings, &self.backup).await.map_err(step_error)?;
        store.prepare().await.map_err(step_error)?;
        self.stores.push((kind.to_owned(), store.clone()));
        Ok(())
    }

    /// Counts what the backup holds now; the backup, if there is something in it. An empty one is removed. Repeatable.
    pub(crate) async fn close(mut self, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<Backup>> {
        let mut added = 0;
        for (kind, store) in &self.stores {
            store.sweep(cx.run_id()).await.map_err(step_error)?;
            let (items, bytes) = held(store.as_ref()).await?;
            for part in self.backup.parts.iter_mut().filter(|p| p.kind == *kind) {
                added += items.saturating_sub(part.items);
                (part.items, part.bytes) = (items, bytes);
            }
        }
        let rows = saved_ranges(&self.rows()?).await?;
        if rows > 0 && self.backup.part(LATER_ROWS).is_none() {
            self.backup.parts.push(Part { kind: LATER_ROWS.to_owned(), items: rows, ..Part::default() });
        }
        let earlier = std::mem::take(&mut self.earlier);
        self.backup.parts.retain(|p| p.items > 0 || earlier.contains(&p.kind));
        self.backup.bytes = self.backup.parts.iter().map(|p| p.bytes).sum();
        if self.backup.parts.is_empty() {
            // In this order: a note that names a backup which is not there means that it was lost.
            cx.remember(backups::NOTE, None).await?;
            backups::remove(&self.settings, &self.backup.id).await.map_err(step_error)?;
            return Ok(None);
        }
        backups::write(&self.settings, &self.backup).await.map_err(step_error)?;
        if added > 0 {
            observer
                .info("backup", format!("{added} more files that stood at the destination were saved into {} before they were overwritten", self.backup.id));
        }
        Ok(Some(self.backup))
    }
}

/// Whether a rollback is to take back also what others changed since.
fn discards_later_changes(cx: &StepContext) -> bool {
    cx.options().get("discard_later_changes").and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// The run's verified backup.
async fn own(settings: &Settings, cx: &StepContext) -> StepResult<Option<Backup>> {
    let Some(id) = recall::<String>(cx, backups::NOTE).await? else { return Ok(None) };
    let found = backups::read(settings, &id).await.map_err(step_error)?;
    Ok(found.filter(|b| b.run == cx.run_id() && b.state == BackupState::Verified))
}

/// How many ranges were saved; each has a description beside it.
async fn saved_ranges(dir: &std::path::Path) -> StepResult<u64> {
    let failed = |e| step_error(backups::file_error("read", dir, e));
    let mut entries = match tokio::fs::read_dir(dir).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        opened => opened.map_err(failed)?,
    };
    let mut found = 0;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        found += u64::from(entry.path().extension().is_some_and(|e| e == "zst"));
    }
    Ok(found)
}

async fn held(store: &dyn FileTarget) -> StepResult<(u64, u64)> {
    let mut entries = store.list();
    let (mut items, mut bytes) = (0, 0);
    while let Some(entry) = entries.try_next().await.map_err(step_error)? {
        if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Symlink { .. }) {
            items += 1;
            bytes += entry.size();
        }
    }
    Ok((items, bytes))
}
