//! The audit log and the outbox.

use super::Bench;
use engine::journal::StepPin;
use engine::state::Request;
use engine::{Journal, NewRun};
use ports::records::audit::attempt;
use ports::records::{AuditEntry, AuditFilter, Fields, Records, RecordsError, Write};
use serde_json::json;

fn entry(tenant: &str, action: &str) -> AuditEntry {
    let text = |t: &str| t.to_owned();
    AuditEntry { tenant: text(tenant), actor: text("ann"), proof: text("token"), action: text(action), target: text("things/a"), ..AuditEntry::default() }
}

fn run(tenant: &str, kind: &str) -> NewRun {
    NewRun { id: format!("{tenant}-run"), tenant: tenant.to_owned(), kind: kind.to_owned(), input: json!({}), labels: json!({}), holds: None }
}

pub(super) async fn a_change_and_its_entry_are_one_transaction<S: Records + Journal>(bench: Bench<S>) {
    let (store, tenant) = (&bench.store, bench.tenant.as_str());
    let add = |id: &str| Write::insert(tenant, &bench.kind, id, Fields::body(json!(1)));
    let actions = async || -> Vec<String> {
        let rows = store.entries(tenant, &AuditFilter::default()).await.expect("read");
        rows.into_iter().map(|r| format!("{} {}", r.entry.action, r.entry.result)).collect()
    };
    // Two commits, one entry.
    let work = async {
        store.apply(vec![add("a")]).await.expect("inserted");
        store.apply(vec![add("b")]).await.expect("inserted");
    };
    assert!(attempt(entry(tenant, "create"), work).await.1);
    assert_eq!(actions().await, ["create done"]);
    // What is refused leaves none; who answers the request notes the attempt.
    let (refused, written) = attempt(entry(tenant, "again"), store.apply(vec![add("a")])).await;
    assert!(matches!(refused, Err(RecordsError::Taken { .. })) && !written);
    assert_eq!(actions().await, ["create done"]);
    store.note(AuditEntry { result: "TAKEN".to_owned(), ..entry(tenant, "again") }).await.expect("noted");
    assert_eq!(actions().await, ["again TAKEN", "create done"]);
    // Runs are audited like records.
    let new = run(tenant, &bench.kind);
    assert!(attempt(entry(tenant, "create_migration"), store.create(&new, &[])).await.1);
    assert_eq!(actions().await[0], "create_migration done");
    store.apply(vec![add("c")]).await.expect("inserted");
    assert_eq!(actions().await.len(), 3, "outside an attempt there is no entry");
}

pub(super) async fn entries_filter_and_page<S: Records>(bench: Bench<S>) {
    let (store, tenant) = (&bench.store, bench.tenant.as_str());
    for (n, (actor, action)) in [("ann", "start"), ("bob", "start"), ("ann", "stop")].into_iter().enumerate() {
        let made = AuditEntry { actor: actor.to_owned(), details: json!({"n": n}), ..entry(tenant, action) };
        store.note(made).await.expect("noted");
    }
    let seen = async |filter: AuditFilter| -> Vec<i64> {
        store.entries(tenant, &filter).await.expect("read").into_iter().map(|r| r.entry.details["n"].as_i64().expect("n")).collect()
    };
    assert_eq!(seen(AuditFilter::default()).await, [2, 1, 0]);
    assert_eq!(seen(AuditFilter { actor: Some("ann".to_owned()), ..AuditFilter::default() }).await, [2, 0]);
    assert_eq!(seen(AuditFilter { action: Some("start".to_owned()), limit: 1, ..AuditFilter::default() }).await, [1]);
    let newest = store.entries(tenant, &AuditFilter { limit: 1, ..AuditFilter::default() }).await.expect("read").remove(0);
    assert_eq!(seen(AuditFilter { before: Some(newest.id), ..AuditFilter::default() }).await, [1, 0]);
    assert_eq!(
        seen(AuditFilter { until: Some(newest.at), since: None, limit: 5, ..AuditFilter::default() }).await.len(),
        seen(AuditFilter::default()).await.len() - seen(AuditFilter { since: Some(newest.at), ..AuditFilter::default() }).await.len()
    );
    assert!(store.entries("nobody's tenant", &AuditFilter::default()).await.expect("read").is_empty());
}

pub(super) async fn events_wait_in_the_outbox_until_told<S: Records + Journal>(bench: Bench<S>) {
    let (store, tenant) = (&bench.store, bench.tenant.as_str());
    let new = run(tenant, &bench.kind);
    store.create(&new, &[StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 }]).await.expect("created");
    store.request(tenant, &new.id, &Request::Start { options: json!({}) }).await.expect("started");
    let waiting = async || {
        let all = store.untold(100_000).await.expect("read");
        all.into_iter().filter(|e| e.run == new.id).collect::<Vec<_>>()
    };
    let untold = waiting().await;
    assert!(untold.len() >= 2 && untold.iter().all(|e| e.tenant == tenant), "{untold:?}");
    assert!(untold.windows(2).all(|w| w[0].seq < w[1].seq), "in the order of the run");
    let told = Write::Told { ids: vec![untold[0].id] };
    store.apply(vec![told.clone()]).await.expect("told");
    assert!(matches!(store.apply(vec![told]).await, Err(RecordsError::Changed { .. })), "another process was faster");
    assert_eq!(waiting().await.len(), untold.len() - 1);
    store.apply(vec![Write::Told { ids: waiting().await.iter().map(|e| e.id).collect() }]).await.expect("told");
}
