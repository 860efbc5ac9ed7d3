//! The store for several machines, on the rig's PostgreSQL.

use engine::journal::StepPin;
use engine::{Journal, NewRun};
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use store::Store;
use testkit::rig;

/// A database of its own, removed at the end.
pub struct Database {
    admin: PgPool,
    name: String,
    pub url: String,
}

impl Database {
    pub async fn make() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = rig::postgres15();
        let options = PgConnectOptions::new().host(&server.host).port(server.port).username(&server.user).password(&server.password).database("postgres");
        let admin = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("the rig's PostgreSQL answers");
        let name = format!("store_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&admin).await.expect("a database of our own");
        let url = format!("postgres://{}:{}@{}:{}/{name}", server.user, server.password, server.host, server.port);
        Self { admin, name, url }
    }

    pub async fn remove(self) {
        sqlx::query(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name))).execute(&self.admin).await.expect("the database goes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_journal_suite() {
    let (database, dir) = (Database::make().await, tempfile::tempdir().unwrap());
    testkit::journal_suite::run(store::open(&database.url, dir.path()).await.expect("the store opens")).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_records_suite() {
    let (database, dir) = (Database::make().await, tempfile::tempdir().unwrap());
    testkit::records_suite::run(store::open(&database.url, dir.path()).await.expect("the store opens")).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_can_not_be_changed() {
    let (database, dir) = (Database::make().await, tempfile::tempdir().unwrap());
    let store = Store::open(&database.url, dir.path()).await.unwrap();
    ports::records::Audit::note(&store, ports::records::AuditEntry::default()).await.unwrap();
    store.close().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = sqlx::query(sql).execute(&pool).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    pool.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_drive_suite() {
    let (database, dir) = (Database::make().await, tempfile::tempdir().unwrap());
    testkit::drive_suite::run(store::open(&database.url, dir.path()).await.expect("the store opens")).await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_it_and_wake_each_other() {
    let (database, dir) = (Database::make().await, tempfile::tempdir().unwrap());
    // Both start at once on an empty database.
    let (one, two) = tokio::join!(Store::open(&database.url, dir.path()), Store::open(&database.url, dir.path()));
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut changes = engine::journal::Events::changes(&two);
    let run = |n: u32| NewRun { id: n.to_string(), tenant: "t".to_owned(), kind: "k".to_owned(), input: json!({"n": n}), labels: json!({}) };
    let pin = || [StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 }];
    // The listener may not listen yet: tell until it hears.
    let heard = async {
        for n in 0.. {
            let journal: &dyn Journal = &one;
            journal.create(&run(n), &pin()).await.unwrap();
            if tokio::time::timeout(Duration::from_millis(200), changes.changed()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("the other process hears of it");
    let journal: &dyn Journal = &two;
    assert_eq!(journal.input("t", "0").await.unwrap(), json!({"n": 0}), "one key file serves both");
    one.close().await;
    two.close().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let (database, dir) = (Database::make().await, tempfile::tempdir().unwrap());
    Store::open(&database.url, dir.path()).await.unwrap().close().await;
    let pool = PgPool::connect(&database.url).await.unwrap();
    sqlx::query("UPDATE schema_version SET version = 99").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Store::open(&database.url, dir.path()).await.err().unwrap().to_string();
    assert!(refused.contains("schema version 99"), "{refused}");
    database.remove().await;
}
