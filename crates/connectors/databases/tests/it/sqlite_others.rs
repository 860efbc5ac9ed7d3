//! What belongs to others in the file is named before anything is dropped.

use super::{door, make};
use movers::databases::{DatabaseMover, DatabaseOptions, DatabasePlan};
use ports::ErrorKind;
use ports::databases::ObjectKind;
use rusqlite::Connection;
use std::path::PathBuf;
use tempfile::TempDir;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

struct Work {
    mover: DatabaseMover,
    destination: PathBuf,
    ledger: MemoryLedger,
    observer: MemoryObserver,
    stop: CancellationToken,
    _directory: TempDir,
}

impl Work {
    async fn new(from: &str, to: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (source, destination) = (directory.path().join("source.db"), directory.path().join("copy.db"));
        drop(make(&source, from));
        drop(make(&destination, to));
        let mover = DatabaseMover::new(door(&source).await, door(&destination).await, DatabaseOptions { single_pass: true, ..DatabaseOptions::default() });
        let (ledger, observer, stop) = (MemoryLedger::default(), MemoryObserver::default(), CancellationToken::new());
        Self { mover, destination, ledger, observer, stop, _directory: directory }
    }

    fn run(&self, sql: &str) {
        Connection::open(&self.destination).unwrap().execute_batch(sql).unwrap();
    }

    fn held(&self) -> String {
        let query = "SELECT group_concat(name || '@' || tbl_name, ' ' ORDER BY name) FROM sqlite_schema WHERE sql IS NOT NULL";
        Connection::open(&self.destination).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
    }

    async fn prepare(&self, plan: &DatabasePlan) -> ports::Result<()> {
        let standing = self.mover.standing(plan, &self.ledger).await?;
        self.mover.prepare(plan, &standing, None, &self.ledger, &self.observer, &self.stop).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_built_is_named_beforehand() {
    let inside = "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT); CREATE VIEW v AS SELECT id FROM t; CREATE TABLE child (t INT REFERENCES t)";
    let harmless = "CREATE TABLE plain (id INTEGER PRIMARY KEY, t INT); CREATE VIEW harmless AS SELECT 't', plain.t, id AS t FROM plain -- t; \n;\
        CREATE TRIGGER quiet AFTER INSERT ON plain BEGIN UPDATE plain SET id = new.t; END";
    let work = Work::new(inside, &format!("{inside}; {harmless}")).await;
    let plan = work.mover.survey().await.unwrap_or_else(|e| panic!("nobody is in the way: {e}"));
    work.run(
        "CREATE TABLE theirs (id INTEGER PRIMARY KEY, t INT REFERENCES T (id)); CREATE VIEW reads_t AS SELECT [t].id FROM theirs, main.\"T\"; \
         CREATE VIEW reads_v AS SELECT * FROM `v`; CREATE TRIGGER asks AFTER UPDATE ON theirs BEGIN DELETE FROM t WHERE id = old.id; END; \
         CREATE VIRTUAL TABLE found USING fts5 (body, content='t', content_rowid='id')",
    );
    let held = work.held();
    for error in [work.mover.survey().await.expect_err("others built on it"), work.prepare(&plan).await.expect_err("so did they")] {
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
        for named in [
            "others built on what would be replaced: ",
            "foreign key of theirs (it depends on t)",
            "view reads_t (it depends on t)",
            "view reads_v (it depends on v)",
            "trigger asks of theirs (it depends on t)",
            "virtual table found (it depends on t)",
        ] {
            assert!(error.reason.contains(named), "{named}\n{error}");
        }
        for innocent in ["harmless", "quiet", "child", "view v "] {
            assert!(!error.reason.contains(innocent), "{innocent}\n{error}");
        }
    }
    assert_eq!(work.held(), held, "nothing was touched");
    work.run("DROP TABLE found; DROP VIEW reads_t; DROP VIEW reads_v; DROP TABLE theirs");
    work.prepare(&plan).await.unwrap_or_else(|e| panic!("{e}"));
}

/// Names of triggers and indexes belong to the file: those of a table that does not move are never dropped for ours.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_table_that_stays_are_refused_and_kept() {
    let table = "CREATE TABLE t (id INTEGER PRIMARY KEY, v INT)";
    let ours = "CREATE TRIGGER trg AFTER INSERT ON t BEGIN DELETE FROM t WHERE id < 0; END; CREATE INDEX idx ON t (v)";
    let foreign = "CREATE TRIGGER TRG AFTER INSERT ON theirs BEGIN DELETE FROM theirs WHERE id < 0; END; CREATE INDEX Idx ON theirs (v)";
    let work = Work::new(&format!("{table}; {ours}"), &format!("{table}; CREATE TABLE theirs (id INTEGER PRIMARY KEY, v INT)")).await;
    let plan = work.mover.survey().await.unwrap();
    work.run(foreign);
    let held = work.held();
    for error in [work.mover.survey().await.expect_err("the names are taken"), work.prepare(&plan).await.expect_err("still taken")] {
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
        for named in ["trigger TRG (it belongs to theirs, which does not move)", "index Idx (it belongs to theirs, which does not move)"] {
            assert!(error.reason.contains(named), "{named}\n{error}");
        }
    }
    let target = door(&work.destination).await.write().await.unwrap();
    for object in plan.schema.objects.iter().filter(|o| matches!(o.kind, ObjectKind::Trigger | ObjectKind::Index)) {
        target.remove(object).await.unwrap_or_else(|e| panic!("{e}"));
    }
    assert_eq!(work.held(), held, "they were never dropped");
}
