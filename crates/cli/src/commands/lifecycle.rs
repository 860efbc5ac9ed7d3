//! `resume`, `pause`, `cancel`: ask, and wait until it is so.

use super::{Session, path};
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, Follow, OnSignal, Status};
use serde_json::json;

impl Session<'_> {
    pub(super) async fn state(&self, id: &str) -> Result<Status, Failure> {
        Ok(Status::of(self.door.get(&path(id, "/status")).await?))
    }

    /// Goes on with whatever is not finished: a process that died left `running`, a pause left `paused`, an error left `failed`.
    pub async fn resume(&self, id: &str, detach: bool) -> Result<Exit, Failure> {
        let status = self.state(id).await?;
        match status.word() {
            "running" => self.output.note("It is running: following it."),
            "interrupted" if !status.goes_back() && self.door.address().is_some() => {
                self.output.note("It was interrupted: following it, it goes on by itself as soon as its server takes it up.");
            }
            "interrupted" if !status.goes_back() => {}
            "rolling_back" | "interrupted" => {
                let ended = self.watch(id, &[], OnSignal::Leave).await?;
                // It failed, and took itself back: that is no success.
                let failed = matches!(&ended, Ended::AtRest(status) if status.word() == "failed");
                return if failed { self.migrated(ended).await } else { self.rolled_back(ended).await };
            }
            "created" => {
                self.post(&path(id, "/start"), &json!({"auto_rollback": true})).await?;
            }
            _ => {
                self.door.post(&path(id, "/resume"), &json!({})).await?;
            }
        }
        if detach {
            self.output.result(Exit::Ok, json!({"session_id": id, "status": "running"}));
            return Ok(Exit::Ok);
        }
        let ended = self.watch(id, &[], self.on_signal()).await?;
        self.migrated(ended).await
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
    pub(super) async fn settled(&self, id: &str, wanted: &str, words: &str) -> Result<Exit, Failure> {
        let ended = self.watch(id, &[wanted], OnSignal::Leave).await?;
        match ended {
            Ended::AtRest(status) if status.word() == wanted => {
                self.output.say(words);
                self.output.result(Exit::Ok, json!({"session_id": id, "status": wanted, "migration": status.0}));
                Ok(Exit::Ok)
            }
            other => self.migrated(other).await,
        }
    }

    pub(super) async fn watch(&self, id: &str, until: &[&str], on_signal: OnSignal) -> Result<Ended, Failure> {
        self.follower(id, on_signal, until, None).run().await
    }

    pub(super) fn follower<'f>(&'f self, id: &'f str, on_signal: OnSignal, until: &'f [&'f str], after: Option<u64>) -> Follow<'f> {
        Follow { door: self.door, output: self.output, signals: self.signals.clone(), id, on_signal, until, after }
    }
}
