//! The store for several machines, on the rig's PostgreSQL.

use engine::journal::StepPin;
use engine::{Journal, NewRun};
use serde_json::json;
use sqlx::PgPool;
use std::time::Duration;
use store::Store;
use testkit::product_database::ProductDatabase;
use testkit::rig;

/// A database of its own, removed at the end.
pub fn database() -> ProductDatabase {
    ProductDatabase::make(rig::postgres15(), "store")
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_journal_suite() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    testkit::journal_suite::run(store::open(&database.url(), dir.path()).await.expect("the store opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_records_suite() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    testkit::records_suite::run(store::open(&database.url(), dir.path()).await.expect("the store opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_can_not_be_changed() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    let store = Store::open(&database.url(), dir.path()).await.unwrap();
    ports::records::Audit::note(&store, ports::records::AuditEntry { tenant: "t".to_owned(), ..Default::default() }).await.unwrap();
    store.close().await;
    let pool = PgPool::connect(&database.url()).await.unwrap();
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = sqlx::query(sql).execute(&pool).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_drive_suite() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    testkit::drive_suite::run(store::open(&database.url(), dir.path()).await.expect("the store opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_it_and_wake_each_other() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    let url = database.url();
    // Both start at once on an empty database.
    let (one, two) = tokio::join!(Store::open(&url, dir.path()), Store::open(&url, dir.path()));
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut changes = engine::journal::Events::changes(&two);
    let run = |n: u32| NewRun { id: n.to_string(), tenant: "t".to_owned(), kind: "k".to_owned(), input: json!({"n": n}), labels: json!({}), holds: None };
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    Store::open(&database.url(), dir.path()).await.unwrap().close().await;
    let pool = PgPool::connect(&database.url()).await.unwrap();
    sqlx::query("UPDATE schema_version SET version = 99").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Store::open(&database.url(), dir.path()).await.err().unwrap().to_string();
    assert!(refused.contains("schema version 99"), "{refused}");
}
