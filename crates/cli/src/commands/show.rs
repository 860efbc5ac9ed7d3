//! `status`, `logs`: what is known about migrations.

use super::{Session, path};
use crate::args::{Level, Logs, Status as StatusArgs};
use crate::door::Reconnect;
use crate::failure::{Exit, Failure};
use crate::follow::{Ended, OnSignal, Status, log_line};
use serde_json::{Value, json};

impl Session<'_> {
    pub async fn status(&self, args: &StatusArgs) -> Result<Exit, Failure> {
        let Some(id) = &args.id else { return self.list(args).await };
        if args.watch {
            return match self.watch(id, &[], OnSignal::Leave).await? {
                Ended::AtRest(status) if matches!(status.word(), "rolled_back" | "paused" | "created" | "cancelled" | "interrupted") => Ok(self.tell(&status)),
                other => self.migrated(other).await,
            };
        }
        let status = Status::of(self.door.get(&path(id, "/status")).await?);
        Ok(self.tell(&status))
    }

    fn tell(&self, status: &Status) -> Exit {
        let back = if status.is_rolled_back() && status.word() != "rolled_back" { " and was rolled back" } else { "" };
        self.output.say(&format!("Migration {}: {}{back}, {:.1}%", status.id(), status.word().replace('_', " "), status.percent()));
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
        let page = self.door.get(&path(&args.id, &format!("/logs?limit={}&min_level={}", args.limit, ["DEBUG", "INFO", "WARNING", "ERROR"][least]))).await?;
        let mut shown = page["logs"].as_array().cloned().unwrap_or_default();
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
        let mut signals = self.signals.clone();
        let mut door = Reconnect::new(self.door);
        let mut shown = Vec::new();
        loop {
            let look = async {
                let status = Status::of(door.get(&path(id, "/status"), |words| self.output.note(words)).await?);
                let at_rest = status.is_at_rest(self.door.drives());
                let poll = path(id, &format!("/events?after={after}&wait={}", if at_rest { 0 } else { 10 }));
                Ok::<_, Failure>((at_rest, door.get(&poll, |words| self.output.note(words)).await?))
            };
            let (at_rest, page) = tokio::select! {
                looked = look => looked?,
                () = signals.next() => return Ok(shown),
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
}

/// Samples of progress are for bars, not for a log.
fn is_sample(event: &Value) -> bool {
    event["event"] == "migration.progress"
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
