//! A static site with a SQLite database, moved over an older copy of itself.

use super::drive::{Driven, disturbed, output};
use super::{Connectors, fingerprint, settings, write};
use engine::RunState;
use futures::FutureExt;
use ports::Connectors as _;
use ports::files::FilePath;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use testkit::plan_suite::{self, Case};
use tokio_util::sync::CancellationToken;

fn sqlite(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).expect("a database").execute_batch(sql).expect("SQL");
}

/// Source and destination below `dir`; the destination holds an older copy and things of its own.
pub(super) fn lay_out(dir: &Path) {
    write(&dir.join("from/index.html"), "<h1>new</h1>");
    write(&dir.join("from/css/site.css"), "body{}");
    write(&dir.join("from/empty.txt"), "");
    write(&dir.join("from/a b/é.txt"), "spaces and letters");
    std::fs::create_dir_all(dir.join("from/hollow")).expect("an empty directory");
    std::os::unix::fs::symlink("index.html", dir.join("from/start")).expect("a link");
    write(&dir.join("to/index.html"), "<h1>older</h1>");
    write(&dir.join("to/mine.txt"), "of the destination alone");
    write(&dir.join("to/css/old.css"), "extraneous");
    sqlite(
        &dir.join("from.db"),
        "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB); CREATE INDEX item_name ON item(name);
         CREATE TABLE sale(id INTEGER PRIMARY KEY, item INTEGER REFERENCES item(id), price REAL);
         CREATE VIEW dear AS SELECT * FROM sale WHERE price > 10;
         INSERT INTO item VALUES (1,'one',x'00ff'),(2,'two',NULL); INSERT INTO sale VALUES (1,1,9.5),(2,2,20.0);",
    );
    sqlite(
        &dir.join("to.db"),
        "CREATE TABLE item(id INTEGER PRIMARY KEY, old TEXT); INSERT INTO item VALUES (7,'before'); CREATE TABLE own(x); INSERT INTO own VALUES ('stays');",
    );
}

pub(super) fn document(dir: &Path) -> Value {
    let side = |name: &str| json!({"type": "static", "paths": {"web_root": dir.join(name)}, "database": {"type": "sqlite", "database": dir.join(format!("{name}.db"))}});
    json!({"name": "Shop", "source": side("from"), "destination": side("to"), "transfer": {"options": {"parallel_transfers": 4, "delete_extraneous": true, "exclude": ["/mine.txt"]}}})
}

pub(super) fn state(dir: &Path) -> String {
    let part =
        |name: &str| format!("== {name}\n{}== {name}.db\n{}", fingerprint::tree(&dir.join(name), &[]), fingerprint::sqlite(&dir.join(format!("{name}.db"))));
    part("from") + &part("to")
}

fn case() -> Case {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let root: PathBuf = dir.path().to_owned();
    Case {
        kind: plans::APPLICATION.to_owned(),
        registry: plans::registry(settings(dir.path())),
        input: document(dir.path()),
        options: json!({}),
        rollback_options: Value::Null,
        fingerprint: Arc::new(move || {
            let root = root.clone();
            async move { state(&root) }.boxed()
        }),
        keep: Box::new(dir),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_passes_both_suites_on_a_static_site() {
    plan_suite::run(|| async { case() }.boxed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let before = state(dir.path());
    let spec = domain::spec::MigrationSpec::decode(&document(dir.path())).expect("a valid document");
    let found = plans::survey(&spec, &settings(dir.path()), &CancellationToken::new()).await.expect("a dry run");
    assert_eq!(state(dir.path()), before);
    let files = found.files.expect("files");
    assert_eq!((files.files, files.overwrites, files.deletes), (4, 1, 1), "{files:?}");
    let database = found.database.expect("a database");
    assert_eq!((database.tables, database.overwrites), (2, vec!["item".to_owned()]));
    assert!(found.refusals.is_empty() && found.estimate.files_rate.is_some(), "{:?}", found.estimate);
}

/// Validation, dry run and first step refuse the same, in the same words.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_refuses_all_refuse() {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let before = state(dir.path());
    let mut bare = document(dir.path());
    bare["safety"] = json!({"backup_before": false});
    let spec = domain::spec::MigrationSpec::decode(&bare).expect("a valid document");
    let issue = "1 files would be overwritten, 1 deleted and 1 database objects replaced at the destination, without a backup";
    let settings = settings(dir.path());
    let validated = plans::validation::validate(&spec, settings.connectors.as_ref()).await;
    let dry = plans::survey(&spec, &settings, &CancellationToken::new()).await.expect("a dry run");
    assert_eq!((validated.valid, &validated.errors), (false, &dry.refusals));
    assert!(dry.refusals.len() == 1 && dry.refusals[0].starts_with(&format!("safety.backup_before: {issue}. ")), "{:?}", dry.refusals);
    let driven = Driven::open(dir.path(), plans::registry(settings)).await;
    driven.start(bare, true).await;
    let ended = driven.ended().await;
    let error = ended.error.expect("an error");
    assert!(error.message.starts_with(issue), "{error:?}");
    assert_eq!(error.details["failed_checks"][0]["field"], "safety.backup_before");
    assert_eq!(state(dir.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_moves_alone_and_goes_again() {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let new = dir.path().join("new/shop.db");
    std::fs::create_dir_all(dir.path().join("new")).expect("a directory");
    let document = json!({"name": "Database alone", "source": {"type": "sqlite", "database": dir.path().join("from.db")}, "destination": {"type": "sqlite", "database": new}});
    let driven = Driven::open(dir.path(), plans::registry(settings(dir.path()))).await;
    driven.start(document, true).await;
    let run = driven.completed().await;
    assert_eq!(run.steps_completed(), 8, "steps without work run too");
    assert_eq!(fingerprint::sqlite(&new), fingerprint::sqlite(&dir.path().join("from.db")));
    let report = output(&run, "finish");
    assert_eq!((&report["partial"], &report["backup"], &report["summary"]["rows"]), (&json!(false), &Value::Null, &json!(4)), "{report:#}");
    assert_eq!(driven.rollback(Value::Null).await.state, RunState::RolledBack);
    assert_eq!(fingerprint::tree(&dir.path().join("new"), &[]), "");
    driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_site_moves_to_an_object_store_and_goes_again() {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let s3 = testkit::rig::s3();
    let bucket = format!("plan-static-{}", std::process::id());
    let destination =
        json!({"type": "aws-s3", "bucket": bucket, "endpoint": s3.endpoint, "access_key_id": s3.access_key_id, "secret_access_key": s3.secret_access_key});
    let document = json!({"name": "To a bucket", "source": {"type": "static", "paths": {"web_root": dir.path().join("from")}}, "destination": destination});
    let at = domain::spec::MigrationSpec::decode(&document).expect("a valid document").destination.files.expect("files");
    let driven = Driven::open(dir.path(), plans::registry(settings(dir.path()))).await;
    driven.start(document, true).await;
    let run = driven.completed().await;
    let store = Connectors.files(&at, 2).await.expect("the bucket");
    let page = store.stat(&FilePath::from("index.html")).await.expect("ask").expect("the page is there");
    assert_eq!(page.content_type.as_deref(), Some("text/html"));
    let report = output(&run, "finish");
    assert!(report["leftovers"].to_string().contains("start"), "the link that a bucket cannot hold is named: {report:#}");
    assert_eq!(output(&run, "prepare")["website"]["index_document"], "index.html");
    let run = driven.rollback(Value::Null).await;
    assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
    assert_eq!(store.stat(&FilePath::from("index.html")).await.ok().flatten(), None);
    driven.crash().await;
}

/// Appears on both sides after the plan was made.
const LATE: [&str; 2] = ["late.html", "css/late.css"];

/// Runs the plan while somebody puts the same new files on both sides; gives the run and the directory's state before.
async fn with_late_files(dir: &Path, safety: Value) -> Driven {
    let root = dir.to_owned();
    let deed = Arc::new(move || {
        let root = root.clone();
        async move {
            for name in LATE {
                write(&root.join("from").join(name), "from the source");
                write(&root.join("to").join(name), "precious");
            }
        }
        .boxed()
    });
    let driven = Driven::open(dir, disturbed(plans::registry(settings(dir)), "files", deed)).await;
    let mut document = document(dir);
    document["safety"] = safety;
    driven.start(document, false).await;
    driven
}

#[tokio::test(flavor = "multi_thread")]
async fn what_appears_at_the_destination_after_the_plan_is_saved_and_comes_back() {
    for older_copy in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        lay_out(dir.path());
        if !older_copy {
            std::fs::remove_dir_all(dir.path().join("to")).expect("no older copy");
            std::fs::remove_file(dir.path().join("to.db")).expect("no older database");
        }
        let driven = with_late_files(dir.path(), json!({})).await;
        let run = driven.completed().await;
        let read = |name: &str| std::fs::read_to_string(dir.path().join("to").join(name)).expect("a file");
        assert_eq!(LATE.map(read), ["from the source"; 2]);
        let report = output(&run, "finish");
        assert!(!report["leftovers"].to_string().contains("late"), "{report:#}");
        assert_eq!(report["backup"]["state"], "verified", "{report:#}");
        let id = report["backup"]["id"].as_str().expect("a backup");
        let saved = Command::new("grep").args(["-rlx", "precious"]).arg(dir.path().join("backups").join(id).join("files")).output().expect("grep");
        let saved = String::from_utf8_lossy(&saved.stdout).into_owned();
        assert!(LATE.iter().all(|name| saved.lines().any(|path| path.ends_with(name))), "{saved}");
        let run = driven.rollback(Value::Null).await;
        assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
        assert_eq!(LATE.map(read), ["precious"; 2]);
        assert_eq!(dir.path().join("to/index.html").exists(), older_copy);
        driven.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_appears_after_the_plan_is_handled_as_the_policy_says() {
    for (overwrite, expected) in [(true, "from the source"), (false, "precious")] {
        let dir = tempfile::tempdir().expect("a directory");
        lay_out(dir.path());
        std::fs::remove_dir_all(dir.path().join("to")).expect("nothing to overwrite when the plan is made");
        std::fs::remove_file(dir.path().join("to.db")).expect("no older database");
        let driven = with_late_files(dir.path(), json!({"backup_before": false, "overwrite_without_backup": overwrite})).await;
        let run = driven.completed().await;
        assert_eq!(std::fs::read_to_string(dir.path().join("to/late.html")).expect("a file"), expected);
        let report = output(&run, "finish");
        assert_eq!((&report["backup"], report["leftovers"].to_string().contains("late.html")), (&Value::Null, !overwrite), "{report:#}");
        driven.crash().await;
    }
}
