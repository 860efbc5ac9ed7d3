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
        // What was kept and saved stands in the log; one that cannot be read takes nothing back, but nothing is promised then.
        // Warnings are asked for by themselves: behind thousands of other lines they would not be among the last.
        let log = self.door.get(&path(status.id(), "/logs?limit=1000")).await.unwrap_or(Value::Null);
        let warnings = self.door.get(&path(status.id(), "/logs?limit=1000&min_level=WARNING")).await.unwrap_or(Value::Null);
        let taken_back = TakenBack::of(&log, &warnings);
        for line in taken_back.lines() {
            self.output.say(&line);
        }
        self.output.say(&format!("Details: {}", self.command(&format!("logs {}", status.id()))));
        let exit = taken_back.exit();
        self.output.result(exit, json!({"session_id": status.id(), "status": status.word(), "migration": status.0}));
        Ok(exit)
    }
}

/// What a rollback has done, from its own lines in the log.
#[derive(Default)]
struct TakenBack {
    /// It has told what it did.
    told: bool,
    /// What is not as it was, and why.
    kept: Vec<String>,
    /// Where later changes were saved before they were taken back.
    saved: Vec<String>,
    /// What stays because somebody asked for that.
    asked: Vec<String>,
}

impl TakenBack {
    /// `log`: its last lines; `warnings`: its last warnings and errors.
    fn of(log: &Value, warnings: &Value) -> Self {
        let mut out = Self::default();
        let lines = |log: &Value| log["logs"].as_array().cloned().unwrap_or_default();
        let grave = |line: &Value| matches!(line["level"].as_str(), Some("WARNING" | "ERROR"));
        let plain = lines(log).into_iter().filter(|line| !grave(line));
        let told: Vec<Value> = plain.chain(lines(warnings).into_iter().filter(grave)).filter(|line| line["component"] == "rollback").collect();
        for line in told.iter().rev() {
            let message = line["message"].as_str().unwrap_or_default().to_owned();
            out.told = true;
            match line["level"].as_str() {
                Some("WARNING" | "ERROR") if message.contains("was saved") => out.saved.push(message),
                Some("WARNING" | "ERROR") => out.kept.push(message),
                _ if message.contains("as asked") => out.asked.push(message),
                _ => {}
            }
        }
        out
    }

    fn exit(&self) -> Exit {
        if self.kept.is_empty() { Exit::Ok } else { Exit::Partial }
    }

    fn lines(&self) -> Vec<String> {
        let headline = match (self.kept.len(), self.told && self.asked.is_empty()) {
            (0, true) if self.saved.is_empty() => "Rolled back: source and destination are as they were before.".to_owned(),
            (0, true) => "Rolled back: source and destination are as they were before; what was changed since was saved.".to_owned(),
            (0, false) => "Rolled back: what the migration had changed was taken back.".to_owned(),
            (n, _) => format!("Rolled back, except for what is named here ({n})."),
        };
        let mut lines = vec![headline];
        lines.extend(self.kept.iter().take(KEPT_SHOWN).map(|text| format!("Kept:      {text}")));
        lines.extend((self.kept.len() > KEPT_SHOWN).then(|| format!("           … and {} more", self.kept.len() - KEPT_SHOWN)));
        lines.extend(self.saved.iter().map(|text| format!("Saved:     {text}")));
        lines.extend(self.asked.iter().map(|text| format!("Left:      {text}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(&str, &str)]) -> (Exit, Vec<String>) {
        let line = |(level, message): &(&str, &str)| json!({"component": "rollback", "level": level, "message": message});
        let log = json!({"logs": lines.iter().map(line).collect::<Vec<_>>()});
        let taken_back = TakenBack::of(&log, &log);
        (taken_back.exit(), taken_back.lines())
    }

    #[test]
    fn as_before_is_said_only_of_a_rollback_that_told_so() {
        let whole = told(&[("INFO", "Removed 3 of our files and restored 2 files, each compared by hash")]);
        assert_eq!(whole, (Exit::Ok, vec!["Rolled back: source and destination are as they were before.".to_owned()]));
        assert_eq!(told(&[]), (Exit::Ok, vec!["Rolled back: what the migration had changed was taken back.".to_owned()]));
        let asked = told(&[("INFO", "The destination's files stay as they are, as asked")]);
        assert_eq!((asked.0, asked.1[1].as_str()), (Exit::Ok, "Left:      The destination's files stay as they are, as asked"));
    }

    #[test]
    fn a_rollback_that_kept_files_is_partial_and_names_them() {
        let (exit, lines) = told(&[("WARNING", "Table orders was changed: it was saved as it is into /b"), ("WARNING", "a.txt was left alone: edited since")]);
        assert_eq!(exit, Exit::Partial);
        let expected = [
            "Rolled back, except for what is named here (1).",
            "Kept:      a.txt was left alone: edited since",
            "Saved:     Table orders was changed: it was saved as it is into /b",
        ];
        assert_eq!(lines, expected);
    }
}
