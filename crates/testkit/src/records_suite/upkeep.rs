//! What the store counts, and what it lets go.

use super::Bench;
use engine::journal::{Change, ChunkDone, ClaimRequest, Level, NewEvent, StepPin, Token};
use engine::state::Request;
use engine::{Journal, NewChunk, NewRun, RunState};
use jiff::{Timestamp, ToSpan};
use ports::records::analytics::Period;
use ports::records::{Records, Write};
use serde_json::json;
use std::time::Duration;

/// A run of its own kind that a worker holds.
async fn held<S: Records + Journal>(bench: &Bench<S>, name: &str, label: &str) -> Token {
    let (tenant, kind) = (bench.tenant.clone(), format!("{}-{name}", bench.kind));
    let run = NewRun {
        id: format!("{tenant}-{name}"),
        tenant: tenant.clone(),
        kind: kind.clone(),
        input: json!({}),
        labels: json!({"source_type": label}),
        holds: None,
    };
    bench.store.create(&run, &[StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 }]).await.expect("created");
    bench.store.request(&tenant, &run.id, &Request::Start { options: json!({}) }).await.expect("started");
    let ask = ClaimRequest { owner: "w".to_owned(), kinds: vec![kind], except: Vec::new(), lease: Duration::from_mins(1), node: None };
    bench.store.claim(&ask).await.expect("a store").expect("the run").token
}

pub(super) async fn days_add_up_what_ran<S: Records + Journal>(bench: Bench<S>) {
    let store = &bench.store;
    for (name, label, to) in [("a", "shop", RunState::Completed), ("b", "shop", RunState::Failed), ("c", "blog", RunState::Cancelled)] {
        let token = held(&bench, name, label).await;
        store.plan(&token, "files", vec![NewChunk { seq: 0, spec: Vec::new(), items: 1, bytes: 100 }]).await.expect("planned");
        store.done(&token, "files", vec![ChunkDone { seq: 0, result: Vec::new(), items: 1, bytes: 100 }]).await.expect("done");
        store.plan(&token, "other", vec![NewChunk { seq: 0, spec: Vec::new(), items: 1, bytes: 7 }]).await.expect("planned");
        store.write(&token, vec![Change::State { to, error: None }], Vec::new()).await.expect("ended");
    }
    let now = Timestamp::now();
    let ago = |hours: i64| now.checked_sub(hours.hours()).expect("a time");
    let asked =
        Period { tenant: bench.tenant.clone(), from: ago(24), until: now.checked_add(1.hours()).expect("a time"), label: "source_type", ledgers: &["files"] };
    // Midnight may pass meanwhile.
    let days = store.days(&asked).await.expect("counted");
    let sum = |label: &str, of: fn(&ports::records::analytics::DayTotals) -> u64| days.iter().filter(|d| d.label == label).map(of).sum::<u64>();
    assert_eq!([sum("shop", |d| d.runs), sum("shop", |d| d.completed), sum("shop", |d| d.failed), sum("shop", |d| d.bytes)], [2, 1, 1, 200], "{days:?}");
    assert_eq!([sum("blog", |d| d.runs), sum("blog", |d| d.cancelled), sum("blog", |d| d.bytes), sum("blog", |d| d.bytes_ended)], [1, 1, 100, 0], "{days:?}");
    assert!(sum("shop", |d| d.microseconds) > 0 && sum("blog", |d| d.microseconds) == 0);
    assert!(store.days(&Period { until: ago(2), ..asked.clone() }).await.expect("counted").is_empty(), "outside of the period");
    assert!(store.days(&Period { tenant: "another".to_owned(), ..asked }).await.expect("counted").is_empty(), "another tenant's");
}

pub(super) async fn it_is_ready_and_counts_everything<S: Records + Journal>(bench: Bench<S>) {
    let store = &bench.store;
    store.ready().await.expect("ready");
    let before = store.census().await.expect("counted");
    let token = held(&bench, "counted", "shop").await;
    store.renew(&token, Duration::from_mins(1)).await.expect("renewed");
    store.write(&token, vec![Change::Begun { index: 0 }], Vec::new()).await.expect("begun");
    store.write(&token, vec![Change::Done { index: 0, output: json!({}) }], Vec::new()).await.expect("done");
    let due = ports::records::Fields::body(json!({})).due(Some(Timestamp::now().checked_sub(1.hours()).expect("a time")));
    store.apply(vec![Write::insert(&bench.tenant, &bench.kind, "due", due)]).await.expect("inserted");
    let now = store.census().await.expect("counted");
    let running = |c: &ports::records::upkeep::Census| c.runs.iter().find(|(s, _)| s == "running").map_or(0, |(_, n)| *n);
    assert_eq!(running(&now), running(&before) + 1);
    assert_eq!(now.renewals, before.renewals + 1);
    assert!(now.untold > before.untold);
    assert!(now.waiting.contains(&(bench.kind.clone(), 1, 1)), "{now:?}");
    let one = now.steps.iter().find(|s| s.name == "one").expect("the step");
    assert!(one.count >= 1 && one.within[0] >= 1 && one.within.last() == Some(&one.count), "{one:?}");
}

pub(super) async fn progress_is_thinned_to_one_a_minute<S: Records + Journal>(bench: Bench<S>) {
    let (store, tenant) = (&bench.store, bench.tenant.as_str());
    let token = held(&bench, "thinned", "shop").await;
    for _ in 0..6 {
        store
            .write(&token, Vec::new(), vec![NewEvent::new("progress", Level::Debug, "engine", ""), NewEvent::new("log", Level::Info, "x", "y")])
            .await
            .expect("told");
    }
    let minute = |at: Timestamp| Timestamp::from_second(at.as_second().div_euclid(60) * 60).expect("a time");
    let now = Timestamp::now();
    let (from, until) = (minute(now.checked_sub(1.hours()).expect("a time")), minute(now.checked_add(1.hours()).expect("a time")));
    let seqs = async |kind: &str| -> Vec<u64> {
        let filter = engine::EventFilter { kinds: vec![kind.to_owned()], ..engine::EventFilter::default() };
        store.events(tenant, &token.run, &filter).await.expect("read").iter().map(|e| e.seq).collect()
    };
    let (all, logs) = (seqs("progress").await, seqs("log").await);
    store.thin(from, until, 1000).await.expect("thinned");
    assert_eq!(seqs("progress").await, all, "nobody was told of them yet");
    let told: Vec<u64> = store.untold(100_000).await.expect("read").into_iter().filter(|e| e.run == token.run).map(|e| e.id).collect();
    store.apply(vec![Write::Told { ids: told }]).await.expect("told");
    assert_eq!(store.thin(from, until, 1).await.expect("thinned"), 1, "no more than asked for");
    store.thin(from, until, 1000).await.expect("thinned");
    let left = seqs("progress").await;
    // A minute may have passed in between.
    assert!((1..=2).contains(&left.len()) && left.last() == all.last(), "{left:?} of {all:?}");
    assert_eq!(seqs("log").await, logs, "nothing else goes");
    assert_eq!(store.thin(from, until, 1000).await.expect("thinned"), 0);
}
