//! What belongs to others at the destination is named before anything is dropped, and so is every right that is missing.

use super::{Throwaway, each_server};
use crate::suite::Fixture;
use connectors_databases as databases;
use domain::Secret;
use domain::spec::DatabaseAt;
use movers::databases::{DatabaseMover, DatabaseOptions, DatabasePlan};
use ports::ErrorKind;
use ports::databases::{Database, ObjectKind};
use std::sync::Arc;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use testkit::rig;
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

/// An object, what must be named when a right is missing for it, and the rights that are there.
const BASE: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, SHOW VIEW, LOCK TABLES";
const MISSING: [(&str, &str, &str); 5] = [
    ("CREATE TRIGGER thing BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 1", "triggers thing", ", CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, EVENT"),
    ("CREATE PROCEDURE thing() SELECT 1", "procedures thing", ", CREATE VIEW, TRIGGER, EXECUTE, EVENT"),
    ("CREATE FUNCTION thing() RETURNS INT DETERMINISTIC RETURN 1", "functions thing", ", CREATE VIEW, TRIGGER, EXECUTE, EVENT"),
    ("CREATE EVENT thing ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", "events thing", ", CREATE VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, TRIGGER"),
    ("CREATE VIEW thing AS SELECT id FROM t", "views thing", ", CREATE ROUTINE, ALTER ROUTINE, EXECUTE, TRIGGER, EVENT"),
];

async fn as_user(one: &Throwaway, user: &str, grants: &[String]) -> Arc<dyn Database> {
    one.run(&[&format!("CREATE USER `{user}`@'%' IDENTIFIED BY 'small-rights'")]).await;
    for grant in grants {
        one.run(&[&format!("GRANT {grant} TO `{user}`@'%'")]).await;
    }
    let at = DatabaseAt { username: user.to_owned(), password: Some(Secret::new("small-rights")), ..one.at() };
    databases::open(&at, 2).await.expect("open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_the_schema_needs_are_proven_before_anything_is_dropped() {
    each_server(|destination| async move {
        let table = "CREATE TABLE t (id INT PRIMARY KEY, v INT)";
        destination.run(&[table, "INSERT INTO t VALUES (1, 1)"]).await;
        for (number, (statement, named, rights)) in MISSING.into_iter().enumerate() {
            let source = Throwaway::new(destination.server.clone()).await;
            source.run(&[table, statement]).await;
            let all = Work::new(source.open().await, destination.open().await);
            let plan = all.mover.survey().await.unwrap_or_else(|e| panic!("{statement}: {e}"));
            let user = format!("{}_{number}", destination.name);
            let small = as_user(&destination, &user, &[format!("{BASE}{rights} ON `{}`.*", destination.name)]).await;
            let work = Work::new(source.open().await, small);
            for error in [work.mover.survey().await.expect_err(statement), work.prepare(&plan).await.expect_err(statement)] {
                assert_eq!(error.kind, ErrorKind::Permission, "{error}");
                assert!(error.reason.contains(named) && error.reason.contains("the server says: ") && !error.temporary, "{error}");
            }
            assert_eq!(destination.value("SELECT COUNT(*) FROM t").await, "1", "nothing was dropped");
            assert_eq!(destination.value(HELD).await, "t", "nothing of the trial stays");
            // What the schema does not need is not asked for.
            let plain = Throwaway::new(destination.server.clone()).await;
            plain.run(&[table]).await;
            let needless = as_user(&destination, &format!("{user}p"), &[format!("{BASE}{rights} ON `{}`.*", destination.name)]).await;
            Work::new(plain.open().await, needless).mover.survey().await.unwrap_or_else(|e| panic!("{rights}: {e}"));
            destination.run(&[&format!("DROP USER `{user}`@'%', `{user}p`@'%'")]).await;
            source.remove().await;
            plain.remove().await;
        }
    })
    .await;
}

/// A user who sees that a definer exists and may not name it; and one whose server asks for more than TRIGGER.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definers_of_others_are_proven_before_anything_is_dropped() {
    each_server(|destination| async move {
        let source = Throwaway::new(destination.server.clone()).await;
        let (owner, user) = (format!("o_{}", destination.name), format!("u_{}", destination.name));
        let view = format!("CREATE DEFINER=`{owner}`@`%` VIEW seen AS SELECT id FROM t");
        destination.run(&[&format!("CREATE USER `{owner}`@'%'"), "CREATE TABLE t (id INT PRIMARY KEY)"]).await;
        let grants = [format!("ALL ON `{}`.*", destination.name), "SELECT ON mysql.*".to_owned()];
        let small = as_user(&destination, &user, &grants).await;
        source.run(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
        let work = Work::new(source.open().await, small);
        let plan = work.mover.survey().await.unwrap_or_else(|e| panic!("{e}"));
        // At the destination: it could not be brought back as it was.
        destination.run(&[&view, "CREATE TABLE other (id INT)"]).await;
        source.run(&[&view.replace(&owner, &user)]).await;
        let error = work.mover.survey().await.expect_err("its definer is another one");
        assert!(error.kind == ErrorKind::Permission && error.reason.contains(&format!("definer {owner}@% of seen")), "{error}");
        destination.run(&["DROP VIEW seen"]).await;
        work.mover.survey().await.unwrap_or_else(|e| panic!("{e}"));
        // At the source: it exists there, so it is not replaced by the migrating user.
        source.run(&["DROP VIEW seen", &view]).await;
        let error = work.mover.survey().await.expect_err("its definer is another one");
        assert!(error.kind == ErrorKind::Permission && error.reason.contains(&format!("definer {owner}@% of seen")), "{error}");
        assert!(error.advice.contains("SET"), "{error}");
        work.prepare(&plan).await.unwrap_or_else(|e| panic!("this plan has no such view: {e}"));
        destination.run(&[&format!("DROP USER `{owner}`@'%', `{user}`@'%'")]).await;
        source.remove().await;
    })
    .await;
}

/// Making routines is another right than dropping those that others made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routines_that_may_not_be_dropped_are_named_beforehand() {
    each_server(|destination| async move {
        let source = Throwaway::new(destination.server.clone()).await;
        let (table, procedure) = ("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE PROCEDURE thing() SELECT 1");
        source.run(&[table, procedure]).await;
        destination.run(&[table, procedure]).await;
        let user = format!("u_{}", destination.name);
        let small = as_user(&destination, &user, &[format!("{BASE}, CREATE ROUTINE, EXECUTE ON `{}`.*", destination.name)]).await;
        let work = Work::new(source.open().await, small);
        let error = work.mover.survey().await.expect_err("it cannot be saved");
        assert!(error.kind == ErrorKind::AlreadyExists && error.reason.contains("procedure thing (this user may not read its definition"), "{error}");
        destination.run(&[&format!("GRANT SELECT ON *.* TO `{user}`@'%'")]).await;
        let error = work.mover.survey().await.expect_err("it may not be dropped");
        assert!(error.kind == ErrorKind::Permission && error.reason.contains("dropping routines thing (ALTER ROUTINE is missing)"), "{error}");
        destination.run(&[&format!("DROP USER `{user}`@'%'")]).await;
        source.remove().await;
    })
    .await;
}

/// A binary log asks for more than TRIGGER, and for functions that say what they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_log_that_trusts_nobody_is_found_beforehand() {
    let destination = Throwaway::new(rig::mysql()).await;
    assert_eq!(destination.value("SELECT CONCAT(@@log_bin, @@log_bin_trust_function_creators)").await, "10", "the rig's server logs and trusts nobody");
    let source = Throwaway::new(rig::mysql()).await;
    source.run(&["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TRIGGER trg BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1"]).await;
    let user = format!("u_{}", destination.name);
    let small = as_user(&destination, &user, &[format!("ALL ON `{}`.*", destination.name)]).await;
    let error = Work::new(source.open().await, small).mover.survey().await.expect_err("SUPER is needed");
    assert!(error.reason.contains("triggers trg") && error.advice.contains("log_bin_trust_function_creators"), "{error}");
    destination.run(&[&format!("DROP USER `{user}`@'%'")]).await;
    source.remove().await;
    destination.remove().await;
}

/// Where the database is still to be made, the rights on it are proven all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_on_a_database_that_is_not_there_are_proven() {
    for server in [rig::mariadb(), rig::mysql()] {
        let (source, destination) = (Throwaway::new(server.clone()).await, Throwaway::absent(server.clone()));
        source.run(&["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1"]).await;
        let user = format!("u_{}", destination.name);
        let administrator = source.plain().await;
        let mut administrator = administrator;
        for (rights, whole) in [("ALL", true), ("SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX", false)] {
            use mysql_async::prelude::Queryable;
            for sql in [format!("CREATE USER `{user}`@'%' IDENTIFIED BY 'small-rights'"), format!("GRANT {rights} ON `{}`.* TO `{user}`@'%'", destination.name)]
            {
                administrator.query_drop(sql).await.expect("an administrator");
            }
            let at = DatabaseAt { username: user.clone(), password: Some(Secret::new("small-rights")), ..destination.at() };
            let found = Work::new(source.open().await, databases::open(&at, 2).await.expect("open")).mover.survey().await;
            match found {
                Ok(plan) => assert!(whole && !plan.destination_exists, "{rights}"),
                Err(error) => assert!(!whole && error.kind == ErrorKind::Permission && error.reason.contains("events ev"), "{rights}: {error}"),
            }
            administrator.query_drop(format!("DROP USER `{user}`@'%'")).await.expect("an administrator");
        }
        source.remove().await;
    }
}
