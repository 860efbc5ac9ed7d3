//! Opening the doors of both systems, at the same time, each within its limit.

use super::report::{CheckReport, Outcome};
use super::{Part, no_answer, report};
use domain::spec::{DatabaseAt, FilesAt, MigrationSpec, System, SystemKind};
use ports::check::CheckOutcome;
use ports::databases::Database;
use ports::files::FileTarget;
use ports::{ConnectorError, Connectors, ErrorKind, Finding};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One system's open doors. A door that could not be opened, or is not part of the system, is `None`.
#[derive(Clone)]
pub(super) struct Doors {
    pub files: Option<Arc<dyn FileTarget>>,
    pub database: Option<Arc<dyn Database>>,
    pub database_only: bool,
}

pub(super) struct Sides {
    pub source: Doors,
    pub destination: Doors,
    /// Where the two databases are, also when only `wp-config.php` says so.
    pub databases: (Option<DatabaseAt>, Option<DatabaseAt>),
    /// Doors that did not open, as failed checks.
    pub opening: Vec<CheckReport>,
}

/// Connections that a validation uses per system.
const PARALLEL: usize = 4;

impl Sides {
    pub async fn open(spec: &MigrationSpec, connectors: &dyn Connectors, limit: Duration) -> Self {
        let (source, destination) = tokio::join!(open(&spec.source, "source", connectors, limit), open(&spec.destination, "destination", connectors, limit));
        let mut opening = source.1;
        opening.extend(destination.1);
        let databases = (spec.source.database.clone(), spec.destination.database.clone());
        let mut sides = Self { source: source.0, destination: destination.0, databases, opening };
        if named_by_config(spec)
            && let Some(files) = sides.source.files.clone()
        {
            sides.open_by_config(spec, files, connectors, limit).await;
        }
        sides
    }

    /// Opens the databases that only `wp-config.php` names.
    async fn open_by_config(&mut self, spec: &MigrationSpec, files: Arc<dyn FileTarget>, connectors: &dyn Connectors, limit: Duration) {
        let began = Instant::now();
        let found = match tokio::time::timeout(limit, crate::site::databases_by_config(spec, &files, connectors)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                let outcome = CheckOutcome::Failed { kind: error.kind, finding: finding(&error, "paths.web_root") };
                return self.opening.push(report(WORDPRESS.to_owned(), "source", Part::Files, outcome, began));
            }
            Err(_) => return self.opening.push(report(WORDPRESS.to_owned(), "source", Part::Files, no_answer("host", limit), began)),
        };
        let seen = found.0.as_ref().map_or_else(|| "wp-config.php read".to_owned(), |at| format!("wp-config.php names {}", at.describe()));
        self.opening.push(report(WORDPRESS.to_owned(), "source", Part::Files, CheckOutcome::Passed(seen), began));
        self.databases.clone_from(&found);
        let missing = found.1.filter(|_| self.destination.database.is_none());
        let (source, destination) = tokio::join!(
            open_database(found.0.as_ref(), "source", Part::Database, connectors, limit),
            open_database(missing.as_ref(), "destination", Part::Database, connectors, limit)
        );
        keep(source, &mut self.source.database, &mut self.opening);
        keep(destination, &mut self.destination.database, &mut self.opening);
    }
}

/// Name of the check that reads `wp-config.php`.
pub(super) const WORDPRESS: &str = "wordpress";

/// The source's database stands in its `wp-config.php` only.
pub(super) fn named_by_config(spec: &MigrationSpec) -> bool {
    spec.source.kind == SystemKind::Wordpress && spec.source.database.is_none() && spec.destination.database.is_some()
}

fn keep<T>(opened: Option<Result<T, CheckReport>>, door: &mut Option<T>, failed: &mut Vec<CheckReport>) {
    match opened {
        Some(Ok(open)) => *door = Some(open),
        Some(Err(report)) => failed.push(report),
        None => {}
    }
}

async fn open_database(
    at: Option<&DatabaseAt>,
    side: &str,
    part: Part,
    connectors: &dyn Connectors,
    limit: Duration,
) -> Option<Result<Arc<dyn Database>, CheckReport>> {
    // Without a name it is still to be read from wp-config.php.
    let at = at.filter(|at| !at.database.is_empty())?;
    Some(attempt(connectors.database(at, PARALLEL), side, part, |kind| database_field(at, kind), limit).await)
}

async fn open(system: &System, side: &str, connectors: &dyn Connectors, limit: Duration) -> (Doors, Vec<CheckReport>) {
    let database_only = system.files.is_none();
    let part = if database_only { Part::OnlyDatabase } else { Part::Database };
    let (files, database) = tokio::join!(
        async {
            let at = system.files.as_ref()?;
            Some(attempt(connectors.files(at, PARALLEL), side, Part::Files, |kind| files_field(at, kind), limit).await)
        },
        open_database(system.database.as_ref(), side, part, connectors, limit)
    );
    let mut failed = Vec::new();
    let mut doors = Doors { files: None, database: None, database_only };
    keep(files, &mut doors.files, &mut failed);
    keep(database, &mut doors.database, &mut failed);
    (doors, failed)
}

/// Opens one door; what goes wrong is a failed check `connectivity`.
async fn attempt<T>(
    opening: impl Future<Output = ports::Result<T>>,
    side: &str,
    part: Part,
    field: impl Fn(ErrorKind) -> &'static str,
    limit: Duration,
) -> Result<T, CheckReport> {
    let began = Instant::now();
    let outcome = match tokio::time::timeout(limit, opening).await {
        Ok(Ok(door)) => return Ok(door),
        Ok(Err(error)) => CheckOutcome::Failed { kind: error.kind, finding: finding(&error, field(error.kind)) },
        Err(_) => no_answer(field(ErrorKind::TimedOut), limit),
    };
    let name = match &outcome {
        CheckOutcome::Failed { kind: ErrorKind::Authentication, .. } => "credentials",
        CheckOutcome::Failed { kind: ErrorKind::Permission, .. } => "permissions",
        CheckOutcome::Failed { kind: ErrorKind::HostKey, .. } => "host_key",
        _ => "connectivity",
    };
    Err(report(part.check_name(side, name), side, part, outcome, began))
}

/// A connector's letter as a finding.
pub(super) fn finding(error: &ConnectorError, field: &str) -> Finding {
    let suggestion = if error.advice.is_empty() { advice(error.kind).to_owned() } else { error.advice.clone() };
    Finding { field: field.to_owned(), issue: format!("could not {} {}: {}", error.operation, error.subject, error.reason), suggestion }
}

/// The failed or passed check that `result` amounts to.
pub(super) fn outcome(result: Result<String, ConnectorError>, field: &str) -> Outcome {
    match result {
        Ok(seen) => Outcome::Passed(seen),
        Err(error) => Outcome::Failed(finding(&error, field), error.kind),
    }
}

/// What to do when the connector itself had no advice.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::Interrupted => "Check the host name and the port, network connectivity and firewall settings",
        ErrorKind::Authentication => "Check the user name and the password, key or token",
        ErrorKind::HostKey => "Compare the fingerprint with the server's own, then give it as host_key",
        ErrorKind::Permission => "Grant the user the missing right, or use another user",
        ErrorKind::NotFound => "Check the name; it must exist before the migration",
        ErrorKind::NoSpace => "Free some space, or choose another place",
        ErrorKind::Unsupported => "Choose another kind of system, or a newer version of it",
        ErrorKind::Throttled => "Try again in a moment",
        ErrorKind::AlreadyExists | ErrorKind::Name | ErrorKind::Changed | ErrorKind::Corrupt | ErrorKind::Protocol | ErrorKind::Invalid => "Check this field",
        ErrorKind::Stopped | ErrorKind::Internal => "Try again; if it stays, report it with the request id",
    }
}

fn files_field(at: &FilesAt, kind: ErrorKind) -> &'static str {
    match (at, kind) {
        (FilesAt::Local { .. }, _) => "paths.web_root",
        (FilesAt::Sftp { .. }, ErrorKind::HostKey) => "host_key",
        (FilesAt::Sftp { ssh, .. }, ErrorKind::Authentication) => match (&ssh.login.private_key, &ssh.login.password) {
            (Some(_), _) => "private_key",
            (None, Some(_)) => "password",
            (None, None) => "username",
        },
        (FilesAt::Sftp { .. }, ErrorKind::NotFound | ErrorKind::Permission) => "paths.web_root",
        (FilesAt::Sftp { .. }, _) => "host",
        (FilesAt::S3(s3), ErrorKind::Unreachable | ErrorKind::TimedOut) if s3.endpoint.is_some() => "endpoint",
        (FilesAt::S3(_), ErrorKind::Authentication) => "access_key_id",
        (FilesAt::S3(_) | FilesAt::Objects(_), _) => "bucket",
    }
}

fn database_field(at: &DatabaseAt, kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Authentication if at.password.is_some() => "password",
        ErrorKind::Authentication | ErrorKind::Permission => "username",
        ErrorKind::NotFound => "database",
        _ if at.host.is_empty() => "database",
        _ => "host",
    }
}
