//! A rollback from a backup that was damaged since: what is known before is refused or named, what is found on the way stays as it is.

use super::drive::{Driven, output};
use super::settings;
use super::shop::{document, lay_out};
use engine::{RunState, RunView};
use plans::application::{RollbackPreview, Wanted, rollback_preview};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A shop that was moved over an older copy: `index.html` was replaced, `css/old.css` was deleted, the table `item` was replaced.
struct Moved {
    dir: tempfile::TempDir,
    driven: Driven,
    run: RunView,
}

impl Moved {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        lay_out(dir.path());
        let driven = Driven::open(dir.path(), plans::registry(settings(dir.path()))).await;
        driven.start(document(dir.path()), false).await;
        let run = driven.completed().await;
        Self { dir, driven, run }
    }

    fn backup(&self, path: &str) -> PathBuf {
        let id = output(&self.run, "backup")["backup"]["id"].as_str().expect("a backup");
        self.dir.path().join("backups").join(id).join(path)
    }

    fn destination(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join("to").join(path)).ok()
    }

    async fn preview(&self) -> RollbackPreview {
        let wanted = Wanted { backup: None, files: true, database: true, configuration: true, look_at_files: true };
        let settings = settings(self.dir.path());
        rollback_preview(&settings, &self.driven.engine, &self.run, &document(self.dir.path()), &wanted).await.expect("a preview")
    }

    /// Whether the preview refuses the rollback, as the control plane does then.
    async fn is_refused(&self) -> bool {
        let found = self.preview().await;
        assert_eq!(found.possible, found.reasons.is_empty());
        assert!(found.reasons.iter().all(|reason| reason.contains("cannot be restored from")), "{:?}", found.reasons);
        !found.possible
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("a damaged file");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_with_damaged_files_in_the_backup_keeps_what_stands_there_and_restores_the_rest() {
    let moved = Moved::new().await;
    replace(&moved.backup("files/index.html"), "older", "odder");
    std::fs::remove_file(moved.backup("files/css/old.css")).expect("the backup loses a file");
    let found = moved.preview().await;
    assert!(found.possible, "{:?}", found.reasons);
    let lost = found.files.expect("files").not_restored.listed;
    assert_eq!(lost.iter().map(|p| p.path.to_string()).collect::<Vec<_>>(), ["css/old.css"], "{lost:?}");

    let run = moved.driven.rollback(Value::Null).await;
    assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
    assert_eq!(moved.destination("index.html").as_deref(), Some("<h1>new</h1>"));
    assert_eq!((moved.destination("css/old.css"), moved.destination("css/site.css")), (None, None));
    let database = rusqlite::Connection::open(moved.dir.path().join("to.db")).expect("a database");
    let old: String = database.query_row("SELECT old FROM item", [], |row| row.get(0)).expect("the table is back");
    assert_eq!(old, "before");
    drop(database);
    moved.driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_from_a_backup_without_any_of_its_files_is_refused() {
    let moved = Moved::new().await;
    assert!(!moved.is_refused().await);
    let (index, old) = (moved.backup("files/index.html"), moved.backup("files/css/old.css"));
    std::fs::remove_file(&old).expect("the backup loses a file");
    assert!(!moved.is_refused().await, "the other one can be restored");
    let whole = std::fs::read(&index).expect("a file");
    std::fs::write(&index, &whole[1..]).expect("the backup loses a part of the other");
    assert!(moved.is_refused().await);
    std::fs::remove_dir_all(moved.backup("files")).expect("the backup loses all files");
    assert!(moved.is_refused().await);
    assert_eq!(moved.destination("index.html").as_deref(), Some("<h1>new</h1>"));
    moved.driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_from_a_backup_with_damaged_tables_or_descriptions_is_refused() {
    let moved = Moved::new().await;
    for (file, from, to) in [("schema.json", "item", "itam"), ("attached.json", "[]", "[ ]"), ("rows.json", "table-", "tablo-")] {
        let path = moved.backup("database").join(file);
        let whole = std::fs::read(&path).expect("a file");
        replace(&path, from, to);
        assert!(moved.is_refused().await, "{file}");
        std::fs::write(&path, whole).expect("a file");
        assert!(!moved.is_refused().await, "{file}");
    }
    std::fs::remove_file(moved.backup("database/table-00000.rows.zst")).expect("the backup loses a table");
    assert!(moved.is_refused().await);
    moved.driven.crash().await;
}
