//! `validate`: what really connecting to both sides has shown.

use super::Session;
use crate::failure::{Exit, Failure};
use serde_json::{Value, json};

impl Session<'_> {
    pub async fn validate(&self, document: &Value) -> Result<Exit, Failure> {
        self.output.note("Connecting to both sides …");
        let found = self.door.post("/validate/", document).await?;
        let exit = verdict(&found);
        self.output.say(&format!(
            "{}: {} checks, {} passed, {} failed",
            if exit == Exit::Ok { "Ready to migrate" } else { "Not ready" },
            found["checks_performed"],
            found["checks_passed"],
            found["checks_failed"]
        ));
        for check in found["checks"].as_array().unwrap_or(&Vec::new()) {
            for line in check_lines(check) {
                self.output.say(&line);
            }
        }
        let lists = [("warning", &found["warnings"]), ("error", &found["errors"])];
        for (word, list) in lists.into_iter().filter(|_| !found["checks"].is_array()) {
            for line in list.as_array().unwrap_or(&Vec::new()) {
                self.output.say(&format!("  {word}: {}", line.as_str().map_or_else(|| line.to_string(), str::to_owned)));
            }
        }
        if let Some(duration) = found["estimated_duration"].as_str() {
            self.output.say(&format!("Estimated duration: {duration}"));
        }
        self.output.result(exit, json!({"validation": found}));
        Ok(exit)
    }
}

/// `  ok    source       connectivity    OpenSSH 9.2`
fn check_lines(check: &Value) -> Vec<String> {
    let text = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let outcome = text("outcome");
    let mark = match outcome.as_str() {
        "passed" => "ok",
        "failed" => "FAIL",
        other => other,
    };
    let words = if text("issue").is_empty() { text("seen") } else { text("issue") };
    let mut lines = vec![format!("  {mark:<8} {:<32} {words}", text("check")).trim_end().to_owned()];
    if outcome != "passed" && !text("suggestion").is_empty() {
        lines.push(format!("           {}", text("suggestion")));
    }
    lines
}

/// The exit code of a validation: 0 when the migration may start, else what the failed checks have in common.
fn verdict(found: &Value) -> Exit {
    if found["can_proceed"].as_bool().unwrap_or(false) {
        return Exit::Ok;
    }
    let checks = found["checks"].as_array().cloned().unwrap_or_default();
    Exit::of_checks(checks.iter().filter(|d| d["outcome"] == "failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_what_the_failures_share() {
        let found = |kinds: &[&str]| json!({"can_proceed": false, "checks": kinds.iter().map(|k| json!({"outcome": "failed", "kind": k})).collect::<Vec<_>>()});
        assert_eq!(verdict(&json!({"can_proceed": true})), Exit::Ok);
        assert_eq!(verdict(&found(&["authentication", "authentication"])), Exit::Authentication);
        assert_eq!(verdict(&found(&["authentication", "unreachable"])), Exit::Failed);
        assert_eq!(verdict(&found(&["unreachable"])), Exit::Temporary);
        assert_eq!(verdict(&found(&[])), Exit::Failed);
    }
}
