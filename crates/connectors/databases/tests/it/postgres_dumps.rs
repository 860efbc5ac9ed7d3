//! The oracle is the engine's own dump: what it says before and after.

use super::{Fixture, NASTY, Throwaway, open};
use movers::databases::{DatabaseMover, DatabaseOptions, DatabasePlan, DatabaseRestored, back_up};
use ports::databases::{Database, ObjectName};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use testkit::rig;
use tokio_util::sync::CancellationToken;

pub const CORNERS: &str = include_str!("postgres_corners.sql");
/// A cast is not moved, and keeps its type from being replaced.
const CORNERS_THERE: &str = concat!(include_str!("postgres_corners.sql"), "DROP CAST (mood AS int);");
const APP: &str = "DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname='ma_it_app') THEN CREATE ROLE ma_it_app LOGIN PASSWORD 'rigpw'; END IF; \
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END$$";

/// Schema and rows as `pg_dump` writes them, without what differs by chance.
pub fn dump(one: &Throwaway) -> Vec<String> {
    let server = &one.server;
    let port = server.port.to_string();
    let output = std::process::Command::new("pg_dump")
        .args(["-h", &server.host, "-p", &port, "-U", &server.user, "--no-publications", "-d", &one.name])
        .env("PGPASSWORD", &server.password)
        .output()
        .expect("pg_dump");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let by_chance = |l: &&str| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict") && !l.is_empty();
    text.lines().filter(by_chance).map(str::to_owned).collect()
}

/// Runs statements one by one, as a script of psql.
fn script(one: &Throwaway, sql: &str) {
    use std::io::Write;
    let server = &one.server;
    let port = server.port.to_string();
    let mut psql = std::process::Command::new("psql")
        .args(["-q", "-v", "ON_ERROR_STOP=1", "-h", &server.host, "-p", &port, "-U", &server.user, "-d", &one.name])
        .env("PGPASSWORD", &server.password)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("psql");
    psql.stdin.take().expect("a pipe").write_all(sql.as_bytes()).expect("the script");
    assert!(psql.wait().expect("psql").success(), "{sql}");
}

/// Lines of one dump that the other has not.
pub fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let only = |a: &[String], b: &[String], sign: &str| a.iter().filter(|l| !b.contains(l)).map(|l| format!("{sign} {l}")).collect::<Vec<_>>();
    [only(before, after, "-"), only(after, before, "+")].concat()
}

pub struct Work {
    pub mover: DatabaseMover,
    pub destination: Arc<dyn Database>,
    pub ledger: MemoryLedger,
    pub observer: MemoryObserver,
    pub stop: CancellationToken,
}

impl Work {
    pub async fn new(source: &Throwaway, destination: &Throwaway, single_pass: bool) -> Self {
        let (from, to) = (open(&source.at()).await, open(&destination.at()).await);
        let mover = DatabaseMover::new(from, to.clone(), DatabaseOptions { single_pass, ..DatabaseOptions::default() });
        let (ledger, observer) = (MemoryLedger::default(), MemoryObserver::default());
        Self { mover, destination: to, ledger, observer, stop: CancellationToken::new() }
    }

    /// The first `steps` steps of a migration.
    pub async fn run(&self, plan: &DatabasePlan, steps: usize) -> ports::Result<()> {
        if steps > 0 {
            let standing = self.mover.standing(plan, &self.ledger).await?;
            self.mover.prepare(plan, &standing, None, &self.ledger, &self.observer, &self.stop).await?;
        }
        if steps > 1 {
            self.mover.copy(plan, &self.ledger, 1, &self.observer, &self.stop).await?;
        }
        if steps > 2 {
            self.mover.final_pass(plan, &self.ledger, 1, &self.observer, &self.stop).await?;
        }
        if steps > 3 {
            self.destination.write().await?.enable(&plan.schema).await?;
        }
        Ok(())
    }

    pub async fn save(&self, plan: &DatabasePlan, dir: &Path) {
        let names: Vec<ObjectName> = plan.overwrites.iter().map(|o| o.name.clone()).collect();
        back_up(&self.destination, Some(&names), dir, &self.observer, &self.stop).await.unwrap_or_else(|e| panic!("{e}"));
    }

    pub async fn take_back(&self, plan: &DatabasePlan, dir: &Path) -> DatabaseRestored {
        self.mover.undo(plan, &self.ledger, None, &self.observer).await.unwrap_or_else(|e| panic!("{e}"));
        self.mover.bring_back(dir, &self.ledger, None, &self.observer, &self.stop).await.unwrap_or_else(|e| panic!("{e}"))
    }
}

/// Source, destination before the migration.
const ZOO: [(&str, &str, &str); 6] = [
    (
        "what hangs on a table",
        "CREATE TABLE orders(id serial primary key, v text); INSERT INTO orders(v) SELECT 'src'||i FROM generate_series(1,50) i; CREATE SEQUENCE free_seq; \
         CREATE SCHEMA util; CREATE TABLE util.t (a int); COMMENT ON SCHEMA util IS 'theirs'; COMMENT ON SCHEMA public IS 'theirs'; GRANT CREATE ON SCHEMA public TO ma_it_app",
        "CREATE TABLE orders(id serial primary key, v text); INSERT INTO orders(v) SELECT 'dst'||i FROM generate_series(1,500) i; DELETE FROM orders WHERE id>100; \
         COMMENT ON TABLE orders IS 'important'; COMMENT ON COLUMN orders.v IS 'a column'; GRANT SELECT ON orders TO ma_it_app; CREATE SEQUENCE free_seq; SELECT setval('free_seq', 777); \
         COMMENT ON SEQUENCE free_seq IS 'free'; CREATE TABLE notes(id int primary key, o int REFERENCES orders(id)); INSERT INTO notes VALUES (1,1); \
         CREATE SCHEMA util; COMMENT ON SCHEMA util IS 'ours'; GRANT USAGE ON SCHEMA util TO ma_it_app",
    ),
    (
        "owners and rights",
        "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE VIEW v AS SELECT 1 AS one; CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT x'; CREATE TYPE mood AS ENUM ('a')",
        "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE VIEW v AS SELECT * FROM t; CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT x'; CREATE TYPE mood AS ENUM ('b'); \
         ALTER TABLE t OWNER TO ma_it_app; ALTER VIEW v OWNER TO ma_it_app; ALTER FUNCTION f OWNER TO ma_it_app; ALTER TYPE mood OWNER TO ma_it_app; \
         GRANT SELECT ON t TO PUBLIC; GRANT UPDATE (a) ON t TO postgres WITH GRANT OPTION; REVOKE DELETE ON t FROM ma_it_app; REVOKE ALL ON FUNCTION f FROM PUBLIC; \
         GRANT EXECUTE ON FUNCTION f TO postgres; REVOKE USAGE ON TYPE mood FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO ma_it_app; CREATE TABLE other (id int)",
    ),
    (
        "sequences",
        "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n int); INSERT INTO t (n) VALUES (1)",
        "CREATE TABLE t (id bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 7 INCREMENT BY 3) PRIMARY KEY, n int); INSERT INTO t (n) VALUES (1), (2); INSERT INTO t VALUES (900000000000, 9); \
         CREATE SEQUENCE numbers OWNED BY t.n; SELECT setval('numbers', 40, false); CREATE SEQUENCE lonely MINVALUE -5 INCREMENT -1 MAXVALUE 100 START 3",
    ),
    (
        "everything of its kind",
        "CREATE SCHEMA shop; CREATE TABLE shop.unique_only (id int PRIMARY KEY); CREATE TABLE shop.a (id int PRIMARY KEY); CREATE TABLE shop.booking (a int); \
         CREATE TABLE public.kinds (id int PRIMARY KEY); INSERT INTO kinds VALUES (1)",
        "",
    ),
    ("corners over corners", CORNERS, CORNERS_THERE),
    (
        "partitions",
        "CREATE TABLE ev (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (1) TO (9); INSERT INTO ev VALUES (1, 2)",
        "CREATE TABLE ev (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE ev_1 PARTITION OF ev FOR VALUES FROM (1) TO (5); INSERT INTO ev VALUES (1, 2), (2, 2); \
         CREATE TABLE refers (id int, at int, FOREIGN KEY (id, at) REFERENCES ev ON DELETE CASCADE); INSERT INTO refers VALUES (2, 2); \
         CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tt BEFORE INSERT ON ev FOR EACH ROW EXECUTE FUNCTION tr(); ALTER TABLE ev_1 DISABLE TRIGGER tt",
    ),
];

async fn undone(case: usize, steps: usize) -> Vec<String> {
    let (name, from, to) = ZOO[case];
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::new(rig::postgres15()).await);
    source.run(&[APP]).await;
    script(&source, from);
    script(&destination, if to.is_empty() { NASTY } else { to });
    let before = dump(&destination);
    let work = Work::new(&source, &destination, false).await;
    let plan = work.mover.survey().await.unwrap_or_else(|e| panic!("{name}: {e}"));
    let dir = tempfile::tempdir().unwrap();
    work.save(&plan, dir.path()).await;
    work.run(&plan, steps).await.unwrap_or_else(|e| panic!("{name} after {steps}: {e}"));
    let restored = work.take_back(&plan, dir.path()).await;
    let mut found = restored.differing;
    found.extend(differences(&before, &dump(&destination)));
    found.into_iter().map(|l| format!("{name} after {steps} steps: {l}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_restores_the_dump() {
    let mut found = Vec::new();
    for case in 0..ZOO.len() {
        for steps in [1, 4] {
            found.extend(undone(case, steps).await);
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The source names a view in a value that is copied before the view can be there: the run fails half way.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_half_way_leaves_the_dump_as_it_was() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::new(rig::postgres15()).await);
    source.run(&[APP]).await;
    source.run(&[ZOO[0].1, "CREATE MATERIALIZED VIEW vx AS SELECT 1; CREATE TABLE reg(r regclass); INSERT INTO reg VALUES ('vx')"]).await;
    destination.run(&[ZOO[0].2]).await;
    let before = dump(&destination);
    let work = Work::new(&source, &destination, true).await;
    let plan = work.mover.survey().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    work.save(&plan, dir.path()).await;
    work.run(&plan, 4).await.expect_err("the row cannot be read yet");
    let restored = work.take_back(&plan, dir.path()).await;
    assert_eq!((restored.differing, differences(&before, &dump(&destination))), (Vec::<String>::new(), Vec::<String>::new()));
}

/// What others built on a table that would be dropped is named before anything is touched; their foreign keys come back.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_built_is_named_beforehand_and_their_foreign_keys_return() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::new(rig::postgres15()).await);
    source.run(&["CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE TABLE ev (id int, at int) PARTITION BY RANGE (at)"]).await;
    destination
        .run(&[
            "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (7); CREATE TABLE good (t int REFERENCES t); INSERT INTO good VALUES (1)",
            "CREATE TABLE bad (t int REFERENCES t); INSERT INTO bad VALUES (7); CREATE VIEW theirs AS SELECT * FROM t",
            "CREATE TABLE ev (id int, at int) PARTITION BY RANGE (at); CREATE TABLE ev_other PARTITION OF ev DEFAULT; INSERT INTO ev VALUES (1, 1)",
        ])
        .await;
    let work = Work::new(&source, &destination, true).await;
    let error = work.mover.survey().await.expect_err("others built on it");
    assert!(error.reason.contains("view public.theirs") && error.reason.contains("table public.ev_other"), "{error}");
    destination.run(&["DROP VIEW theirs; DROP TABLE ev"]).await;
    let plan = work.mover.survey().await.unwrap();
    work.run(&plan, 1).await.unwrap();
    work.mover.copy(&plan, &work.ledger, 1, &work.observer, &work.stop).await.unwrap();
    let pass = work.mover.final_pass(&plan, &work.ledger, 1, &work.observer, &work.stop).await.unwrap();
    let keys = "SELECT string_agg(conname || convalidated::text, ',' ORDER BY conname) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(destination.value(keys).await, "bad_t_fkeyfalse,good_t_fkeytrue");
    let told = pass.applied.iter().find(|a| a.name.name == "bad_t_fkey").map(|a| format!("{:?}", a.applied));
    assert!(told.as_deref().is_some_and(|t| t.contains("NOT VALID")), "{told:?}");
}

/// Lines of the dump that belong to what is named.
const NAMED: [&str; 16] = [
    "-- ",
    "===",
    "LEFTARG",
    "RIGHTARG",
    "texteq",
    "CAST (",
    "mycfg",
    "MAPPING",
    "PARSER",
    "DEFAULT PRIVILEGES",
    "lo_",
    "LARGE OBJECT",
    "ON TABLE public.users",
    // Around the contents of large objects.
    "BEGIN;",
    "lowrite",
    "COMMIT;",
];

/// Every corner arrives, or is named.
#[tokio::test(flavor = "multi_thread")]
async fn corners_arrive_or_are_named() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::absent(rig::postgres15()));
    source.run(&[APP]).await;
    script(&source, CORNERS);
    source.run(&[&format!("COMMENT ON DATABASE {} IS 'the db'", source.name)]).await;
    source.run(&[&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", source.name)]).await;
    let work = Work::new(&source, &destination, true).await;
    let plan = work.mover.survey().await.unwrap_or_else(|e| panic!("{e}"));
    work.run(&plan, 4).await.unwrap_or_else(|e| panic!("{e}"));
    let told: Vec<String> = work.observer.lines().into_iter().filter(|l| l.level == ports::observe::Level::Warning).map(|l| l.message).collect();
    assert_eq!(told, Vec::<String>::new());
    let named = |line: &String| NAMED.iter().any(|word| line.contains(word));
    let lost: Vec<String> = differences(&dump(&source), &dump(&destination)).into_iter().filter(|l| !named(l)).collect();
    assert_eq!(lost, Vec::<String>::new());
    let kinds: BTreeSet<&str> = plan.unmovable.iter().map(|u| u.kind.as_str()).collect();
    let expected = [
        "cast",
        "database comment",
        "database rights",
        "default rights",
        "large objects",
        "operator",
        "publication",
        "rights of an owner",
        "text search configuration",
    ];
    assert_eq!(kinds, BTreeSet::from(expected));
}

/// A sequence that feeds no column of its own never stands behind the rows that used it.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_never_stand_behind_rows_of_a_living_source() {
    for single_pass in [true, false] {
        let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::absent(rig::postgres15()));
        source
            .run(&["CREATE SEQUENCE inv_no START 1000; CREATE TABLE invoice(id uuid primary key default gen_random_uuid(), no text UNIQUE DEFAULT 'INV-'||nextval('inv_no'))"])
            .await;
        source
            .run(&["INSERT INTO invoice SELECT FROM generate_series(1, 500); CREATE TABLE ids (id serial PRIMARY KEY); INSERT INTO ids VALUES (2147483647)"])
            .await;
        let work = Work::new(&source, &destination, single_pass).await;
        let plan = work.mover.survey().await.unwrap();
        source.run(&["INSERT INTO invoice SELECT FROM generate_series(1, 500)"]).await;
        work.run(&plan, 4).await.unwrap();
        let behind = "SELECT (max(substr(no, 5)::int) > (SELECT last_value FROM inv_no))::text || count(*) FROM invoice";
        assert_eq!(destination.value(behind).await, "false1000");
        assert_eq!(destination.value("SELECT nextval('ids_id_seq')::text").await, "1", "it stands where it stood, not at the highest value");
    }
}
