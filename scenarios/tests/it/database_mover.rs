//! Databases moved by the mover over the real connectors: a source that lives on between the bulk copy and the final pass, a crash at every
//! write of the ledger, an edit that verification must find and name, a backup that brings everything back.

use connectors_databases::open;
use domain::Secret;
use domain::spec::{DatabaseAt, DatabaseEngine, TlsMode};
use movers::databases::{DatabaseMover, DatabaseOptions, DatabasePlan, Edited, Scope, back_up, restore};
use ports::databases::Database;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use testkit::rig::{self, Server};
use tokio_util::sync::CancellationToken;

/// One database of one server, dropped at the end.
struct Place {
    at: DatabaseAt,
}

/// How to speak to each engine with its own client.
impl Place {
    fn new(engine: DatabaseEngine, server: Server) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = format!("mover_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let type_name = if engine == DatabaseEngine::MySql { "mysql" } else { "postgresql" };
        let at = DatabaseAt {
            engine,
            type_name: type_name.to_owned(),
            host: server.host,
            port: server.port,
            username: server.user,
            password: Some(Secret::new(server.password)),
            database,
            tls: TlsMode::Disable,
            ca: None,
        };
        Self { at }
    }

    fn made(self) -> Self {
        self.admin(&format!("CREATE DATABASE {}", self.at.database));
        self
    }

    /// Runs SQL in the database.
    fn sql(&self, sql: &str) -> String {
        self.client(&self.at.database, sql)
    }

    fn admin(&self, sql: &str) {
        self.client(if self.at.engine == DatabaseEngine::MySql { "" } else { "postgres" }, sql);
    }

    fn client(&self, database: &str, sql: &str) -> String {
        let password = self.at.password.as_ref().expect("a password").expose();
        let port = self.at.port.to_string();
        let mut command = match self.at.engine {
            DatabaseEngine::MySql => Command::new("mariadb"),
            _ => Command::new("psql"),
        };
        match self.at.engine {
            DatabaseEngine::MySql => {
                command.args(["-h127.0.0.1", "-P", &port, "-urig", "-N", "--default-character-set=utf8mb4", "-e", sql, database]).env("MYSQL_PWD", password)
            }
            _ => command.args(["-h127.0.0.1", "-p", &port, "-Upostgres", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql, database]).env("PGPASSWORD", password),
        };
        let output = command.output().expect("the engine's client");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn open(&self) -> Arc<dyn Database> {
        open(&self.at, 4).await.expect("a door")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admin(&format!("DROP DATABASE IF EXISTS {}", self.at.database));
    }
}

/// The number of the only standstill of most tests.
const STANDSTILL: u64 = 1;

struct Move {
    from: Place,
    to: Place,
    mover: DatabaseMover,
    ledger: MemoryLedger,
    observer: MemoryObserver,
    stop: CancellationToken,
}

impl Move {
    async fn new(from: Place, to: Place) -> Self {
        let options = DatabaseOptions { rows_per_range: 1_000, ..DatabaseOptions::default() };
        let mover = DatabaseMover::new(from.open().await, to.open().await, options);
        Self { from, to, mover, ledger: MemoryLedger::default(), observer: MemoryObserver::default(), stop: CancellationToken::new() }
    }

    async fn mysql() -> Self {
        let from = Place::new(DatabaseEngine::MySql, rig::mariadb()).made();
        from.sql(
            "CREATE TABLE shop(id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(50), price DECIMAL(10,2), KEY(name));
             CREATE TABLE sale(shop INT, at DATETIME, note TEXT, FOREIGN KEY(shop) REFERENCES shop(id));
             INSERT INTO shop(name, price) SELECT CONCAT('n', seq), seq / 7 FROM seq_1_to_5000;
             INSERT INTO sale SELECT 1 + seq % 5000, '2024-01-01' + INTERVAL seq MINUTE, 'é😀' FROM seq_1_to_3000;
             CREATE VIEW dear AS SELECT * FROM shop WHERE price > 100;",
        );
        Self::new(from, Place::new(DatabaseEngine::MySql, rig::mysql())).await
    }

    async fn postgres() -> Self {
        let from = Place::new(DatabaseEngine::PostgreSql, rig::postgres15()).made();
        from.sql(
            "CREATE TABLE shop(id serial PRIMARY KEY, name text, price numeric(10,2)); CREATE INDEX ON shop(name);
             CREATE TABLE sale(shop int REFERENCES shop(id), at timestamptz, note text);
             INSERT INTO shop(name, price) SELECT 'n' || n, n / 7.0 FROM generate_series(1, 5000) n;
             INSERT INTO sale SELECT 1 + n % 5000, '2024-01-01'::timestamptz + n * interval '1 minute', 'é😀' FROM generate_series(1, 3000) n;
             CREATE VIEW dear AS SELECT * FROM shop WHERE price > 100;",
        );
        Self::new(from, Place::new(DatabaseEngine::PostgreSql, rig::postgres18())).await
    }

    async fn survey(&self) -> DatabasePlan {
        self.mover.survey().await.expect("a survey")
    }

    /// All phases up to the end of the final pass; `meanwhile` runs between the bulk copy and the final pass.
    async fn run(&self, plan: &DatabasePlan, meanwhile: impl FnOnce(&Place)) -> Result<u64, ports::ConnectorError> {
        self.run_in(plan, STANDSTILL, meanwhile).await
    }

    /// The same in the standstill of this number.
    async fn run_in(&self, plan: &DatabasePlan, standstill: u64, meanwhile: impl FnOnce(&Place)) -> Result<u64, ports::ConnectorError> {
        let standing = self.mover.standing(plan, &self.ledger).await?;
        self.mover.prepare(plan, &standing, None, &self.ledger, &self.observer, &self.stop).await?;
        self.mover.copy(plan, &self.ledger, standstill, &self.observer, &self.stop).await?;
        meanwhile(&self.from);
        Ok(self.mover.final_pass(plan, &self.ledger, standstill, &self.observer, &self.stop).await?.repaired)
    }

    async fn verify(&self, plan: &DatabasePlan) -> movers::databases::DatabaseVerified {
        self.verify_in(plan, STANDSTILL).await
    }

    async fn verify_in(&self, plan: &DatabasePlan, standstill: u64) -> movers::databases::DatabaseVerified {
        self.mover.verify(plan, &self.ledger, standstill, &Edited::new(), Scope::All, &self.observer, &self.stop).await.expect("a verification")
    }
}

async fn a_living_source(work: Move) {
    let plan = work.survey().await;
    let repaired = work
        .run(&plan, |source| {
            source.sql("UPDATE shop SET price = 1 WHERE id = 17; DELETE FROM shop WHERE id = 4999 AND NOT EXISTS (SELECT 1 FROM sale WHERE shop = 4999); INSERT INTO shop(name, price) VALUES ('new', 2); INSERT INTO sale(shop, note) VALUES (1, 'late');");
        })
        .await
        .expect("a move");
    assert!(repaired >= 2, "the changed ranges were replaced: {repaired}");
    assert!(work.verify(&plan).await.equal());
    let count = "SELECT (SELECT COUNT(*) FROM shop), (SELECT COUNT(*) FROM sale), (SELECT COUNT(*) FROM dear), (SELECT MAX(id) FROM shop)";
    assert_eq!(work.from.sql(count), work.to.sql(count));
    work.to.sql("INSERT INTO shop(name) VALUES ('after the move')");

    work.to.sql("UPDATE shop SET name = 'm17' WHERE id = 17");
    let found = work.verify(&plan).await;
    let shop = found.tables.iter().find(|t| t.table.ends_with("shop")).expect("the table");
    assert!(!shop.equal, "an edit of the same size is found");
    assert!(serde_json::to_string(&shop.differing).expect("JSON").contains("17"), "and its key is named: {:?}", shop.differing);

    let changes = work.mover.later_changes(&plan, &work.ledger, &work.stop).await.expect("a comparison");
    let changed: Vec<_> = changes.iter().map(|c| (c.table.name.as_str(), c.certain)).collect();
    assert_eq!(changed, [("shop", true)], "what was written after the move is found, and nothing else: {changes:?}");

    let undone = work.mover.undo(&plan, &work.ledger, None, &work.observer).await.expect("an undo");
    assert!(undone.removed_database && undone.left.is_empty(), "{undone:?}");
    let gone = work.mover.survey().await.expect("a survey");
    assert!(!gone.destination_exists, "the database that was made is gone");
}

/// The rows themselves, as the engine's own client shows them.
fn rows(place: &Place) -> (String, String) {
    (place.sql("SELECT * FROM shop ORDER BY id"), place.sql("SELECT * FROM sale ORDER BY shop, at, note"))
}

/// What the source's users do meanwhile; `tag` tells one time from the other.
fn live_on(source: &Place, tag: &str) {
    source.sql(&format!(
        "UPDATE shop SET name = '{tag}' WHERE id % 1000 = 17; DELETE FROM sale WHERE shop = 3 AND note <> '{tag}'; INSERT INTO sale(shop, note) VALUES (3, '{tag}'); INSERT INTO shop(name, price) VALUES ('{tag}', 2);"
    ));
}

/// The ledger fails at its first write, then at its second, and so on; each time the whole work starts again. The source lives on before the final
/// pass and between the two tries, and the destination is compared with the source itself, not with what was recorded of it.
async fn a_crash_at_every_write(make: impl AsyncFn() -> Move) {
    let mut at = 1;
    loop {
        let work = make().await;
        let plan = work.survey().await;
        work.ledger.crash_at(at, at % 2 == 0);
        let first = work.run(&plan, |source| live_on(source, "first")).await;
        work.ledger.heal();
        if first.is_ok() {
            assert!(at > 8, "the ledger was written only {at} times");
            assert!(rows(&work.from) == rows(&work.to), "without a crash, the destination holds what the source does");
            return;
        }
        live_on(&work.from, "second");
        work.run_in(&plan, STANDSTILL + 1, |source| live_on(source, "third")).await.unwrap_or_else(|e| panic!("after a crash at write {at}: {e}"));
        assert!(rows(&work.from) == rows(&work.to), "after a crash at write {at}, the destination is not what the source is");
        assert!(work.verify_in(&plan, STANDSTILL + 1).await.equal(), "after a crash at write {at}");
        // The first writes one by one, then in larger steps: each is a whole move.
        at += 1 + at / 3;
    }
}

/// Rows that arrive at the source after a standstill was broken off must not be taken for part of it.
async fn a_later_standstill_compares_anew(work: Move) {
    let plan = work.survey().await;
    work.run(&plan, |_| {}).await.expect("a move");
    work.from.sql("INSERT INTO shop(name, price) VALUES ('of the night', 3)");
    let again = work.mover.final_pass(&plan, &work.ledger, STANDSTILL + 1, &work.observer, &work.stop).await.expect("another final pass");
    assert_eq!(again.repaired, 1, "the new standstill found the new row");
    let old = work.mover.verify(&plan, &work.ledger, STANDSTILL, &Edited::new(), Scope::All, &work.observer, &work.stop).await;
    assert!(old.is_err(), "what the first standstill knew is not compared with");
    let count = "SELECT COUNT(*) FROM shop";
    assert_eq!(work.from.sql(count), work.to.sql(count));
}

/// A database that was made by the migration stays when somebody put something of his own into it.
async fn what_others_made_keeps_the_database(work: Move) {
    let plan = work.survey().await;
    work.run(&plan, |_| {}).await.expect("a move");
    work.to.sql("CREATE TABLE notes_of_others(id INT PRIMARY KEY); INSERT INTO notes_of_others VALUES (7);");
    let undone = work.mover.undo(&plan, &work.ledger, None, &work.observer).await.expect("an undo");
    assert!(!undone.removed_database, "{undone:?}");
    assert_eq!(work.to.sql("SELECT id FROM notes_of_others").trim(), "7");
    let left = work.mover.survey().await.expect("a survey");
    assert!(left.overwrites.is_empty(), "everything of ours is gone: {:?}", left.overwrites);
}

async fn a_backup_brings_everything_back(work: Move) {
    let dir = tempfile::tempdir().expect("a directory");
    let database = work.from.open().await;
    let saved = back_up(&database, None, dir.path(), &work.observer, &work.stop).await.expect("a backup");
    assert_eq!(saved.rows, 8000);
    let all = "SELECT * FROM shop ORDER BY id";
    let before = work.from.sql(all);
    work.from.sql("DELETE FROM sale; DELETE FROM shop WHERE id > 10;");
    let restored = restore(&database, dir.path(), None, None, &work.observer, &work.stop).await.expect("a restoration");
    assert!(restored.proven);
    assert_eq!(before, work.from.sql(all));
    let file = dir.path().join(&saved.tables[0].file);
    let mut bytes = std::fs::read(&file).expect("the rows");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("damage it");
    let error = restore(&database, dir.path(), None, None, &work.observer, &work.stop).await.expect_err("a damaged backup is refused");
    assert_eq!(error.kind, ports::ErrorKind::Corrupt, "{error}");
    assert_eq!(before, work.from.sql(all), "and nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_compared_anew_in_every_standstill() {
    a_later_standstill_compares_anew(Move::mysql().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_compared_anew_in_every_standstill() {
    a_later_standstill_compares_anew(Move::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_keeps_what_others_made_in_the_new_database() {
    what_others_made_keeps_the_database(Move::mysql().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_what_others_made_in_the_new_database() {
    what_others_made_keeps_the_database(Move::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_lives_on_while_it_moves_to_mysql() {
    a_living_source(Move::mysql().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_15_lives_on_while_it_moves_to_18() {
    a_living_source(Move::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_survives_a_crash_at_every_write() {
    a_crash_at_every_write(Move::mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_survives_a_crash_at_every_write() {
    a_crash_at_every_write(Move::postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_comes_back_from_a_backup() {
    a_backup_brings_everything_back(Move::mysql().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_comes_back_from_a_backup() {
    a_backup_brings_everything_back(Move::postgres().await).await;
}
