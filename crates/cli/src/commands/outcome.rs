//! What came out of a migration: the words, the final JSON, the exit code, and how to go on.

use super::{Session, path};
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, Status};
use serde_json::{Value, json};

impl Session<'_> {
    /// The result of following a migration on its way forward.
    pub async fn migrated(&self, ended: Ended) -> Result<Exit, Failure> {
        let status = match ended {
            Ended::AtRest(status) => status,
            Ended::Cancelled(status) => return Ok(self.interrupted(&status)),
            Ended::Left(status) => return Ok(self.left(&status)),
        };
        let id = status.id().to_owned();
        match status.word() {
            "completed" => Ok(self.completed(&status).await),
            "rolled_back" => Err(self.letter(&status, "The migration was taken back because somebody asked for it")),
            "failed" if status.is_rolled_back() => Err(self.letter(&status, "The migration failed, and everything was taken back")),
            "paused" => {
                Err(Failure::new(Exit::Failed, "PAUSED", format!("Migration {id} was paused"))
                    .advice(format!("Go on: {}", self.command(&format!("resume {id}")))))
            }
            "cancelled" => Err(Failure::new(Exit::Failed, "CANCELLED", format!("Migration {id} was cancelled"))
                .advice(format!("Take back what was done: {}", self.command(&format!("rollback {id}"))))),
            "stuck" => Err(self
                .letter(&status, "The migration failed, and taking it back failed too")
                .advice(format!("Remove the cause named above, then try again: {}", self.command(&format!("rollback {id}"))))),
            _ => Err(self.letter(&status, "The migration failed").advice(format!(
                "Remove the cause and go on where it stopped: {}\n      or take it back: {}",
                self.command(&format!("resume {id}")),
                self.command(&format!("rollback {id}"))
            ))),
        }
    }

    async fn completed(&self, status: &Status) -> Exit {
        let id = status.id();
        // The result is the status; a report that cannot be had now takes nothing away from it.
        let report = self.door.get(&path(id, "/report")).await.unwrap_or(Value::Null);
        let partial = status.0["partial"].as_bool().unwrap_or(false);
        let exit = if partial { Exit::Partial } else { Exit::Ok };
        let how = if partial { "Completed, but something was left behind" } else { "Completed" };
        let time = status.0["duration"].as_f64().map(|d| format!(" in {}", domain::units::duration(d))).unwrap_or_default();
        self.output.say(&format!("{how}{time}: {}", status.figures()));
        for line in super::report::under_a_finished_migration(&report) {
            self.output.say(&line);
        }
        self.output.say(&format!("Details:   {}", self.command(&format!("report {id}"))));
        self.output.say(&format!("Take back: {}", self.command(&format!("rollback {id}"))));
        if let Some(address) = self.door.address() {
            self.output.say(&format!("Console:   {address}/console"));
        }
        self.output.result(exit, json!({"session_id": id, "status": status.word(), "migration": status.0, "report": report}));
        exit
    }

    /// The migration's own error under a headline of ours.
    pub fn letter(&self, status: &Status, headline: &str) -> Failure {
        let mut failure = status.failure().unwrap_or_else(|| Failure::new(Exit::Failed, "UNKNOWN", "no reason was recorded"));
        let why = std::mem::replace(&mut failure.message, headline.to_owned());
        failure.lines = why.lines().map(str::to_owned).collect();
        failure.lines.push(format!("log: {}", self.command(&format!("logs {}", status.id()))));
        failure
    }

    fn interrupted(&self, status: &Status) -> Exit {
        let id = status.id();
        self.output.note(&format!(
            "Cancelled. What was moved so far is still there.\n  take it back: {}\n  or run the same migrate command again: what has arrived is recognised and not sent twice",
            self.command(&format!("rollback {id}"))
        ));
        self.output.result(Exit::Interrupted, json!({"session_id": id, "status": status.word(), "migration": status.0}));
        Exit::Interrupted
    }

    fn left(&self, status: &Status) -> Exit {
        let id = status.id();
        let words = match self.door.address() {
            Some(_) => format!("Left. The server goes on: {}", self.command(&format!("status {id} --watch"))),
            None => format!("Left at once. Work resumes where it stopped: {}", self.command(&format!("migrate --resume {id}"))),
        };
        self.output.note(&words);
        self.output.result(Exit::Interrupted, json!({"session_id": id, "status": status.word(), "migration": status.0}));
        Exit::Interrupted
    }

    /// The result of following a rollback.
    pub fn rolled_back(&self, ended: Ended) -> Result<Exit, Failure> {
        let status = match ended {
            Ended::AtRest(status) => status,
            Ended::Cancelled(status) | Ended::Left(status) => return Ok(self.left(&status)),
        };
        if !status.is_rolled_back() {
            let again = self.command(&format!("rollback {}", status.id()));
            return Err(self
                .letter(&status, "The migration could not be taken back wholly")
                .advice(format!("Remove the cause named above, then try again: {again}")));
        }
        self.output.say("Rolled back: source and destination are as they were before.");
        self.output.say(&format!("Details: {}", self.command(&format!("logs {}", status.id()))));
        self.output.result(Exit::Ok, json!({"session_id": status.id(), "status": status.word(), "migration": status.0}));
        Ok(Exit::Ok)
    }
}
