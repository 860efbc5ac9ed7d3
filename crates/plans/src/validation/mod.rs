//! Checking a configuration before anything moves: every check really connects, all run side by side, each within its limit.
//!
//! ```text
//! spec ─► sides (open four doors) ─► checks of each door ──┐
//!                                └─► pair checks, listing ─┴─► what the first step would refuse ─► Validation (document 3's answer, and every
//!                                                                check beside it)
//! ```
//! It only reads, but for the trial write of a `permissions` check, which leaves nothing behind. Rules that need no connection
//! are [`MigrationSpec::decode`]'s.

mod cascade;
mod estimate;
mod listing;
mod objects;
mod pair;
mod refused;
pub(crate) mod report;
mod sides;

pub use estimate::Estimate;
pub use report::{CheckReport, Outcome, Validation};

use domain::spec::MigrationSpec;
use ports::check::{Check, CheckOutcome, Role};
use ports::files::FileTarget;
use ports::{Connectors, ErrorKind, Finding};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How thorough to be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one check, opening a door included.
    pub check: Duration,
    /// For looking through the source's files; zero leaves that out.
    pub listing: Duration,
}

impl Limits {
    /// For `POST /validate/`.
    pub const FULL: Self = Self { check: Duration::from_secs(10), listing: Duration::from_secs(5) };
    /// For the moment before a start: the same checks without the listing.
    pub const QUICK: Self = Self { check: Duration::from_secs(10), listing: Duration::ZERO };
}

/// Checks both systems with [`Limits::FULL`]. Never fails: what cannot be reached is a failed check. Ends within about 25 seconds.
pub async fn validate(spec: &MigrationSpec, connectors: &dyn Connectors) -> Validation {
    validate_within(spec, connectors, Limits::FULL).await
}

/// As [`validate_within`], for a migration of a machine's disk: looks at the machine of `tenant`, or at the image, too.
pub async fn validate_disk(spec: &MigrationSpec, settings: &crate::Settings, tenant: &str, limits: Limits) -> Validation {
    let (mut found, machine) = tokio::join!(reports(spec, settings.connectors.as_ref(), limits), crate::disks::checks(spec, settings, tenant));
    found.0.push(machine);
    cascade::settle(&mut found.0);
    Validation::of(found.0, found.1)
}

/// What a look at a machine amounts to.
pub(crate) fn machine_outcome(looked: ports::Result<String>, field: &str) -> Outcome {
    sides::outcome(looked, field)
}

/// The same within other limits.
pub async fn validate_within(spec: &MigrationSpec, connectors: &dyn Connectors, limits: Limits) -> Validation {
    let (mut reports, estimate) = reports(spec, connectors, limits).await;
    reports.extend(refused::of_document(spec));
    if reports.iter().all(|report| report.failed().is_none()) {
        reports.extend(refused::of_systems(spec, connectors, limits).await);
    }
    cascade::settle(&mut reports);
    Validation::of(reports, estimate)
}

/// The checks alone, for those who ask for the [`crate::refusals`] themselves, with more time and the plans at hand.
pub(crate) async fn checks_within(spec: &MigrationSpec, connectors: &dyn Connectors, limits: Limits) -> Validation {
    let (mut reports, estimate) = reports(spec, connectors, limits).await;
    cascade::settle(&mut reports);
    Validation::of(reports, estimate)
}

async fn reports(spec: &MigrationSpec, connectors: &dyn Connectors, limits: Limits) -> (Vec<CheckReport>, Option<Estimate>) {
    let sides = sides::Sides::open(spec, connectors, limits.check).await;
    let mut reports = sides.opening.clone();
    let (doors, pairs) = tokio::join!(own_checks(&sides, limits.check), pair::checks(spec, &sides, connectors, limits));
    reports.extend(doors);
    reports.extend(pairs.reports);
    (reports, pairs.estimate)
}

/// Doors to one place at both servers: the first will be read, the second written.
pub struct Pair {
    pub source: Arc<dyn FileTarget>,
    pub destination: Arc<dyn FileTarget>,
    /// What callers write to say where the files lie; fields of a server itself are called `source.…` and `migration_target.target_vm.…`.
    pub field: String,
}

/// Checks pairs of doors to files. All checks run side by side, each within `limit`; what is wrong with a pair is told once.
pub async fn validate_doors(pairs: &[Pair], limit: Duration) -> Validation {
    let reports = futures::future::join_all(pairs.iter().map(|pair| pair_reports(pair, limit))).await;
    Validation::of(reports.into_iter().flatten().collect(), None)
}

async fn pair_reports(pair: &Pair, limit: Duration) -> Vec<CheckReport> {
    let mut running = Vec::new();
    for (files, role, side) in [(&pair.source, Role::Source, "source"), (&pair.destination, Role::Destination, "destination")] {
        running.extend(files.checks(role).into_iter().map(|check| run(check, side, Part::Files, limit)));
    }
    let (mut reports, place) = tokio::join!(futures::future::join_all(running), pair::two_directories(pair, limit));
    reports.push(place);
    cascade::settle(&mut reports);
    for report in &mut reports {
        if let Outcome::Failed(finding, _) | Outcome::Warning(finding) = &mut report.outcome {
            finding.field = workload_field(&pair.field, &finding.field);
        }
    }
    reports
}

/// A workload's word for a field of document 3.
fn workload_field(place: &str, field: &str) -> String {
    let Some((side, inner)) = field.split_once('.') else { return field.to_owned() };
    let server = if side == "source" { "source" } else { "migration_target.target_vm" };
    match inner {
        "paths.web_root" => place.to_owned(),
        "host" => format!("{server}.ip"),
        "username" | "password" => format!("{server}.credentials.{inner}"),
        ssh => format!("{server}.ssh.{ssh}"),
    }
}

/// All checks that the doors themselves offer.
async fn own_checks(sides: &sides::Sides, limit: Duration) -> Vec<CheckReport> {
    let mut running = Vec::new();
    for (system, role, prefix) in [(&sides.source, Role::Source, "source"), (&sides.destination, Role::Destination, "destination")] {
        if let Some(files) = &system.files {
            running.extend(files.checks(role).into_iter().map(|check| run(check, prefix, Part::Files, limit)));
        }
        if let Some(database) = &system.database {
            let part = if system.database_only { Part::OnlyDatabase } else { Part::Database };
            running.extend(database.checks(role).into_iter().map(|check| run(check, prefix, part, limit)));
        }
    }
    futures::future::join_all(running).await
}

/// Which door of a system; decides how checks and fields are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Files,
    Database,
    /// The system is a database: its fields stand in the system itself.
    OnlyDatabase,
}

impl Part {
    fn check_name(self, side: &str, name: &str) -> String {
        if self == Self::Files { format!("{side}_{name}") } else { format!("{side}_database_{name}") }
    }

    /// A connector gives fields relative to the system; a database connector may say `password` or `database.password`.
    fn field(self, side: &str, field: &str) -> String {
        match (self, field.strip_prefix("database.")) {
            (Self::Files, _) => format!("{side}.{field}"),
            (Self::Database, Some(_)) => format!("{side}.{field}"),
            (Self::Database, None) => format!("{side}.database.{field}"),
            (Self::OnlyDatabase, inner) => format!("{side}.{}", inner.unwrap_or(field)),
        }
    }
}

/// Runs one check of a door within its limit.
async fn run(check: Check<'_>, side: &str, part: Part, limit: Duration) -> CheckReport {
    let began = Instant::now();
    let outcome = tokio::time::timeout(limit, check.run).await.unwrap_or_else(|_| no_answer("host", limit));
    report(part.check_name(side, check.name), side, part, outcome, began)
}

/// A system that stays silent.
fn no_answer(field: &str, limit: Duration) -> CheckOutcome {
    let finding = Finding {
        field: field.to_owned(),
        issue: format!("No answer within {} seconds", limit.as_secs_f64()),
        suggestion: "Check network connectivity and firewall settings, and whether the server is overloaded".to_owned(),
    };
    CheckOutcome::Failed { finding, kind: ErrorKind::TimedOut }
}

fn report(check: String, side: &str, part: Part, outcome: CheckOutcome, began: Instant) -> CheckReport {
    let outcome = match outcome {
        CheckOutcome::Passed(seen) => Outcome::Passed(seen),
        CheckOutcome::Warning(finding) => Outcome::Warning(Finding { field: part.field(side, &finding.field), ..finding }),
        CheckOutcome::Failed { finding, kind } => Outcome::Failed(Finding { field: part.field(side, &finding.field), ..finding }, kind),
    };
    CheckReport { check, system: side.to_owned(), outcome, duration_ms: began.elapsed().as_millis() as u64 }
}

#[cfg(test)]
mod tests;
