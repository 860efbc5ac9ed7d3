//! `report`: what was moved, how it was verified, what was left behind; and the few words of it under a finished migration.

use super::{Session, path};
use crate::args::Report;
use crate::failure::{Exit, Failure};
use domain::units;
use serde_json::{Value, json};

/// Warnings and leftovers under a finished migration; the report has all.
const SHOWN: usize = 10;

impl Session<'_> {
    pub async fn report(&self, args: &Report) -> Result<Exit, Failure> {
        let report = self.door.get(&path(&args.id, "/report")).await?;
        if let Some(file) = &args.html {
            let page = self.door.call(http::Method::GET, &path(&args.id, "/report?format=html"), None).await?;
            if page.status != 200 {
                page.json()?;
                return Err(Failure::new(Exit::Failed, "PROTOCOL", "The control plane gave no page"));
            }
            std::fs::write(file, &page.body)
                .map_err(|e| Failure::new(Exit::Failed, "FILE", format!("The report could not be written to {}: {e}", file.display())))?;
            self.output.say(&format!("Report written to {}", file.display()));
        } else {
            for line in whole(&report) {
                self.output.say(&line);
            }
        }
        self.output.result(Exit::Ok, json!({"report": report}));
        Ok(Exit::Ok)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Everything, in the order in which a person asks.
fn whole(report: &Value) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", text(&report["name"]), heading(report))];
    for (word, side) in [("From:", &report["source"]), ("To:", &report["destination"])] {
        let places: Vec<_> = ["files", "database"].into_iter().filter_map(|part| side[part].as_str()).collect();
        lines.push(format!("{word:<10} {} {}", text(&side["type"]), places.join(", ")));
    }
    lines.extend(summary(report, usize::MAX));
    for counted in report["adapted"].as_array().into_iter().flatten() {
        lines.push(format!("Adapted:   {} {}: {}", text(&counted["kind"]), text(&counted["name"]), text(&counted["reason"])));
    }
    if let Some(seconds) = report["summary"]["standstill_seconds"].as_f64().filter(|s| *s > 0.0) {
        lines.push(format!("Standstill: {}", units::duration(seconds)));
    }
    lines.push("Steps:".to_owned());
    for step in report["steps"].as_array().into_iter().flatten() {
        let time = step["duration_seconds"].as_f64().map_or_else(|| "-".to_owned(), units::duration);
        lines.push(format!("  {time:>8}  {}", text(&step["title"])));
    }
    lines.extend((!is_over(report)).then(|| text(&report["rollback"]).to_owned()));
    lines
}

/// What the report says of the migration's end holds only as long as that is its state.
fn heading(report: &Value) -> String {
    let status = report["status"].as_str().unwrap_or("completed");
    match status {
        _ if report["rolled_back"] == true => format!("Rolled back. Before that: {}", text(&report["result"])),
        "completed" => text(&report["result"]).to_owned(),
        other => format!("{}. Before that: {}", other.replace('_', " "), text(&report["result"])),
    }
}

/// It was taken back, or is being taken back: the way back that the report names is gone.
fn is_over(report: &Value) -> bool {
    report["rolled_back"] == true || matches!(report["status"].as_str(), Some("rolling_back" | "rolled_back"))
}

/// What was moved, whether it was verified, what was left behind; at most `shown` names of each kind.
pub fn summary(report: &Value, shown: usize) -> Vec<String> {
    if report["report_version"].is_null() {
        return Vec::new();
    }
    let mut lines = vec![format!("Moved:     {}", moved(&report["summary"])), format!("Verified:  {}", verified(&report["verification"]))];
    if let Some(at) = report["copied_at"].as_str() {
        lines.insert(
            1,
            format!("As of:     {} UTC; what the source gets afterwards is not at the destination", at.split('.').next().unwrap_or(at).trim_end_matches('Z')),
        );
    }
    if let Some(backup) = report["backup"]["id"].as_str() {
        let until = text(&report["backup"]["expires"]).split('T').next().unwrap_or_default();
        lines.push(format!("Backup:    {backup}, kept until {until}"));
    }
    lines.extend(report["warnings"].as_array().into_iter().flatten().take(shown).map(|w| format!("Warning:   {}", text(w))));
    let leftovers = report["leftovers"].as_array().map(Vec::as_slice).unwrap_or_default();
    lines.extend(leftovers.iter().take(shown).map(|l| format!("Left:      {} {}: {}", text(&l["kind"]), text(&l["name"]), text(&l["reason"]))));
    let unnamed = (report["leftovers_count"].as_u64().unwrap_or(0) as usize).saturating_sub(shown.min(leftovers.len()));
    if unnamed > 0 {
        lines.push(format!("           … and {unnamed} more"));
    }
    lines
}

pub fn under_a_finished_migration(report: &Value) -> Vec<String> {
    summary(report, SHOWN)
}

fn moved(summary: &Value) -> String {
    let number = |field: &str| summary[field].as_u64().unwrap_or(0);
    let mut parts = Vec::new();
    if number("files") > 0 {
        parts.push(format!("{} files ({})", number("files"), units::size(number("bytes"))));
    }
    if number("tables") > 0 {
        parts.push(format!("{} tables with {} rows", number("tables"), number("rows")));
    }
    if number("files_unchanged") > 0 {
        parts.push(format!("{} files were there already", number("files_unchanged")));
    }
    if number("removed") > 0 {
        parts.push(format!("{} files removed", number("removed")));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn verified(verification: &Value) -> String {
    if verification["verified"] != true {
        return format!("no, {}", verification["reason"].as_str().unwrap_or("the report does not say why"));
    }
    let files = verification["files"]["files"].as_u64().map(|n| format!("{n} files by their hashes"));
    let tables = verification["database"]["tables"].as_array().map(|t| format!("{} tables by their contents", t.len()));
    let parts: Vec<_> = [files, tables].into_iter().flatten().collect();
    format!("what is stored is what was read ({})", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_a_migration_that_was_rolled_back_says_so_first() {
        let mut report = json!({"report_version": 1, "name": "shop", "result": "Completed, verified", "rollback": "To take everything back: …",
            "status": "completed", "rolled_back": false});
        let (first, last) = (whole(&report)[0].clone(), whole(&report).pop());
        assert_eq!((first.as_str(), last.as_deref()), ("shop: Completed, verified", Some("To take everything back: …")));
        report["status"] = json!("rolled_back");
        report["rolled_back"] = json!(true);
        assert_eq!(whole(&report)[0], "shop: Rolled back. Before that: Completed, verified");
        assert!(!whole(&report).iter().any(|line| line.contains("take everything back")));
    }

    #[test]
    fn leftovers_are_named_and_the_rest_is_counted() {
        let left = |n: u64| json!({"kind": "file", "name": format!("f{n}"), "reason": "why"});
        let report = json!({"report_version": 1, "summary": {"files": 2, "bytes": 2048, "tables": 1, "rows": 5}, "leftovers_count": 7,
            "leftovers": [left(1), left(2), left(3)], "verification": {"verified": false, "reason": "verify_after is off"},
            "backup": {"id": "backup-20240826-143022", "expires": "2024-09-25T14:30:22Z"}, "warnings": ["w"]});
        assert_eq!(
            summary(&report, 2),
            [
                "Moved:     2 files (2.0 KB), 1 tables with 5 rows",
                "Verified:  no, verify_after is off",
                "Backup:    backup-20240826-143022, kept until 2024-09-25",
                "Warning:   w",
                "Left:      file f1: why",
                "Left:      file f2: why",
                "           … and 5 more",
            ]
        );
        assert_eq!(summary(&Value::Null, 2), [""; 0], "a migration that has no report has no summary");
    }
}
