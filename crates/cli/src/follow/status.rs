//! The status of a migration as the API gives it, and what the command line makes of it.

use crate::failure::{Exit, Failure};
use serde_json::Value;

/// Document 3's status object.
#[derive(Debug, Clone)]
pub struct Status(pub Value);

impl Status {
    pub fn of(body: Value) -> Self {
        Self(body)
    }

    pub fn word(&self) -> &str {
        self.0["status"].as_str().unwrap_or("unknown")
    }

    pub fn id(&self) -> &str {
        self.0["session_id"].as_str().unwrap_or_default()
    }

    pub fn percent(&self) -> f64 {
        self.0["progress"].as_f64().unwrap_or(0.0)
    }

    pub fn step(&self) -> &str {
        self.0["current_step"].as_str().unwrap_or_default()
    }

    /// Nothing goes on by itself from here. Who drives takes up what is interrupted.
    pub fn is_at_rest(&self, driven: bool) -> bool {
        match self.word() {
            "completed" | "failed" | "cancelled" | "rolled_back" | "stuck" | "paused" | "created" => true,
            "interrupted" => !driven,
            _ => false,
        }
    }

    /// It should be at work, and nobody works on it.
    pub fn is_interrupted(&self) -> bool {
        self.word() == "interrupted"
    }

    /// Everything was taken back: on somebody's wish, or by itself after the failure that the status tells of.
    pub fn is_rolled_back(&self) -> bool {
        self.word() == "rolled_back" || self.0["rolled_back"] == true
    }

    /// It goes back, or has gone back: what was moved forward is no measure any more.
    pub fn goes_back(&self) -> bool {
        self.is_rolled_back() || matches!(self.word(), "rolling_back" | "stuck") || self.0["interrupted_state"] == "rolling_back"
    }

    /// `step 3 of 8, 1204 of 4000 files, 12.1 MB of 15.5 MB, 2.3 MB/s`, as far as it is known.
    pub fn figures(&self) -> String {
        if self.goes_back() {
            return self.taken_back();
        }
        let m = &self.0["performance_metrics"];
        let mut parts = vec![format!("step {} of {}", self.0["steps_completed"], self.0["steps_total"])];
        if m["files_total"].as_u64().is_some_and(|n| n > 0) {
            parts.push(format!("{} of {} files", m["files_transferred"], m["files_total"]));
        }
        if let (Some(done), Some(total)) = (m["data_transferred"].as_str(), m["data_total"].as_str())
            && total != "0 B"
        {
            parts.push(format!("{done} of {total}"));
        }
        if let Some(rate) = m["transfer_rate_current"].as_str().filter(|r| *r != "0 B/s") {
            parts.push(rate.to_owned());
            parts.extend(self.time_left());
        }
        parts.join(", ")
    }

    /// `12.1 MB of 15.5 MB, 2.3 MB/s, 3 minutes left`, while bytes flow.
    pub fn flow(&self) -> Option<String> {
        let m = &self.0["performance_metrics"];
        let rate = m["transfer_rate_current"].as_str().filter(|r| *r != "0 B/s" && !self.goes_back())?;
        let mut parts = vec![format!("{} of {}", m["data_transferred"].as_str()?, m["data_total"].as_str().filter(|t| *t != "0 B")?), rate.to_owned()];
        parts.extend(self.time_left());
        Some(parts.join(", "))
    }

    fn time_left(&self) -> Option<String> {
        let seconds = self.0["performance_metrics"]["estimated_remaining"].as_f64().filter(|s| *s >= 1.0)?;
        Some(format!("{} left", domain::units::duration(seconds.round())))
    }

    fn taken_back(&self) -> String {
        let steps = self.0["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let undone = steps.iter().filter(|s| s["status"] == "undone").count();
        let begun = steps.iter().filter(|s| s["status"] != "pending").count();
        format!("{undone} of {begun} steps taken back")
    }

    /// The letter of a migration that failed; `None` when it has no error.
    pub fn failure(&self) -> Option<Failure> {
        let error = &self.0["error"];
        if error.is_null() {
            return None;
        }
        let kind = error["code"].as_str().unwrap_or("internal").to_ascii_lowercase();
        let retryable = error["retryable"].as_bool().unwrap_or(false);
        let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
        let step = error["step"].as_str().map(|s| format!("step '{s}': ")).unwrap_or_default();
        let mut failure = Failure::new(Exit::of_kind(&kind, retryable), kind.to_ascii_uppercase(), format!("{step}{message}"));
        failure.details = error.clone();
        Some(failure)
    }
}

/// One entry of the log, as a line.
pub fn log_line(entry: &Value) -> String {
    let at = entry["timestamp"].as_str().unwrap_or_default();
    let clock = at.split_once('T').map_or(at, |(_, clock)| clock.split('.').next().unwrap_or(clock));
    format!(
        "{clock} {:<7} {:<16} {}",
        entry["level"].as_str().unwrap_or("INFO"),
        entry["component"].as_str().unwrap_or_default(),
        entry["message"].as_str().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_name_only_what_is_known() {
        let status = Status::of(json!({"steps_completed": 5, "steps_total": 8, "performance_metrics": {"files_transferred": 7, "files_total": 9,
            "data_transferred": "1.0 MB", "data_total": "2.0 MB", "transfer_rate_current": "2.3 MB/s"}}));
        assert_eq!(status.figures(), "step 5 of 8, 7 of 9 files, 1.0 MB of 2.0 MB, 2.3 MB/s");
        let empty = Status::of(
            json!({"steps_completed": 0, "steps_total": 8, "performance_metrics": {"files_total": 0, "data_total": "0 B", "transfer_rate_current": "0 B/s"}}),
        );
        assert_eq!(empty.figures(), "step 0 of 8");
        let back = Status::of(json!({"status": "rolling_back", "steps": [{"status": "completed"}, {"status": "undone"}, {"status": "pending"}]}));
        assert_eq!(back.figures(), "1 of 2 steps taken back");
    }

    #[test]
    fn flow_fits_beside_a_bar_in_80_columns() {
        let status = Status::of(json!({"status": "running", "performance_metrics": {"data_transferred": "1023.9 MB", "data_total": "1023.9 GB",
            "transfer_rate_current": "1023.9 MB/s", "estimated_remaining": 86_399.0}}));
        let flow = status.flow().unwrap();
        assert!(flow.starts_with("1023.9 MB of 1023.9 GB, 1023.9 MB/s, ") && flow.ends_with(" left"), "{flow}");
        // Bar, percentage and the spaces around them.
        assert!(16 + 1 + 6 + 1 + flow.chars().count() <= 80, "{flow}");
        assert_eq!(Status::of(json!({"performance_metrics": {"transfer_rate_current": "0 B/s"}})).flow(), None);
    }

    #[test]
    fn a_failed_migration_gives_its_exit_code() {
        let failed = |code: &str, retryable: bool| {
            Status::of(json!({"status": "failed", "error": {"code": code, "message": "m", "step": "verify", "retryable": retryable}})).failure().unwrap()
        };
        assert_eq!(failed("verification_mismatch", false).exit, Exit::Mismatch);
        assert_eq!(failed("AUTHENTICATION", false).exit, Exit::Authentication);
        assert_eq!(failed("no_space", false).message, "step 'verify': m");
        assert!(Status::of(json!({"error": null})).failure().is_none());
    }
}
