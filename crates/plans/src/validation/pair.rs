//! Checks that need both systems, and those that look at what the source holds.

use super::estimate::Estimate;
use super::listing::{self, Listing};
use super::report::{CheckReport, Outcome};
use super::sides::{self, Sides, finding, outcome};
use super::{Limits, Pair};
use crate::{application, config_place, room};
use domain::spec::{DatabaseEngine, MigrationSpec, SystemKind};
use domain::units;
use ports::databases::{Database, Schema, View};
use ports::files::FileTarget;
use ports::{ConnectorError, Connectors, ErrorKind, Finding};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the check that source and destination are not one place.
pub(super) const TWO_PLACES: &str = "two_places";

pub(super) struct Pairs {
    pub reports: Vec<CheckReport>,
    pub estimate: Option<Estimate>,
}

pub(super) async fn checks(spec: &MigrationSpec, sides: &Sides, connectors: &dyn Connectors, limits: Limits) -> Pairs {
    let (files, databases, place) =
        tokio::join!(files(spec, sides, connectors, limits), databases(sides, limits.check), two_places(spec, sides, connectors, limits.check));
    let mut reports = files.1;
    reports.extend(place);
    reports.extend(databases.1);
    reports.extend(made_by_us(spec, sides, limits.check).await);
    reports.extend(super::objects::check(spec, sides, databases.0.as_ref(), limits.check).await);
    if let Some(schema) = databases.0.as_ref().filter(|_| sides.destination.database.is_some()) {
        reports.extend(space_for_database(spec, schema, sides.destination.database_only, connectors, limits.check).await);
    }
    let looked = files.0;
    let known = looked.is_some() || databases.0.is_some();
    let estimate = known.then(|| estimate(spec, looked.as_ref(), databases.0.as_ref()));
    Pairs { reports, estimate: estimate.filter(|_| !limits.listing.is_zero()) }
}

fn estimate(spec: &MigrationSpec, files: Option<&Listing>, schema: Option<&Schema>) -> Estimate {
    let mut out = Estimate { parallel: spec.transfer.parallel_transfers as u32, ..Estimate::default() };
    if let Some(seen) = files {
        (out.files, out.bytes, out.lower_bound) = (seen.files, seen.bytes, seen.cut);
        (out.sample_rate, out.seconds_per_file) = (seen.sample_rate, seen.seconds_per_file);
    }
    if let Some(schema) = schema {
        out.tables = schema.tables.len() as u64;
        out.rows = schema.tables.iter().map(|t| t.rows).sum();
        out.database_bytes = schema.tables.iter().map(|t| t.bytes).sum();
    }
    out.reckon()
}

/// Source and destination are two places. Asked when all of both could be opened.
async fn two_places(spec: &MigrationSpec, sides: &Sides, connectors: &dyn Connectors, limit: Duration) -> Option<CheckReport> {
    if sides.opening.iter().any(|report| report.failed().is_some()) {
        return None;
    }
    let began = Instant::now();
    let (from, to) = &sides.databases;
    let mark = application::mark_of(None);
    let asked = application::conflict(spec, from.as_ref(), to.as_ref(), connectors, &mark);
    Some(made(TWO_PLACES, "both", began, verdict(within(limit, asked).await, "destination")))
}

/// The same for two directories of servers.
pub(super) async fn two_directories(pair: &Pair, limit: Duration) -> CheckReport {
    let began = Instant::now();
    let mark = application::mark_of(None);
    let asked = application::directories_conflict(pair.source.as_ref(), pair.destination.as_ref(), &mark);
    made(TWO_PLACES, "both", began, verdict(within(limit, asked).await, "destination.paths.web_root"))
}

fn verdict(asked: ports::Result<Option<String>>, field: &str) -> Outcome {
    match asked {
        Ok(None) => Outcome::Passed("source and destination are two places".to_owned()),
        Ok(Some(problem)) => failure(field, problem, application::CHOOSE_ANOTHER, ErrorKind::Invalid),
        Err(error) => Outcome::Failed(finding(&error, field), error.kind),
    }
}

fn made(check: &str, system: &str, began: Instant, outcome: Outcome) -> CheckReport {
    CheckReport { check: check.to_owned(), system: system.to_owned(), outcome, duration_ms: began.elapsed().as_millis() as u64 }
}

fn warning(field: &str, issue: String, suggestion: &str) -> Outcome {
    Outcome::Warning(Finding { field: field.to_owned(), issue, suggestion: suggestion.to_owned() })
}

fn failure(field: &str, issue: String, suggestion: &str, kind: ErrorKind) -> Outcome {
    Outcome::Failed(Finding { field: field.to_owned(), issue, suggestion: suggestion.to_owned() }, kind)
}

async fn files(spec: &MigrationSpec, sides: &Sides, connectors: &dyn Connectors, limits: Limits) -> (Option<Listing>, Vec<CheckReport>) {
    let Some(source) = &sides.source.files else { return (None, Vec::new()) };
    let began = Instant::now();
    let mut reports = Vec::new();
    if spec.source.kind == SystemKind::Wordpress && !sides::named_by_config(spec) {
        reports.push(wordpress(spec, source, connectors, limits.check).await);
    }
    if limits.listing.is_zero() {
        return (None, reports);
    }
    let seen = match listing::look(source, sides.destination.files.as_ref(), limits.listing).await {
        Ok(seen) => seen,
        Err(error) => {
            reports.push(made("source_files", "source", began, outcome(Err(error), "paths.web_root").on("source")));
            return (None, reports);
        }
    };
    reports.push(made("source_files", "source", began, counted(&seen)));
    reports.extend(large_files(&seen, began));
    reports.push(made("names", "destination", began, names(&seen)));
    reports.push(free_space(&seen, sides, limits.check).await);
    (Some(seen), reports)
}

impl Outcome {
    /// The same with the side put before the field.
    fn on(self, side: &str) -> Self {
        let put = |f: Finding| Finding { field: format!("{side}.{}", f.field), ..f };
        match self {
            Self::Passed(seen) => Self::Passed(seen),
            Self::Warning(finding) => Self::Warning(put(finding)),
            Self::Failed(finding, kind) => Self::Failed(put(finding), kind),
            Self::Skipped(why) => Self::Skipped(why),
        }
    }
}

fn counted(seen: &Listing) -> Outcome {
    let more = if seen.cut { "at least " } else { "" };
    let text = format!("{more}{} files, {}", seen.files, units::size(seen.bytes));
    if seen.files == 0 && !seen.cut {
        return warning("source.paths.web_root", "There are no files at the source".to_owned(), "check the directory's name");
    }
    if seen.special_count > 0 {
        let issue = format!("{text}; {} devices, sockets or pipes among them cannot be moved", seen.special_count);
        return warning("source.paths.web_root", issue, "they will be named in the report");
    }
    Outcome::Passed(text)
}

/// One warning per large file, as document 3 words it.
fn large_files(seen: &Listing, began: Instant) -> Vec<CheckReport> {
    if seen.large.is_empty() {
        return vec![made("large_files", "source", began, Outcome::Passed(format!("no file above {}", compact(listing::LARGE))))];
    }
    let mut reports: Vec<_> = seen
        .large
        .iter()
        .map(|(path, size)| {
            made(
                "large_files",
                "source",
                began,
                warning("source.paths.web_root", format!("Large file detected: {path} ({})", compact(*size)), "consider compression"),
            )
        })
        .collect();
    let rest = seen.large_count - seen.large.len() as u64;
    if rest > 0 {
        reports.push(made(
            "large_files",
            "source",
            began,
            warning("source.paths.web_root", format!("{rest} more large files detected"), "consider compression"),
        ));
    }
    reports
}

/// `"500MB"`, as in document 3's warning.
fn compact(bytes: u64) -> String {
    if bytes >= 1 << 30 { format!("{:.1}GB", bytes as f64 / f64::from(1u32 << 30)) } else { format!("{}MB", bytes >> 20) }
}

fn names(seen: &Listing) -> Outcome {
    let Some((_, reason)) = seen.refused.first() else { return Outcome::Passed("the destination can hold all names that were listed".to_owned()) };
    let named = seen.refused.iter().take(5).map(|(p, _)| format!("'{p}'")).collect::<Vec<_>>().join(", ");
    let issue = format!("{} names cannot exist at the destination, such as {named}: {reason}", seen.refused_count);
    warning("source.paths.web_root", issue, "rename them at the source, or they stay behind and are named in the report")
}

async fn free_space(seen: &Listing, sides: &Sides, limit: Duration) -> CheckReport {
    let began = Instant::now();
    let answer = match &sides.destination.files {
        Some(door) => tokio::time::timeout(limit, door.free_space()).await.unwrap_or_else(|_| Ok(None)),
        None => Ok(None),
    };
    // What is there already needs no room: the plan decides.
    let outcome = match enough(answer, seen.bytes, "destination.paths.web_root") {
        Outcome::Failed(finding, ErrorKind::NoSpace) => Outcome::Warning(finding),
        other => other,
    };
    made("free_space_for_files", "destination", began, outcome)
}

/// A SQLite file needs the room that its rows take at the source; other engines do not tell.
async fn space_for_database(spec: &MigrationSpec, schema: &Schema, alone: bool, connectors: &dyn Connectors, limit: Duration) -> Option<CheckReport> {
    let at = spec.destination.database.as_ref().filter(|at| at.engine == DatabaseEngine::Sqlite)?;
    let began = Instant::now();
    let answer = within(limit, room::for_database(Some(at), connectors)).await;
    let field = if alone { "destination.database" } else { "destination.database.database" };
    let needed = schema.tables.iter().map(|t| t.bytes).sum();
    Some(made("free_space_for_database", "destination", began, enough(answer, needed, field)))
}

fn enough(answer: ports::Result<Option<u64>>, needed: u64, field: &str) -> Outcome {
    match answer {
        Ok(Some(free)) if free < needed => {
            let issue = format!("{} are free at the destination, but {} have to be moved", units::size(free), units::size(needed));
            failure(field, issue, "Free some space, or choose another place", ErrorKind::NoSpace)
        }
        Ok(Some(free)) if free / 10 < needed / 9 => {
            warning(field, format!("Only {} are free for {}", units::size(free), units::size(needed)), "make room before the disk is nearly full")
        }
        Ok(Some(free)) => Outcome::Passed(format!("{} free for {}", units::size(free), units::size(needed))),
        Ok(None) => Outcome::Passed("the destination sets no limit, or does not tell one".to_owned()),
        Err(error) => Outcome::Failed(finding(&error, field), error.kind),
    }
}

/// A WordPress is where its `wp-config.php` is.
async fn wordpress(spec: &MigrationSpec, source: &Arc<dyn FileTarget>, connectors: &dyn Connectors, limit: Duration) -> CheckReport {
    let began = Instant::now();
    let verdict = match tokio::time::timeout(limit, config_place::of_source(&spec.source, source, connectors)).await {
        Ok(Ok(Some(place))) if place.above => Outcome::Passed("wp-config.php found, one directory above the web root".to_owned()),
        Ok(Ok(Some(_))) => Outcome::Passed("wp-config.php found".to_owned()),
        Ok(Ok(None)) => failure(
            "source.paths.web_root",
            format!("There is no wp-config.php in {} or one directory above, so this is not a WordPress directory", source.location()),
            "Give the directory that holds wp-config.php as paths.web_root, or another type than wordpress",
            ErrorKind::NotFound,
        ),
        Ok(Err(error)) => outcome(Err(error), "paths.web_root").on("source"),
        Err(_) => failure(
            "source.host",
            format!("No answer within {} seconds", limit.as_secs_f64()),
            "Check network connectivity and firewall settings",
            ErrorKind::TimedOut,
        ),
    };
    made(sides::WORDPRESS, "source", began, verdict)
}

/// A bucket or a database that is not there is made, which is told: its name may be mistyped.
async fn made_by_us(spec: &MigrationSpec, sides: &Sides, limit: Duration) -> Vec<CheckReport> {
    let began = Instant::now();
    let asked = application::to_be_made(spec, sides.destination.files.as_ref(), sides.destination.database.as_ref());
    // Whoever cannot be asked is named by the checks of that side.
    let missing = within(limit, asked).await.unwrap_or_default();
    let told = missing.into_iter().map(|missing| {
        if spec.destination.create {
            let advice = "check its name; with destination.create: false nothing is made";
            warning(missing.field, format!("The destination's {} does not exist and will be made", missing.what), advice)
        } else {
            failure(missing.field, missing.refusal(), application::CHECK_THE_NAME, ErrorKind::NotFound)
        }
    });
    told.map(|outcome| made("destination_exists", "destination", began, outcome)).collect()
}

async fn databases(sides: &Sides, limit: Duration) -> (Option<Schema>, Vec<CheckReport>) {
    let Some(source) = &sides.source.database else { return (None, Vec::new()) };
    let began = Instant::now();
    let field = if sides.source.database_only { "source.database" } else { "source.database.database" };
    let (schema, version, destination) = tokio::join!(within(limit, schema_of(source)), within(limit, source.version()), async {
        let door = sides.destination.database.as_ref()?;
        Some(tokio::join!(within(limit, schema_of(door)), within(limit, door.version())))
    });
    let contents = match &schema {
        Ok(schema) => contents(schema, field),
        Err(error) => Outcome::Failed(finding(error, field), error.kind),
    };
    let mut reports = vec![made("source_database_contents", "source", began, contents)];
    if let Some((there, there_version)) = destination {
        let field = if sides.destination.database_only { "destination" } else { "destination.database" };
        if let (Ok(from), Ok(to)) = (&version, &there_version) {
            reports.push(made("database_versions", "both", began, versions_fit(source.engine(), from, to, "destination.database")));
        }
        if let (Ok(from), Ok(to)) = (&schema, &there) {
            reports.push(made("character_sets", "both", began, charsets_fit(from, to, field)));
        }
    }
    (schema.ok(), reports)
}

async fn within<T>(limit: Duration, asked: impl Future<Output = ports::Result<T>>) -> ports::Result<T> {
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
        let reason = format!("no answer within {} seconds", limit.as_secs_f64());
        Err(ConnectorError::new(ErrorKind::TimedOut, "look into", "the database", reason))
    })
}

async fn schema_of(database: &Arc<dyn Database>) -> ports::Result<Schema> {
    let rows = database.read(View::Latest { connections: 1 }).await?;
    let schema = rows.schema().await;
    let closed = rows.close().await;
    let schema = schema?;
    closed?;
    Ok(schema)
}

fn contents(schema: &Schema, field: &str) -> Outcome {
    let bytes: u64 = schema.tables.iter().map(|t| t.bytes).sum();
    let tables = schema.tables.len();
    let text = format!("{tables} table{}, about {}", if tables == 1 { "" } else { "s" }, units::size(bytes));
    if schema.unmovable.is_empty() {
        return Outcome::Passed(text);
    }
    let names = schema.unmovable.iter().take(5).map(|u| format!("{} {} ({})", u.kind, u.name, u.reason)).collect::<Vec<_>>().join(", ");
    warning(field, format!("{text}; {} objects cannot be moved: {names}", schema.unmovable.len()), "make them at the destination by hand")
}

/// The first numbers of a version text: `"MariaDB 10.11.14"` → `[10, 11, 14]`.
fn numbers(version: &str) -> Vec<u32> {
    let start = version.find(|c: char| c.is_ascii_digit()).unwrap_or(version.len());
    version[start..].split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok()).collect()
}

fn versions_fit(engine: DatabaseEngine, from: &str, to: &str, field: &str) -> Outcome {
    let maria = |v: &str| v.to_ascii_lowercase().contains("mariadb");
    let seen = format!("{from} → {to}");
    if engine == DatabaseEngine::MySql && maria(from) != maria(to) {
        return Outcome::Passed(format!("{seen}; where the two differ, objects are adapted and the report names them"));
    }
    let (old, new) = (numbers(from), numbers(to));
    if engine == DatabaseEngine::PostgreSql && new.first() < old.first() {
        return failure(
            field,
            format!("The destination is older than the source: {seen}"),
            "Choose a destination of the source's major version or a newer one; PostgreSQL does not promise that what a newer version writes can be read by an older one",
            ErrorKind::Unsupported,
        );
    }
    if engine != DatabaseEngine::Sqlite && new.first() < old.first() {
        return warning(
            field,
            format!("The destination is older than the source: {seen}"),
            "objects that the older version does not know will be refused and named in the report",
        );
    }
    Outcome::Passed(seen)
}

fn charsets_fit(from: &Schema, to: &Schema, field: &str) -> Outcome {
    let seen = format!("{} ({}) → {} ({})", from.charset, from.collation, to.charset, to.collation);
    if from.charset.is_empty() || to.charset.is_empty() || from.charset.eq_ignore_ascii_case(&to.charset) {
        return Outcome::Passed(seen);
    }
    warning(field, format!("The databases' default character sets differ: {seen}"), "tables keep their own; new tables get the destination's default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_postgresql_is_refused_and_another_older_destination_is_a_warning() {
        let refused = versions_fit(DatabaseEngine::PostgreSql, "PostgreSQL 18.1", "PostgreSQL 15.4", "destination.database");
        let Outcome::Failed(finding, ErrorKind::Unsupported) = refused else { panic!("{refused:?}") };
        assert_eq!(finding.field, "destination.database");
        assert!(finding.issue.contains("PostgreSQL 18.1 → PostgreSQL 15.4"), "{}", finding.issue);
        assert!(matches!(versions_fit(DatabaseEngine::MySql, "MySQL 9.4.0", "MySQL 8.0.44", "destination"), Outcome::Warning(_)));
        assert!(matches!(versions_fit(DatabaseEngine::PostgreSql, "PostgreSQL 18.2", "PostgreSQL 18.1", "destination"), Outcome::Passed(_)));
        assert!(matches!(versions_fit(DatabaseEngine::PostgreSql, "PostgreSQL 15.4", "PostgreSQL 18.1", "destination"), Outcome::Passed(_)));
        assert!(matches!(versions_fit(DatabaseEngine::MySql, "MariaDB 10.11.14", "MySQL 9.4.0", "destination"), Outcome::Passed(_)));
    }

    #[test]
    fn sizes_as_in_the_documents_warning() {
        assert_eq!(compact(500 << 20), "500MB");
        assert_eq!(compact(3 << 30), "3.0GB");
    }
}
