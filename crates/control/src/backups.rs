//! Backups as users see them: list, look, delete.

use crate::error::{Code, Kind};
use crate::{Control, Error, time};
use plans::backups::{self, Backup, BackupState};
use ports::{ConnectorError, ErrorKind};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// A backup of what a migration replaced.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BackupView {
    #[schema(example = "backup-20240826-143022")]
    pub backup_id: String,
    /// The same as `backup_id`.
    pub id: String,
    /// The migration that made it.
    pub session_id: String,
    /// That migration's name.
    pub name: String,
    /// `writing`, `verified` (it was read back and compared) or `failed`.
    #[schema(example = "verified")]
    pub status: &'static str,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    /// When retention removes it.
    pub expires_at: String,
    #[schema(example = "1.2 GB")]
    pub size: String,
    pub size_bytes: u64,
    pub parts: Vec<BackupPart>,
}

/// One part of a backup.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BackupPart {
    /// `files`, `database`, `source_database` or `configuration`.
    #[schema(example = "database")]
    pub kind: String,
    /// Where it was saved from.
    pub location: String,
    /// Files or tables.
    pub items: u64,
    pub rows: u64,
    pub size_bytes: u64,
}

/// Answer of `DELETE /backups/{id}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BackupDeleted {
    #[schema(example = "backup-20240826-143022")]
    pub backup_id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
    pub message: &'static str,
}

impl From<Backup> for BackupView {
    fn from(backup: Backup) -> Self {
        Self {
            backup_id: backup.id.clone(),
            id: backup.id,
            session_id: backup.run,
            name: backup.name,
            status: match backup.state {
                BackupState::Writing => "writing",
                BackupState::Verified => "verified",
                BackupState::Failed => "failed",
            },
            created_at: time::text(backup.created),
            expires_at: time::text(backup.expires),
            size: domain::units::size(backup.bytes),
            size_bytes: backup.bytes,
            parts: backup
                .parts
                .into_iter()
                .map(|p| BackupPart { kind: p.kind, location: p.location, items: p.items, rows: p.rows, size_bytes: p.bytes })
                .collect(),
        }
    }
}

impl Control {
    /// Removes backups whose retention is over and that no migration may still need, of every tenant; gives their ids. Repeatable; a server calls it now and then.
    pub async fn enforce_retention(&self) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for backup in backups::expired(self.settings(), jiff::Timestamp::now()).await.map_err(|e| of_backups(e, ""))? {
            if self.user_of(&backup).await?.is_some() {
                continue;
            }
            match backups::delete(self.settings(), &backup.tenant, &backup.id).await {
                Ok(()) => removed.push(backup.id),
                // Another call was faster.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(of_backups(error, &backup.id)),
            }
        }
        Ok(removed)
    }

    /// The migration that may still need the backup: one that is at work or paused, and one that is neither complete nor taken back.
    async fn user_of(&self, backup: &Backup) -> Result<Option<engine::RunView>, Error> {
        use engine::RunState::{Cancelled, Failed, Paused, RollingBack, Running, Scheduled, Stuck};
        let view = self.view_if_there(&backup.tenant, &backup.run).await?;
        Ok(view.filter(|view| matches!(view.state, Running | Scheduled | Paused | Failed | Cancelled | RollingBack | Stuck)))
    }

    /// Newest first. What has expired is removed before it could be shown.
    pub async fn backups(&self, tenant: &str) -> Result<Vec<BackupView>, Error> {
        self.enforce_retention().await?;
        let found = backups::list(self.settings(), tenant).await.map_err(|e| of_backups(e, ""))?;
        Ok(found.into_iter().map(BackupView::from).collect())
    }

    pub async fn backup(&self, tenant: &str, id: &str) -> Result<BackupView, Error> {
        Ok(backups::get(self.settings(), tenant, id).await.map_err(|e| of_backups(e, id))?.into())
    }

    /// Removes a backup. Not while its migration is at work, paused, or failed or cancelled without having been taken back: it may be needed any moment.
    pub async fn delete_backup(&self, tenant: &str, id: &str) -> Result<BackupDeleted, Error> {
        let backup = backups::get(self.settings(), tenant, id).await.map_err(|e| of_backups(e, id))?;
        if let Some(view) = self.user_of(&backup).await? {
            let message = format!(
                "Migration {} is {} and may need this backup; delete it when that is complete or rolled back, or delete the migration first",
                view.id,
                view.state.word().replace('_', " ")
            );
            return Err(Error::new(Kind::Conflict, Code::BackupUnusable, message)
                .details(json!({"backup_id": id, "session_id": view.id, "current_status": view.state.word()})));
        }
        backups::delete(self.settings(), tenant, id).await.map_err(|e| of_backups(e, id))?;
        Ok(BackupDeleted { backup_id: id.to_owned(), status: "deleted", message: "Backup deleted" })
    }

    /// Checks that a backup named in a rollback is this migration's own and whole.
    pub(crate) async fn backup_of_migration(&self, tenant: &str, migration: &str, id: &str) -> Result<(), Error> {
        let backup = backups::get(self.settings(), tenant, id).await.map_err(|e| of_backups(e, id))?;
        let unusable =
            |message: String| Err(Error::new(Kind::Conflict, Code::BackupUnusable, message).details(json!({"backup_id": id, "session_id": migration})));
        if backup.run != migration {
            return unusable(format!("Backup {id} belongs to another migration"));
        }
        match backup.state {
            BackupState::Verified => Ok(()),
            BackupState::Writing | BackupState::Failed => {
                unusable(format!("Backup {id} was never completed and restores nothing; leave backup_id out to take the migration back without it"))
            }
        }
    }
}

fn of_backups(error: ConnectorError, id: &str) -> Error {
    match error.kind {
        ErrorKind::NotFound => Error::backup_not_found(id),
        _ => Error::internal(error.to_string()),
    }
}
