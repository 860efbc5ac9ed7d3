//! What a rollback would do now, and the refusal of one that cannot succeed or would take other people's rows along unasked.

use super::life::Restore;
use super::{KIND, RollbackOptions};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use engine::{RunState, RunView};
use plans::application::{FilesUndone, PathProblem, RollbackPreview, Wanted, rollback_preview};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// A table at the destination that somebody has changed since the migration wrote it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChangedTable {
    #[schema(example = "wp_comments")]
    pub table: String,
    /// Rows that the migration wrote, and rows that are there now.
    #[schema(example = 120)]
    pub rows_written: u64,
    #[schema(example = 123)]
    pub rows_now: u64,
    /// Key ranges that differ, and all of the table.
    #[schema(example = 1)]
    pub ranges_changed: u64,
    #[schema(example = 4)]
    pub ranges: u64,
}

/// A file or link, and why.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NamedFile {
    #[schema(example = "wp-content/uploads/2024/08/image.jpg")]
    pub path: String,
    #[schema(example = "it was changed at the destination after the migration wrote it")]
    pub reason: String,
}

/// What a rollback would do to files and links. Directories are not counted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FilesPreview {
    /// Put back from the backup.
    #[schema(example = 3)]
    pub restored: u64,
    #[schema(example = 120)]
    pub removed: u64,
    /// Left alone because somebody changed them since: how many, and the first of them. With `discard_later_changes` they are saved and taken back, too.
    #[schema(example = 1)]
    pub kept_total: u64,
    pub kept: Vec<NamedFile>,
    /// That cannot be put back: how many, and the first of them.
    #[schema(example = 0)]
    pub lost_total: u64,
    pub lost: Vec<NamedFile>,
}

impl From<FilesUndone> for FilesPreview {
    fn from(found: FilesUndone) -> Self {
        let named = |p: &PathProblem| NamedFile { path: p.path.to_string(), reason: p.reason.clone() };
        Self {
            restored: found.restored,
            removed: found.removed,
            kept_total: found.kept.count,
            kept: found.kept.listed.iter().map(named).collect(),
            lost_total: found.not_restored.count,
            lost: found.not_restored.listed.iter().map(named).collect(),
        }
    }
}

/// What a rollback would find now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Preview {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// Nothing that a rollback needs is missing.
    #[schema(example = true)]
    pub possible: bool,
    /// Why it cannot succeed.
    pub reasons: Vec<String>,
    /// The backup that would be restored from; null: nothing was overwritten, or without a backup.
    #[schema(example = "backup-20240826-143022")]
    pub backup_id: Option<String>,
    /// What would become of files, by size and time; null: the migration has none, or it cannot be told beforehand.
    pub files: Option<FilesPreview>,
    /// Tables with later changes. A rollback is refused because of them unless `discard_later_changes` is true; then they are saved first.
    pub tables: Vec<ChangedTable>,
    /// When the passes that counted ended; null: never.
    #[schema(example = "2024-08-26T14:30:22Z")]
    pub cutover_at: Option<String>,
}

impl Control {
    /// Looks at the backup and at every file, and compares the destination's tables with what was written. Reads only; as long as a table is large.
    pub async fn rollback_preview(&self, tenant: &str, id: &str) -> Result<Preview, Error> {
        let view = self.steerable(tenant, id, "look at the rollback of").await?;
        let found = self.look_before_rollback(tenant, &view, &RollbackOptions::default(), true).await?;
        Ok(shown(id, found))
    }

    /// Refuses what cannot succeed, and what would discard rows that others wrote after the migration had completed.
    pub(super) async fn refuse_rollback(&self, tenant: &str, view: &RunView, asked: &RollbackOptions) -> Result<(), Error> {
        let asks_for_nothing_new = !matches!(view.state, RunState::Completed | RunState::Failed | RunState::Cancelled | RunState::Paused);
        if asks_for_nothing_new || view.finalized.is_some() {
            return Ok(());
        }
        let found = self.look_before_rollback(tenant, view, asked, false).await?;
        if let Some(reason) = found.reasons.first() {
            let message = format!("Cannot roll this migration back: {reason}. Nothing was touched");
            return Err(Error::new(Kind::Conflict, Code::BackupUnusable, message).details(json!({"session_id": view.id, "reasons": found.reasons})));
        }
        // What never went live has no later rows that somebody counts on: they are saved, and it goes back.
        if view.state != RunState::Completed || asked.discard_later_changes || found.tables.is_empty() {
            return Ok(());
        }
        Err(later_changes(&view.id, found))
    }

    async fn look_before_rollback(&self, tenant: &str, view: &RunView, asked: &RollbackOptions, look_at_files: bool) -> Result<RollbackPreview, Error> {
        if view.kind != KIND {
            return Ok(RollbackPreview::nothing_to_compare());
        }
        let document = self.document(tenant, &view.id).await?;
        let Restore { files, database, configuration } = asked.rollback_options;
        let wanted = Wanted { backup: asked.backup_id.clone(), files, database, configuration, look_at_files };
        rollback_preview(self.settings(), self.engine(), view, &document, &wanted).await.map_err(|e| {
            let message = format!("It cannot be told what a rollback would take back: {e}. Nothing was touched");
            Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": view.id, "retryable": e.temporary}))
        })
    }
}

fn later_changes(id: &str, found: RollbackPreview) -> Error {
    let shown = shown(id, found);
    let named: Vec<String> = shown.tables.iter().take(5).map(|t| format!("{} ({} rows then, {} now)", t.table, t.rows_written, t.rows_now)).collect();
    let since = shown.cutover_at.as_deref().map(|at| format!(" since {at}")).unwrap_or_default();
    let message = format!(
        "Cannot roll this migration back: {} tables at the destination were changed by others{since}: {}. Nothing was touched. With discard_later_changes they \
         are saved first and then taken back",
        shown.tables.len(),
        named.join(", ")
    );
    Error::new(Kind::Conflict, Code::LaterChanges, message)
        .details(json!({"session_id": id, "tables": shown.tables, "cutover_at": shown.cutover_at, "backup_id": shown.backup_id}))
}

fn shown(id: &str, found: RollbackPreview) -> Preview {
    let table = |t: plans::application::TableChange| ChangedTable {
        table: t.table.to_string(),
        rows_written: t.rows_written,
        rows_now: t.rows_now,
        ranges_changed: t.ranges_changed,
        ranges: t.ranges,
    };
    Preview {
        session_id: id.to_owned(),
        possible: found.possible,
        reasons: found.reasons,
        backup_id: found.backup,
        files: found.files.map(FilesPreview::from),
        tables: found.tables.into_iter().map(table).collect(),
        cutover_at: found.cutover_at,
    }
}
