//! A SQLite database for which the destination's file system has no room.

use super::drive::Driven;
use super::{Connectors, settings};
use domain::spec::MigrationSpec;
use engine::RunState;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of two megabytes; taken away when dropped.
struct Tiny(PathBuf);

impl Tiny {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&path).status().expect("mount");
        assert!(mounted.success(), "mounting a small file system needs root");
        Self(path)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn fill(path: &Path) {
    let database = rusqlite::Connection::open(path).expect("a database");
    database.execute_batch("CREATE TABLE item(id INTEGER PRIMARY KEY, data BLOB); BEGIN;").expect("a table");
    for id in 0..64 {
        database.execute("INSERT INTO item VALUES (?1, randomblob(65536))", [id]).expect("a row");
    }
    database.execute_batch("COMMIT").expect("all rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_room_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let tiny = Tiny::new(dir.path().join("tiny"));
    let (from, to) = (dir.path().join("from.db"), tiny.0.join("to.db"));
    fill(&from);
    let document = json!({"name": "No room", "source": {"type": "sqlite", "database": from}, "destination": {"type": "sqlite", "database": to}});
    let spec = MigrationSpec::decode(&document).expect("a valid document");
    let found = plans::validation::validate(&spec, &Connectors).await;
    let failed: Vec<_> = found.checks.iter().filter_map(|c| c.failed().map(|(finding, _)| (c.check.as_str(), finding.field.as_str()))).collect();
    assert_eq!(failed, [("free_space_for_database", "destination.database")], "{:?}", found.checks);
    let driven = Driven::open(dir.path(), plans::registry(settings(dir.path()))).await;
    driven.start(document, false).await;
    let run = driven.ended().await;
    assert_eq!((run.state, run.error.map(|e| e.kind)), (RunState::Failed, Some("no_space".to_owned())));
    assert!(!to.exists(), "nothing was written");
    driven.crash().await;
}
