//! What is told: every event once and in order, again after failures, progress now and then.

use super::{bench, deliveries, later, signed, tell, webhook};
use crate::receiver::{Answering, Receiver, Seen};
use axum::http::{Method, StatusCode};
use engine::RunState;
use engine::journal::Level;
use serde_json::json;
use std::collections::BTreeSet;

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

#[tokio::test]
async fn a_webhook_may_hear_of_some_migrations_only() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let id = bench.created().await;
    let asked = |only: serde_json::Value| json!({"name": "n", "url": receiver.url, "events": ["migration.started"], "only": only});
    let bad = asked(json!({"source_types": ["wordpres", "workload"], "destination_types": [5], "labels": []}));
    assert_eq!(bench.post("/webhooks", &bad).await.fields(), ["only.source_types[0]", "only.destination_types[0]", "only.labels"]);
    let mut made = Vec::new();
    for only in [
        json!({"session_ids": [id]}),
        json!({"source_types": ["static", "workload"]}),
        json!({"source_types": ["static"], "destination_types": ["gcp-gcs", "image"]}),
        json!({}),
    ] {
        let answer = bench.post("/webhooks", &asked(only.clone())).await;
        assert_eq!(
            (answer.status, &answer.json["only"]),
            (StatusCode::CREATED, if only == json!({}) { &serde_json::Value::Null } else { &only }),
            "{}",
            answer.text
        );
        made.push(answer.headers["location"].to_str().expect("text").to_owned());
    }
    bench.running().await;
    bench.post(&format!("/migrations/{id}/start?skip_validation=true"), &json!({})).await;
    tell(&bench, None).await;
    let mut told = Vec::new();
    for at in &made {
        told.push(deliveries(&bench, at, "").await.len());
    }
    assert_eq!(told, [1, 2, 0, 2], "by id, by type, by both types, all");
    let replaced = bench.call(Method::PUT, &made[0], Some(&asked(json!({"source_types": ["wordpress"]})))).await;
    assert_eq!(replaced.json["only"], json!({"source_types": ["wordpress"]}), "{}", replaced.text);
}
