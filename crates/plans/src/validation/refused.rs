//! Checks of what the first step would refuse. Only what is refused makes a report.

use super::Limits;
use super::report::{CheckReport, Outcome};
use super::sides::finding;
use crate::refusals::{self, Planned, Refusal};
use crate::site::Site;
use crate::survey::surveyed;
use domain::spec::MigrationSpec;
use ports::{Connectors, Result};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What the document alone tells.
pub(super) fn of_document(spec: &MigrationSpec) -> Vec<CheckReport> {
    reports(refusals::of_document(spec), Duration::ZERO)
}

/// What the systems tell, and, with [`Limits::FULL`], the plans that are made in time. Asked when every other check has passed.
pub(super) async fn of_systems(spec: &MigrationSpec, connectors: &dyn Connectors, limits: Limits) -> Vec<CheckReport> {
    let began = Instant::now();
    match tokio::time::timeout(limits.check, asked(spec, connectors, limits.listing)).await {
        // The first step has more time for the same look.
        Err(_) => Vec::new(),
        Ok(Ok(found)) => reports(found, began.elapsed()),
        Ok(Err(error)) => {
            let outcome = Outcome::Failed(finding(&error, "source"), error.kind);
            vec![CheckReport { check: "site".to_owned(), system: "both".to_owned(), outcome, duration_ms: began.elapsed().as_millis() as u64 }]
        }
    }
}

async fn asked(spec: &MigrationSpec, connectors: &dyn Connectors, limit: Duration) -> Result<Vec<Refusal>> {
    let site = Site::open(spec, connectors).await?;
    let mut found = refusals::of_site(spec, &site).await?;
    if limit.is_zero() {
        return Ok(found);
    }
    let stop = CancellationToken::new();
    let Ok(plans) = tokio::time::timeout(limit, surveyed(spec, &site, &stop)).await else { return Ok(found) };
    let (files, database) = plans?;
    let configuration = refusals::configuration_exists(spec, &site).await?;
    let planned = Planned { files: files.as_ref(), database: database.as_ref(), configuration };
    found.extend(refusals::of_plans(spec, &site, &planned, connectors).await?);
    Ok(found)
}

fn reports(found: Vec<Refusal>, took: Duration) -> Vec<CheckReport> {
    let report = |refusal: Refusal| CheckReport {
        check: refusal.check.to_owned(),
        system: if refusal.finding.field.starts_with("source") { "source" } else { "destination" }.to_owned(),
        outcome: Outcome::Failed(refusal.finding, refusal.kind),
        duration_ms: took.as_millis() as u64,
    };
    found.into_iter().map(report).collect()
}
