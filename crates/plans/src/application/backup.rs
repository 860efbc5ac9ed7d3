//! Step 2: saves what the migration will overwrite or delete, and the source's database when asked; everything is read back.
//!
//! Undo keeps a verified backup (retention removes it) and removes an unfinished one.

use super::job::{Job, database_plan, files_plan, ledger, ledgers, notes, recall, restores, timed};
use super::preview::Wanted;
use crate::Settings;
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::backups::{self, Backup, BackupState, Part};
use crate::site::Configuration;
use crate::wordpress::{CONFIG, detect};
use domain::spec::{FilesAt, MigrationSpec};
use domain::units;
use engine::{Step, StepContext, StepError};
use movers::databases;
use movers::files::FilesBackup;
use ports::databases::{Database, ObjectName, SchemaObject};
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::{ErrorKind, Ledger, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub struct BackUp {
    pub job: Arc<Job>,
}

/// What there is to save.
struct ToSave {
    files: bool,
    database: Vec<ObjectName>,
    configuration: bool,
    source_database: bool,
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
        let wanted = self.wanted(cx).await?;
        if !wanted.files && wanted.database.is_empty() && !wanted.configuration && !wanted.source_database {
            let why = if self.job.spec.safety.backup_before { "nothing at the destination will be overwritten or deleted" } else { "backup_before is off" };
            observer.info("backup", format!("No backup is needed: {why}"));
            return Ok(timed(json!({"backup": null, "reason": why}), began));
        }
        let mut backup = begin(&self.job, cx).await?;
        let saved = self.save(cx, &observer, &wanted, &mut backup).await;
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
    async fn wanted(&self, cx: &StepContext) -> StepResult<ToSave> {
        let safety = &self.job.spec.safety;
        let site = self.job.site().await?;
        let source_database = safety.backup_source_database && site.source.database.is_some();
        if !safety.backup_before {
            return Ok(ToSave { files: false, database: Vec::new(), configuration: false, source_database });
        }
        let files = files_plan(cx).await?.is_some_and(|p| p.overwrites + p.deletes > 0);
        let database = database_plan(cx).await?.map(|p| p.overwrites.into_iter().map(|o| o.name).collect()).unwrap_or_default();
        let configuration = cx.output_of("validate").is_some_and(|v| v["configuration_exists"] == true);
        let configuration = configuration && site.configuration(&self.job.spec) == Configuration::Rewritten;
        Ok(ToSave { files, database, configuration, source_database })
    }

    async fn save(&self, cx: &StepContext, observer: &RunObserver, wanted: &ToSave, backup: &mut Backup) -> StepResult<()> {
        let dir = backups::directory(&self.job.settings, &backup.id).map_err(step_error)?;
        let site = self.job.site().await?;
        if let (true, Some(mover), Some(target)) = (wanted.files, self.job.files_mover(cx).await?, &site.destination.files) {
            let store = files_store(&self.job, &dir).await?;
            store.prepare().await.map_err(step_error)?;
            self.refuse_full(cx, store.as_ref()).await?;
            let saved = mover.back_up(&ledger(cx, ledgers::FILES), store, &ledger(cx, ledgers::BACKUP), observer, cx.stopping()).await.map_err(step_error)?;
            if let Some(problem) = saved.problems.listed.first() {
                let message = format!("{} could not be saved: {}", problem.path, problem.reason);
                return Err(failed(ErrorKind::Changed, message, "Nothing at the destination was changed; start again"));
            }
            add(backup, Part { kind: "files".to_owned(), location: target.location(), items: saved.files, bytes: saved.bytes, ..Part::default() });
        }
        if let (false, Some(database)) = (wanted.database.is_empty(), &site.destination.database) {
            let part = save_database("database", database, Some(&wanted.database), &dir.join("database"), observer, cx).await?;
            add(backup, part);
        }
        if let (true, Some(files)) = (wanted.configuration, &site.destination.configuration)
            && let Some(part) = save_configuration(files.as_ref(), &dir, "configuration").await.map_err(step_error)?
        {
            add(backup, part);
        }
        if let (true, Some(database)) = (wanted.source_database, &site.source.database) {
            let part = save_database("source_database", database, None, &dir.join("source-database"), observer, cx).await?;
            add(backup, part);
        }
        Ok(())
    }

    async fn refuse_full(&self, cx: &StepContext, store: &dyn FileTarget) -> StepResult<()> {
        let needed = files_plan(cx).await?.map_or(0, |p| p.overwritten_bytes + p.deleted_bytes);
        match store.free_space().await.map_err(step_error)? {
            Some(free) if free < needed => {
                let message = format!("The backup needs {}, but {} has {} free", units::size(needed), store.location(), units::size(free));
                Err(failed(ErrorKind::NoSpace, message, "Free some space where backups are kept, or delete old backups"))
            }
            _ => Ok(()),
        }
    }
}

/// The run's backup, begun or begun again.
async fn begin(job: &Job, cx: &StepContext) -> StepResult<Backup> {
    backups::begin(&job.settings, cx, &job.spec.name, job.spec.safety.backup_retention_days).await
}

fn add(backup: &mut Backup, part: Part) {
    backup.bytes += part.bytes;
    backup.parts.push(part);
}

/// Adds a part that was read back to a backup that is complete with it.
pub(super) async fn add_verified(job: &Job, backup: &mut Backup, part: Part) -> StepResult<()> {
    add(backup, part);
    backup.state = BackupState::Verified;
    backups::write(&job.settings, backup).await.map_err(step_error)
}

pub(super) async fn save_database(
    kind: &str,
    database: &Arc<dyn Database>,
    only: Option<&[ObjectName]>,
    dir: &Path,
    observer: &RunObserver,
    cx: &StepContext,
) -> StepResult<Part> {
    let saved = databases::back_up(database, only, dir, observer, cx.stopping()).await.map_err(step_error)?;
    Ok(Part {
        kind: kind.to_owned(),
        location: database.location(),
        items: saved.tables.len() as u64,
        rows: saved.rows,
        bytes: saved.bytes,
        blake3: Some(saved.blake3),
        description: None,
    })
}

/// Whether a part is of that kind: `database`, and `database.2` and so on for what was saved again.
pub(super) fn is_kind(kind: &str, what: &str) -> bool {
    kind == what || kind.strip_prefix(what).and_then(|rest| rest.strip_prefix('.')).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

/// The kinds of part that hold the destination's objects.
fn is_database(kind: &str) -> bool {
    is_kind(kind, "database")
}

/// The kinds of part that hold the destination's configuration file.
fn is_configuration(kind: &str) -> bool {
    is_kind(kind, "configuration")
}

/// The name of the next part of that kind.
pub(super) fn next_kind(backup: &Backup, what: &str) -> String {
    let count = backup.parts.iter().filter(|p| is_kind(&p.kind, what)).count();
    if count == 0 { what.to_owned() } else { format!("{what}.{}", count + 1) }
}

/// The run's own backup, as far as it is complete.
pub(super) async fn own(job: &Job, cx: &StepContext) -> StepResult<Option<Backup>> {
    let Some(id) = recall::<String>(cx, notes::BACKUP).await? else { return Ok(None) };
    let found = backups::read(&job.settings, &id).await.map_err(step_error)?;
    Ok(found.filter(|b| b.run == cx.run_id() && b.state == BackupState::Verified))
}

/// The run's own backup as `own` found it, else one that is begun now.
pub(super) async fn or_begun(found: Option<Backup>, job: &Job, cx: &StepContext) -> StepResult<Backup> {
    match found {
        Some(backup) => Ok(backup),
        None => begin(job, cx).await,
    }
}

/// In the step that replaces: what stands in the way still is what was saved, else it is saved again, beside the first time. Repeatable.
pub(super) async fn save_again(job: &Job, cx: &StepContext, observer: &RunObserver, standing: &[SchemaObject]) -> StepResult<()> {
    let site = job.site().await?;
    let (Some(database), true) = (&site.destination.database, job.spec.safety.backup_before && !standing.is_empty()) else { return Ok(()) };
    let backup = own(job, cx).await?;
    let dir = |b: &Backup| backups::directory(&job.settings, &b.id).map_err(step_error);
    let mut unsaved: Vec<ObjectName> = standing.iter().map(|o| o.name.clone()).collect();
    if let Some(backup) = &backup {
        for part in backup.parts.iter().filter(|p| is_database(&p.kind)) {
            let changed = databases::changed_since(database, &dir(backup)?.join(&part.kind), standing).await.map_err(step_error)?;
            unsaved.retain(|name| changed.contains(name));
        }
    }
    if unsaved.is_empty() {
        return Ok(());
    }
    let mut backup = or_begun(backup, job, cx).await?;
    let kind = next_kind(&backup, "database");
    let part = save_database(&kind, database, Some(&unsaved), &dir(&backup)?.join(&kind), observer, cx).await?;
    add_verified(job, &mut backup, part).await?;
    let names = unsaved.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    observer.info("backup", format!("{} database objects were changed or made since the backup ({names}): they were saved, too", unsaved.len()));
    Ok(())
}

/// The files of a backup as a target.
pub(super) async fn files_store(job: &Job, dir: &Path) -> StepResult<Arc<dyn FileTarget>> {
    store_of_files(&job.settings, &job.spec, dir).await.map_err(step_error)
}

pub(super) async fn store_of_files(settings: &Settings, spec: &MigrationSpec, dir: &Path) -> Result<Arc<dyn FileTarget>> {
    let at = FilesAt::Local { root: dir.join("files").to_string_lossy().into_owned() };
    settings.connectors.files(&at, spec.transfer.parallel_transfers).await
}

const ENTRY: &str = "wp-config.json";

/// Saves the configuration file with its mode and time, or the link that stands for it with the text that it leads to, and reads it back.
async fn save_configuration(files: &dyn FileTarget, dir: &Path, kind: &str) -> Result<Option<Part>> {
    let path = FilePath::from(CONFIG);
    let read = detect::read_small(files, &path, 1 << 24).await?.map(|(_, text)| text);
    let Some(entry) = files.stat(&path).await? else { return Ok(None) };
    let text = match read {
        Some(text) => text,
        None if matches!(entry.kind, EntryKind::Symlink { .. }) => Vec::new(),
        None => return Ok(None),
    };
    let dir = dir.join(kind);
    let hash = blake3::hash(&text).to_hex().to_string();
    let bytes = text.len() as u64;
    backups::write_file(&dir, CONFIG, text).await?;
    let about = serde_json::to_vec(&entry).unwrap_or_default();
    let description = Some(blake3::hash(&about).to_hex().to_string());
    backups::write_file(&dir, ENTRY, about).await?;
    let part = Part { kind: kind.to_owned(), location: files.location(), items: 1, bytes, blake3: Some(hash), description, ..Part::default() };
    read_configuration(&dir, &part).await?;
    Ok(Some(part))
}

/// In the step that replaces: `text` stands there, and is saved unless the backup holds it, beside what was saved before. Repeatable.
pub(super) async fn save_configuration_again(job: &Job, cx: &StepContext, observer: &RunObserver, files: &dyn FileTarget, text: &[u8]) -> StepResult<()> {
    let safety = &job.spec.safety;
    if !safety.backup_before {
        if safety.overwrite_without_backup {
            return Ok(());
        }
        let advice = "Leave safety.backup_before on, or set safety.overwrite_without_backup to true if it is not worth keeping";
        return Err(failed(ErrorKind::AlreadyExists, format!("{CONFIG} stands at the destination and would be replaced without a backup"), advice));
    }
    let hash = blake3::hash(text).to_hex();
    let found = own(job, cx).await?;
    let saved = |p: &Part| is_configuration(&p.kind) && p.blake3.as_deref() == Some(hash.as_str());
    if found.as_ref().is_some_and(|backup| backup.parts.iter().any(saved)) {
        return Ok(());
    }
    let mut backup = or_begun(found, job, cx).await?;
    let kind = next_kind(&backup, "configuration");
    if add_configuration(job, &mut backup, files, &kind).await? {
        observer.info("backup", format!("{CONFIG} at the destination was changed or made since the backup: it was saved, too"));
    }
    Ok(())
}

/// Saves what a rollback takes back though somebody changed it. Repeatable.
pub(super) async fn save_later_configuration(job: &Job, cx: &StepContext, files: &dyn FileTarget) -> StepResult<()> {
    let mut backup = or_begun(own(job, cx).await?, job, cx).await?;
    let kind = next_kind(&backup, "later-configuration");
    add_configuration(job, &mut backup, files, &kind).await.map(drop)
}

async fn add_configuration(job: &Job, backup: &mut Backup, files: &dyn FileTarget, kind: &str) -> StepResult<bool> {
    let dir = backups::directory(&job.settings, &backup.id).map_err(step_error)?;
    let Some(part) = save_configuration(files, &dir, kind).await.map_err(step_error)? else { return Ok(false) };
    add_verified(job, backup, part).await?;
    Ok(true)
}

async fn read_configuration(dir: &Path, part: &Part) -> Result<(Entry, Vec<u8>)> {
    let path = dir.join(CONFIG);
    let text = tokio::fs::read(&path).await.map_err(|e| backups::file_error("read back", &path, e))?;
    let entry = tokio::fs::read(dir.join(ENTRY)).await.map_err(|e| backups::file_error("read back", &dir.join(ENTRY), e))?;
    let damaged = |why: &str| ports::ConnectorError::new(ErrorKind::Corrupt, "read back", path.display().to_string(), why);
    if part.blake3.as_deref() != Some(blake3::hash(&text).to_hex().as_str()) {
        return Err(damaged("its hash is not the recorded one").permanent());
    }
    if part.description.as_ref().is_some_and(|recorded| *recorded != blake3::hash(&entry).to_hex().as_str()) {
        return Err(damaged("the hash of its description is not the recorded one").permanent());
    }
    let entry = serde_json::from_slice(&entry).map_err(|e| damaged("its description cannot be read").because(e).permanent())?;
    Ok((entry, text))
}

/// The run's ledgers that say which files a backup holds: its own, and that of the last pass.
pub(super) type SavedIn<'a> = (&'a dyn Ledger, &'a dyn Ledger);

/// Whether the backup can be restored from. Tables and the configuration are read and hashed. Files are looked for by name and size; they are hashed
/// while each is restored, and one that is missing among others is named and refuses nothing.
///
/// # Errors
/// A part of it that is wanted is missing or damaged, or cannot be read.
pub(super) async fn check_restorable(settings: &Settings, spec: &MigrationSpec, backup: &Backup, wanted: &Wanted, saved: SavedIn<'_>) -> Result<()> {
    let dir = backups::directory(settings, &backup.id)?;
    for part in &backup.parts {
        let at = dir.join(&part.kind);
        match part.kind.as_str() {
            kind if is_database(kind) && wanted.database => databases::check(&at, part.blake3.as_deref()).await?,
            kind if is_configuration(kind) && wanted.configuration => read_configuration(&at, part).await.map(drop)?,
            "files" if wanted.files => {
                let (ledger, last) = saved;
                let files = FilesBackup { store: store_of_files(settings, spec, &dir).await?, ledger };
                backups::refuse_lost_files(part, &at, &files, last, spec.transfer.parallel_transfers).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A verified backup that a rollback restores from, with its parts' places.
pub struct Restorable {
    pub backup: Backup,
    dir: PathBuf,
}

impl Restorable {
    /// The backup named in the rollback's options, else the run's own. `None` when the run made none.
    pub async fn find(job: &Job, cx: &StepContext) -> StepResult<Option<Self>> {
        let asked = cx.options().get("backup_id").and_then(Value::as_str).map(str::to_owned);
        let own = recall::<String>(cx, notes::BACKUP).await?;
        let Some(id) = asked.or(own) else { return Ok(None) };
        let dir = backups::directory(&job.settings, &id).map_err(step_error)?;
        let found = backups::read(&job.settings, &id).await.map_err(step_error)?.filter(|b| b.tenant == cx.tenant());
        let Some(backup) = found else {
            // The step that makes the backup never finished: nothing was overwritten either.
            if cx.output_of("backup").is_none() {
                return Ok(None);
            }
            let message = format!("The backup '{id}' does not exist any more, so what the migration overwrote cannot be restored");
            return Err(failed(ErrorKind::NotFound, message, "Restore it from elsewhere, or roll back without restoring that part"));
        };
        if backup.run != cx.run_id() {
            let message = format!("The backup '{id}' belongs to another migration ('{}')", backup.name);
            return Err(failed(ErrorKind::Invalid, message, "Name the backup of this migration, or none"));
        }
        Ok((backup.state == BackupState::Verified).then_some(Self { backup, dir }))
    }

    pub async fn files(&self, job: &Job) -> StepResult<Option<Arc<dyn FileTarget>>> {
        match self.backup.part("files") {
            Some(_) => files_store(job, &self.dir).await.map(Some),
            None => Ok(None),
        }
    }

    /// Where the destination's objects are saved, the oldest first; a later one holds what was changed or made after an earlier one.
    pub fn databases(&self) -> Vec<PathBuf> {
        self.backup.parts.iter().filter(|p| is_database(&p.kind)).map(|p| self.dir.join(&p.kind)).collect()
    }

    /// Whether what a rollback restores from it is there and undamaged, before anything is destroyed; see [`check_restorable`].
    pub async fn check(&self, job: &Job, cx: &StepContext) -> StepResult<()> {
        let part = |what: &str| restores(cx, what);
        let wanted =
            Wanted { files: part("restore_files"), database: part("restore_database"), configuration: part("restore_configuration"), ..Wanted::default() };
        let (own, last) = (ledger(cx, ledgers::BACKUP), ledger(cx, ledgers::LAST_PASS));
        let checked = check_restorable(&job.settings, &job.spec, &self.backup, &wanted, (&own, &last)).await;
        checked.map_err(|e| backups::unrestorable(&self.backup.id, &e))
    }

    pub async fn configuration(&self) -> StepResult<Option<(Entry, Vec<u8>)>> {
        // The latest one is what was replaced.
        match self.backup.parts.iter().rfind(|p| is_configuration(&p.kind)) {
            Some(part) => read_configuration(&self.dir.join(&part.kind), part).await.map(Some).map_err(step_error),
            None => Ok(None),
        }
    }
}
