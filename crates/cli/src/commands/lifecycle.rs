//! `resume`, `pause`, `cancel`, `rollback`: ask, and wait until it is so.

use super::{Session, path};
use crate::args::Rollback;
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, Follow, OnInterrupt, Status};
use serde_json::{Value, json};

impl Session<'_> {
    async fn state(&self, id: &str) -> Result<Status, Failure> {
        Ok(Status::of(self.door.get(&path(id, "/status")).await?))
    }

    /// Goes on with whatever is not finished: a process that died left `running`, a pause left `paused`, an error left `failed`.
    pub async fn resume(&self, id: &str, detach: bool) -> Result<Exit, Failure> {
        let status = self.state(id).await?;
        match status.word() {
            "running" => self.output.note("It is running: following it."),
            "interrupted" if !status.goes_back() => {
                self.output.note("It was interrupted: following it, it goes on by itself as soon as its server takes it up.")
            }
            "rolling_back" | "interrupted" => return self.rolled_back(self.watch(id, &[], OnInterrupt::Leave).await?),
            "created" => {
                self.door.post(&path(id, "/start"), &json!({"auto_rollback": true})).await?;
            }
            _ => {
                self.door.post(&path(id, "/resume"), &json!({})).await?;
            }
        }
        if detach {
            self.output.result(Exit::Ok, json!({"session_id": id, "status": "running"}));
            return Ok(Exit::Ok);
        }
        let follow = Follow { door: self.door, output: self.output, id, on_interrupt: OnInterrupt::Cancel, until: &[], after: None };
        self.migrated(follow.run().await?).await
    }

    pub async fn pause(&self, id: &str) -> Result<Exit, Failure> {
        self.door.post(&path(id, "/pause"), &json!({})).await?;
        self.settled(id, "paused", &format!("Paused. Go on: {}", self.command(&format!("resume {id}")))).await
    }

    pub async fn cancel(&self, id: &str) -> Result<Exit, Failure> {
        self.door.post(&path(id, "/cancel"), &json!({})).await?;
        self.settled(id, "cancelled", &format!("Cancelled. Take back what was done: {}", self.command(&format!("rollback {id}")))).await
    }

    /// Gives up the node that has the migration's backup.
    pub async fn release(&self, id: &str, force: bool) -> Result<Exit, Failure> {
        self.door.post(&path(id, "/release"), &json!({"force": force})).await?;
        self.output.say("Released: any server may work on it, without the backup that lies on its old node.");
        self.output.result(Exit::Ok, json!({"session_id": id, "status": "released"}));
        Ok(Exit::Ok)
    }

    /// Waits until the wish has come true; a migration that ended in the meantime is told as it is.
    async fn settled(&self, id: &str, wanted: &str, words: &str) -> Result<Exit, Failure> {
        let ended = self.watch(id, &[wanted], OnInterrupt::Leave).await?;
        match ended {
            Ended::AtRest(status) if status.word() == wanted => {
                self.output.say(words);
                self.output.result(Exit::Ok, json!({"session_id": id, "status": wanted, "migration": status.0}));
                Ok(Exit::Ok)
            }
            other => self.migrated(other).await,
        }
    }

    pub async fn rollback(&self, rollback: &Rollback) -> Result<Exit, Failure> {
        let id = &rollback.id;
        let options =
            json!({"restore_files": !rollback.keep_files, "restore_database": !rollback.keep_database, "restore_configuration": !rollback.keep_configuration});
        let mut body = json!({"rollback_options": options});
        if let Some(backup) = &rollback.backup_id {
            body["backup_id"] = json!(backup);
        }
        let before = self.state(id).await?;
        match before.word() {
            // The undo is under way already, by itself or by somebody else's wish.
            "rolling_back" => Value::Null,
            "interrupted" if before.goes_back() => Value::Null,
            "stuck" => self.door.post(&path(id, "/resolve"), &json!({})).await?,
            _ => self.door.post(&path(id, "/rollback"), &body).await?,
        };
        if rollback.detach {
            self.output.result(Exit::Ok, json!({"session_id": id, "status": "rollback_started"}));
            return Ok(Exit::Ok);
        }
        self.rolled_back(self.watch(id, &[], OnInterrupt::Leave).await?)
    }

    pub(super) async fn watch(&self, id: &str, until: &[&str], on_interrupt: OnInterrupt) -> Result<Ended, Failure> {
        Follow { door: self.door, output: self.output, id, on_interrupt, until, after: None }.run().await
    }
}
