//! Webhooks: the resource, what is sent, in which order, how often, and to whom not.

use super::bench::{Answer, Bench};
use crate::receiver::{Answering, Receiver, Seen};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use couriers::Policy;
use engine::RunState;
use engine::journal::Level;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Document 3's body, word for word.
fn sample() -> Value {
    json!({
        "name": "Migration Notifications",
        "url": "https://api.example.com/migration-webhook",
        "events": ["migration.started", "migration.completed", "migration.failed", "migration.progress"],
        "headers": {"Authorization": "Bearer webhook-token", "Content-Type": "application/json"},
        "retry_policy": {"max_retries": 3, "retry_delay": 5}
    })
}

async fn bench() -> Bench {
    Bench::telling(Policy { allow_private: true }, None).await
}

/// A webhook at the receiver: its address in the API, and its secret.
async fn webhook(bench: &Bench, receiver: &Receiver, events: &[&str]) -> (String, String) {
    let body = json!({"name": "n", "url": receiver.url, "events": events, "headers": {"Authorization": "Bearer canary-token"}, "retry_policy": {"max_retries": 2, "retry_delay": 5}});
    let made = bench.post("/webhooks/", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    (made.headers["location"].to_str().expect("text").to_owned(), made.json["secret"].as_str().expect("a secret").to_owned())
}

/// Everything that is due at `now` is tried, until nothing is.
async fn tell(bench: &Bench, now: Option<Timestamp>) {
    while bench.control.tell_once(now).await.expect("a round") > 0 {}
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// Whether one of the signatures is made with `secret`.
fn signed(seen: &Seen, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").expect("the form of a secret")).expect("base64");
    let text = format!("{}.{}.{}", seen.header("webhook-id"), seen.header("webhook-timestamp"), seen.text);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes())));
    seen.header("webhook-signature").split(' ').any(|s| s == expected)
}

async fn deliveries(bench: &Bench, at: &str, filter: &str) -> Vec<Value> {
    let answer = bench.get(&format!("{at}/deliveries{filter}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json.as_array().expect("a list").clone()
}

#[tokio::test]
async fn the_documents_webhook() {
    let bench = Bench::new().await;
    let made = bench.post("/webhooks/", &sample()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["id"].as_str().expect("an id");
    assert_eq!(made.headers["location"], format!("/webhooks/{id}"));
    assert_eq!(made.headers["etag"], "\"1\"");
    assert!(made.json["secret"].as_str().expect("a secret").starts_with("whsec_"));
    for (field, expected) in [
        ("name", json!("Migration Notifications")),
        ("active", json!(true)),
        ("retry_policy", sample()["retry_policy"].clone()),
        ("headers", json!({"Authorization": "********", "Content-Type": "********"})),
    ] {
        assert_eq!(made.json[field], expected);
    }
    assert_eq!(made.json["events"].as_array().expect("a list").len(), 4);
    let mut shown = made.json.clone();
    shown.as_object_mut().expect("an object").remove("secret");
    assert_eq!(bench.get(&format!("/webhooks/{id}/")).await.json, shown);
    assert_eq!(bench.get("/webhooks").await.json, json!([shown]));
    assert!(!bench.get("/webhooks").await.text.contains("webhook-token"));
    let changed = bench
        .call(
            Method::PUT,
            &format!("/webhooks/{id}"),
            Some(&json!({"name": "Other", "url": "https://api.example.com/2", "events": ["*"], "headers": {"Authorization": "********"}, "active": false})),
        )
        .await;
    assert_eq!((changed.status, &changed.json["active"], &changed.json["events"]), (StatusCode::OK, &json!(false), &json!(["*"])), "{}", changed.text);
    assert_eq!(bench.call(Method::DELETE, &format!("/webhooks/{id}"), None).await.json, json!({"id": id, "status": "deleted"}));
    assert_eq!(bench.get(&format!("/webhooks/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let bench = Bench::new().await;
    let with = |field: &str, value: Value| {
        let mut body = sample();
        body[field] = value;
        body
    };
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["name", "url", "events"]),
        (with("events", json!(["migration.done", "*", "migration"])), &["events[0]", "events[2]"]),
        (with("events", json!([])), &["events"]),
        (
            with(
                "headers",
                json!({"Host": "x", "webhook-signature": "x", "Content-Length": "1", "a b": "x", "X-A": 1, "X-B": "a\nb", "X-C": "ü", "X-D": "********"}),
            ),
            &["headers.Content-Length", "headers.Host", "headers.X-A", "headers.X-B", "headers.X-C", "headers.X-D", "headers.a b", "headers.webhook-signature"],
        ),
        (with("headers", json!({"Content-Type": "text/plain", "x-a": "1", "X-A": "2"})), &["headers.Content-Type", "headers.x-a"]),
        (
            with("retry_policy", json!({"max_retries": 21, "retry_delay": 0, "max_retry": 1})),
            &["retry_policy.max_retries", "retry_policy.retry_delay", "retry_policy.max_retry"],
        ),
        (with("active", json!("yes")), &["active"]),
        (with("secret", json!("mine")), &["secret"]),
    ];
    for (body, expected) in cases {
        let answer = bench.post("/webhooks", &body).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, expected.to_vec()), "{}", answer.text);
    }
    for url in [
        "http://127.0.0.1/",
        "http://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest",
        "ftp://example.com/",
        "https://u:p@example.com/",
        "http://localhost:8080/",
        "nonsense",
    ] {
        let answer = bench.post("/webhooks", &with("url", json!(url))).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec!["url"]), "{url}");
    }
    let mut migration = super::bench::body();
    migration["notifications"] = json!({"webhook": {"url": "http://10.0.0.1/"}, "slack": {"webhook_url": "http://[::1]/"}});
    assert_eq!(bench.post("/migrations", &migration).await.fields(), ["notifications.webhook.url", "notifications.slack.webhook_url"]);
}

#[tokio::test]
async fn a_changed_host_gets_no_stored_header_and_a_lost_update_is_refused() {
    let bench = Bench::new().await;
    let made = bench.post("/webhooks", &sample()).await;
    let at = made.headers["location"].to_str().expect("text");
    let mut elsewhere = sample();
    (elsewhere["url"], elsewhere["headers"]) = (json!("https://other.example.com/"), json!({"Authorization": "********"}));
    let answer = bench.call(Method::PUT, at, Some(&elsewhere)).await;
    assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec!["headers.Authorization"]), "{}", answer.text);
    let put = |tag: &'static str| {
        bench.send(
            Request::put(at).header("if-match", tag).header("content-type", "application/json").body(Body::from(sample().to_string())).expect("a request"),
        )
    };
    assert_eq!(put("\"1\"").await.status, StatusCode::OK);
    assert_eq!(put("\"1\"").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put("\"2\"").await.headers["etag"], "\"3\"");
}

#[tokio::test]
async fn events_arrive_signed_once_and_in_order() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, secret) = webhook(&bench, &receiver, &["*"]).await;
    let hands = bench.running().await;
    hands.begin(0).await;
    hands.done(0, json!({})).await;
    hands.log(Level::Info, "not for outside", json!({})).await;
    let id = hands.id.clone();
    hands.state(RunState::Completed).await;
    tell(&bench, None).await;
    let seen = receiver.seen();
    let events: Vec<&str> = seen.iter().map(Seen::event).collect();
    assert_eq!(events, ["migration.created", "migration.started", "migration.step_begun", "migration.step_completed", "migration.completed"]);
    assert!(seen.is_sorted_by_key(Seen::sequence));
    assert_eq!(seen.iter().map(|s| s.header("webhook-id")).collect::<BTreeSet<_>>().len(), 5);
    for one in &seen {
        assert!(signed(one, &secret) && one.header("authorization") == "Bearer canary-token" && one.header("content-type") == "application/json", "{one:?}");
        assert_eq!(one.json["data"]["session_id"], id);
        let timestamp = one.json["timestamp"].as_str().expect("a time");
        assert_eq!((timestamp.len(), timestamp.as_bytes()[19]), (26, b'.'));
        assert!(!one.text.contains("hidden-word"), "no secret of the migration");
    }
    let statuses: Vec<&str> = seen.iter().map(|s| s.json["data"]["status"].as_str().expect("a status")).collect();
    assert_eq!((statuses[0], statuses[1], statuses[4]), ("created", "running", "completed"));
    let kept = deliveries(&bench, &at, "?status=delivered").await;
    assert_eq!((kept.len(), &kept[0]["event"], &kept[0]["last_status_code"], &kept[0]["attempts"]), (5, &json!("migration.completed"), &json!(200), &json!(1)));
    let detail = bench.get(&format!("{at}/deliveries/{}", kept[0]["id"].as_str().expect("an id"))).await.json;
    assert_eq!((&detail["payload"], detail["attempt_log"].as_array().expect("tries").len()), (&seen[4].json, 1));
}

#[tokio::test]
async fn only_what_was_asked_for_is_told_and_nothing_when_it_is_switched_off() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, _) = webhook(&bench, &receiver, &["migration.started"]).await;
    bench.running().await;
    tell(&bench, None).await;
    assert_eq!(receiver.take().iter().map(|s| s.event().to_owned()).collect::<Vec<_>>(), ["migration.started"]);
    let off = json!({"name": "n", "url": receiver.url, "events": ["*"], "active": false});
    assert_eq!(bench.call(Method::PUT, &at, Some(&off)).await.status, StatusCode::OK);
    bench.running().await;
    tell(&bench, None).await;
    assert_eq!(receiver.seen().len(), 0);
}

#[tokio::test]
async fn failures_are_tried_again_later_ones_wait_and_the_dead_can_be_redelivered() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, _) = webhook(&bench, &receiver, &["migration.created", "migration.started"]).await;
    receiver.answer([Answering::Status(503), Answering::Status(500), Answering::Status(404)]);
    bench.running().await;
    tell(&bench, None).await;
    let waiting = deliveries(&bench, &at, "?status=pending").await;
    assert_eq!((receiver.seen().len(), waiting.len()), (1, 2), "the later one waits for the earlier one");
    assert_eq!(waiting[1]["last_error"], "the receiver answered 503");
    tell(&bench, Some(later(2))).await;
    assert_eq!(receiver.seen().len(), 1, "not before its pause is over");
    tell(&bench, Some(later(7))).await;
    assert_eq!(receiver.seen().len(), 2);
    tell(&bench, Some(later(30))).await;
    let seen = receiver.take();
    let events: Vec<&str> = seen.iter().map(Seen::event).collect();
    assert_eq!(events, ["migration.created", "migration.created", "migration.created", "migration.started"], "two retries, then the next one's turn");
    assert_eq!(seen[..3].iter().map(|s| s.header("webhook-id")).collect::<BTreeSet<_>>().len(), 1, "every try has the same id");
    let dead = deliveries(&bench, &at, "?status=dead").await;
    assert_eq!((dead.len(), &dead[0]["attempts"], &dead[0]["last_status_code"]), (1, &json!(3), &json!(404)));
    let path = format!("{at}/deliveries/{}/redeliver", dead[0]["id"].as_str().expect("an id"));
    let again = bench.call(Method::POST, &path, None).await;
    assert_eq!((again.status, &again.json["status"]), (StatusCode::ACCEPTED, &json!("pending")), "{}", again.text);
    assert_eq!(bench.call(Method::POST, &path, None).await.code(), "INVALID_STATE");
    tell(&bench, None).await;
    assert_eq!(receiver.seen()[0].header("webhook-id"), seen[0].header("webhook-id"));
    assert_eq!(deliveries(&bench, &at, "?status=dead").await.len(), 0);
}

#[tokio::test]
async fn a_receiver_decides_when_it_is_asked_again_and_may_leave_for_good() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, _) = webhook(&bench, &receiver, &["migration.created"]).await;
    receiver.answer([Answering::With(429, "retry-after", "600"), Answering::Status(410)]);
    bench.created().await;
    tell(&bench, None).await;
    tell(&bench, Some(later(590))).await;
    assert_eq!(receiver.seen().len(), 1);
    tell(&bench, Some(later(610))).await;
    assert_eq!(receiver.seen().len(), 2);
    let gone = bench.get(&at).await.json;
    assert_eq!((&gone["active"], &gone["disabled_reason"]), (&json!(false), &json!("the receiver answered 410 Gone")));
    assert_eq!(deliveries(&bench, &at, "?status=dead").await.len(), 1);
    bench.created().await;
    tell(&bench, Some(later(620))).await;
    assert_eq!(receiver.seen().len(), 2);
}

#[tokio::test]
async fn progress_is_told_at_most_every_five_seconds_and_the_newest_counts() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    webhook(&bench, &receiver, &["migration.progress", "migration.completed"]).await;
    let hands = bench.running().await;
    hands.begin(0).await;
    for bytes in 1..=4 {
        hands.sample("validate", 10.0, bytes).await;
    }
    tell(&bench, None).await;
    assert_eq!(receiver.seen().len(), 1, "four samples at once are one message");
    let newest = receiver.take()[0].sequence();
    for bytes in 5..=8 {
        hands.sample("validate", 10.0, bytes).await;
        tell(&bench, Some(later(2))).await;
    }
    assert_eq!(receiver.seen().len(), 0, "too early");
    tell(&bench, Some(later(6))).await;
    let seen = receiver.take();
    assert_eq!((seen.len(), seen[0].sequence()), (1, newest + 4), "the newest one");
    hands.state(RunState::Completed).await;
    tell(&bench, Some(later(6))).await;
    assert_eq!(receiver.seen()[0].event(), "migration.completed");
}

#[tokio::test]
async fn several_tellers_on_one_store_tell_everything_once() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    webhook(&bench, &receiver, &["*"]).await;
    for _ in 0..5 {
        bench.running().await;
    }
    let tellers: Vec<_> = (0..4)
        .map(|_| {
            let control = bench.control.clone();
            tokio::spawn(async move { while control.tell_once(None).await.expect("a round") > 0 {} })
        })
        .collect();
    for teller in tellers {
        teller.await.expect("a teller");
    }
    tell(&bench, None).await;
    let seen = receiver.seen();
    let told: BTreeSet<(String, u64)> = seen.iter().map(|s| (s.json["data"]["session_id"].to_string(), s.sequence())).collect();
    assert_eq!((seen.len(), told.len()), (10, 10));
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_old_one_for_its_grace() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, old) = webhook(&bench, &receiver, &["migration.created"]).await;
    let rotated = bench.post(&format!("{at}/rotate-secret"), &json!({"grace_seconds": 3600})).await;
    let new = rotated.json["secret"].as_str().expect("a secret").to_owned();
    assert!(rotated.json["previous_secret_until"].is_string() && new != old);
    bench.created().await;
    tell(&bench, None).await;
    bench.created().await;
    tell(&bench, Some(later(3601))).await;
    let seen = receiver.take();
    assert!(signed(&seen[0], &old) && signed(&seen[0], &new), "both");
    assert!(!signed(&seen[1], &old) && signed(&seen[1], &new), "the new one alone");
    let at_once = bench.post(&format!("{at}/rotate-secret"), &json!({"grace_seconds": 0})).await;
    assert_eq!(at_once.json["previous_secret_until"], Value::Null);
    assert_eq!(bench.post(&format!("{at}/rotate-secret"), &json!({"grace_seconds": -1, "x": 1})).await.fields(), ["grace_seconds", "x"]);
    assert!(!bench.get(&at).await.text.contains(&new));
}

#[tokio::test]
async fn a_test_is_really_sent() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, secret) = webhook(&bench, &receiver, &["*"]).await;
    receiver.answer([Answering::Status(200), Answering::Status(401)]);
    let test = |answer: Answer| (answer.json["success"].clone(), answer.json["status_code"].clone(), answer.json["response_excerpt"].clone());
    assert_eq!(test(bench.call(Method::POST, &format!("{at}/test"), None).await), (json!(true), json!(200), json!("thank you")));
    assert_eq!(test(bench.call(Method::POST, &format!("{at}/test"), None).await), (json!(false), json!(401), json!("thank you")));
    let seen = receiver.take();
    assert!(seen[0].event() == "webhook.test" && signed(&seen[0], &secret) && seen[0].header("authorization") == "Bearer canary-token");
    drop(receiver);
    let (strict, public) = (Bench::new().await, json!({"name": "n", "url": "https://nobody.invalid/hook", "events": ["*"]}));
    let at = strict.post("/webhooks", &public).await.headers["location"].to_str().expect("text").to_owned();
    let nobody = strict.call(Method::POST, &format!("{at}/test"), None).await;
    assert_eq!((nobody.status, &nobody.json["success"], &nobody.json["status_code"]), (StatusCode::OK, &json!(false), &Value::Null), "{}", nobody.text);
    assert!(nobody.json["error"].as_str().is_some_and(|e| e.contains("nobody.invalid")), "{}", nobody.text);
}

#[tokio::test]
async fn deleting_a_webhook_takes_what_waits_with_it() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, _) = webhook(&bench, &receiver, &["*"]).await;
    receiver.answer([Answering::Status(500)]);
    bench.running().await;
    tell(&bench, None).await;
    assert_eq!(bench.call(Method::DELETE, &at, None).await.status, StatusCode::OK);
    tell(&bench, Some(later(100))).await;
    assert_eq!(receiver.seen().len(), 1);
    assert_eq!(bench.get(&format!("{at}/deliveries")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deleted_migration_is_told_to_its_end() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    webhook(&bench, &receiver, &["*"]).await;
    let id = bench.created().await;
    assert_eq!(bench.call(Method::DELETE, &format!("/migrations/{id}"), None).await.status, StatusCode::OK);
    tell(&bench, None).await;
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].event(), &seen[0].json["data"]["session_id"]), (1, "migration.created", &json!(id)));
}

/// A teller is cut off again and again, at any moment: nothing is lost, and each migration's events first arrive in their order.
#[tokio::test(flavor = "multi_thread")]
async fn tellers_that_are_cut_off_lose_nothing() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    webhook(&bench, &receiver, &["*"]).await;
    let mut events = 0;
    for cut in 0..60_u64 {
        if cut % 3 == 0 {
            let hands = bench.running().await;
            hands.begin(0).await;
            hands.state(RunState::Completed).await;
            events += 4;
        }
        if cut % 7 == 0 {
            receiver.answer([Answering::Never]);
        }
        // Every cut is behind the hold of the one before.
        let (control, now) = (bench.control.clone(), Some(later(cut as i64 * 40)));
        let teller = tokio::spawn(async move { control.tell_once(now).await });
        let _cut_off_or_not =
            tokio::time::timeout(std::time::Duration::from_micros(rand::random_range(0..40_000)), async { receiver.wait(|s| s.len() > 10_000).await }).await;
        teller.abort();
        let _ended = teller.await;
    }
    tell(&bench, Some(later(10_000))).await;
    tell(&bench, Some(later(20_000))).await;
    let seen = receiver.seen();
    let mut arrived = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for one in &seen {
        let sequences = arrived.entry(one.json["data"]["session_id"].to_string()).or_default();
        if !sequences.contains(&one.sequence()) {
            sequences.push(one.sequence());
        }
    }
    assert_eq!(arrived.values().map(Vec::len).sum::<usize>(), events, "{arrived:?}");
    assert!(arrived.values().all(|sequences| sequences.is_sorted()), "{arrived:?}");
    assert!(seen.len() > events, "some of them arrived twice, or nothing was cut off in the middle");
}
