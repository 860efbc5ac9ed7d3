//! Saves tables of the destination into the run's backup at the moment in which they are dropped, if they are not what was saved before.

use super::backup::{add_verified, is_kind, next_kind, or_begun, own, save_database};
use super::job::Job;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::backups;
use engine::{StepContext, StepError};
use movers::databases::{TableKeeper, saved_fingerprint};
use ports::databases::{Database, Fingerprint, ObjectName};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Observer, Result};
use serde_json::json;
use std::sync::Arc;

pub struct BackupTables<'a> {
    pub job: &'a Job,
    pub cx: &'a StepContext,
    pub observer: &'a RunObserver,
    pub database: Arc<dyn Database>,
    /// The kind of part that holds them: `database` for what the migration replaces, `later-database` for what a rollback takes away.
    pub kind: &'static str,
}

#[async_trait::async_trait]
impl TableKeeper for BackupTables<'_> {
    async fn kept(&self, table: &ObjectName) -> Result<Vec<Fingerprint>> {
        let Some(backup) = own(self.job, self.cx).await.map_err(told)? else { return Ok(Vec::new()) };
        let dir = backups::directory(&self.job.settings, &backup.id)?;
        let mut found = Vec::new();
        for part in backup.parts.iter().filter(|p| is_kind(&p.kind, self.kind)) {
            found.extend(saved_fingerprint(&dir.join(&part.kind), table).await?);
        }
        Ok(found)
    }

    async fn keep(&self, table: &ObjectName) -> Result<()> {
        let directory = self.save(table).await.map_err(told)?;
        let message = format!("Table {table} was changed by others just before it was to be dropped: it was saved as it is into {directory}");
        self.observer.log(Level::Warning, "backup", message, json!({"table": table}));
        Ok(())
    }
}

impl BackupTables<'_> {
    async fn save(&self, table: &ObjectName) -> StepResult<String> {
        let mut backup = or_begun(own(self.job, self.cx).await?, self.job, self.cx).await?;
        let kind = next_kind(&backup, self.kind);
        let dir = backups::directory(&self.job.settings, &backup.id).map_err(step_error)?.join(&kind);
        let part = save_database(&kind, &self.database, Some(std::slice::from_ref(table)), &dir, self.observer, self.cx).await?;
        add_verified(self.job, &mut backup, part).await?;
        Ok(dir.display().to_string())
    }
}

fn told(error: StepError) -> ConnectorError {
    let mut out = ConnectorError::new(ErrorKind::Internal, "save", "a table of the destination", error.message.clone());
    out.temporary = error.temporary;
    out
}
