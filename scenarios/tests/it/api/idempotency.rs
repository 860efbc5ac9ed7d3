//! `Idempotency-Key`: a POST that arrives twice is done once.

use super::bench::{Answer, Bench, body};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use control::{Caller, Code};
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
    let control::idempotency::Begun::New(ticket) = taken else { panic!("nobody has used the key") };
    let refused = post(&bench, "/migrations/", "k", &body()).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "IDEMPOTENCY_IN_FLIGHT"), "{}", refused.text);
    assert_eq!(refused.headers["retry-after"], "1");
    let reused = bench.control.begin_once(&caller, "k", "another").await.err().map(|e| e.code);
    assert_eq!(reused, Some(Code::IdempotencyKeyReused), "also while it is at work");
    // A 5xx answer is not kept: the next try does the work.
    let failed = control::idempotency::KeptAnswer { status: 503, headers: Vec::new(), body: String::new() };
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
        assert!(matches!(begun, control::idempotency::Begun::New(_)));
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
