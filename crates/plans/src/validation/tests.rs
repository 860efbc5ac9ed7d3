//! Validation against doors that lie, stall and refuse.

use super::*;
use domain::spec::{DatabaseAt, FilesAt};
use ports::ConnectorError;
use ports::databases::Database;
use ports::files::FileTarget;
use serde_json::json;
use std::sync::Arc;

/// Opens nothing: files stall, databases refuse the password.
struct Nowhere;

#[async_trait::async_trait]
impl Connectors for Nowhere {
    async fn files(&self, at: &FilesAt, _parallel: usize) -> ports::Result<Arc<dyn FileTarget>> {
        match at {
            FilesAt::Local { root } => Err(ConnectorError::new(ErrorKind::NotFound, "open", root.clone(), "there is no such directory")),
            _ => std::future::pending().await,
        }
    }

    async fn database(&self, at: &DatabaseAt, _parallel: usize) -> ports::Result<Arc<dyn Database>> {
        Err(ConnectorError::new(ErrorKind::Authentication, "log in to", at.describe(), "the password is wrong").advice("Check it"))
    }
}

fn spec() -> MigrationSpec {
    MigrationSpec::decode(&json!({"name": "n",
        "source": {"type": "wordpress", "host": "dead.example", "username": "u", "password": "p",
            "database": {"type": "mysql", "host": "db.example", "username": "u", "password": "wrong", "database": "d"}},
        "destination": {"type": "static", "paths": {"web_root": "/nowhere"}}}))
    .expect("a good body")
}

#[tokio::test]
async fn a_dead_host_ends_at_the_limit_and_every_failure_has_its_field() {
    let limit = Duration::from_millis(80);
    let began = Instant::now();
    let found = validate_within(&spec(), &Nowhere, Limits { check: limit, ..Limits::FULL }).await;
    assert!((limit..Duration::from_secs(5)).contains(&began.elapsed()), "took {:?}", began.elapsed());
    let named: Vec<(&str, &str, ErrorKind)> =
        found.checks.iter().filter_map(|c| c.failed().map(|(f, kind)| (c.check.as_str(), f.field.as_str(), kind))).collect();
    assert_eq!(
        named,
        [
            ("source_connectivity", "source.host", ErrorKind::TimedOut),
            ("source_database_credentials", "source.database.password", ErrorKind::Authentication),
            ("destination_connectivity", "destination.paths.web_root", ErrorKind::NotFound),
        ]
    );
    assert!(!found.valid && !found.can_proceed);
    assert_eq!((found.checks_performed, found.checks_passed, found.checks_failed), (3, 0, 3));
    assert_eq!(found.estimated_duration, "unknown: the source could not be read");
    assert!(!found.only_temporary(), "a wrong password does not go away");
}

#[test]
fn fields_of_doors_become_fields_of_the_document() {
    assert_eq!(Part::Files.field("source", "paths.web_root"), "source.paths.web_root");
    assert_eq!(Part::Database.field("source", "password"), "source.database.password");
    assert_eq!(Part::Database.field("destination", "database.host"), "destination.database.host");
    assert_eq!(Part::OnlyDatabase.field("source", "database.host"), "source.host");
    assert_eq!(Part::Database.check_name("source", "credentials"), "source_database_credentials");
}

#[test]
fn fields_of_doors_become_a_workloads() {
    let place = "selected_mount_points[1].mount_point_name";
    for (field, expected) in [
        ("source.paths.web_root", place),
        ("source.host", "source.ip"),
        ("destination.password", "migration_target.target_vm.credentials.password"),
        ("destination.host_key", "migration_target.target_vm.ssh.host_key"),
    ] {
        assert_eq!(workload_field(place, field), expected);
    }
}
