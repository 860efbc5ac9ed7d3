//! The embedded store.

use engine::journal::{ClaimRequest, StepPin};
use engine::state::Request;
use engine::{Chunk, ChunkDone, EngineError, Journal, NewChunk, NewRun};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;

async fn journal(dir: &std::path::Path) -> Arc<dyn Journal> {
    store::open("sqlite:", dir).await.expect("the store opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_journal_suite() {
    let dir = tempfile::tempdir().unwrap();
    testkit::journal_suite::run(journal(dir.path()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_records_suite() {
    let dir = tempfile::tempdir().unwrap();
    testkit::records_suite::run(store::open("sqlite:", dir.path()).await.expect("the store opens")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_can_not_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    ports::records::Audit::note(&store, ports::records::AuditEntry::default()).await.unwrap();
    store.close().await;
    let database = rusqlite::Connection::open(dir.path().join("migration-assistant.db")).unwrap();
    for sql in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"] {
        let refused = database.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{sql}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_drive_suite() {
    let dir = tempfile::tempdir().unwrap();
    testkit::drive_suite::run(journal(dir.path()).await).await;
}

async fn claimed(journal: &dyn Journal, lease: Duration) -> engine::journal::Token {
    let run =
        NewRun { id: "r".to_owned(), tenant: "t".to_owned(), kind: "k".to_owned(), input: json!({"password": "hunter2"}), labels: json!({}), holds: None };
    let pin = StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 };
    journal.create(&run, &[pin]).await.unwrap();
    journal.request("t", "r", &Request::Start { options: json!({}) }).await.unwrap();
    claim(journal, lease).await.unwrap()
}

async fn claim(journal: &dyn Journal, lease: Duration) -> Option<engine::journal::Token> {
    let request = ClaimRequest { owner: "w".to_owned(), kinds: vec!["k".to_owned()], except: vec![], lease, node: None };
    journal.claim(&request).await.unwrap().map(|c| c.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_and_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open("sqlite:", dir.path()).await.unwrap();
    let refused = Store::open("sqlite:", dir.path()).await.err().unwrap();
    let text = refused.to_string();
    assert!(matches!(refused, EngineError::Unavailable(_)));
    for word in ["in use by process", &std::process::id().to_string(), "migration-assistant.db.lock", "--data-dir", "--server"] {
        assert!(text.contains(word), "no '{word}' in: {text}");
    }
    first.close().await;
    Store::open("sqlite:", dir.path()).await.expect("free again").close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_at_once_whatever_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    let token = claimed(&store, Duration::from_hours(1)).await;
    assert!(claim(&store, Duration::ZERO).await.is_none());
    store.close().await;
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    let next = claim(&store, Duration::from_hours(1)).await.expect("nobody holds it any more");
    assert_eq!(next.epoch, token.epoch + 1);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Store::open("sqlite:", dir.path()).await.unwrap().close().await;
    let database = rusqlite::Connection::open(dir.path().join("migration-assistant.db")).unwrap();
    database.execute("UPDATE schema_version SET version = 99", []).unwrap();
    drop(database);
    let refused = Store::open("sqlite:", dir.path()).await.err().unwrap().to_string();
    assert!(refused.contains("schema version 99") && refused.contains("newer program"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_lies_in_the_files_and_nobody_else_may_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Store::open("sqlite:", &data).await.unwrap();
    let token = claimed(&store, Duration::from_mins(1)).await;
    let memo = engine::journal::Change::Memo { scope: String::new(), key: "k".to_owned(), value: Some(json!("hunter2")) };
    engine::journal::Record::write(&store, &token, vec![memo], vec![]).await.unwrap();
    store.close().await;
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let mut seen = 0;
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"hunter2"), "{} holds the secret", path.display());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "database, key and lock");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Store::open("mysql://root:hunter2@h/x", dir.path()).await.err().unwrap().to_string();
    assert!(refused.contains("'mysql:'") && !refused.contains("hunter2"), "{refused}");
    let refused = Store::open("postgres://root:hunter2@127.0.0.1:1/x", dir.path()).await.err().unwrap().to_string();
    assert!(refused.contains("127.0.0.1:1/x") && !refused.contains("hunter2"), "{refused}");
}

/// Chunks a second that planning must reach in an unoptimised build on a busy machine; an optimised one is several times faster.
const FLOOR: f64 = 20_000.0;

#[tokio::test(flavor = "multi_thread")]
async fn plans_chunks_fast_and_lists_runs_without_counting_them() {
    const CHUNKS: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    let token = claimed(&store, Duration::from_mins(10)).await;
    let journal: &dyn Journal = &store;
    let began = Instant::now();
    for batch in 0..CHUNKS / 5_000 {
        let chunk = |n| NewChunk { seq: batch * 5_000 + n, spec: vec![7; 80], items: 16, bytes: 1 << 20 };
        journal.plan(&token, "files", (0..5_000).map(chunk).collect()).await.unwrap();
    }
    let rate = CHUNKS as f64 / began.elapsed().as_secs_f64();
    println!("planned {rate:.0} chunks/s");
    assert!(rate > FLOOR, "only {rate:.0} chunks/s");
    let began = Instant::now();
    let done = (0..1_000_u64).map(|n| journal.done(&token, "files", vec![ChunkDone { seq: n, result: vec![1; 32], items: 16, bytes: 1 << 20 }]));
    for answer in futures_of(done).await {
        answer.unwrap();
    }
    println!("1000 concurrent results took {:?}", began.elapsed());
    let began = Instant::now();
    let listed = journal.list("t", &engine::RunFilter::default()).await.unwrap();
    assert_eq!((listed[0].ledgers[0].1.chunks, listed[0].ledgers[0].1.chunks_done), (CHUNKS, 1_000));
    assert!(began.elapsed() < Duration::from_millis(500), "listing took {:?}", began.elapsed());
    let page: Vec<Chunk> = journal.pending(&token, "files", None, 3).await.unwrap();
    assert_eq!(page[0].seq, 1_000);
    store.close().await;
}

/// All at once, as movers call.
async fn futures_of<F: Future>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| match call.as_mut().poll(cx) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

/// What somebody, or a failing disk, has done to a row.
fn spoil(dir: &std::path::Path, sql: &str) {
    let database = rusqlite::Connection::open(dir.join("migration-assistant.db")).unwrap();
    assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_set_aside_and_the_others_go_on() {
    use ports::records::{Fields, Records, Upkeep, Write};
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    let due = || Fields::body(json!({})).due(Some(jiff::Timestamp::UNIX_EPOCH));
    store.apply(["bad", "good"].map(|id| Write::insert("t", "thing", id, due())).to_vec()).await.unwrap();
    store.close().await;
    spoil(dir.path(), "UPDATE record SET body = '{' WHERE id = 'bad'");
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    let ids = |taken: Vec<ports::records::Record>| taken.into_iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(ids(store.take_due("thing", 10, Duration::ZERO, None).await.unwrap()), ["good"]);
    assert_eq!(ids(store.take_due("thing", 1, Duration::ZERO, None).await.unwrap()), ["good"], "the bad one takes nobody's place");
    let aside = store.everything_set_aside().await.unwrap();
    assert_eq!(aside.iter().map(|a| (a.kind.as_str(), a.id.as_str())).collect::<Vec<_>>(), [("thing", "bad")]);
    assert_eq!(store.census().await.unwrap().set_aside, [("thing".to_owned(), 1)]);
    store.close().await;
    let checked = store::check("sqlite:", dir.path()).await.unwrap();
    assert!(checked.set_aside.len() == 1 && checked.set_aside[0].contains("bad") && !checked.is_good(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_whose_row_cannot_be_read_is_set_aside_and_the_next_is_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    for id in ["a", "b"] {
        let run = NewRun { id: id.to_owned(), tenant: "t".to_owned(), kind: "k".to_owned(), input: json!({}), labels: json!({}), holds: None };
        engine::journal::Runs::create(&store, &run, &[]).await.unwrap();
        engine::journal::Runs::request(&store, "t", id, &Request::Start { options: json!({}) }).await.unwrap();
    }
    store.close().await;
    spoil(dir.path(), "UPDATE run SET labels = '{' WHERE id = 'a'");
    let store: Arc<dyn Journal> = Arc::new(Store::open("sqlite:", dir.path()).await.unwrap());
    assert_eq!(claim(store.as_ref(), Duration::from_mins(1)).await.map(|t| t.run).as_deref(), Some("b"));
    assert_eq!(claim(store.as_ref(), Duration::from_mins(1)).await, None, "nothing spins on the other");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_of_a_process_that_died_is_interrupted_until_it_is_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open("sqlite:", dir.path()).await.unwrap();
    claimed(&store, Duration::from_mins(10)).await;
    store.close().await;
    let store = journal(dir.path()).await;
    let is = async || store.view("t", "r").await.unwrap().is_interrupted && store.lines("t", &engine::RunFilter::default()).await.unwrap()[0].is_interrupted;
    assert!(is().await);
    claim(store.as_ref(), Duration::from_mins(10)).await.unwrap();
    assert!(!is().await);
}
