//! Backups: one directory each, with a manifest that says what is in it and whether it was read back.
//!
//! ```text
//! BACKUPS/.node                  the name of this place, which runs with a backup here are pinned to
//! BACKUPS/backup-20240826-143022-1f0c93ab/
//!     manifest.json      state: writing ─► verified | failed
//!     files/             what the migration overwrites or deletes, as it was
//!     database/          the destination's objects that the migration replaces
//!     source-database/   the source's whole database, when asked for
//!     configuration/     the destination's configuration file
//! ```
//! Making and restoring them is the steps' business (`application`); here they are named, listed, kept and removed.

mod node;
mod presence;

pub use node::of as node_of;
pub(crate) use presence::{refuse_lost_files, unrestorable};

use crate::Settings;
use crate::adapters::{StepResult, step_error};
use engine::StepContext;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use ports::{ConnectorError, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupState {
    /// Being made, or its maker died.
    Writing,
    /// Everything in it was read back and compared.
    Verified,
    /// Could not be completed; it restores nothing.
    Failed,
}

/// One part of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `files`, `database`, `source_database`, `configuration`.
    pub kind: String,
    /// Where it was saved from; no secret.
    pub location: String,
    /// Files or tables.
    pub items: u64,
    pub rows: u64,
    pub bytes: u64,
    /// BLAKE3 of a single file, and of a database's list of contents, which has those of its other files. The hashes of `files` are in the run's
    /// ledger of the backup. Manifests of earlier versions have fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// BLAKE3 of the description of a single file: its mode, its time, where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What a backup says about itself. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    pub id: String,
    pub tenant: String,
    /// The migration that made it.
    pub run: String,
    /// That migration's name.
    pub name: String,
    pub state: BackupState,
    pub created: Timestamp,
    /// When retention removes it.
    pub expires: Timestamp,
    pub bytes: u64,
    pub parts: Vec<Part>,
}

impl Backup {
    pub fn part(&self, kind: &str) -> Option<&Part> {
        self.parts.iter().find(|p| p.kind == kind)
    }
}

/// `backup-20240826-143022-1f0c93ab`: the moment in UTC, and what tells the run from those that began a backup on another node at the same moment.
pub fn id_at(now: Timestamp, run: &str) -> String {
    let moment = now.to_zoned(TimeZone::UTC).strftime("backup-%Y%m%d-%H%M%S");
    format!("{moment}-{}", &blake3::hash(run.as_bytes()).to_hex()[..8])
}

/// The directory of a backup. An id that is no plain name is refused, so that it never leaves the backups' directory.
pub fn directory(settings: &Settings, id: &str) -> Result<PathBuf> {
    let plain = id.starts_with("backup-") && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !plain || id.len() > 64 {
        return Err(not_found(id));
    }
    Ok(settings.backups_dir.join(id))
}

/// The tenant's backups, newest first. Directories without a readable manifest are passed over.
pub async fn list(settings: &Settings, tenant: &str) -> Result<Vec<Backup>> {
    let mut found = all(settings).await?;
    found.retain(|b| b.tenant == tenant);
    Ok(found)
}

/// One backup of the tenant; a foreign one is `NotFound`.
pub async fn get(settings: &Settings, tenant: &str, id: &str) -> Result<Backup> {
    read(settings, id).await?.filter(|b| b.tenant == tenant).ok_or_else(|| not_found(id))
}

/// Removes a backup and everything in it. A missing one is `NotFound`.
pub async fn delete(settings: &Settings, tenant: &str, id: &str) -> Result<()> {
    get(settings, tenant, id).await?;
    remove(settings, id).await
}

/// The backups whose time is up, of every tenant. Whether their migrations may still need them is for the caller to ask, who knows the journal.
pub async fn expired(settings: &Settings, now: Timestamp) -> Result<Vec<Backup>> {
    let mut found = all(settings).await?;
    found.retain(|b| b.expires <= now);
    Ok(found)
}

/// The run's note that names its backup. It is written when the manifest is on disk, and never replaced: where it names a backup that is not here,
/// the backup was made, and is lost.
pub(crate) const NOTE: &str = "backup.id";
/// The name that was chosen, before anything of it was on disk.
const RESERVED: &str = "backup.reserved";

/// Begins the run's backup: pins the run to this node, reserves a name and writes the manifest.
/// Repeatable: the backup of an earlier try is begun again. One that was made and is not here is an error, never a reason to make another: what the
/// destination holds by now may be the migration's own work. `name` is the migration's.
pub(crate) async fn begin(settings: &Settings, cx: &StepContext, name: &str, retention_days: u32) -> StepResult<Backup> {
    cx.pin_to(&node::of(settings).map_err(step_error)?).await?;
    if let Some(id) = noted(cx, NOTE).await? {
        let found = read(settings, &id).await.map_err(step_error)?.filter(|b| b.run == cx.run_id());
        let found = found.ok_or_else(|| step_error(lost(&id)))?;
        return Ok(Backup { state: BackupState::Writing, parts: Vec::new(), bytes: 0, ..found });
    }
    let now = Timestamp::now();
    let id = match noted(cx, RESERVED).await? {
        Some(id) => id,
        None => id_at(now, cx.run_id()),
    };
    cx.remember(RESERVED, Some(json!(id))).await?;
    reserve(settings, &id).await.map_err(step_error)?;
    let backup = Backup {
        id,
        tenant: cx.tenant().to_owned(),
        run: cx.run_id().to_owned(),
        name: name.to_owned(),
        state: BackupState::Writing,
        created: now,
        expires: expiry(now, retention_days, 24),
        bytes: 0,
        parts: Vec::new(),
    };
    write(settings, &backup).await.map_err(step_error)?;
    cx.remember(NOTE, Some(json!(backup.id))).await?;
    Ok(backup)
}

async fn noted(cx: &StepContext, key: &str) -> StepResult<Option<String>> {
    Ok(cx.recall(key).await?.and_then(|id| id.as_str().map(str::to_owned)))
}

/// A backup that was made and is not here.
pub(crate) fn lost(id: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::NotFound, "find", format!("backup '{id}'"), "this migration made it, and it is not where this server keeps backups")
        .advice("Let the server go on that has it, or bring its directory back; without it nothing that was overwritten can be restored")
        .permanent()
}

/// When so many days of so many hours are over.
pub(crate) fn expiry(now: Timestamp, days: u32, hours: i64) -> Timestamp {
    now.saturating_add((i64::from(days) * hours).hours()).unwrap_or(Timestamp::MAX)
}

/// Removes the run's backup when nothing can be restored from it: one that was never verified, and one that is empty. What was saved late is counted
/// only when its pass has ended, so the disk is asked. Repeatable.
pub(crate) async fn discard_if_useless(settings: &Settings, id: &str) -> Result<()> {
    let kept = match read(settings, id).await? {
        Some(backup) if backup.state == BackupState::Verified => !backup.parts.is_empty() || holds_saved(&directory(settings, id)?).await?,
        _ => false,
    };
    if kept { Ok(()) } else { remove(settings, id).await }
}

/// Whether a part of the backup holds anything: each has a directory of its own.
async fn holds_saved(backup: &Path) -> Result<bool> {
    let failed = |e| file_error("read", backup, e);
    let mut entries = match tokio::fs::read_dir(backup).await {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(failed)?,
    };
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        if entry.file_type().await.map_err(failed)?.is_dir() && holds_files(entry.path()).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn holds_files(dir: PathBuf) -> Result<bool> {
    let (mut dirs, failed) = (vec![dir.clone()], |e| file_error("read", &dir, e));
    while let Some(next) = dirs.pop() {
        let mut entries = match tokio::fs::read_dir(next).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            opened => opened.map_err(failed)?,
        };
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            if !entry.file_type().await.map_err(failed)?.is_dir() {
                return Ok(true);
            }
            dirs.push(entry.path());
        }
    }
    Ok(false)
}

/// Writes down how saving ended: a backup that was read back is verified, one that failed for good says so. An interrupted one stays as it is, and is
/// begun again.
pub(crate) async fn conclude(settings: &Settings, backup: &mut Backup, saved: StepResult<()>) -> StepResult<()> {
    backup.state = match &saved {
        Ok(()) => BackupState::Verified,
        Err(e) if e.stopped || e.temporary => return saved,
        Err(_) => BackupState::Failed,
    };
    write(settings, backup).await.map_err(step_error)?;
    saved
}

/// Makes the backup's directory. Repeatable: the name is the run's own.
async fn reserve(settings: &Settings, id: &str) -> Result<()> {
    let dir = directory(settings, id)?;
    tokio::fs::create_dir_all(&settings.backups_dir).await.map_err(|e| file_error("make directory", &settings.backups_dir, e))?;
    let dir_for_task = dir.clone();
    let made = tokio::task::spawn_blocking(move || make_private(&dir_for_task)).await;
    match made.map_err(|e| ConnectorError::new(ErrorKind::Internal, "make directory", dir.display().to_string(), e.to_string()))? {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(file_error("make directory", &dir, e)),
        _ => Ok(()),
    }
}

/// A directory that only its owner may enter: backups hold passwords.
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(dir)
}

/// Writes the manifest whole or not at all, on disk when it returns.
pub(crate) async fn write(settings: &Settings, backup: &Backup) -> Result<()> {
    let dir = directory(settings, &backup.id)?;
    let text = serde_json::to_vec_pretty(backup).unwrap_or_default();
    write_file(&dir, MANIFEST, text).await
}

/// Writes a file of a backup through a temporary name, readable by its owner only.
pub(crate) async fn write_file(dir: &Path, name: &str, content: Vec<u8>) -> Result<()> {
    let (dir, path, staging) = (dir.to_owned(), dir.join(name), dir.join(format!(".{name}.new")));
    let (subject, staging_path) = (path.clone(), staging.clone());
    let written = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        std::fs::create_dir_all(&dir)?;
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staging_path)?;
        file.write_all(&content)?;
        file.sync_all()?;
        std::fs::rename(&staging_path, &path)?;
        // The names, too: of the file in its directory, and of the directory in the one above.
        std::fs::File::open(&dir)?.sync_all()?;
        dir.parent().map_or(Ok(()), |above| std::fs::File::open(above)?.sync_all())
    })
    .await;
    written
        .map_err(|e| ConnectorError::new(ErrorKind::Internal, "write", subject.display().to_string(), e.to_string()))?
        .map_err(|e| file_error("write", &subject, e))
}

/// A backup's manifest, whosever it is; `None` when there is none.
pub(crate) async fn read(settings: &Settings, id: &str) -> Result<Option<Backup>> {
    let path = directory(settings, id)?.join(MANIFEST);
    match tokio::fs::read(&path).await {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|e| ConnectorError::new(ErrorKind::Corrupt, "read", path.display().to_string(), e.to_string()).because(e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(file_error("read", &path, e)),
    }
}

/// Removes the directory: first the manifest, so that a half-removed backup is none. Absent is fine.
pub(crate) async fn remove(settings: &Settings, id: &str) -> Result<()> {
    let dir = directory(settings, id)?;
    for gone in [tokio::fs::remove_file(dir.join(MANIFEST)).await, tokio::fs::remove_dir_all(&dir).await] {
        match gone {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(file_error("remove", &dir, e)),
            _ => {}
        }
    }
    Ok(())
}

/// The backups of every tenant, newest first.
pub async fn all(settings: &Settings) -> Result<Vec<Backup>> {
    let mut entries = match tokio::fs::read_dir(&settings.backups_dir).await {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(file_error("read", &settings.backups_dir, e)),
    };
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(|e| file_error("read", &settings.backups_dir, e))? {
        if let Some(id) = entry.file_name().to_str()
            && let Ok(Some(backup)) = read(settings, id).await
        {
            found.push(backup);
        }
    }
    found.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
    Ok(found)
}

fn not_found(id: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::NotFound, "find", format!("backup '{}'", id.escape_default()), "there is no such backup")
        .advice("List the backups to see which exist; they are removed when their retention is over")
}

pub(crate) fn file_error(operation: &str, path: &Path, error: io::Error) -> ConnectorError {
    let (kind, advice) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::NoSpace, "Free space in the backup directory, then start again"),
        io::ErrorKind::PermissionDenied => (ErrorKind::Permission, "Give the worker's user access to the backup directory"),
        io::ErrorKind::NotFound => (ErrorKind::NotFound, ""),
        _ => (ErrorKind::Internal, ""),
    };
    ConnectorError::new(kind, operation, path.display().to_string(), error.to_string()).advice(advice).because(error)
}

#[cfg(test)]
#[path = "backups_tests.rs"]
mod tests;
