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
        let under_way = before.word() == "rolling_back" || (before.is_interrupted() && before.goes_back());
        if !under_way || rollback.dry_run {
            let preview = self.preview(id).await?;
            if rollback.dry_run {
                return Ok(self.show_preview(rollback, before.word(), &preview));
            }
            self.agree(rollback, before.word(), &preview)?;
        }
        match before.word() {
            _ if under_way => {}
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

    /// Its exit code is that of the rollback that it tells of.
    fn show_preview(&self, rollback: &Rollback, state: &str, preview: &Value) -> Exit {
        for line in lines(&rollback.id, preview) {
            self.output.say(&line);
        }
        let refusal = refusal(preview, state, rollback.discard_later_changes);
        if let Some(advice) = refusal.as_ref().and_then(|r| r.advice.as_ref()) {
            self.output.say(&format!("  hint:     {advice}"));
        }
        let exit = refusal.map_or(Exit::Ok, |r| r.exit);
        self.output.result(exit, json!({"session_id": rollback.id, "preview": preview}));
        exit
    }

    /// Refuses what cannot succeed, and asks where nobody has said yes.
    fn agree(&self, rollback: &Rollback, state: &str, preview: &Value) -> Result<(), Failure> {
        if let Some(refusal) = refusal(preview, state, rollback.discard_later_changes) {
            return Err(refusal);
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

/// What the control plane would refuse. A rollback that is stuck may be tried again whatever is missing: somebody has looked into it.
fn refusal(preview: &Value, state: &str, discards: bool) -> Option<Failure> {
    if preview["possible"] == false && state != "stuck" {
        let words = "The migration cannot be rolled back; nothing was changed";
        let mut failure = Failure::new(Exit::Failed, "ROLLBACK_IMPOSSIBLE", words).lines(texts(&preview["reasons"]));
        failure.details = preview.clone();
        return Some(failure);
    }
    if state != "completed" || discards || changed_tables(preview).next().is_none() {
        return None;
    }
    let words = "Tables were changed since the cutover, and a rollback would take that along; nothing was changed";
    let mut failure = Failure::new(Exit::Failed, "LATER_CHANGES", words).lines(changed_tables(preview).map(changed_line));
    failure.details = preview.clone();
    Some(failure.advice("--discard-later-changes saves these tables as they are, and then takes them back."))
}

fn changed_tables(preview: &Value) -> impl Iterator<Item = &Value> {
    preview["tables"].as_array().into_iter().flatten().filter(|t| t["ranges_changed"].as_u64().is_some_and(|n| n > 0) || t["rows_now"] != t["rows_written"])
}

fn changed_line(table: &Value) -> String {
    let (name, written, now) = (table["table"].as_str().unwrap_or_default(), &table["rows_written"], &table["rows_now"]);
    format!("{name}: {written} rows written, {now} now, {} ranges differ", table["ranges_changed"].as_u64().unwrap_or(0))
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
        lines.push(format!("  cutover:  {} UTC", at.trim_end_matches('Z')));
    }
    let files = &preview["files"];
    let count = |name: &str| files[name].as_u64().unwrap_or(0);
    lines.extend(files.is_object().then(|| format!("  files:    {} restored, {} removed", count("restored"), count("removed"))));
    let kept = files["kept"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.extend(kept.iter().take(SHOWN).map(|k| format!("  kept:     {}: {}", text(&k["path"]), text(&k["reason"]))));
    let more = count("kept_total").saturating_sub(kept.len().min(SHOWN) as u64);
    lines.extend((more > 0).then(|| format!("            … and {more} more")));
    let lost = files["lost"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(lost.iter().take(SHOWN).map(|l| format!("  lost:     {}: {}", text(&l["path"]), text(&l["reason"]))));
    let more = count("lost_total").saturating_sub(lost.len().min(SHOWN) as u64);
    lines.extend((more > 0).then(|| format!("            … and {more} more")));
    lines.extend(preview["backup_id"].as_str().map(|id| format!("  backup:   {id}")));
    let changed: Vec<&Value> = changed_tables(preview).collect();
    lines.push(format!("  tables:   {} changed since", changed.len()));
    lines.extend(changed.iter().take(SHOWN).map(|table| format!("  changed:  {}", changed_line(table))));
    lines.extend((changed.len() > SHOWN).then(|| format!("            … and {} more", changed.len() - SHOWN)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview() -> Value {
        json!({"possible": true, "reasons": [], "cutover_at": "2026-08-26T14:30:22", "backup_id": "b1",
            "files": {"restored": 3, "removed": 2, "kept_total": 1, "kept": [{"path": "a.txt", "reason": "edited since"}]},
            "tables": [{"table": "orders", "rows_written": 100, "rows_now": 103, "ranges_changed": 1}, {"table": "users", "rows_written": 7, "rows_now": 7, "ranges_changed": 0}]})
    }

    #[test]
    fn preview_names_what_is_kept_and_what_was_changed() {
        let expected = [
            "Rollback of migration m1: possible",
            "  cutover:  2026-08-26T14:30:22 UTC",
            "  files:    3 restored, 2 removed",
            "  kept:     a.txt: edited since",
            "  backup:   b1",
            "  tables:   1 changed since",
            "  changed:  orders: 100 rows written, 103 now, 1 ranges differ",
        ];
        assert_eq!(lines("m1", &preview()), expected);
    }

    #[test]
    fn later_changes_are_refused_unless_they_are_to_be_discarded() {
        let refused = refusal(&preview(), "completed", false).unwrap();
        assert!((refused.exit, refused.lines.len()) == (Exit::Failed, 1) && refused.advice.is_some_and(|a| a.contains("--discard-later-changes")));
        assert_eq!(refusal(&preview(), "completed", true), None);
        assert_eq!(refusal(&preview(), "failed", false), None, "it never went live");
        let lost = json!({"possible": false, "reasons": ["the backup b1 is gone"], "tables": []});
        assert_eq!(refusal(&lost, "completed", true).map(|r| r.lines), Some(vec!["the backup b1 is gone".to_owned()]));
        assert_eq!(refusal(&lost, "stuck", false), None);
    }
}
