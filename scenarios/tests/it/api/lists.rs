//! A line of the list tells what the migration itself tells, whatever happens to it.

use super::bench::{Bench, Hands};
use super::document::sample;
use axum::http::StatusCode;
use engine::RunState;
use serde_json::{Value, json};

/// The line of a migration, compared with its details and its status.
async fn line(bench: &Bench, id: &str) -> Value {
    let listed = bench.get("/migrations/").await.json;
    let line = listed.as_array().expect("a list").iter().find(|m| m["id"] == id).expect("it is listed").clone();
    let (detail, status) = (bench.get(&format!("/migrations/{id}")).await.json, bench.get(&format!("/migrations/{id}/status")).await.json);
    for (field, shown) in line.as_object().expect("an object") {
        assert_eq!(&detail[field], shown, "{field}");
    }
    for field in ["name", "status", "rolled_back", "progress", "start_time", "end_time"] {
        assert_eq!(line[field], status[field], "{field}");
    }
    line
}

async fn share(bench: &Bench, hands: &Hands) -> f64 {
    line(bench, &hands.id).await["progress"].as_f64().expect("percent")
}

#[tokio::test]
async fn progress_is_the_same_everywhere() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    let id = hands.id.clone();
    let mut seen = vec![share(&bench, &hands).await];
    for index in 0..4 {
        hands.begin(index).await;
        hands.done(index, json!({"backup": {"id": "b"}})).await;
    }
    seen.push(share(&bench, &hands).await);
    hands.begin(4).await;
    hands.sample("files", 1024.0, 1 << 20).await;
    seen.push(share(&bench, &hands).await);
    hands.ledger("files", 8, 1 << 30, 7).await;
    seen.push(share(&bench, &hands).await);
    assert!(seen.is_sorted() && seen[0] < seen[1] && seen[1] < seen[2], "{seen:?}");
    hands.state(RunState::Paused).await;
    assert_eq!(line(&bench, &id).await["status"], "paused");
}

#[tokio::test]
async fn a_workload_is_listed_in_document_0_s_words() {
    let bench = Bench::new().await;
    assert_eq!(bench.post("/migrations/", &sample()).await.status, StatusCode::CREATED);
    let drive = json!({"mount_point_name": "C:\\", "total_size": 1000});
    let credentials = json!({"username": "testuser", "password": "testpass", "domain": "testdomain.com"});
    let source = json!({"ip": "192.168.1.1", "credentials": credentials, "storage": {"mount_points": [drive]}});
    let target = json!({"cloud_type": "aws", "cloud_credentials": credentials, "target_vm": {"ip": "192.168.1.2", "credentials": credentials, "storage": {"mount_points": []}}});
    let made = bench.post("/migrations", &json!({"selected_mount_points": [drive], "source": source, "migration_target": target})).await;
    assert!(made.status.is_success(), "{}", made.text);
    let line = line(&bench, made.json["id"].as_str().expect("an id")).await;
    assert_eq!((&line["selected_mount_points"][0]["mount_point_name"], &line["state"]), (&json!("C:\\"), &json!("NOT_STARTED")));
}
