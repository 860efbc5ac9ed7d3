//! What a validation found, in document 3's words and in full.

use super::estimate::Estimate;
use ports::{ErrorKind, Finding};
use serde::ser::{Serialize, SerializeMap, Serializer};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With what was seen.
    Passed(String),
    Warning(Finding),
    Failed(Finding, ErrorKind),
    /// Could not be done, and why; its cause is a failed check of its own.
    Skipped(String),
}

/// One check that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// `source_connectivity`, `destination_database_credentials`, `free_space`, …
    pub check: String,
    /// `source`, `destination` or `both`.
    pub system: String,
    pub outcome: Outcome,
    pub duration_ms: u64,
}

impl CheckReport {
    /// What is wrong and where; `None` for a passed or skipped check.
    pub fn finding(&self) -> Option<&Finding> {
        match &self.outcome {
            Outcome::Passed(_) | Outcome::Skipped(_) => None,
            Outcome::Warning(finding) | Outcome::Failed(finding, _) => Some(finding),
        }
    }

    pub fn failed(&self) -> Option<(&Finding, ErrorKind)> {
        match &self.outcome {
            Outcome::Failed(finding, kind) => Some((finding, *kind)),
            Outcome::Passed(_) | Outcome::Warning(_) | Outcome::Skipped(_) => None,
        }
    }
}

impl Serialize for CheckReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("check", &self.check)?;
        map.serialize_entry("system", &self.system)?;
        let (word, seen) = match &self.outcome {
            Outcome::Passed(seen) => ("passed", Some(seen)),
            Outcome::Warning(_) => ("warning", None),
            Outcome::Failed(..) => ("failed", None),
            Outcome::Skipped(why) => ("skipped", Some(why)),
        };
        map.serialize_entry("outcome", word)?;
        map.serialize_entry("seen", &seen)?;
        map.serialize_entry("field", &self.finding().map(|f| &f.field))?;
        map.serialize_entry("issue", &self.finding().map(|f| &f.issue))?;
        map.serialize_entry("suggestion", &self.finding().map(|f| &f.suggestion))?;
        map.serialize_entry("kind", &self.failed().map(|(_, kind)| kind))?;
        map.serialize_entry("duration_ms", &self.duration_ms)?;
        map.end()
    }
}

/// Document 3's answer to `POST /validate/`, with every check beside it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Validation {
    pub valid: bool,
    pub checks_performed: usize,
    pub checks_passed: usize,
    pub checks_failed: usize,
    pub warnings: Vec<String>,
    pub errors: Vec<String>,
    pub can_proceed: bool,
    /// `"35-45 minutes"`, or why it cannot be said.
    pub estimated_duration: String,
    /// What the estimate rests on; `None` when the source could not be read.
    pub estimate: Option<Estimate>,
    pub checks: Vec<CheckReport>,
}

impl Validation {
    pub(super) fn of(checks: Vec<CheckReport>, estimate: Option<Estimate>) -> Self {
        let passed = checks.iter().filter(|c| matches!(c.outcome, Outcome::Passed(_))).count();
        let failed = checks.iter().filter(|c| c.failed().is_some()).count();
        let warnings = checks.iter().filter_map(|c| if let Outcome::Warning(f) = &c.outcome { Some(warning(f)) } else { None }).collect();
        let errors = checks.iter().filter_map(|c| c.failed()).map(|(f, _)| error(f)).collect();
        let estimated_duration = estimate.as_ref().map_or_else(|| "unknown: the source could not be read".to_owned(), Estimate::words);
        Self {
            valid: failed == 0,
            checks_performed: checks.iter().filter(|c| !matches!(c.outcome, Outcome::Skipped(_))).count(),
            checks_passed: passed,
            checks_failed: failed,
            warnings,
            errors,
            can_proceed: failed == 0,
            estimated_duration,
            estimate,
            checks,
        }
    }

    /// Every failed check would succeed later without anybody changing anything.
    pub fn only_temporary(&self) -> bool {
        self.checks.iter().filter_map(CheckReport::failed).all(|(_, kind)| kind.is_temporary())
    }
}

/// Document 3: "Large file detected: video.mp4 (500MB) - consider compression".
fn warning(finding: &Finding) -> String {
    if finding.suggestion.is_empty() { finding.issue.clone() } else { format!("{} - {}", finding.issue, finding.suggestion) }
}

/// "field: what is wrong. What to do".
pub(crate) fn error(finding: &Finding) -> String {
    format!("{}: {}", finding.field, sentence(finding))
}

fn sentence(finding: &Finding) -> String {
    if finding.suggestion.is_empty() { finding.issue.clone() } else { format!("{}. {}", finding.issue.trim_end_matches('.'), finding.suggestion) }
}
