//! Checking a configuration: `POST /validate/`, and the same checks before a start.

use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::spec::MigrationSpec;
use plans::validation::{CheckReport, Limits, Validation};
use ports::{ConnectorError, Finding};
use serde_json::{Value, json};

impl Control {
    /// Really connects to both systems. A configuration that cannot even be decoded is an error; everything else is an answer.
    pub async fn validate(&self, tenant: &str, body: &Value) -> Result<Validation, Error> {
        let spec = self.decode(body)?;
        Ok(self.checks_of(tenant, &spec, Limits::FULL).await)
    }

    async fn checks_of(&self, tenant: &str, spec: &MigrationSpec, limits: Limits) -> Validation {
        match spec.machine() {
            Some(_) => plans::validation::validate_disk(spec, self.settings(), tenant, limits).await,
            None => plans::validation::validate_within(spec, &*self.settings().connectors, limits).await,
        }
    }

    /// The checks without the look through the files; the first step of the run looks at those itself.
    pub(crate) async fn check_before_start(&self, tenant: &str, spec: &MigrationSpec) -> Result<(), Error> {
        let found = self.checks_of(tenant, spec, Limits::QUICK).await;
        if found.can_proceed {
            return Ok(());
        }
        let failed: Vec<Value> = found.checks.iter().filter_map(failed_check).collect();
        Err(refused(&failed))
    }
}

/// All failed checks, and the first one as document 3 shows a single one: field, issue, suggestion.
fn refused(failed: &[Value]) -> Error {
    let mut details = json!({"failed_checks": failed});
    if let Some(first) = failed.first() {
        (details["field"], details["issue"], details["suggestion"]) = (first["field"].clone(), first["error"].clone(), first["suggestion"].clone());
    }
    Error::new(Kind::Unprocessable, Code::ValidationFailed, "Pre-migration validation failed").details(details)
}

fn failed_check(report: &CheckReport) -> Option<Value> {
    let (Finding { field, issue, suggestion }, kind) = report.failed()?;
    Some(json!({"check": report.check, "error": issue, "suggestion": suggestion, "field": field, "kind": kind, "retryable": kind.is_temporary()}))
}

/// A door that failed while something was only being read.
pub(crate) fn failed_checks(check: &str, error: &ConnectorError) -> Error {
    refused(&[json!({"check": check, "error": error.to_string(), "suggestion": error.advice, "kind": error.kind, "retryable": error.temporary})])
}
