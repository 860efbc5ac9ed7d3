//! What belongs to others at the destination is named before anything is dropped.

use super::{Throwaway, each_server};
use crate::suite::Fixture;
use movers::databases::{DatabaseMover, DatabaseOptions, DatabasePlan};
use ports::ErrorKind;
use ports::databases::{Database, ObjectKind};
use std::sync::Arc;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

struct Work {
    mover: DatabaseMover,
    ledger: MemoryLedger,
    observer: MemoryObserver,
    stop: CancellationToken,
}

impl Work {
    fn new(source: Arc<dyn Database>, destination: Arc<dyn Database>) -> Self {
        let mover = DatabaseMover::new(source, destination, DatabaseOptions { parallel: 2, ..DatabaseOptions::default() });
        Self { mover, ledger: MemoryLedger::default(), observer: MemoryObserver::default(), stop: CancellationToken::new() }
    }

    async fn prepare(&self, plan: &DatabasePlan) -> ports::Result<()> {
        let standing = self.mover.standing(plan, &self.ledger).await?;
        self.mover.prepare(plan, &standing, None, &self.ledger, &self.observer, &self.stop).await.map(drop)
    }

    async fn finish(&self, plan: &DatabasePlan) -> ports::Result<()> {
        self.mover.copy(plan, &self.ledger, 1, &self.observer, &self.stop).await?;
        self.mover.final_pass(plan, &self.ledger, 1, &self.observer, &self.stop).await.map(drop)
    }
}

/// Everything of these kinds that the database holds, as one text.
const HELD: &str = "SELECT GROUP_CONCAT(n ORDER BY n) FROM (SELECT TABLE_NAME AS n FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() \
    UNION ALL SELECT CONCAT(TRIGGER_NAME, '@', EVENT_OBJECT_TABLE, ACTION_STATEMENT) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() \
    UNION ALL SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE() \
    UNION ALL SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()) AS held";

/// Foreign keys, views and triggers outside the migration, of this database and of another one of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_built_is_named_beforehand() {
    each_server(|destination| async move {
        let source = Throwaway::new(destination.server.clone()).await;
        let other = Throwaway::new(destination.server.clone()).await;
        let db = &destination.name;
        source.run(&["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT id FROM t"]).await;
        destination
            .run(&[
                "CREATE TABLE t (id INT PRIMARY KEY)",
                "CREATE VIEW v AS SELECT id FROM t",
                "CREATE TABLE inside_no (id INT PRIMARY KEY, t INT)",
                "CREATE VIEW harmless AS SELECT t, 't', id AS v FROM inside_no",
                "CREATE TRIGGER quiet BEFORE INSERT ON inside_no FOR EACH ROW SET NEW.t = NEW.id -- not t",
            ])
            .await;
        let work = Work::new(source.open().await, destination.open().await);
        let plan = work.mover.survey().await.unwrap_or_else(|e| panic!("nobody is in the way: {e}"));
        destination
            .run(&[
                "CREATE TABLE theirs (id INT PRIMARY KEY, t INT, CONSTRAINT also FOREIGN KEY (t) REFERENCES t (id))",
                "CREATE VIEW reads_t AS SELECT x.id FROM theirs JOIN t x ON x.id = theirs.t",
                "CREATE VIEW reads_v AS SELECT id FROM v",
                "CREATE TRIGGER asks BEFORE UPDATE ON theirs FOR EACH ROW SET NEW.t = (SELECT MAX(id) FROM t)",
            ])
            .await;
        other
            .run(&[
                &format!("CREATE TABLE far (t INT, CONSTRAINT far_key FOREIGN KEY (t) REFERENCES `{db}`.t (id))"),
                &format!("CREATE VIEW far_view AS SELECT id FROM `{db}`.t"),
                "CREATE TABLE t (id INT)",
                "CREATE VIEW far_own AS SELECT id FROM t",
            ])
            .await;
        let held = destination.value(HELD).await;
        let (o, early, late) = (&other.name, work.mover.survey().await.expect_err("others built on it"), work.prepare(&plan).await.expect_err("so did they"));
        for error in [early, late] {
            assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
            for named in [
                "others built on what would be replaced: ".to_owned(),
                "foreign key theirs.also (it depends on t)".to_owned(),
                "view reads_t (it depends on t)".to_owned(),
                "view reads_v (it depends on v)".to_owned(),
                "trigger asks of theirs (it depends on t)".to_owned(),
                format!("foreign key {o}.far.far_key (it depends on t)"),
                format!("view {o}.far_view (it depends on t)"),
            ] {
                assert!(error.reason.contains(&named), "{named}\n{error}");
            }
            for innocent in ["harmless", "quiet", "far_own", "view v "] {
                assert!(!error.reason.contains(innocent), "{innocent}\n{error}");
            }
        }
        assert_eq!(destination.value(HELD).await, held, "nothing was touched");
        other.remove().await;
        destination.run(&["DROP VIEW reads_t, reads_v", "DROP TABLE theirs"]).await;
        work.prepare(&plan).await.unwrap_or_else(|e| panic!("{e}"));
        source.remove().await;
    })
    .await;
}

/// Names of triggers belong to the database: one on a table that does not move is never dropped for ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trigger_of_a_table_that_stays_is_refused_and_kept() {
    each_server(|destination| async move {
        let source = Throwaway::new(destination.server.clone()).await;
        let table = "CREATE TABLE t (id INT PRIMARY KEY, v INT)";
        let (theirs, foreign) = ("CREATE TABLE theirs (id INT PRIMARY KEY)", "CREATE TRIGGER trg BEFORE INSERT ON theirs FOR EACH ROW SET NEW.id = 7");
        source.run(&[table, "CREATE TRIGGER trg BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1"]).await;
        destination.run(&[table, theirs]).await;
        let work = Work::new(source.open().await, destination.open().await);
        let plan = work.mover.survey().await.unwrap_or_else(|e| panic!("{e}"));
        destination.run(&[foreign]).await;
        for error in [work.mover.survey().await.expect_err("the name is taken"), work.prepare(&plan).await.expect_err("still taken")] {
            assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
            assert!(error.reason.contains("trigger trg (it belongs to theirs, which does not move)"), "{error}");
        }
        assert!(destination.value(HELD).await.contains("trg@theirs"));
        destination.run(&["DROP TRIGGER trg"]).await;
        work.prepare(&plan).await.unwrap_or_else(|e| panic!("{e}"));
        // It comes while rows are copied.
        destination.run(&[foreign]).await;
        let error = work.finish(&plan).await.expect_err("the name is taken");
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
        let trigger = plan.schema.objects.iter().find(|o| o.kind == ObjectKind::Trigger).expect("ours");
        destination.open().await.write().await.expect("open").remove(trigger).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(destination.value(HELD).await.contains("trg@theirs"), "it was never dropped");
        source.remove().await;
    })
    .await;
}
