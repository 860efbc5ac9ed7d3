//! `rollback`: what it would do, whether that is wanted, and doing it.

use super::{Session, path};
use crate::args::Rollback;
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, OnSignal};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};

/// Names of kept files and changed tables that are shown; `--json` has all.
const SHOWN: usize = 20;

/// Whether somebody can be asked.
fn has_terminal(json: bool) -> bool {
    !json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Refused before anything is opened: without a terminal nobody can be asked.
pub fn refuse_unasked(rollback: &Rollback, json: bool) -> Result<(), Failure> {
    if rollback.yes || rollback.dry_run || has_terminal(json) {
        return Ok(());
    }
    let id = &rollback.id;
    Err(Failure::usage("rollback changes the destination, and there is no terminal to ask on: add --yes")
        .advice(format!("Look first at what it would do: migration-assistant rollback {id} --dry-run")))
}

impl Session<'_> {
    pub async fn rollback(&self, rollback: &Rollback) -> Result<Exit, Failure> {
        let id = &rollback.id;
        let before = self.state(id).await?;
        // The undo is under way already, by itself or by somebody else's wish.
        let under_way = before.word() == "rolling_back";
        if !under_way || rollback.dry_run {
            let preview = self.preview(id).await?;
            if rollback.dry_run {
                return Ok(self.show_preview(id, &preview));
            }
            self.agree(rollback, &preview)?;
        }
        match before.word() {
            "rolling_back" => {}
            "stuck" => drop(self.post(&path(id, "/resolve"), &json!({})).await?),
            word => {
                if word == "interrupted" || (word == "running" && self.door.address().is_none()) {
                    self.end_forward(id).await?;
                }
                self.post(&path(id, "/rollback"), &body(rollback)).await?;
            }
        }
        if rollback.detach {
            self.output.result(Exit::Ok, json!({"session_id": id, "status": "rollback_started"}));
            return Ok(Exit::Ok);
        }
        self.rolled_back(self.watch(id, &[], OnSignal::Leave).await?).await
    }

    /// A run whose process died would go on as soon as somebody drives it.
    async fn end_forward(&self, id: &str) -> Result<(), Failure> {
        match self.door.post(&path(id, "/cancel"), &json!({})).await {
            // It went back already, or has ended meanwhile.
            Err(refused) if &*refused.code == "INVALID_STATE" => return Ok(()),
            answer => answer?,
        };
        match self.watch(id, &["cancelled"], OnSignal::Leave).await? {
            Ended::AtRest(_) => Ok(()),
            Ended::Paused(_) | Ended::Left(_) => Err(Failure::new(Exit::Interrupted, "INTERRUPTED", "Interrupted before the rollback began")),
        }
    }

    /// Null where the control plane has none: an older server.
    async fn preview(&self, id: &str) -> Result<Value, Failure> {
        let reply = self.door.call(http::Method::GET, &path(id, "/rollback-preview"), None).await?;
        if matches!(reply.status, 404 | 405) { Ok(Value::Null) } else { reply.json() }
    }

    fn show_preview(&self, id: &str, preview: &Value) -> Exit {
        for line in lines(id, preview) {
            self.output.say(&line);
        }
        let exit = if preview["possible"] == false { Exit::Failed } else { Exit::Ok };
        self.output.result(exit, json!({"session_id": id, "preview": preview}));
        exit
    }

    /// Refuses what cannot succeed, and asks where nobody has said yes.
    fn agree(&self, rollback: &Rollback, preview: &Value) -> Result<(), Failure> {
        if preview["possible"] == false && !rollback.discard_later_changes {
            return Err(impossible(preview));
        }
        if rollback.yes {
            return Ok(());
        }
        for line in lines(&rollback.id, preview) {
            self.output.note(&line);
        }
        if confirmed() { Ok(()) } else { Err(Failure::new(Exit::Failed, "NOT_CONFIRMED", "Nothing was changed")) }
    }
}

fn body(rollback: &Rollback) -> Value {
    let options =
        json!({"restore_files": !rollback.keep_files, "restore_database": !rollback.keep_database, "restore_configuration": !rollback.keep_configuration});
    let mut body = json!({"rollback_options": options});
    if let Some(backup) = &rollback.backup_id {
        body["backup_id"] = json!(backup);
    }
    if rollback.discard_later_changes {
        body["discard_later_changes"] = json!(true);
    }
    body
}

fn confirmed() -> bool {
    let mut stderr = std::io::stderr();
    // Who cannot be asked has not agreed.
    if write!(stderr, "Roll it back? [y/N] ").and_then(|()| stderr.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn texts(list: &Value) -> impl Iterator<Item = String> + '_ {
    list.as_array().into_iter().flatten().map(|text| text.as_str().map_or_else(|| text.to_string(), str::to_owned))
}

fn impossible(preview: &Value) -> Failure {
    let mut failure = Failure::new(Exit::Failed, "ROLLBACK_IMPOSSIBLE", "The migration cannot be rolled back as it is; nothing was changed")
        .lines(texts(&preview["reasons"]));
    failure.details = preview.clone();
    if changed_tables(preview).next().is_some() {
        failure = failure.advice("Tables were changed since the cutover. --discard-later-changes saves them and takes them back nevertheless.");
    }
    failure
}

fn changed_tables(preview: &Value) -> impl Iterator<Item = &Value> {
    preview["tables"].as_array().into_iter().flatten().filter(|t| t["ranges_changed"].as_u64().is_some_and(|n| n > 0) || t["rows_now"] != t["rows_written"])
}

/// The preview for a person.
fn lines(id: &str, preview: &Value) -> Vec<String> {
    if preview.is_null() {
        return vec![format!("Migration {id} would be taken back. This control plane cannot say beforehand what that changes.")];
    }
    let possible = preview["possible"] != false;
    let mut lines = vec![format!("Rollback of migration {id}: {}", if possible { "possible" } else { "not possible as it is" })];
    lines.extend(texts(&preview["reasons"]).map(|reason| format!("  reason:   {reason}")));
    if let Some(at) = preview["cutover_at"].as_str() {
        lines.push(format!("  cutover:  {at} UTC"));
    }
    let files = &preview["files"];
    let count = |name: &str| files[name].as_u64().unwrap_or(0);
    lines.push(format!("  files:    {} restored, {} removed", count("restored"), count("removed")));
    let kept = files["kept"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.extend(kept.iter().take(SHOWN).map(|k| format!("  kept:     {}: {}", text(&k["path"]), text(&k["reason"]))));
    lines.extend((kept.len() > SHOWN).then(|| format!("            … and {} more", kept.len() - SHOWN)));
    let changed: Vec<&Value> = changed_tables(preview).collect();
    let tables = preview["tables"].as_array().map_or(0, Vec::len);
    lines.push(format!("  tables:   {tables} taken back, {} of them changed since", changed.len()));
    lines.extend(changed.iter().take(SHOWN).map(|t| {
        let (written, now, ranges) = (&t["rows_written"], &t["rows_now"], t["ranges_changed"].as_u64().unwrap_or(0));
        format!("  changed:  {}: {written} rows written, {now} now, {ranges} ranges differ", text(&t["table"]))
    }));
    lines.extend((changed.len() > SHOWN).then(|| format!("            … and {} more", changed.len() - SHOWN)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview_names_what_is_kept_and_what_was_changed() {
        let preview = json!({"possible": false, "reasons": ["table orders was changed since the cutover"], "cutover_at": "2026-08-26T14:30:22",
            "files": {"restored": 3, "removed": 2, "kept": [{"path": "a.txt", "reason": "edited since"}]},
            "tables": [{"table": "orders", "rows_written": 100, "rows_now": 103, "ranges_changed": 1}, {"table": "users", "rows_written": 7, "rows_now": 7, "ranges_changed": 0}]});
        assert_eq!(
            lines("m1", &preview),
            [
                "Rollback of migration m1: not possible as it is",
                "  reason:   table orders was changed since the cutover",
                "  cutover:  2026-08-26T14:30:22 UTC",
                "  files:    3 restored, 2 removed",
                "  kept:     a.txt: edited since",
                "  tables:   2 taken back, 1 of them changed since",
                "  changed:  orders: 100 rows written, 103 now, 1 ranges differ",
            ]
        );
        let refused = impossible(&preview);
        assert_eq!((refused.exit, refused.lines.len()), (Exit::Failed, 1));
        assert!(refused.advice.is_some_and(|a| a.contains("--discard-later-changes")));
    }
}
