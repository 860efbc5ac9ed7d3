//! Operations that are not waited for, servers that come and go, and tenants.

use super::Node;
use axum::http::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn an_operation_is_answered_at_once_and_followed() {
    let node = Node::new().await;
    let id = node.created(&json!({"name": "vm1"})).await;
    let task = node.begun(&id, "start").await;
    assert_eq!((&task["operation"], &task["vm_id"]), (&json!("start"), &json!(id)));
    node.until(&id, "running").await;
    let address = format!("/vms/{id}/tasks/{}", task["id"].as_str().expect("an id"));
    let ended = node.bench.get(&address).await.json;
    assert_eq!((&ended["status"], &ended["error"]), (&json!("completed"), &json!(null)));
    assert!(ended["ended_at"].is_string());
    assert_eq!(node.bench.get(&format!("/vms/{id}/tasks")).await.json, json!([ended]));
    assert_eq!(node.bench.get(&format!("/vms/other/tasks/{}", task["id"].as_str().expect("an id"))).await.status, StatusCode::NOT_FOUND);
    let later = node.bench.call(Method::POST, &format!("/vms/{id}/stop?wait=0"), None).await;
    assert_eq!(later.status, StatusCode::ACCEPTED, "{}", later.text);
    node.until(&id, "stopped").await;
    assert_eq!(node.bench.call(Method::POST, &format!("/vms/{id}/start?wait=301"), None).await.fields(), ["wait"]);
}

/// What is asked for while no server runs on the node is done by the next one; what is at work keeps everything else out, but for the plug.
#[tokio::test]
async fn a_node_that_comes_back_does_what_was_asked() {
    let mut node = Node::deserted().await;
    let id = node.created(&json!({"name": "vm1"})).await;
    node.begun(&id, "start").await;
    assert_eq!(node.bench.get(&format!("/vms/{id}")).await.json["status"], "starting");
    for what in ["start", "stop", "pause", "reboot", "snapshots"] {
        assert_eq!(node.act(&id, what).await.code(), "INVALID_STATE", "{what}");
    }
    assert_eq!(node.delete(&format!("/vms/{id}")).await.code(), "INVALID_STATE");
    node.keep();
    node.until(&id, "running").await;
}

/// A machine that runs goes on when its server goes, and is looked at by the next one.
#[tokio::test]
async fn the_next_server_takes_machines_over() {
    let mut node = Node::new().await;
    let (lives, dies) = (node.created(&json!({"name": "lives"})).await, node.created(&json!({"name": "dies"})).await);
    node.act(&lives, "start").await;
    node.act(&dies, "start").await;
    node.leave().await;
    node.bench.vms.end(&dies, false);
    assert_eq!(node.bench.get(&format!("/vms/{dies}")).await.json["status"], "running", "nobody has looked");
    node.keep();
    assert_eq!(node.until(&dies, "failed").await["reason"], "it was killed");
    assert_eq!(node.until(&lives, "running").await["name"], "lives");
    node.bench.vms.end(&lives, true);
    node.until(&lives, "stopped").await;
}

#[tokio::test]
async fn the_plug_ends_a_stop_that_waits() {
    let node = Node::new().await;
    let kernel = node.bench.root().join("deaf");
    std::fs::write(&kernel, b"x").expect("a file");
    let id = node.created(&json!({"name": "deaf", "kernel": kernel})).await;
    node.act(&id, "start").await;
    // A paused guest hears nothing.
    node.act(&id, "pause").await;
    let patient = node.begun(&id, "stop").await;
    assert_eq!(node.bench.post(&format!("/vms/{id}/stop"), &json!({"force": true, "timeout_seconds": 5})).await.fields(), ["timeout_seconds"]);
    let forced = node.bench.post(&format!("/vms/{id}/stop"), &json!({"force": true})).await;
    assert_eq!((forced.status, &forced.json["status"]), (StatusCode::OK, &json!("stopped")), "{}", forced.text);
    let address = format!("/vms/{id}/tasks/{}", patient["id"].as_str().expect("an id"));
    let task = node.ended(&address).await;
    assert_eq!(task["status"], "completed");
}

#[tokio::test]
async fn each_attempt_is_in_the_audit_log_once() {
    let node = Node::new().await;
    let id = node.created(&json!({"name": "vm1"})).await;
    node.act(&id, "start").await;
    node.act(&id, "start").await;
    let entries = node.bench.audit("start_vm").await;
    let results: Vec<&str> = entries.iter().map(|e| e.result.as_str()).collect();
    assert_eq!(results, ["INVALID_STATE", "done"]);
    assert_eq!(node.bench.audit("create_vm").await.len(), 1);
}
