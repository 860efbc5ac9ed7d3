//! MySQL 9 and MariaDB 10.11: the suite, and what is peculiar to them.

use crate::suite::{self, Fixture};
use connectors_databases as databases;
use connectors_databases::mysql::Loading;
use domain::Secret;
use domain::spec::{DatabaseAt, DatabaseEngine, TlsMode};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use ports::databases::{Applied, Database, KeyRange, ObjectKind, View};
use ports::{ErrorKind, Role};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::rig::{self, Server};

#[path = "mysql_cases.rs"]
mod cases;
#[path = "mysql_dumps.rs"]
mod dumps;
#[path = "mysql_nasty.rs"]
mod nasty;
#[path = "mysql_others.rs"]
mod others;
#[path = "mysql_ranges.rs"]
mod ranges;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A database of its own on one of the servers; `remove` at the end.
pub struct Throwaway {
    server: Server,
    name: String,
    tls: TlsMode,
}

impl Throwaway {
    async fn new(server: Server) -> Self {
        let name = format!("it{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let made = Self { server, name, tls: TlsMode::Prefer };
        made.plain().await.query_drop(format!("CREATE DATABASE `{}`", made.name)).await.expect("make the database");
        made
    }

    /// A name for a database that is not there yet.
    fn absent(server: Server) -> Self {
        Self { server, name: format!("it{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)), tls: TlsMode::Prefer }
    }

    async fn plain(&self) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.server.host.clone())
            .tcp_port(self.server.port)
            .user(Some(self.server.user.clone()))
            .pass(Some(self.server.password.clone()))
            .prefer_socket(false);
        let mut conn = Conn::new(options).await.expect("the rig's server answers");
        conn.query_drop("SET NAMES utf8mb4").await.expect("set up");
        conn.query_drop("SET time_zone='+00:00', sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', foreign_key_checks=0").await.expect("set up");
        conn
    }

    fn at(&self) -> DatabaseAt {
        DatabaseAt {
            engine: DatabaseEngine::MySql,
            type_name: "mysql".to_owned(),
            host: self.server.host.clone(),
            port: self.server.port,
            username: self.server.user.clone(),
            password: Some(Secret::new(self.server.password.clone())),
            database: self.name.clone(),
            tls: self.tls,
            ca: None,
        }
    }

    async fn remove(self) {
        self.plain().await.query_drop(format!("DROP DATABASE IF EXISTS `{}`", self.name)).await.expect("drop the database");
    }
}

#[async_trait::async_trait]
impl Fixture for Throwaway {
    async fn open(&self) -> Arc<dyn Database> {
        databases::open(&self.at(), 4).await.expect("open")
    }

    async fn run(&self, statements: &[&str]) {
        let mut conn = self.plain().await;
        conn.query_drop(format!("USE `{}`", self.name)).await.expect("use");
        for sql in statements {
            conn.query_drop(*sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
        }
        conn.disconnect().await.expect("bye");
    }

    async fn value(&self, sql: &str) -> String {
        let mut conn = self.plain().await;
        conn.query_drop(format!("USE `{}`", self.name)).await.expect("use");
        let value: Option<Option<String>> = conn.query_first(sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
        value.flatten().unwrap_or_default()
    }

    fn items(&self, rows: u32) -> Vec<String> {
        let mut sql = vec!["CREATE TABLE items (id INT PRIMARY KEY, body TEXT CHARACTER SET utf8mb4)".to_owned()];
        let values: Vec<_> = (1..=rows).map(|n| if n % 9 == 0 { format!("({n}, NULL)") } else { format!("({n}, 'row {n}\\t\\n\\\\ é😀')") }).collect();
        sql.push(format!("INSERT INTO items VALUES {}", values.join(",")));
        sql
    }

    fn keyless(&self) -> Vec<String> {
        vec!["CREATE TABLE keyless (body TEXT)".to_owned(), "INSERT INTO keyless VALUES ('a'), ('a'), (''), (NULL), ('\\\\N')".to_owned()]
    }
}

/// The directions that matter: MariaDB to MySQL, and each to itself.
async fn each_pair<F, Work>(work: F)
where
    F: Fn(Arc<Throwaway>, Arc<Throwaway>) -> Work,
    Work: Future<Output = ()>,
{
    for (from, to) in [(rig::mariadb(), rig::mysql()), (rig::mysql(), rig::mysql()), (rig::mariadb(), rig::mariadb())] {
        let (a, b) = (Arc::new(Throwaway::new(from).await), Arc::new(Throwaway::absent(to)));
        work(Arc::clone(&a), Arc::clone(&b)).await;
        for used in [a, b] {
            Arc::into_inner(used).expect("the work is done").remove().await;
        }
    }
}

async fn each_server<F, Work>(work: F)
where
    F: Fn(Arc<Throwaway>) -> Work,
    Work: Future<Output = ()>,
{
    for server in [rig::mariadb(), rig::mysql()] {
        let one = Arc::new(Throwaway::new(server).await);
        work(Arc::clone(&one)).await;
        Arc::into_inner(one).expect("the work is done").remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_and_differences() {
    each_pair(|a, b| async move { suite::ranges_and_differences(&*a, &*b).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_is_repeatable() {
    each_pair(|a, b| async move { suite::dropping_is_repeatable(&*a, &*b).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_rows_change_nothing() {
    each_server(|one| async move { suite::broken_rows_change_nothing(&*one).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshot_is_one_moment() {
    each_server(|one| async move { suite::snapshot_is_one_moment(&*one).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_are_found_and_changed() {
    each_server(|one| async move { suite::cells_are_found_and_changed(&*one).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_pass() {
    each_server(|one| async move { suite::checks_pass(&*one).await }).await;
}

/// Every type with its edges, every kind of object, in all three directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nasty_database_moves_whole() {
    each_pair(|a, b| async move {
        let (from_mariadb, to_mariadb) = (a.server.port == rig::mariadb().port, b.server.port == rig::mariadb().port);
        suite::run_all(&*a, &nasty::tables(from_mariadb)).await;
        suite::run_all(&*a, &nasty::programs()).await;
        let (source, destination) = (a.open().await, b.open().await);
        let copied = suite::copy(&*source, &*destination, 3).await;
        for (object, applied) in &copied.applied {
            let expected = nasty::fate(object, from_mariadb && !to_mariadb);
            assert!(expected(applied), "{:?} {}: {applied:?}\n{:?}", object.kind, object.name, object.statements);
        }
        let refused: &[&str] = if from_mariadb && !to_mariadb { &["only mariadb"] } else { &[] };
        suite::assert_equal(&*source, &*destination, refused).await;
        assert_eq!(copied.schema.unmovable, []);
        nasty::assert_alive(&a, &b).await;
    })
    .await;
}

/// The way back: MySQL's own collations find their like in MariaDB, and every change is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_moves_to_mariadb() {
    let (a, b) = (Throwaway::new(rig::mysql()).await, Throwaway::absent(rig::mariadb()));
    suite::run_all(&a, &nasty::tables(false)).await;
    suite::run_all(&a, &nasty::programs()).await;
    let (source, destination) = (a.open().await, b.open().await);
    let copied = suite::copy(&*source, &*destination, 1000).await;
    for (object, applied) in &copied.applied {
        assert!(!matches!(applied, Applied::Refused(_)), "{:?} {}: {applied:?}", object.kind, object.name);
    }
    let Applied::Adapted(change) = copied.applied(ObjectKind::Table, "parent") else { panic!("its collation is not known there") };
    assert_eq!(change, "collation utf8mb4_0900_ai_ci → utf8mb4_uca1400_nopad_ai_ci");
    suite::assert_equal(&*source, &*destination, &[]).await;
    a.remove().await;
    b.remove().await;
}

/// Doubles and floats over the whole range keep every bit, and fingerprint alike on both products.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floating_point_numbers_are_exact() {
    each_pair(|a, b| async move {
        suite::run_all(&*a, &nasty::numbers()).await;
        let (source, destination) = (a.open().await, b.open().await);
        suite::copy(&*source, &*destination, 500).await;
        suite::assert_equal(&*source, &*destination, &[]).await;
        // The sum of all bits does not depend on any text form: the servers compare the numbers with themselves.
        let sql = "SELECT CONCAT(COUNT(*), ' ', SUM(d = CAST(t AS DOUBLE)), ' ', SUM(f*1e0 = CAST(ft AS DOUBLE))) FROM numbers";
        let rows = b.value("SELECT COUNT(*) FROM numbers").await;
        assert_eq!(b.value(sql).await, format!("{rows} {rows} {rows}"));
        b.run(&["UPDATE numbers SET d = -d WHERE id = 77"]).await;
        let (x, y) =
            (source.read(View::Latest { connections: 1 }).await.expect("read"), destination.read(View::Latest { connections: 1 }).await.expect("read"));
        let schema = x.schema().await.expect("schema");
        let table = suite::table(&schema, "numbers");
        let whole = KeyRange::default();
        assert_ne!(x.fingerprint(table, &whole).await.expect("fingerprint"), y.fingerprint(table, &whole).await.expect("fingerprint"));
    })
    .await;
}

/// Without `local_infile` the rows go as INSERTs, with the same result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_arrive_without_local_infile() {
    let (a, b) = (Throwaway::new(rig::mariadb()).await, Throwaway::new(rig::mysql()).await);
    suite::run_all(&a, &nasty::tables(true)).await;
    let (source, destination) = (a.open().await, databases::mysql::open_with(&b.at(), 2, Loading::Inserts).expect("open"));
    suite::copy(&*source, &*destination, 4).await;
    suite::assert_equal(&*source, &*destination, &["only mariadb"]).await;
    a.remove().await;
    b.remove().await;
}

/// A value that the destination would cut off is an error, never a silent change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncation_is_an_error() {
    let (a, b) = (Throwaway::new(rig::mysql()).await, Throwaway::new(rig::mariadb()).await);
    a.run(&["CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), n BIGINT)", "INSERT INTO t VALUES (1,'short',1),(2,'much too long for it',2)"]).await;
    b.run(&["CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(8), n BIGINT)", "INSERT INTO t VALUES (5,'before',1)"]).await;
    let (source, destination) = (a.open().await, b.open().await);
    let view = source.read(View::Latest { connections: 1 }).await.expect("read");
    let schema = view.schema().await.expect("schema");
    let table = suite::table(&schema, "t");
    let whole = KeyRange::default();
    let writer = destination.write().await.expect("write");
    let error = writer.replace(table, &whole, view.rows(table, &whole)).await.expect_err("it does not fit");
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.reason.contains('v') && !error.temporary, "{error}");
    assert_eq!(b.value("SELECT GROUP_CONCAT(v) FROM t").await, "before", "nothing changed");
    a.remove().await;
    b.remove().await;
}

/// A table of the same name with another definition is never taken for ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_different_table_is_not_ours() {
    let (a, b) = (Throwaway::new(rig::mysql()).await, Throwaway::new(rig::mysql()).await);
    a.run(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20), CONSTRAINT c CHECK (v <> 'x'))"]).await;
    let schema = a.open().await.read(View::Latest { connections: 1 }).await.expect("read").schema().await.expect("schema");
    let object = schema.objects.iter().find(|o| o.kind == ObjectKind::Table).expect("the table");
    b.run(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(21), CONSTRAINT c CHECK (v <> 'x'))"]).await;
    let destination = b.open().await;
    let writer = destination.write().await.expect("write");
    assert_eq!(writer.create(object).await.expect_err("another definition").kind, ErrorKind::AlreadyExists);
    b.run(&["ALTER TABLE t MODIFY v VARCHAR(20), ADD KEY later (v)"]).await;
    assert_eq!(writer.create(object).await.expect("ours"), Applied::AsIs);
    assert_eq!(b.value("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()").await, "1", "no probe is left");
    a.remove().await;
    b.remove().await;
}

/// The rig's real WordPress crosses from MariaDB to MySQL 9 whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_wordpress_crosses() {
    let b = Throwaway::absent(rig::mysql());
    let at = DatabaseAt { database: rig::wordpress().database, ..Throwaway::absent(rig::mariadb()).at() };
    let source = databases::open(&at, 4).await.expect("open");
    let destination = b.open().await;
    let copied = suite::copy(&*source, &*destination, 200).await;
    let refused: Vec<_> = copied.applied.iter().filter(|(_, a)| matches!(a, Applied::Refused(_))).collect();
    assert!(refused.is_empty() && copied.schema.unmovable.is_empty(), "{refused:?}");
    assert!(copied.rows > 100 && copied.schema.tables.len() >= 12, "{} rows", copied.rows);
    b.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said() {
    let good = Throwaway::absent(rig::mysql());
    let mut wrong_password = good.at();
    wrong_password.password = Some(Secret::new("not the password"));
    let mut nobody_there = good.at();
    nobody_there.port = 1;
    let mut no_such_host = good.at();
    no_such_host.host = "no-such-host.invalid".to_owned();
    for (at, kind) in [(wrong_password, ErrorKind::Authentication), (nobody_there, ErrorKind::Unreachable), (no_such_host, ErrorKind::Unreachable)] {
        let database = databases::open(&at, 2).await.expect("opening checks the description only");
        let error = database.version().await.expect_err("it cannot work");
        assert_eq!(error.kind, kind, "{error}");
        assert!(!error.advice.is_empty() && !error.to_string().contains("not the password"), "{error}");
        let kinds = suite::failing_kinds(&*database, Role::Source).await;
        assert!(kinds.contains(&format!("{kind:?}")), "{kinds:?}");
    }
    let missing = good.open().await;
    let error = missing.read(View::Snapshot { connections: 2 }).await.err().expect("there is no such database");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert_eq!(suite::failing_kinds(&*missing, Role::Source).await.into_iter().collect::<Vec<_>>(), ["NotFound"]);
    assert!(suite::failing_kinds(&*missing, Role::Destination).await.is_empty(), "a destination may be made");
}

/// Without RELOAD the tables are locked; without any lock there is one connection, and a warning; without SELECT a clear finding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_rights_are_enough_or_named() {
    each_server(|one| async move {
        suite::run_all(&*one, &one.items(10)).await;
        for (number, rights) in
            ["SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT", "SELECT, SHOW VIEW, TRIGGER, EVENT", "SHOW VIEW, TRIGGER, EVENT, INSERT"].into_iter().enumerate()
        {
            let user = format!("{}_{number}", one.name);
            one.run(&[&format!("CREATE USER `{user}`@'%' IDENTIFIED BY 'small-rights'"), &format!("GRANT {rights} ON `{}`.* TO `{user}`@'%'", one.name)]).await;
            let at = DatabaseAt { username: user.clone(), password: Some(Secret::new("small-rights")), ..one.at() };
            let database = databases::open(&at, 3).await.expect("open");
            let kinds = suite::failing_kinds(&*database, Role::Source).await;
            if number == 2 {
                assert!(kinds.contains("Permission"), "{kinds:?}");
            } else {
                assert!(kinds.is_empty(), "{kinds:?}");
                let view = database.read(View::Snapshot { connections: 3 }).await.expect("a snapshot");
                let schema = view.schema().await.expect("schema");
                assert_eq!(view.fingerprint(suite::table(&schema, "items"), &KeyRange::default()).await.expect("fingerprint").rows, 10);
            }
            assert!(suite::failing_kinds(&*database, Role::Destination).await.contains("Permission"), "it may not make tables");
            one.run(&[&format!("DROP USER `{user}`@'%'")]).await;
        }
    })
    .await;
}

/// TLS: the server's own certificate is not trusted by verify-full, and encrypts under require.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_connections() {
    let mut one = Throwaway::new(rig::mysql()).await;
    one.tls = TlsMode::Require;
    assert!(one.open().await.version().await.expect("encrypted").starts_with("MySQL 9"));
    one.tls = TlsMode::VerifyFull;
    let error = one.open().await.version().await.expect_err("nobody vouches for this certificate");
    assert_eq!(error.kind, ErrorKind::HostKey, "{error}");
    one.tls = TlsMode::Disable;
    assert!(one.open().await.version().await.is_ok(), "caching_sha2_password over plain TCP");
    one.remove().await;
    let mut plain = Throwaway::new(rig::mariadb()).await;
    assert!(plain.open().await.version().await.expect("prefer goes without").starts_with("MariaDB 10.11"));
    plain.tls = TlsMode::Require;
    assert_eq!(plain.open().await.version().await.expect_err("no TLS there").kind, ErrorKind::Unsupported);
    plain.remove().await;
}
