//! SQLite's own dump says what it was before and is after; and a source whose writers must not wait.

use super::{NASTY, door, make};
use crate::moving::latest;
use crate::suite::{assert_equal, copy, table};
use movers::databases::{DatabaseMover, DatabaseOptions, back_up};
use ports::databases::{KeyRange, ObjectName, View};
use rusqlite::Connection;
use std::path::Path;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

/// `sqlite3 .dump` and the pragmas. Objects that are made again come later in the file, so the lines are sorted.
fn dump(path: &Path) -> Vec<String> {
    let pragmas = ["user_version", "application_id", "journal_mode", "encoding", "page_size", "auto_vacuum"].map(|p| format!("PRAGMA {p};"));
    let output = std::process::Command::new("sqlite3").arg(path).arg(".dump").args(pragmas).output().expect("sqlite3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Source, destination before the migration.
const ZOO: [(&str, &str, &str); 4] = [
    (
        "counters and marks",
        "PRAGMA user_version = 9; PRAGMA application_id = 77; CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO t VALUES (5, 'src')",
        "PRAGMA user_version = 3; PRAGMA application_id = 4; CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); INSERT INTO t VALUES (1, 'dst'), (900, 'gone'); \
         DELETE FROM t WHERE id = 900",
    ),
    (
        "a file that others use",
        "PRAGMA user_version = 9; CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); CREATE INDEX i ON t (v); INSERT INTO t (v) VALUES ('a'), ('b')",
        "PRAGMA foreign_keys = off; PRAGMA user_version = 3; CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT); CREATE TABLE theirs (id INTEGER PRIMARY KEY AUTOINCREMENT, t INT); \
         INSERT INTO theirs VALUES (40, 1); CREATE INDEX theirs_t ON theirs (t); CREATE VIEW their_ids AS SELECT id FROM theirs; \
         CREATE TRIGGER mine AFTER INSERT ON t BEGIN DELETE FROM theirs; END; ANALYZE; UPDATE sqlite_sequence SET seq = 70 WHERE name = 'theirs'",
    ),
    ("everything over everything", NASTY, NASTY),
    ("an empty file", NASTY, "CREATE TABLE sqlite_made (id INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE sqlite_made"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_restores_the_dump() {
    for (name, from, to) in ZOO {
        for steps in [1, 2, 3] {
            let directory = tempfile::tempdir().unwrap();
            let (source, destination) = (directory.path().join("source.db"), directory.path().join("copy.db"));
            drop(make(&source, from));
            drop(make(&destination, &to.replace("sqlite_made", "made")));
            let before = dump(&destination);
            let database = door(&destination).await;
            let mover = DatabaseMover::new(door(&source).await, database.clone(), DatabaseOptions { single_pass: true, ..DatabaseOptions::default() });
            let (ledger, observer, stop) = (MemoryLedger::default(), MemoryObserver::default(), CancellationToken::new());
            let plan = mover.survey().await.unwrap();
            let names: Vec<ObjectName> = plan.overwrites.iter().map(|o| o.name.clone()).collect();
            let backup = directory.path().join("backup");
            back_up(&database, Some(&names), &backup, &observer, &stop).await.unwrap();
            let standing = mover.standing(&plan, &ledger).await.unwrap();
            mover.prepare(&plan, &standing, None, &ledger, &observer, &stop).await.unwrap();
            if steps > 1 {
                mover.copy(&plan, &ledger, 1, &observer, &stop).await.unwrap();
            }
            if steps > 2 {
                mover.final_pass(&plan, &ledger, 1, &observer, &stop).await.unwrap();
            }
            mover.undo(&plan, &ledger, None, &observer).await.unwrap();
            let restored = mover.bring_back(&backup, &ledger, None, &observer, &stop).await.unwrap();
            assert_eq!(restored.differing, Vec::<String>::new(), "{name} after {steps}");
            assert_eq!(dump(&destination), before, "{name} after {steps} steps");
        }
    }
}

/// A table counts on where the source's counter stood, also one whose rows stand far above it.
#[tokio::test]
async fn counters_stand_where_they_stood() {
    let directory = tempfile::tempdir().unwrap();
    let (source, destination) = (directory.path().join("source.db"), directory.path().join("copy.db"));
    let writer = make(
        &source,
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (10), (500); DELETE FROM t WHERE id = 500; \
         CREATE TABLE never (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO never VALUES (7); DELETE FROM sqlite_sequence WHERE name = 'never'",
    );
    copy(&*door(&source).await, &*door(&destination).await, 10).await;
    let ask = |c: &Connection| c.query_row("SELECT group_concat(name || seq) FROM sqlite_sequence", [], |r| r.get::<_, Option<String>>(0)).unwrap();
    assert_eq!(ask(&Connection::open(&destination).unwrap()), ask(&writer));
}

/// A file in rollback-journal mode is read from a copy: its writers go on, the copy holds one moment, and nothing stays.
#[tokio::test]
async fn writers_of_a_rollback_journal_file_go_on_while_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busy.db");
    let writer = make(
        &path,
        "PRAGMA journal_mode = delete; PRAGMA busy_timeout = 0; CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2)",
    );
    let from = door(&path).await;
    let source = from.read(View::Snapshot { connections: 3 }).await.unwrap();
    let schema = source.schema().await.unwrap();
    let t = table(&schema, "t");
    let before = source.fingerprint(t, &KeyRange::default()).await.unwrap();
    writer.execute_batch("INSERT INTO t VALUES (3, 3); DELETE FROM t WHERE id = 1").expect("nobody locks the writer out");
    for _ in 0..4 {
        assert_eq!(source.fingerprint(t, &KeyRange::default()).await.unwrap(), before);
    }
    source.close().await.unwrap();
    let names: Vec<String> = std::fs::read_dir(directory.path()).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["busy.db"], "nothing is left beside the source");
    assert_eq!(latest(&from).await.fingerprint(t, &KeyRange::default()).await.unwrap().rows, 2);
}

#[tokio::test]
async fn a_path_may_hold_any_character() {
    let directory = tempfile::tempdir().unwrap();
    let odd = directory.path().join("a?b=c#d %41&e'f\"ü\n");
    std::fs::create_dir(&odd).unwrap();
    let (source, destination) = (odd.join("file:source.db?mode=memory"), odd.join("copy%00.db"));
    drop(make(&source, NASTY));
    let (from, to) = (door(&source).await, door(&destination).await);
    copy(&*from, &*to, 50).await;
    assert_equal(&*from, &*to, &[]).await;
    assert_eq!(std::fs::read_dir(&odd).unwrap().count(), 2);
}

/// Row ids are found by a name that no column hides.
#[tokio::test]
async fn a_column_named_like_the_row_id_hides_it_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source.db");
    drop(make(&source, "CREATE TABLE t (rowid TEXT, _ROWID_ INT); INSERT INTO t VALUES ('a', 1), ('a', 1), ('b', 2); DELETE FROM t WHERE oid = 1"));
    let (from, to) = (door(&source).await, door(&directory.path().join("copy.db")).await);
    let schema = copy(&*from, &*to, 1).await.schema;
    assert_eq!(table(&schema, "t").key, ["oid"]);
    let ids: String = Connection::open(directory.path().join("copy.db")).unwrap().query_row("SELECT group_concat(oid) FROM t", [], |r| r.get(0)).unwrap();
    assert_eq!(ids, "2,3");
}
