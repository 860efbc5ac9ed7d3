//! What a rollback would do now: whether it can succeed, and what people wrote at the destination since. Reads only.

use super::backup::{check_restorable, store_of_files};
use super::job::{ledgers, notes, undoer_of};
use crate::Settings;
use crate::adapters::ReadLedger;
use crate::backups::{self, BackupState};
use crate::site::{Site, database_options};
use crate::survey::Quiet;
use domain::spec::MigrationSpec;
use engine::{Engine, EngineError, RunView};
use movers::databases::{DatabaseMover, DatabasePlan, TableChange};
use movers::files::{FilesBackup, FilesUndone};
use ports::{ConnectorError, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// What is to be taken back.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub backup: Option<String>,
    pub files: bool,
    pub database: bool,
    pub configuration: bool,
    /// Look at every file, too.
    pub look_at_files: bool,
}

/// See the module's comment.
#[derive(Debug, Clone, Serialize)]
pub struct RollbackPreview {
    /// Nothing that a rollback needs is missing. Tables with later changes do not count here: they refuse it unless discarding is asked for.
    pub possible: bool,
    /// Why it is not.
    pub reasons: Vec<String>,
    /// The backup that would be restored from.
    pub backup: Option<String>,
    /// What would become of files and links; `None` where nobody asked, or where it cannot be told beforehand.
    pub files: Option<FilesUndone>,
    /// Tables that somebody has changed since this migration wrote them.
    pub tables: Vec<TableChange>,
    /// When the passes that counted ended: what was written later was written by others.
    pub cutover_at: Option<String>,
}

impl RollbackPreview {
    /// Of a run whose steps compare for themselves.
    pub fn nothing_to_compare() -> Self {
        Self { possible: true, reasons: Vec::new(), backup: None, files: None, tables: Vec::new(), cutover_at: None }
    }
}

/// Looks at the run's backup and, for a database, compares every table that the run made with what it wrote.
///
/// # Errors
/// When the destination's database cannot be reached, or the journal cannot be read.
pub async fn rollback_preview(settings: &Settings, engine: &Engine, view: &RunView, document: &Value, wanted: &Wanted) -> Result<RollbackPreview> {
    let reader = Reader { engine, view };
    if lies_elsewhere(settings, view)? {
        // Its own node proves the way back and saves later rows when it takes the run back.
        return Ok(RollbackPreview { cutover_at: cutover(view), ..RollbackPreview::nothing_to_compare() });
    }
    let (backup, reasons) = look_at_backup(settings, &reader, document, wanted).await?;
    let tables = if wanted.database { changed_tables(settings, &reader, document).await? } else { Vec::new() };
    let files = if wanted.look_at_files && wanted.files { undone_files(settings, &reader, document, backup.as_deref()).await? } else { None };
    Ok(RollbackPreview { possible: reasons.is_empty(), reasons, backup, files, tables, cutover_at: cutover(view) })
}

/// Whether the run's backup is kept by another server.
fn lies_elsewhere(settings: &Settings, view: &RunView) -> Result<bool> {
    match &view.pinned_to {
        Some(node) => Ok(*node != backups::node_of(settings)?),
        None => Ok(false),
    }
}

struct Reader<'a> {
    engine: &'a Engine,
    view: &'a RunView,
}

impl Reader<'_> {
    async fn memo<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let unreadable = |why: String| ConnectorError::new(ErrorKind::Internal, "read", format!("the run's note '{key}'"), why);
        let memo = self.engine.memo(&self.view.tenant, &self.view.id, "", key).await.map_err(|e: EngineError| unreadable(e.to_string()))?;
        memo.map(|value| serde_json::from_value(value).map_err(|e| unreadable(e.to_string()).permanent())).transpose()
    }

    fn ledger(&self, name: &str) -> ReadLedger {
        ReadLedger::new(self.engine, &self.view.tenant, &self.view.id, name)
    }

    fn output(&self, step: &str) -> Option<&Value> {
        self.view.steps.iter().find(|s| s.name == step)?.output.as_ref()
    }
}

/// The moment at which the counted standstill ended.
fn cutover(view: &RunView) -> Option<String> {
    let ended = |step: &str| view.steps.iter().find(|s| s.name == step)?.output.as_ref()?["standstill"]["ended"].as_str().map(str::to_owned);
    ended("files").or_else(|| ended("database"))
}

async fn look_at_backup(settings: &Settings, reader: &Reader<'_>, document: &Value, wanted: &Wanted) -> Result<(Option<String>, Vec<String>)> {
    let noted: Option<String> = reader.memo(notes::BACKUP).await?;
    let made = reader.output("backup").and_then(|o| o["backup"]["id"].as_str()).map(str::to_owned);
    let Some(id) = wanted.backup.clone().or(noted).or(made) else { return Ok((None, Vec::new())) };
    let reason = match backups::read(settings, &id).await? {
        Some(backup) if backup.tenant == reader.view.tenant && backup.run == reader.view.id => match backup.state {
            BackupState::Verified => {
                let (own, last) = (reader.ledger(ledgers::BACKUP), reader.ledger(ledgers::LAST_PASS));
                let checked = check_restorable(settings, &spec_of(document)?, &backup, wanted, (&own, &last)).await;
                checked.err().map(|e| format!("the backup '{id}' cannot be restored from: {e}"))
            }
            BackupState::Writing | BackupState::Failed => None,
        },
        _ => Some(format!("the backup '{id}' is not on this server any more: it was deleted, its retention is over, or it lies on another one")),
    };
    Ok((Some(id), reason.into_iter().collect()))
}

fn spec_of(document: &Value) -> Result<MigrationSpec> {
    MigrationSpec::decode(document).map_err(|e| ConnectorError::new(ErrorKind::Internal, "read", "the migration", crate::unreadable(e).to_string()))
}

/// `None`: the migration has no files.
async fn undone_files(settings: &Settings, reader: &Reader<'_>, document: &Value, backup: Option<&str>) -> Result<Option<FilesUndone>> {
    let spec = spec_of(document)?;
    let name: Option<String> = reader.memo(notes::DATABASE_NAME).await?;
    let Some(files) = Site::open_destination(&spec, name.as_deref(), settings.connectors.as_ref()).await?.files else { return Ok(None) };
    let saved = match backup {
        Some(id) => match backups::read(settings, id).await? {
            Some(found) if found.part("files").is_some() => Some(store_of_files(settings, &spec, &backups::directory(settings, id)?).await?),
            _ => None,
        },
        None => None,
    };
    let (bulk, last, own) = (reader.ledger(ledgers::FILES), reader.ledger(ledgers::LAST_PASS), reader.ledger(ledgers::BACKUP));
    let saved = saved.map(|store| FilesBackup { store, ledger: &own });
    let mover = undoer_of(files, &spec, &reader.view.id).await?;
    mover.preview_undo(&[&bulk, &last], saved, &Quiet::default(), &CancellationToken::new()).await.map(Some)
}

async fn changed_tables(settings: &Settings, reader: &Reader<'_>, document: &Value) -> Result<Vec<TableChange>> {
    let Some(plan) = reader.memo::<DatabasePlan>(notes::DATABASE_PLAN).await? else { return Ok(Vec::new()) };
    let spec = spec_of(document)?;
    let name: Option<String> = reader.memo(notes::DATABASE_NAME).await?;
    let doors = Site::open_destination(&spec, name.as_deref(), settings.connectors.as_ref()).await?;
    let Some(database) = doors.database else { return Ok(Vec::new()) };
    let ledger = reader.ledger(ledgers::TABLES);
    let mover = DatabaseMover::new(database.clone(), database, database_options(&spec));
    mover.later_changes(&plan, &ledger, &CancellationToken::new()).await
}
