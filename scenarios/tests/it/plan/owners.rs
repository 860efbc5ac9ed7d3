//! A destination has one owner, whoever drives the run and whatever the place is called.

use super::drive::{Driven, output};
use super::shop::{document, lay_out, state};
use super::{Connectors, settings, write};
use domain::spec::MigrationSpec;
use engine::RunState;
use ports::Connectors as _;
use serde_json::{Value, json};
use std::path::Path;

/// As a run of this tenant words it.
fn holder(tenant: &str, run: &str) -> String {
    format!("{run} {}", &blake3::hash(format!("{tenant}\0{run}").as_bytes()).to_hex()[..10])
}

/// Our own objects below a directory.
fn marks(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("a listing").map(|e| e.expect("a name").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".migration-assistant")).collect()
}

async fn refused(dir: &Path, journal: &str, document: Value) -> String {
    let driven = Driven::open(&dir.join(journal), plans::registry(settings(&dir.join(journal)))).await;
    driven.start(document, true).await;
    let run = driven.ended().await;
    assert!(matches!(run.state, RunState::RolledBack | RunState::Failed), "{:?} {:?}", run.state, run.error);
    driven.crash().await;
    run.error.expect("an error").message
}

async fn completes(dir: &Path, journal: &str, document: Value) -> Value {
    let driven = Driven::open(&dir.join(journal), plans::registry(settings(&dir.join(journal)))).await;
    driven.start(document, true).await;
    let run = driven.completed().await;
    driven.crash().await;
    output(&run, "finish").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_migration_writes_to_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    lay_out(dir);
    let before = state(dir);
    let at = MigrationSpec::decode(&document(dir)).expect("a document").destination.database.expect("a database");
    let place = Connectors.database(&at, 1).await.expect("a door").place().expect("a place");
    let held = place.lock("owner", &holder("another tenant", "run-a")).await.expect("an answer").expect("the lock");
    let message = refused(dir, "b", document(dir)).await;
    assert!(message.contains("Another migration has the place") && !message.contains("run-a"), "{message}");
    assert_eq!(state(dir), before, "who was refused has written nothing, and undone nothing");
    held.release().await;
    completes(dir, "c", document(dir)).await;
    assert_eq!((marks(dir), marks(&dir.join("to"))), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_another_migration_writes_to_is_left_alone_and_its_run_is_named_within_the_tenant() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    lay_out(dir);
    let before = state(dir);
    let mark = dir.join("to/.migration-assistant~owner");
    write(&mark, &json!({"holder": holder("default", "run-a"), "expires": "2999-01-01T00:00:00Z"}).to_string());
    let message = refused(dir, "b", document(dir)).await;
    assert!(message.contains("Another migration (run-a) is writing to"), "{message}");
    std::fs::remove_file(&mark).expect("the mark of the other run stays");
    assert_eq!(state(dir), before, "who was refused has written nothing, and undone nothing");
    completes(dir, "c", document(dir)).await;
    assert_eq!(marks(&dir.join("to")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_root_is_named_with_what_it_points_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    lay_out(dir);
    write(&dir.join("media/photo.jpg"), "photo");
    std::os::unix::fs::symlink(dir.join("media"), dir.join("from/uploads")).expect("a link");
    std::os::unix::fs::symlink("../media", dir.join("from/again")).expect("a link");
    std::os::unix::fs::symlink(dir.join("from/index.html"), dir.join("from/css/back")).expect("a link into the root");
    let report = completes(dir, "a", document(dir)).await;
    let leftovers = report["leftovers"].as_array().expect("leftovers");
    let named: Vec<&str> = leftovers.iter().filter(|l| l["kind"] == "file").filter_map(|l| l["name"].as_str()).collect();
    assert_eq!(named, ["again", "uploads"], "{report:#}");
    assert!(report["partial"] == true && report["leftovers"].to_string().contains("source.paths.uploads"), "{report:#}");
}
