//! A machine's life beyond the document: pause, reboot, snapshots, console, and ends that nobody asked for.

use super::Node;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// A definition with something that listens to the power button.
fn guest(node: &Node) -> Value {
    let kernel = node.bench.root().join("vmlinuz");
    std::fs::write(&kernel, b"not a kernel: nothing boots here").expect("a file");
    json!({"name": "guest", "kernel": kernel, "append": "console=ttyS0"})
}

#[tokio::test]
async fn pause_resume_and_reboot() {
    let node = Node::new().await;
    let id = node.created(&guest(&node)).await;
    for what in ["pause", "resume", "reboot"] {
        assert_eq!(node.act(&id, what).await.status, StatusCode::CONFLICT, "{what} before its start");
    }
    let started = node.act(&id, "start").await.json;
    assert_eq!((&started["accelerator"], &started["paused"]), (&json!("none"), &json!(false)));
    assert!(started["started_at"].is_string() && started["limits"].is_string(), "{started:#}");
    let paused = node.act(&id, "pause").await;
    assert_eq!((paused.status, &paused.json["status"], &paused.json["paused"]), (StatusCode::OK, &json!("running"), &json!(true)));
    assert_eq!(node.act(&id, "pause").await.status, StatusCode::CONFLICT);
    assert_eq!(node.act(&id, "resume").await.json["paused"], false);
    assert_eq!(node.act(&id, "resume").await.status, StatusCode::CONFLICT);
    assert_eq!(node.act(&id, "reboot").await.json["status"], "running");
    let console = node.bench.get(&format!("/vms/{id}/console")).await;
    assert_eq!((&console.json["text"], &console.json["end"]), (&json!("guest is up\nguest is up\n"), &json!(24)));
    let part = node.bench.get(&format!("/vms/{id}/console?offset=6&limit=5")).await.json;
    assert_eq!((&part["text"], &part["offset"], &part["next_offset"]), (&json!("is up"), &json!(6), &json!(11)));
    assert_eq!(node.bench.get(&format!("/vms/{id}/console?tail=3")).await.json["text"], "up\n");
    assert_eq!(node.bench.get(&format!("/vms/{id}/console?offset=24&wait=1")).await.json["text"], "", "nothing new came");
    let bad = node.bench.get(&format!("/vms/{id}/console?tail=1&offset=1&wait=61&x=1")).await;
    assert_eq!(bad.fields(), ["tail", "wait", "x"]);
}

#[tokio::test]
async fn snapshots_are_made_listed_restored_and_deleted() {
    let node = Node::new().await;
    let id = node.created(&guest(&node)).await;
    let path = format!("/vms/{id}/snapshots");
    assert_eq!(node.bench.post(&path, &json!({"name": "early"})).await.status, StatusCode::CONFLICT, "it has no disk yet");
    node.act(&id, "start").await;
    let made = node.bench.post(&path, &json!({"name": "first"})).await;
    assert_eq!((made.status, &made.json["memory"], &made.json["vm_id"]), (StatusCode::CREATED, &json!(true), &json!(id)), "{}", made.text);
    assert_eq!(made.headers["location"], format!("{path}/first"));
    assert_eq!(node.bench.post(&path, &json!({"name": "first"})).await.code(), "ALREADY_EXISTS");
    assert_eq!(node.bench.post(&path, &json!({"name": "a/b", "x": 1})).await.fields(), ["name", "x"]);
    assert_eq!(node.act(&id, "snapshots").await.status, StatusCode::CREATED, "a name of its own");
    assert_eq!(node.bench.get(&path).await.json.as_array().expect("a list").len(), 2);
    assert_eq!(node.act(&id, "snapshots/first/restore").await.json["status"], "running");
    assert_eq!(node.act(&id, "snapshots/other/restore").await.status, StatusCode::NOT_FOUND);
    assert_eq!(node.act(&id, "stop").await.status, StatusCode::OK);
    assert_eq!(node.bench.post(&path, &json!({"name": "off"})).await.json["memory"], false);
    assert_eq!(node.act(&id, "snapshots/off/restore").await.json["status"], "stopped");
    node.act(&id, "start").await;
    let refused = node.act(&id, "snapshots/off/restore").await;
    assert_eq!((refused.status, refused.code()), (StatusCode::SERVICE_UNAVAILABLE, "VM_OPERATION_FAILED"), "{}", refused.text);
    assert_eq!(node.bench.get(&format!("/vms/{id}")).await.json["status"], "running", "a failed restore changes nothing");
    assert_eq!(node.delete(&format!("{path}/first")).await.status, StatusCode::OK);
    assert_eq!(node.delete(&format!("{path}/first")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(node.bench.get(&path).await.json.as_array().expect("a list").len(), 2);
}

/// The status follows what happens to the process.
#[tokio::test]
async fn an_end_that_nobody_asked_for_is_told() {
    let node = Node::new().await;
    let id = node.created(&guest(&node)).await;
    node.act(&id, "start").await;
    node.bench.vms.end(&id, false);
    assert_eq!(node.until(&id, "failed").await["reason"], "it was killed");
    node.act(&id, "start").await;
    node.bench.vms.end(&id, true);
    let stopped = node.until(&id, "stopped").await;
    assert_eq!((&stopped["reason"], &stopped["accelerator"]), (&json!("the guest switched itself off"), &json!(null)));
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_can_be_repeated() {
    let node = Node::new().await;
    let id = node.created(&json!({"name": "vm1"})).await;
    node.bench.vms.break_starts(Some("QEMU is not installed"));
    let failed = node.act(&id, "start").await;
    assert_eq!((failed.status, failed.code()), (StatusCode::SERVICE_UNAVAILABLE, "VM_OPERATION_FAILED"), "{}", failed.text);
    assert_eq!(failed.json["error"]["message"], format!("Could not start {id}: QEMU is not installed. Install it"));
    let vm = node.bench.get(&format!("/vms/{id}")).await.json;
    assert_eq!((&vm["status"], vm["reason"].as_str().expect("why").contains("not installed")), (&json!("failed"), true), "{vm:#}");
    let task = node.bench.get(&format!("/vms/{id}/tasks")).await.json[0].clone();
    assert_eq!((&task["status"], &task["operation"], &task["error"]["retryable"]), (&json!("failed"), &json!("start"), &json!(false)));
    node.bench.vms.break_starts(None);
    let started = node.act(&id, "start").await.json;
    assert_eq!((&started["status"], &started["reason"]), (&json!("running"), &json!(null)));
}
