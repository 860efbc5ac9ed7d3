//! The engine on its in-memory journal, held by the same suites as the real stores; and contexts for tests of steps.

use engine::journal::memory::MemoryJournal;
use engine::{ChunkDone, NewChunk, StepContext};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_journal_passes_the_journal_suite() {
    testkit::journal_suite::run(Arc::new(MemoryJournal::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_journal_passes_the_drive_suite() {
    testkit::drive_suite::run(Arc::new(MemoryJournal::new())).await;
}

#[tokio::test]
async fn a_context_for_tests_has_ledgers_memos_and_outputs() {
    let outputs = BTreeMap::from([("validate".to_owned(), json!(1))]);
    let cx = StepContext::for_test("copy", json!({"in": 1}), json!({"opt": 2}), outputs).await;
    assert_eq!((cx.step(), cx.input(), cx.options(), cx.output_of("validate")), ("copy", &json!({"in": 1}), &json!({"opt": 2}), Some(json!(1))));
    cx.remember("k", Some(json!("v"))).await.unwrap();
    assert_eq!(cx.clone().recall("k").await.unwrap(), Some(json!("v")));
    let ledger = cx.ledger("files");
    ledger.plan(vec![NewChunk { seq: 1, spec: vec![1], items: 1, bytes: 2 }]).await.unwrap();
    ledger.done(vec![ChunkDone { seq: 1, result: vec![2], items: 1, bytes: 2 }]).await.unwrap();
    ledger.remember("k", Some(json!("other"))).await.unwrap();
    assert_eq!(ledger.totals().await.unwrap().bytes_done, 2);
    assert_eq!((ledger.recall("k").await.unwrap(), cx.recall("k").await.unwrap()), (Some(json!("other")), Some(json!("v"))));
    let strange = ledger.done(vec![ChunkDone { seq: 9, result: vec![], items: 0, bytes: 0 }]).await.unwrap_err();
    assert!(!strange.temporary && strange.message.contains("no chunk 9"), "{strange}");
}
