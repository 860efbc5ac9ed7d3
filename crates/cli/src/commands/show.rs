//! `status`, `logs`, `report`: what is known about migrations.

use super::{Session, path};
use crate::args::{Level, Logs, Report, Status as StatusArgs};
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, OnInterrupt, Status, interrupts, log_line};
use serde_json::{Value, json};

impl Session<'_> {
    pub async fn status(&self, args: &StatusArgs) -> Result<Exit, Failure> {
        let Some(id) = &args.id else { return self.list(args).await };
        if args.watch {
            return match self.watch(id, &[], OnInterrupt::Leave).await? {
                Ended::AtRest(status) if matches!(status.word(), "rolled_back" | "paused" | "created" | "cancelled") => Ok(self.tell(&status)),
                other => self.migrated(other).await,
            };
        }
        let status = Status::of(self.door.get(&path(id, "/status")).await?);
        Ok(self.tell(&status))
    }

    fn tell(&self, status: &Status) -> Exit {
        self.output.say(&format!("Migration {}: {}, {:.1}%", status.id(), status.word().replace('_', " "), status.percent()));
        if !status.step().is_empty() {
            self.output.say(&format!("  step:     {}", status.step()));
        }
        self.output.say(&format!("  progress: {}", status.figures()));
        for (name, field) in [("started", "start_time"), ("ended", "end_time")] {
            if let Some(time) = status.0[field].as_str() {
                self.output.say(&format!("  {:<9} {time} UTC", format!("{name}:")));
            }
        }
        if let Some(failure) = status.failure() {
            self.output.say(&format!("  error:    {}", failure.message));
        }
        self.output.result(Exit::Ok, json!({"session_id": status.id(), "status": status.word(), "migration": status.0}));
        Exit::Ok
    }

    async fn list(&self, args: &StatusArgs) -> Result<Exit, Failure> {
        let filter =
            args.state.as_ref().map(|s| format!("&status_filter={}", s.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', ""))).unwrap_or_default();
        let found = self.door.get(&format!("/migrations/?limit={}{filter}", args.limit)).await?;
        let migrations = found.as_array().cloned().unwrap_or_default();
        if migrations.is_empty() {
            self.output.say("No migrations.");
        }
        for m in &migrations {
            let text = |name: &str| m[name].as_str().unwrap_or_default().to_owned();
            let created = text("created_at").chars().take(16).collect::<String>().replace('T', " ");
            self.output.say(&format!(
                "{}  {:<12} {:>5.1}%  {created}  {}",
                text("session_id"),
                text("status"),
                m["progress"].as_f64().unwrap_or(0.0),
                text("name")
            ));
        }
        self.output.result(Exit::Ok, json!({"migrations": migrations}));
        Ok(Exit::Ok)
    }

    pub async fn logs(&self, args: &Logs) -> Result<Exit, Failure> {
        let wanted = [Level::Debug, Level::Info, Level::Warning, Level::Error];
        let least = wanted.iter().position(|l| *l == args.level).unwrap_or(0);
        let important =
            |entry: &Value| Level::parse(entry["level"].as_str().unwrap_or("INFO")).is_some_and(|l| wanted.iter().position(|w| *w == l) >= Some(least));
        // Where following begins is asked first, so that nothing falls between the two requests.
        let newest = self.door.get(&path(&args.id, "/events?limit=1")).await?;
        let mut after = newest["last_event"].as_u64().unwrap_or(0);
        let level = if args.level == Level::Error { "&level=ERROR" } else { "" };
        let page = self.door.get(&path(&args.id, &format!("/logs?limit={}{level}", args.limit))).await?;
        let mut shown: Vec<Value> = page["logs"].as_array().cloned().unwrap_or_default().into_iter().filter(|e| important(e)).collect();
        shown.reverse();
        for entry in &shown {
            self.output.say(&log_line(entry));
        }
        if args.follow {
            shown.extend(self.log_on(&args.id, &mut after, &important).await?);
        }
        self.output.result(Exit::Ok, json!({"session_id": args.id, "logs": shown}));
        Ok(Exit::Ok)
    }

    /// Prints what is added to the log until the migration is at rest or the user has seen enough.
    async fn log_on(&self, id: &str, after: &mut u64, important: &(dyn Fn(&Value) -> bool + Sync)) -> Result<Vec<Value>, Failure> {
        let mut interrupts = interrupts()?;
        let mut shown = Vec::new();
        loop {
            let at_rest = Status::of(self.door.get(&path(id, "/status")).await?).is_at_rest();
            let poll = path(id, &format!("/events?after={after}&wait={}", if at_rest { 0 } else { 10 }));
            let page = tokio::select! {
                page = self.door.get(&poll) => page?,
                _ = interrupts.recv() => return Ok(shown),
            };
            let events = page["events"].as_array().cloned().unwrap_or_default();
            for event in &events {
                *after = event["seq"].as_u64().unwrap_or(*after);
                if important(event) && !is_sample(event) {
                    self.output.say(&log_line(event));
                    shown.push(event.clone());
                }
            }
            if at_rest && events.is_empty() {
                return Ok(shown);
            }
        }
    }

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
            for line in facts(&report, 0) {
                self.output.say(&line);
            }
        }
        self.output.result(Exit::Ok, json!({"report": report}));
        Ok(Exit::Ok)
    }
}

/// Samples of progress are for bars, not for a log.
fn is_sample(event: &Value) -> bool {
    event["event"] == "migration.progress"
}

/// The few words of a report that belong under a finished migration.
pub fn report_lines(report: &Value) -> Vec<String> {
    const SHOWN: usize = 10;
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    if number("/report_version") == 0 {
        return lines;
    }
    let mut moved = vec![format!("{} files ({})", number("/summary/files"), domain::units::size(number("/summary/bytes")))];
    if number("/summary/tables") > 0 {
        moved.push(format!("{} tables with {} rows", number("/summary/tables"), number("/summary/rows")));
    }
    if number("/summary/files_unchanged") > 0 {
        moved.push(format!("{} files were there already", number("/summary/files_unchanged")));
    }
    lines.push(format!("Moved:     {}", moved.join(", ")));
    lines.push(format!("Verified:  {}", verified(&report["verification"])));
    if let Some(backup) = report["backup"]["id"].as_str() {
        lines.push(format!("Backup:    {backup}, kept until {}", text(&report["backup"]["expires"])));
    }
    for warning in report["warnings"].as_array().into_iter().flatten().take(SHOWN) {
        lines.push(format!("Warning:   {}", text(warning)));
    }
    let leftovers = report["leftovers"].as_array().map(Vec::as_slice).unwrap_or_default();
    for left in leftovers.iter().take(SHOWN) {
        lines.push(format!("Left:      {} {}: {}", text(&left["kind"]), text(&left["name"]), text(&left["reason"])));
    }
    let count = number("/leftovers_count") as usize;
    if count > SHOWN.min(leftovers.len()) {
        lines.push(format!("           … and {} more, see the report", count - SHOWN.min(leftovers.len())));
    }
    lines
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

/// Any JSON as indented lines for a person: one fact a line, long lists shortened.
pub fn facts(value: &Value, depth: usize) -> Vec<String> {
    const SHOWN: usize = 20;
    let indent = "  ".repeat(depth);
    let plain = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let mut lines = Vec::new();
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let name = name.replace('_', " ");
                match inner {
                    Value::Null => {}
                    Value::Object(m) if m.is_empty() => {}
                    Value::Array(a) if a.is_empty() => {}
                    Value::Object(_) | Value::Array(_) => {
                        lines.push(format!("{indent}{name}:"));
                        lines.extend(facts(inner, depth + 1));
                    }
                    other => lines.push(format!("{indent}{name}: {}", plain(other))),
                }
            }
        }
        Value::Array(items) => {
            for item in items.iter().take(SHOWN) {
                match item {
                    Value::Object(map) => {
                        let facts: Vec<_> = map.iter().filter(|(_, v)| !v.is_null()).map(|(n, v)| format!("{} {}", n.replace('_', " "), plain(v))).collect();
                        lines.push(format!("{indent}- {}", facts.join(", ")));
                    }
                    other => lines.push(format!("{indent}- {}", plain(other))),
                }
            }
            if items.len() > SHOWN {
                lines.push(format!("{indent}… and {} more", items.len() - SHOWN));
            }
        }
        other => lines.push(format!("{indent}{}", plain(other))),
    }
    lines
}
