//! Lists and their query parameters, as printed.

use super::shape::assert_alike;
use super::{ask, json};
use crate::api::bench::Bench;
use engine::RunState;
use engine::journal::Level;
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|m| m["session_id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn lists_of_migrations() {
    let bench = Bench::new().await;
    let completed = bench.running().await;
    let first = completed.id.clone();
    completed.state(RunState::Completed).await;
    let failed = bench.running().await;
    let second = failed.id.clone();
    failed.state(RunState::Failed).await;
    let running = bench.running().await;
    let waiting = bench.created().await;
    let printed = json("List Migrations 3");
    let all = ask(&bench, "List Migrations 1", &[], None).await.json;
    assert_eq!(ids(&all), [waiting.as_str(), &running.id, &second, &first], "the newest first");
    assert_alike(&printed[0], &all[1]);
    assert_alike(&printed[1], &all[3]);
    let example = ask(&bench, "List Migrations 2", &[], None).await.json;
    assert_eq!(ids(&example), [running.id.as_str()]);
    for (word, id) in [("pending", waiting.as_str()), ("running", &running.id), ("completed", &first), ("failed", &second)] {
        assert_eq!(ids(&bench.get(&format!("/migrations/?status_filter={word}")).await.json), [id], "{word}");
    }
    assert_eq!(ids(&bench.get("/migrations/?limit=2&offset=1").await.json), [running.id.as_str(), &second]);
}

#[tokio::test]
async fn a_hundred_unless_asked_otherwise() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    for n in 0..101 {
        hands.log(Level::Info, &format!("line {n}"), json!({})).await;
        bench.created().await;
    }
    assert_eq!(bench.get("/migrations/").await.json.as_array().expect("a list").len(), 100);
    let logs = bench.get(&hands.path("logs")).await.json;
    assert_eq!((logs["logs"].as_array().expect("a list").len(), &logs["has_more"]), (100, &json!(true)));
}
