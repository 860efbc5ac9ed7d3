//! What came out of a migration: the words, the final JSON, the exit code, and how to go on.

use super::{Session, path};
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, Status};
use serde_json::{Value, json};

/// Names of kept files under a rollback; `--json` has all.
const KEPT_SHOWN: usize = 20;

impl Session<'_> {
    /// The result of following a migration on its way forward.
    pub async fn migrated(&self, ended: Ended) -> Result<Exit, Failure> {
        let status = match ended {
            Ended::AtRest(status) => status,
            Ended::Paused(status) => return Ok(self.paused(&status)),
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
            "interrupted" => Err(Failure::new(Exit::Failed, "INTERRUPTED", format!("Migration {id} was interrupted, and nobody works on it"))
                .advice(format!("Go on: {}", self.command(&format!("resume {id}"))))),
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

    /// The last line is the command that goes on.
    fn paused(&self, status: &Status) -> Exit {
        let id = status.id();
        self.output.note(&format!(
            "Interrupted: the migration is paused. The source goes on, and what has arrived is kept.\n  take it back: {}\n  go on:        {}",
            self.command(&format!("rollback {id}")),
            self.command(&format!("resume {id}"))
        ));
        self.output.result(Exit::Interrupted, json!({"session_id": id, "status": status.word(), "migration": status.0}));
        Exit::Interrupted
    }

    fn left(&self, status: &Status) -> Exit {
        let id = status.id();
        let words = match self.door.address() {
            Some(_) => format!(
                "Left. The server goes on.\n  stop it:   {}\n  follow it: {}",
                self.command(&format!("pause {id}")),
                self.command(&format!("status {id} --watch"))
            ),
            None => format!("Interrupted. Nothing is lost.\n  go on: {}", self.command(&format!("resume {id}"))),
        };
        self.output.note(&words);
        self.output.result(Exit::Interrupted, json!({"session_id": id, "status": status.word(), "migration": status.0}));
        Exit::Interrupted
    }

    /// Left before it is known whether it has started.
    pub fn left_early(&self, id: &str) -> Exit {
        self.left(&Status::of(json!({"session_id": id, "status": "interrupted"})))
    }

    /// The result of following a rollback, from what the rollback itself has recorded.
    pub async fn rolled_back(&self, ended: Ended) -> Result<Exit, Failure> {
        let status = match ended {
            Ended::AtRest(status) => status,
            Ended::Paused(status) | Ended::Left(status) => return Ok(self.left(&status)),
        };
        if !status.is_rolled_back() {
            let again = self.command(&format!("rollback {}", status.id()));
            return Err(self
                .letter(&status, "The migration could not be taken back wholly")
                .advice(format!("Remove the cause named above, then try again: {again}")));
        }
        let taken_back = TakenBack::of(&status);
        for line in taken_back.lines() {
            self.output.say(&line);
        }
        self.output.say(&format!("Details: {}", self.command(&format!("logs {}", status.id()))));
        let exit = taken_back.exit();
        self.output.result(exit, json!({"session_id": status.id(), "status": status.word(), "migration": status.0}));
        Ok(exit)
    }
}

/// What a rollback says it has done: the status field `rollback`, with what it `kept` and what it `saved` before.
struct TakenBack<'a> {
    facts: &'a Value,
}

impl<'a> TakenBack<'a> {
    fn of(status: &'a Status) -> Self {
        Self { facts: &status.0["rollback"] }
    }

    fn list(&self, name: &str) -> &'a [Value] {
        self.facts[name].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn kept(&self) -> u64 {
        self.facts["kept_count"].as_u64().unwrap_or_else(|| self.list("kept").len() as u64)
    }

    fn exit(&self) -> Exit {
        if self.kept() > 0 { Exit::Partial } else { Exit::Ok }
    }

    fn lines(&self) -> Vec<String> {
        let kept = self.kept();
        let headline = match (kept, self.facts.is_object()) {
            (0, true) => "Rolled back: source and destination are as they were before.".to_owned(),
            (0, false) => "Rolled back: what the migration had changed was taken back.".to_owned(),
            (n, _) => format!("Rolled back, except for what was changed since: {n} kept as they are now."),
        };
        let text = |item: &Value| match item {
            Value::String(text) => text.clone(),
            other => {
                let name = ["path", "name", "table"].into_iter().find_map(|field| other[field].as_str()).unwrap_or_default();
                other["reason"].as_str().map_or_else(|| name.to_owned(), |reason| format!("{name}: {reason}"))
            }
        };
        let mut lines = vec![headline];
        let shown = self.list("kept").iter().take(KEPT_SHOWN);
        lines.extend(shown.map(|item| format!("Kept:      {}", text(item))));
        lines.extend((kept > KEPT_SHOWN as u64).then(|| format!("           … and {} more", kept - KEPT_SHOWN as u64)));
        lines.extend(self.list("saved").iter().map(|item| format!("Saved:     {}", text(item))));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(facts: &Value) -> (Exit, Vec<String>) {
        let status = Status::of(json!({"status": "rolled_back", "rollback": facts}));
        let taken_back = TakenBack::of(&status);
        (taken_back.exit(), taken_back.lines())
    }

    #[test]
    fn as_before_is_said_only_of_a_rollback_that_recorded_it() {
        assert_eq!(told(&Value::Null), (Exit::Ok, vec!["Rolled back: what the migration had changed was taken back.".to_owned()]));
        assert_eq!(told(&json!({"kept": []})), (Exit::Ok, vec!["Rolled back: source and destination are as they were before.".to_owned()]));
    }

    #[test]
    fn a_rollback_that_kept_files_is_partial_and_names_them() {
        let (exit, lines) = told(&json!({"kept": [{"path": "a.txt", "reason": "edited since"}], "kept_count": 1, "saved": ["orders in backup b1"]}));
        assert_eq!(exit, Exit::Partial);
        assert_eq!(
            lines,
            ["Rolled back, except for what was changed since: 1 kept as they are now.", "Kept:      a.txt: edited since", "Saved:     orders in backup b1"]
        );
    }
}
