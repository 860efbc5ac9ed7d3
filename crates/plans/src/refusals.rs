//! What a migration is refused for once its systems are reached: one list for `validate`, dry runs, the checks before a start and the first
//! step, in the same words.
//!
//! ```text
//! site ──► of_site (addresses, networks, a configuration that would be hidden) ─┐
//! plans ─► of_plans (losses without a backup, room) ────────────────────────────┴─► checks of a validation │ a dry run's refusals │ the step's error
//! ```

use crate::adapters::failed;
use crate::room;
use crate::site::{Configuration, Site};
use crate::validation::report;
use crate::wordpress::CONFIG;
use crate::wordpress::address::Address;
use crate::wordpress::network;
use domain::spec::MigrationSpec;
use domain::units;
use engine::StepError;
use movers::databases::DatabasePlan;
use movers::files::FilesPlan;
use ports::files::FilePath;
use ports::{Connectors, ErrorKind, Finding, Result};
use serde_json::json;

/// One reason, with the field that it hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Name of the check that finds it.
    pub check: &'static str,
    pub finding: Finding,
    pub kind: ErrorKind,
}

/// What a run would do, as far as it is known.
pub(crate) struct Planned<'a> {
    pub files: Option<&'a FilesPlan>,
    pub database: Option<&'a DatabasePlan>,
    /// The destination has a configuration file that will be replaced.
    pub configuration: bool,
}

impl Refusal {
    fn new(check: &'static str, kind: ErrorKind, field: &str, issue: String, suggestion: &str) -> Self {
        Self { check, kind, finding: Finding { field: field.to_owned(), issue, suggestion: suggestion.to_owned() } }
    }

    /// As a sentence of a dry run.
    pub(crate) fn words(&self) -> String {
        report::error(&self.finding)
    }
}

/// The error of a step that is refused, with all reasons. `None`: nothing is in the way.
pub(crate) fn error(refusals: &[Refusal]) -> Option<StepError> {
    let first = refusals.first()?;
    let message = refusals.iter().map(|r| r.finding.issue.as_str()).collect::<Vec<_>>().join("; ");
    let advice = refusals.iter().map(|r| r.finding.suggestion.as_str()).collect::<Vec<_>>().join(". ");
    let failed_checks: Vec<_> =
        refusals.iter().map(|r| json!({"check": r.check, "field": r.finding.field, "error": r.finding.issue, "suggestion": r.finding.suggestion})).collect();
    let error = failed(first.kind, message, &advice);
    Some(error.details(json!({"advice": advice, "retryable": false, "failed_checks": failed_checks})))
}

/// What the two systems and the document tell without a plan.
pub(crate) async fn of_site(spec: &MigrationSpec, site: &Site) -> Result<Vec<Refusal>> {
    let mut found: Vec<_> = network_of_sites(spec, site).into_iter().collect();
    found.extend(hidden_configuration(spec, site).await?);
    Ok(found)
}

/// What only the plans tell.
pub(crate) async fn of_plans(spec: &MigrationSpec, site: &Site, planned: &Planned<'_>, connectors: &dyn Connectors) -> Result<Vec<Refusal>> {
    let mut found: Vec<_> = losses(spec, planned).into_iter().collect();
    found.extend(room_for_files(site, planned.files).await?);
    found.extend(room_for_database(site, planned.database, connectors).await?);
    Ok(found)
}

/// Whether the destination already has the configuration file that this migration will write.
pub(crate) async fn configuration_exists(spec: &MigrationSpec, site: &Site) -> Result<bool> {
    match (&site.destination.configuration, site.configuration(spec)) {
        (Some(files), Configuration::Rewritten) => match files.stat(&FilePath::from(CONFIG)).await {
            Err(e) if e.kind == ErrorKind::NotFound => Ok(false),
            found => Ok(found?.is_some()),
        },
        _ => Ok(false),
    }
}

/// What the document alone tells.
pub(crate) fn of_document(spec: &MigrationSpec) -> Vec<Refusal> {
    let both = [("source.url", &spec.source.url), ("destination.url", &spec.destination.url)];
    let bad = both.into_iter().filter_map(|(field, url)| url.as_ref().filter(|u| Address::parse(u).is_none()).map(|url| (field, url)));
    bad.map(|(field, url)| {
        let advice = "Give it as https://host, https://host:port or https://host/path, without user, query or fragment";
        Refusal::new("addresses", ErrorKind::Invalid, field, format!("{field} '{url}' is not a site's address"), advice)
    })
    .collect()
}

/// A network of sites on sub-domains cannot live everywhere.
fn network_of_sites(spec: &MigrationSpec, site: &Site) -> Option<Refusal> {
    let to = spec.destination.url.as_deref().and_then(Address::parse)?;
    let wordpress = site.wordpress.as_ref().filter(|w| w.config.is_on("MULTISITE"))?;
    let why = network::refusal(&to, wordpress.config.is_on("SUBDOMAIN_INSTALL"))?;
    let issue = format!("The network of sites cannot move to {to}: {why}");
    Some(Refusal::new("network", ErrorKind::Invalid, "destination.url", issue, "Give a destination.url with a host name of its own and without a path"))
}

/// WordPress reads the file above its web root only when the web root has none.
async fn hidden_configuration(spec: &MigrationSpec, site: &Site) -> Result<Option<Refusal>> {
    let (Some(root), Some(place)) = (&site.destination.files, &site.destination.configuration) else { return Ok(None) };
    if site.configuration(spec) != Configuration::Rewritten || root.location() == place.location() {
        return Ok(None);
    }
    match root.stat(&FilePath::from(CONFIG)).await {
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(None),
        found => {
            if found?.is_none() {
                return Ok(None);
            }
        }
    }
    let issue = format!("{} has a {CONFIG} of its own, so WordPress would never read the one in {}", root.location(), place.location());
    let advice = "Move it away, or leave destination.paths.config out so that it is replaced";
    Ok(Some(Refusal::new("configuration", ErrorKind::AlreadyExists, "destination.paths.config", issue, advice)))
}

fn losses(spec: &MigrationSpec, planned: &Planned<'_>) -> Option<Refusal> {
    if spec.safety.backup_before || spec.safety.overwrite_without_backup {
        return None;
    }
    let (overwrites, deletes) = planned.files.map_or((0, 0), |p| (p.overwrites, p.deletes));
    let overwrites = overwrites + u64::from(planned.configuration);
    let objects = planned.database.map_or(0, |p| p.overwrites.len());
    if overwrites + deletes == 0 && objects == 0 {
        return None;
    }
    let issue =
        format!("{overwrites} files would be overwritten, {deletes} deleted and {objects} database objects replaced at the destination, without a backup");
    let advice = "Leave safety.backup_before on, or set safety.overwrite_without_backup to true if nothing there is worth keeping";
    Some(Refusal::new("losses", ErrorKind::AlreadyExists, "safety.backup_before", issue, advice))
}

async fn room_for_files(site: &Site, plan: Option<&FilesPlan>) -> Result<Option<Refusal>> {
    let (Some(target), Some(plan)) = (&site.destination.files, plan) else { return Ok(None) };
    let free = match target.free_space().await {
        // A root that does not exist yet tells nothing; writing will.
        Err(e) if e.kind == ErrorKind::NotFound => None,
        free => free?,
    };
    Ok(free.filter(|free| *free < plan.bytes).map(|free| {
        let issue = format!("{} has {} free, but {} are to be transferred", target.location(), units::size(free), units::size(plan.bytes));
        let advice = "Free some space at the destination, or choose another one";
        Refusal::new("free_space_for_files", ErrorKind::NoSpace, "destination.paths.web_root", issue, advice)
    }))
}

async fn room_for_database(site: &Site, plan: Option<&DatabasePlan>, connectors: &dyn Connectors) -> Result<Option<Refusal>> {
    let (Some(at), Some(plan)) = (&site.destination_database_at, plan) else { return Ok(None) };
    let free = room::for_database(Some(at), connectors).await?;
    Ok(free.filter(|free| *free < plan.bytes).map(|free| {
        let issue = format!("The directory of {} has {} free, but the database needs {}", at.database, units::size(free), units::size(plan.bytes));
        Refusal::new("free_space_for_database", ErrorKind::NoSpace, "destination.database", issue, "Free some space there, or choose another directory")
    }))
}
