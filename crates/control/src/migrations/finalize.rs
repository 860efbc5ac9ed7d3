//! Giving up the way back: the end of a migration that was tried out and found good.
//!
//! The mark comes first, in one transaction with the removal of the journal's rows that only a rollback reads: from then on nobody can begin one.
//! Backups go behind it, at once where this server has them; what a crash or another server leaves is removed by the hourly housekeeping.

use super::listing::Detail;
use crate::caller::{Caller, Proof};
use crate::templates::masks::mask;
use crate::{Control, Error};
use plans::backups::{self, Backup};
use ports::ConnectorError;

impl Control {
    /// Gives up the way back of a completed migration and removes its backups. Repeatable: the first one counts.
    pub async fn finalize(&self, caller: &Caller, id: &str) -> Result<Detail, Error> {
        self.steerable(&caller.tenant, id, "finalise").await?;
        let by = (caller.proof != Proof::None).then(|| caller.name.clone());
        self.engine().finalize(&caller.tenant, id, by).await.map_err(|e| Error::of_engine(e, id, "finalise"))?;
        // Nobody connects to its systems with what it kept any more.
        let shown = mask(&self.document(&caller.tenant, id).await?);
        self.engine().forget_secrets(&caller.tenant, id, &shown).await.map_err(|e| Error::of_engine(e, id, "finalise"))?;
        let all = backups::list(self.settings(), &caller.tenant).await.map_err(internal)?;
        self.remove_backups(all.into_iter().filter(|b| b.run == id)).await?;
        self.get(&caller.tenant, id).await
    }

    /// Removes backups of migrations that were finalised, of every tenant; gives their ids. Repeatable; a server calls it now and then.
    pub async fn remove_backups_given_up(&self) -> Result<Vec<String>, Error> {
        let mut given_up = Vec::new();
        for backup in backups::all(self.settings()).await.map_err(internal)? {
            if self.view_if_there(&backup.tenant, &backup.run).await?.is_some_and(|view| view.finalized.is_some()) {
                given_up.push(backup);
            }
        }
        self.remove_backups(given_up.into_iter()).await
    }

    async fn remove_backups(&self, all: impl Iterator<Item = Backup>) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for backup in all {
            match backups::delete(self.settings(), &backup.tenant, &backup.id).await {
                // Another call was faster.
                Err(e) if e.kind == ports::ErrorKind::NotFound => {}
                other => other.map_err(internal)?,
            }
            removed.push(backup.id);
        }
        Ok(removed)
    }
}

fn internal(error: ConnectorError) -> Error {
    Error::internal(error.to_string())
}
