//! The advanced features: batch, schedule, template, webhook, analytics. The document prints no answers for most of them; what was asked is found
//! again in them.

use super::shape::assert_alike;
use super::{ask, json};
use crate::api::bench::{Answer, Bench, body};
use axum::http::{Method, StatusCode};
use engine::RunState;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

fn assert_made(made: &Answer) {
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert!(made.headers.contains_key("location"), "{:?}", made.headers);
}

/// Everything of `asked` is in `found`.
fn assert_kept(asked: &Value, found: &Value, at: &str) {
    match (asked, found) {
        (Value::Object(asked), Value::Object(_)) => asked.iter().for_each(|(key, value)| assert_kept(value, &found[key], &format!("{at}/{key}"))),
        (Value::Array(asked), Value::Array(list)) => {
            assert_eq!(asked.len(), list.len(), "{at}");
            asked.iter().zip(list).for_each(|(asked, found)| assert_kept(asked, found, at));
        }
        _ => assert_eq!(asked, found, "{at}"),
    }
}

#[tokio::test]
async fn a_batch() {
    let bench = Bench::new().await;
    let asked = json("Batch Operations 2");
    let made = ask(&bench, "Batch Operations 1", &[], Some(&asked)).await;
    assert_made(&made);
    let printed = json!({"batch_id": "abc123def456", "status": "created", "message": "Batch", "created_at": "2024-08-26T14:30:22.123456",
        "migrations": [{"session_id": "abc123def456", "name": "Site 1 Migration", "status": "created"}]});
    assert_alike(&printed, &made.json);
    let names: Vec<&Value> = made.json["migrations"].as_array().expect("a list").iter().map(|m| &m["name"]).collect();
    assert_eq!(names, [&asked["migrations"][0]["name"], &asked["migrations"][1]["name"]]);
    let batch = bench.get(made.headers["location"].to_str().expect("text")).await;
    assert_kept(&asked["batch_options"], &batch.json["batch_options"], "batch_options");
    for migration in made.json["migrations"].as_array().expect("a list") {
        let id = migration["session_id"].as_str().expect("an id");
        assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_schedule() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    let mut asked = json("Scheduled Migrations 2");
    let past = ask(&bench, "Scheduled Migrations 1", &[("session_id", &id)], Some(&asked)).await;
    assert_eq!((past.status, past.fields()), (StatusCode::BAD_REQUEST, vec!["scheduled_time"]), "the printed time has passed");
    let soon = Timestamp::now() + 48.hours();
    asked["scheduled_time"] = json!(soon.strftime("%Y-%m-%dT02:00:00Z").to_string());
    let made = ask(&bench, "Scheduled Migrations 1", &[("session_id", &id)], Some(&asked)).await;
    assert_made(&made);
    for key in ["schedule_type", "timezone", "auto_start", "notifications"] {
        assert_kept(&asked[key], &made.json[key], key);
    }
    assert_eq!((&made.json["session_id"], &made.json["status"]), (&json!(id), &json!("scheduled")));
    assert_eq!(made.json["next_run_at"], json!(soon.strftime("%Y-%m-%dT02:00:00.000000").to_string()));
    assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.json["status"], "scheduled");
}

#[tokio::test]
async fn a_template() {
    let bench = Bench::new().await;
    let asked = json("Migration Templates 2");
    let made = ask(&bench, "Migration Templates 1", &[], Some(&asked)).await;
    assert_made(&made);
    assert_kept(&asked, &made.json, "");
    let id = made.json["id"].as_str().expect("an id");
    let variables = json!({"variables": {"source_host": "old-server.com", "source_username": "user", "s3_bucket": "my-new-website"}});
    let used = bench.post(&format!("/templates/{id}/create-migration"), &variables).await;
    assert_made(&used);
    assert_alike(&json("Create Migration from Preset 3"), &used.json);
    let document = bench.document(used.json["session_id"].as_str().expect("an id")).await;
    assert_eq!((&document["source"]["host"], &document["destination"]["region"]), (&json!("old-server.com"), &json!("us-east-1")), "given, and by default");
}

#[tokio::test]
async fn a_webhook() {
    let bench = Bench::new().await;
    let mut asked = json("Webhooks and Notifications 2");
    let made = ask(&bench, "Webhooks and Notifications 1", &[], Some(&asked)).await;
    assert_made(&made);
    for value in asked["headers"].as_object_mut().expect("an object").values_mut() {
        *value = json!("********");
    }
    let sorted =
        |list: &Value| list.as_array().expect("a list").iter().map(|e| e.as_str().expect("a word").to_owned()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(&made.json["events"]), sorted(&asked["events"]));
    asked.as_object_mut().expect("an object").remove("events");
    assert_kept(&asked, &made.json, "");
    assert!(!made.text.contains("webhook-token"));
}

/// Runs one of that type to its end.
async fn ended(bench: &Bench, kind: &str, to: RunState) {
    let mut wanted = body();
    wanted["source"] = json!({"type": kind, "host": "old.example", "username": "u", "password": "p"});
    let made = bench.post("/migrations/", &wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["session_id"].as_str().expect("an id");
    bench.post(&format!("/migrations/{id}/start?skip_validation=true"), &json!({"auto_rollback": false})).await;
    let hands = bench.take_up().await;
    hands.begin(0).await;
    hands.ledger("files", 2, 1 << 20, 2).await;
    hands.state(to).await;
}

#[tokio::test]
async fn analytics() {
    let bench = Bench::new().await;
    for (kind, to) in [("wordpress", RunState::Completed), ("django", RunState::Failed), ("static", RunState::Completed)] {
        ended(&bench, kind, to).await;
    }
    let printed = json("Migration Analytics 2");
    let answer = ask(&bench, "Migration Analytics 1", &[], None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_alike(&printed, &answer.json);
    for group in ["day", "week", "month"] {
        let path = format!("/analytics/migrations?start_date=2024-08-01&end_date=2099-08-31&group_by={group}");
        assert_alike(&printed, &bench.call(Method::GET, &path, None).await.json);
    }
}
