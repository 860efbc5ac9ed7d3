//! How a command ends: the exit codes, and the letter that goes with every one but 0.

use serde_json::{Value, json};

/// What the process tells its caller. Stable; scripts depend on it (`docs/errors.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// It ended, but named objects were left behind.
    Partial = 3,
    /// The same command may succeed later without anybody changing anything.
    Temporary = 4,
    /// What is stored is not what was read.
    Mismatch = 5,
    Authentication = 6,
    NotFound = 7,
    Interrupted = 130,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit code of a failed migration, from the stable kind word of its error and from whether a retry may help.
    pub fn of_kind(kind: &str, retryable: bool) -> Self {
        match kind {
            "verification_mismatch" | "corrupt" => Self::Mismatch,
            "authentication" | "host_key" => Self::Authentication,
            "not_found" => Self::NotFound,
            "partial" => Self::Partial,
            "unreachable" | "timed_out" | "throttled" | "interrupted" => Self::Temporary,
            _ if retryable => Self::Temporary,
            _ => Self::Failed,
        }
    }

    /// What failed checks have in common; plain failure when they differ.
    pub fn of_checks<'a>(failed: impl Iterator<Item = &'a Value>) -> Self {
        let mut kinds = failed.map(|check| Self::of_kind(check["kind"].as_str().unwrap_or("invalid"), check["retryable"].as_bool().unwrap_or(false)));
        let first = kinds.next().unwrap_or(Self::Failed);
        if kinds.all(|kind| kind == first) { first } else { Self::Failed }
    }

    /// The exit code of a refused request.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Authentication,
            404 => Self::NotFound,
            400 | 405 | 413 | 415 => Self::Usage,
            408 | 429 | 502..=504 => Self::Temporary,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A letter to a tired person: what went wrong, the particulars, and what to do next. No secret may enter.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub exit: Exit,
    /// Stable word for programs.
    pub code: Box<str>,
    pub message: String,
    /// Particulars, one line each.
    pub lines: Vec<String>,
    pub advice: Option<Box<str>>,
    /// Further facts for programs.
    pub details: Value,
}

impl Failure {
    pub fn new(exit: Exit, code: impl Into<Box<str>>, message: impl Into<String>) -> Self {
        Self { exit, code: code.into(), message: message.into(), lines: Vec::new(), advice: None, details: Value::Null }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    #[must_use]
    pub fn advice(mut self, advice: impl Into<Box<str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    #[must_use]
    pub fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// An answer of the API that is no success, in its documented envelope.
    pub fn of_answer(status: u16, body: &Value) -> Self {
        let error = &body["error"];
        let code = error["code"].as_str().unwrap_or("UNKNOWN");
        let message = error["message"].as_str().map_or_else(|| format!("The server answered with status {status} and no explanation"), str::to_owned);
        let mut failure = Self::new(Exit::of_status(status), code, message).lines(particulars(&error["details"]));
        failure.details = error["details"].clone();
        if let Some(checks) = error["details"]["failed_checks"].as_array() {
            failure.exit = Exit::of_checks(checks.iter());
        }
        if status == 401 {
            failure.advice =
                Some("Give an API key in MIGRATION_ASSISTANT_API_KEY (--api-key) or an access token in MIGRATION_ASSISTANT_TOKEN (--token).".into());
        }
        if code == "INTERNAL_ERROR" {
            failure.advice = Some("This is a defect of ours: the log of the server has more under the error id above.".into());
        }
        failure
    }

    /// For `--json`.
    pub fn to_json(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.details.is_null() {
            error["details"] = self.details.clone();
        } else if !self.lines.is_empty() {
            error["details"] = json!(self.lines);
        }
        if let Some(advice) = &self.advice {
            error["advice"] = json!(advice);
        }
        error
    }
}

/// The details of the API's errors as lines: bad fields, failed checks, or plain facts.
fn particulars(details: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    if let Some(fields) = details["validation_errors"].as_array() {
        return fields.iter().map(|f| format!("{}: {}", text(&f["field"]), text(&f["message"]))).collect();
    }
    if let Some(checks) = details["failed_checks"].as_array() {
        let line = |c: &Value| {
            let hint = c["suggestion"].as_str().filter(|s| !s.is_empty()).map(|s| format!(" ({s})")).unwrap_or_default();
            format!("{}: {}{hint}", text(&c["check"]), text(&c["error"]))
        };
        return checks.iter().map(line).collect();
    }
    let facts = details.as_object().map(|map| map.iter().filter(|(name, v)| !v.is_null() && *name != "support_contact"));
    facts.map(|f| f.map(|(name, value)| format!("{}: {}", name.replace('_', " "), text(value))).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_exit_code() {
        for (kind, retryable, exit) in [
            ("verification_mismatch", false, Exit::Mismatch),
            ("authentication", false, Exit::Authentication),
            ("host_key", false, Exit::Authentication),
            ("not_found", false, Exit::NotFound),
            ("unreachable", false, Exit::Temporary),
            ("interrupted", true, Exit::Temporary),
            ("permission", false, Exit::Failed),
            ("no_space", false, Exit::Failed),
            ("internal", true, Exit::Temporary),
        ] {
            assert_eq!(Exit::of_kind(kind, retryable), exit, "{kind}");
        }
    }

    #[test]
    fn every_status_has_its_exit_code() {
        let codes = [400, 401, 403, 404, 409, 415, 422, 500, 503].map(|s| Exit::of_status(s).code());
        assert_eq!(codes, [2, 6, 6, 7, 1, 2, 1, 1, 4]);
    }

    #[test]
    fn bad_fields_become_lines() {
        let body = json!({"error": {"code": "INVALID_CONFIGURATION", "message": "Invalid migration configuration",
            "details": {"validation_errors": [{"field": "source.type", "message": "is required"}, {"field": "name", "message": "must not be empty"}]}}});
        let failure = Failure::of_answer(400, &body);
        assert_eq!((failure.exit, failure.lines), (Exit::Usage, vec!["source.type: is required".to_owned(), "name: must not be empty".to_owned()]));
    }
}
