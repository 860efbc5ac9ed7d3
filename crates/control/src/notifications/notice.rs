//! What a person is told: what happened, on what, in figures, and what to do next. Made from the same payload that webhooks get.

use serde::Serialize;
use serde_json::{Value, json};

/// Words for a person, in no form yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Notice {
    pub subject: String,
    /// One or two sentences.
    pub lead: String,
    pub facts: Vec<(&'static str, String)>,
    /// What to do, one thing a line.
    pub next: Vec<String>,
}

impl Notice {
    pub fn of(payload: &Value) -> Self {
        let event = payload["type"].as_str().unwrap_or_default();
        let data = &payload["data"];
        let name = text(data, "/name").unwrap_or_else(|| "without a name".to_owned());
        let id = text(data, "/session_id").unwrap_or_default();
        let (subject, lead, next) = match event {
            "migration.completed" => completed(&name, data, &id),
            "migration.failed" => failed(&name, data, &id),
            "migration.stuck" => stuck(&name, data, &id),
            _ => soon(&name, data, &id),
        };
        Self { subject, lead, facts: facts(data, &id), next }
    }

    /// As chats with incoming webhooks read it.
    pub fn for_chat(&self) -> Value {
        let facts: Vec<String> = self.facts.iter().map(|(name, value)| format!("*{name}:* {}", escaped(value))).collect();
        let next: Vec<String> = self.next.iter().map(|line| format!("• {}", escaped(line))).collect();
        let section = |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": shortened(&text, 2900)}});
        json!({
            "text": format!("{} {}", escaped(&self.subject), escaped(&self.lead)),
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": shortened(&self.subject, 150)}},
                section(escaped(&self.lead)),
                section(facts.join("\n")),
                section(next.join("\n")),
            ],
        })
    }
}

type Words = (String, String, Vec<String>);

fn completed(name: &str, data: &Value, id: &str) -> Words {
    let partial = data["partial"].as_bool().unwrap_or(false);
    let lead = if partial {
        "The migration is complete, but something was left behind: the report names each thing that could not be moved or is not as it was."
    } else {
        "The migration is complete. What was moved has been compared with the source as its configuration says."
    };
    let subject = if partial { format!("Migration '{name}' is complete, with leftovers") } else { format!("Migration '{name}' is complete") };
    let next = vec![
        format!("Look at the report: migration-assistant report {id}, or GET /migrations/{id}/report."),
        "Visit the destination, then point your visitors to it.".to_owned(),
        format!("To take it back: migration-assistant rollback {id}."),
    ];
    (subject, lead.to_owned(), next)
}

fn failed(name: &str, data: &Value, id: &str) -> Words {
    let taken_back = matches!(data["status"].as_str(), Some("rolling_back")) || data["rolled_back"].as_bool() == Some(true);
    let after = if taken_back { " What was done is taken back by itself." } else { "" };
    let why = text(data, "/error/message").or_else(|| text(data, "/message")).unwrap_or_else(|| "no reason was told".to_owned());
    let retry = data.pointer("/error/retryable").and_then(Value::as_bool).unwrap_or(false);
    let mut next = vec![format!("See what happened: migration-assistant logs {id} --level warning, or GET /migrations/{id}/logs.")];
    next.push(if retry {
        format!("The same may succeed later without any change: migration-assistant resume {id}.")
    } else {
        format!("Remove the cause first, then go on where it stopped: migration-assistant resume {id}.")
    });
    next.push(format!("To give up and restore the destination: migration-assistant rollback {id}."));
    (format!("Migration '{name}' failed"), format!("The migration failed: {why}{after}"), next)
}

fn stuck(name: &str, data: &Value, id: &str) -> Words {
    let why = text(data, "/error/message").or_else(|| text(data, "/message")).unwrap_or_else(|| "no reason was told".to_owned());
    let next = vec![
        format!("Read the last lines of the log: migration-assistant logs {id} --level warning."),
        format!("Remove the cause, then try again: POST /migrations/{id}/resolve."),
        "Until then the destination may be half restored: keep visitors away from it.".to_owned(),
    ];
    (format!("Migration '{name}' is stuck"), format!("Taking the migration back failed, and somebody must look: {why}"), next)
}

fn soon(name: &str, data: &Value, id: &str) -> Words {
    let when = text(data, "/scheduled_for").map_or_else(|| "soon".to_owned(), |at| format!("at {} UTC", at.split('.').next().unwrap_or(&at).replace('T', " ")));
    let lead = format!("The migration starts by itself {when}. While it runs, the destination is overwritten.");
    let next = vec![format!("To prevent it: migration-assistant cancel {id}, or DELETE /migrations/{id}/schedule.")];
    (format!("Migration '{name}' starts {when}"), lead, next)
}

fn facts(data: &Value, id: &str) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let mut add = |name, value: Option<String>| out.extend(value.filter(|v| !v.is_empty()).map(|v| (name, v)));
    add("Migration", Some(id.to_owned()));
    add("From", text(data, "/source"));
    add("To", text(data, "/destination"));
    add("Started", text(data, "/start_time").map(|t| utc(&t)));
    add("Ended", text(data, "/end_time").map(|t| utc(&t)));
    add("Took", data["duration"].as_f64().map(domain::units::duration));
    let figures = &data["performance_metrics"];
    let of = |done: &str, total: &str| Some((figures[done].as_u64()?, figures[total].as_u64()?)).filter(|(_, total)| *total > 0);
    add("Files", of("files_transferred", "files_total").map(|(done, all)| format!("{done} of {all}")));
    add("Rows", of("rows_transferred", "rows_total").map(|(done, all)| format!("{done} of {all}")));
    add("Data", of("data_transferred_bytes", "data_total_bytes").map(|(done, all)| format!("{} of {}", domain::units::size(done), domain::units::size(all))));
    add("Steps", Some((data["steps_completed"].as_u64(), data["steps_total"].as_u64())).and_then(|(d, t)| Some(format!("{} of {}", d?, t?))));
    add("Backup", text(data, "/backup_id"));
    out
}

fn utc(text: &str) -> String {
    format!("{} UTC", text.split('.').next().unwrap_or(text).replace('T', " "))
}

fn text(data: &Value, pointer: &str) -> Option<String> {
    data.pointer(pointer)?.as_str().map(str::to_owned)
}

/// The three signs that chats give a meaning to.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// At most so many letters: chats refuse longer ones.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(event: &str) -> Value {
        json!({"type": event, "data": {"session_id": "m1", "name": "Shop <b>", "status": "rolling_back", "duration": 75.0, "source": "sftp://u@old/var/www",
            "destination": "s3://new", "error": {"message": "The disk of the destination is full.", "retryable": false}, "steps_completed": 3, "steps_total": 8,
            "performance_metrics": {"files_transferred": 5, "files_total": 10, "rows_transferred": 0, "rows_total": 0, "data_transferred_bytes": 1_000_000, "data_total_bytes": 2_000_000},
            "scheduled_for": "2024-08-27T02:00:00.000000", "backup_id": "backup-1"}})
    }

    #[test]
    fn a_failure_says_why_and_what_to_do() {
        let notice = Notice::of(&payload("migration.failed"));
        assert_eq!(notice.subject, "Migration 'Shop <b>' failed");
        assert_eq!(notice.lead, "The migration failed: The disk of the destination is full. What was done is taken back by itself.");
        assert!(notice.next.iter().any(|line| line.contains("migration-assistant resume m1")));
        for fact in [("Files", "5 of 10"), ("From", "sftp://u@old/var/www"), ("Backup", "backup-1"), ("Steps", "3 of 8")] {
            assert!(notice.facts.contains(&(fact.0, fact.1.to_owned())), "{fact:?} in {:?}", notice.facts);
        }
        assert!(!notice.facts.iter().any(|(name, _)| *name == "Rows"), "nothing is said of nothing");
    }

    #[test]
    fn every_event_has_its_own_words() {
        assert_eq!(Notice::of(&payload("migration.completed")).subject, "Migration 'Shop <b>' is complete");
        assert_eq!(Notice::of(&payload("migration.stuck")).subject, "Migration 'Shop <b>' is stuck");
        assert_eq!(Notice::of(&payload("migration.starting_soon")).subject, "Migration 'Shop <b>' starts at 2024-08-27 02:00:00 UTC");
    }

    #[test]
    fn chats_get_text_and_blocks_with_their_signs_escaped() {
        let chat = Notice::of(&payload("migration.completed")).for_chat();
        assert!(chat["text"].as_str().unwrap().contains("Shop &lt;b&gt;"));
        assert_eq!(chat["blocks"].as_array().unwrap().len(), 4);
        assert!(chat["blocks"][2]["text"]["text"].as_str().unwrap().contains("*Files:* 5 of 10"));
        let mut long = payload("migration.completed");
        long["data"]["name"] = json!("x".repeat(200));
        assert_eq!(Notice::of(&long).for_chat()["blocks"][0]["text"]["text"].as_str().unwrap().chars().count(), 150);
    }
}
