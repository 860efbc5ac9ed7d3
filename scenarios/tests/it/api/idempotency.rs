//! `Idempotency-Key`: a POST that arrives twice is done once.

use super::bench::{Answer, Bench, body};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use control::idempotency::{Begun, KeptAnswer, Ticket};
use control::{Caller, Code};
use jiff::Timestamp;
use ports::records::{Fields, Record, RecordFilter, Records, Write, once};
use serde_json::{Value, json};

async fn post(bench: &Bench, path: &str, key: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("content-type", "application/json").header("idempotency-key", key);
    bench.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|v| v == "true")
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_is_done_once() {
    let bench = Bench::new().await;
    let first = post(&bench, "/migrations/", "key-1", &body()).await;
    assert_eq!((first.status, replayed(&first)), (StatusCode::CREATED, false), "{}", first.text);
    // With and without the slash it is the same path.
    let again = post(&bench, "/migrations", "key-1", &body()).await;
    assert_eq!((again.status, replayed(&again)), (StatusCode::CREATED, true));
    assert_eq!(again.text, first.text);
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"], "each request keeps its own id");
    let other = post(&bench, "/migrations/", "key-2", &body()).await;
    assert_ne!(other.json["session_id"], first.json["session_id"]);
    assert_eq!(bench.get("/migrations").await.json.as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn refusals_are_repeated_too_and_tell_the_same() {
    let bench = Bench::new().await;
    let first = post(&bench, "/migrations/none/start", "k", &json!({})).await;
    let again = post(&bench, "/migrations/none/start", "k", &json!({})).await;
    assert_eq!((first.status, again.status, replayed(&again)), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, true));
    assert_eq!(first.text, again.text);
}

#[tokio::test]
async fn a_key_is_good_for_one_request() {
    let bench = Bench::new().await;
    assert_eq!(post(&bench, "/migrations", "k", &body()).await.status, StatusCode::CREATED);
    let mut changed = body();
    changed["name"] = json!("Another");
    for (path, sent) in [("/migrations", &changed), ("/migrations/dry-run", &body()), ("/migrations?x=1", &body())] {
        let refused = post(&bench, path, "k", sent).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"), "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_request_at_work_is_a_conflict_until_it_is_done() {
    let bench = Bench::new().await;
    let target = format!("POST /migrations?\n{}", body());
    let caller = Caller::anonymous();
    let taken = bench.control.begin_once(&caller, "k", &target).await.expect("the key is free");
    let Begun::New(ticket) = taken else { panic!("nobody has used the key") };
    let refused = post(&bench, "/migrations/", "k", &body()).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "IDEMPOTENCY_IN_FLIGHT"), "{}", refused.text);
    assert_eq!(refused.headers["retry-after"], "1");
    let reused = bench.control.begin_once(&caller, "k", "another").await.err().map(|e| e.code);
    assert_eq!(reused, Some(Code::IdempotencyKeyReused), "also while it is at work");
    // A 5xx answer is not kept: the next try does the work.
    let failed = KeptAnswer { status: 503, headers: Vec::new(), body: String::new() };
    bench.control.finish_once(*ticket, async { failed }).await;
    let done = post(&bench, "/migrations/", "k", &body()).await;
    assert_eq!((done.status, replayed(&done)), (StatusCode::CREATED, false), "{}", done.text);
}

#[tokio::test]
async fn bad_keys_are_named_and_other_callers_keys_are_theirs() {
    let bench = Bench::new().await;
    for bad in ["", "a b", &"x".repeat(256)] {
        let refused = post(&bench, "/migrations", bad, &body()).await;
        assert_eq!((refused.status, refused.code(), refused.fields()), (StatusCode::BAD_REQUEST, "INVALID_PARAMETERS", vec!["Idempotency-Key"]));
    }
    let caller = |name: &str| Caller { name: name.to_owned(), ..Caller::anonymous() };
    for name in ["one", "two"] {
        let begun = bench.control.begin_once(&caller(name), "k", name).await.expect("the key is this caller's own");
        assert!(matches!(begun, Begun::New(_)));
    }
}

#[tokio::test]
async fn twenty_at_once_do_it_once() {
    let bench = Bench::new().await;
    let sent = body();
    let answers = futures::future::join_all((0..20).map(|_| post(&bench, "/migrations", "k", &sent))).await;
    let created: Vec<_> = answers.iter().filter(|a| a.status == StatusCode::CREATED).collect();
    assert!(!created.is_empty() && created.iter().all(|a| a.text == created[0].text));
    assert!(answers.iter().all(|a| a.status == StatusCode::CREATED || a.code() == "IDEMPOTENCY_IN_FLIGHT"));
    assert_eq!(bench.get("/migrations").await.json.as_array().expect("a list").len(), 1);
}

/// The key `k` taken for a request as the server takes it, while nobody knows of it.
async fn taken(bench: &Bench, path: &str, body: &Value) -> Ticket {
    let begun = bench.control.begin_once(&Caller::anonymous(), "k", &format!("POST {path}?\n{body}")).await.expect("the key is free");
    let Begun::New(ticket) = begun else { panic!("nobody has used the key") };
    *ticket
}

async fn keys(bench: &Bench) -> Vec<Record> {
    bench.journal.list("default", once::KIND, &RecordFilter::default()).await.expect("records")
}

/// Does `work` under the key and dies before its answer is kept; when its lease is over, nobody holds the key any more.
async fn dies(bench: &Bench, ticket: Ticket, work: impl Future<Output = ()>) {
    let (done, told) = tokio::sync::oneshot::channel();
    let never = async {
        work.await;
        done.send(()).expect("somebody listens");
        std::future::pending().await
    };
    tokio::select! {
        _ = bench.control.finish_once(ticket, never) => panic!("it never ends"),
        told = told => told.expect("the work is done"),
    }
    for record in keys(bench).await {
        let over = Fields::default().due(Some(Timestamp::UNIX_EPOCH));
        bench.journal.apply(vec![Write::update(&record, over)]).await.expect("the lease is over");
    }
}

#[tokio::test]
async fn what_a_dead_server_has_made_is_found_again() {
    let bench = Bench::new().await;
    let ticket = taken(&bench, "/migrations", &body()).await;
    dies(&bench, ticket, async { drop(bench.control.create("default", body()).await.expect("created")) }).await;
    let first = post(&bench, "/migrations/", "k", &body()).await;
    assert_eq!((first.status, replayed(&first)), (StatusCode::CREATED, true), "{}", first.text);
    let all = bench.get("/migrations").await.json;
    assert_eq!((all.as_array().expect("a list").len(), &all[0]["session_id"]), (1, &first.json["session_id"]), "it was not done twice");
    assert_eq!(first.headers["location"], format!("/migrations/{}", first.json["session_id"].as_str().expect("an id")));
    let again = post(&bench, "/migrations", "k", &body()).await;
    assert_eq!(again.text, first.text, "the answer that was found is kept");
}

#[tokio::test]
async fn a_wish_that_was_written_is_answered_and_not_wished_again() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    let path = format!("/migrations/{id}/start");
    let ticket = taken(&bench, &path, &json!({})).await;
    dies(&bench, ticket, async { drop(bench.control.start("default", &id, None, true).await.expect("started")) }).await;
    let told = post(&bench, &path, "k", &json!({})).await;
    assert_eq!((told.status, &told.json["status"]), (StatusCode::OK, &json!("started")), "{}", told.text);
}

#[tokio::test]
async fn what_cannot_be_found_again_is_named_and_not_done_twice() {
    let bench = Bench::new().await;
    let hook = json!({"name": "all", "url": "https://receiver.example/hook", "events": ["*"]});
    let ticket = taken(&bench, "/webhooks", &hook).await;
    dies(&bench, ticket, async { drop(bench.control.create_webhook("default", &hook).await.expect("a webhook")) }).await;
    for _ in 0..2 {
        let told = post(&bench, "/webhooks", "k", &hook).await;
        assert_eq!((told.status, told.code()), (StatusCode::CONFLICT, "IDEMPOTENCY_INTERRUPTED"), "{}", told.text);
        let hooks = bench.get("/webhooks").await.json;
        assert_eq!((hooks.as_array().expect("a list").len(), &hooks[0]["id"]), (1, &told.json["error"]["details"]["written"]));
    }
    assert!(bench.control.tidy_idempotency().await.is_ok());
    assert_eq!(post(&bench, "/webhooks", "k", &hook).await.code(), "IDEMPOTENCY_INTERRUPTED", "tidying up forgets no interrupted request");
}

#[tokio::test]
async fn a_request_that_died_before_it_changed_anything_is_done_anew() {
    let bench = Bench::new().await;
    let ticket = taken(&bench, "/migrations", &body()).await;
    dies(&bench, ticket, std::future::ready(())).await;
    let done = post(&bench, "/migrations", "k", &body()).await;
    assert_eq!((done.status, replayed(&done)), (StatusCode::CREATED, false), "{}", done.text);
}

#[tokio::test]
async fn whoever_took_too_long_changes_nothing_any_more() {
    let bench = Bench::new().await;
    let ticket = taken(&bench, "/migrations", &body()).await;
    let late = async {
        let (store, key) = (bench.journal.clone(), keys(&bench).await.remove(0));
        // Another server finds the lease over: it takes the key. A task of its own has nothing to do with this request.
        tokio::spawn(async move { store.apply(vec![Write::delete(&key)]).await }).await.expect("a task").expect("the key is free");
        let refused = bench.control.create("default", body()).await.expect_err("too late");
        assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
        KeptAnswer { status: 503, headers: Vec::new(), body: String::new() }
    };
    bench.control.finish_once(ticket, late).await;
    assert_eq!(bench.get("/migrations").await.json, json!([]));
}
