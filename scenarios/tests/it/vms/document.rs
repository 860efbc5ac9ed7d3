//! Document 4's own requests, as printed.

use super::Node;
use crate::api::bench::Bench;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

#[tokio::test]
async fn the_endpoints_of_the_document_in_their_order() {
    let node = Node::new().await;
    let request = Request::post("/vms").header("content-type", "application/json").body(Body::from("{\n  \"name\": \"vm1\"\n}\n")).expect("a request");
    let made = node.bench.send(request).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!((&made.json["name"], &made.json["status"]), (&json!("vm1"), &json!("created")));
    let id = made.json["id"].as_str().expect("an id").to_owned();
    assert_eq!(made.headers["location"], format!("/vms/{id}"));

    let listed = node.bench.get("/vms").await;
    assert_eq!((listed.status, &listed.json), (StatusCode::OK, &json!([made.json])));
    let got = node.bench.get(&format!("/vms/{id}")).await;
    assert_eq!((got.status, &got.json), (StatusCode::OK, &made.json));

    let started = node.act(&id, "start").await;
    assert_eq!((started.status, &started.json["status"], &started.json["id"]), (StatusCode::OK, &json!("running"), &json!(id)), "{}", started.text);
    let stopped = node.act(&id, "stop").await;
    assert_eq!((stopped.status, &stopped.json["status"]), (StatusCode::OK, &json!("stopped")), "{}", stopped.text);
    let deleted = node.delete(&format!("/vms/{id}")).await;
    assert_eq!((deleted.status, &deleted.json), (StatusCode::OK, &json!({"id": id, "status": "deleted"})));
    assert_eq!(node.bench.get(&format!("/vms/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(node.bench.get("/vms").await.json, json!([]));
}

/// The rules that its prototype had, and the contract's.
#[tokio::test]
async fn what_its_status_forbids_is_a_conflict() {
    let node = Node::new().await;
    let id = node.created(&json!({"name": "vm1"})).await;
    let refused = |answer: crate::api::bench::Answer, status: &str, said: &str| {
        assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "INVALID_STATE"), "{}", answer.text);
        assert_eq!((&answer.json["error"]["details"]["current_status"], &answer.json["error"]["details"]["vm_id"]), (&json!(status), &json!(id)));
        assert!(answer.json["error"]["message"].as_str().expect("words").contains(said), "{}", answer.text);
    };
    refused(node.act(&id, "stop").await, "created", "it is not running");
    assert_eq!(node.act(&id, "start").await.status, StatusCode::OK);
    refused(node.act(&id, "start").await, "running", "it is running already");
    refused(node.delete(&format!("/vms/{id}")).await, "running", "stop it first");
    assert_eq!(node.act(&id, "stop").await.status, StatusCode::OK);
    refused(node.act(&id, "stop").await, "stopped", "it is not running");
    for (what, path) in [("start", "/vms/none/start"), ("stop", "/vms/none/stop")] {
        let answer = node.act("none", what).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "NOT_FOUND"), "{path}: {}", answer.text);
    }
    assert_eq!(node.delete("/vms/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn input_is_validated_all_at_once() {
    let bench = Bench::new().await;
    let hash = "ab".repeat(32);
    let rows: [(serde_json::Value, &[&str]); 7] = [
        (json!({}), &["name"]),
        (json!({"name": ""}), &["name"]),
        (json!({"name": 5, "vcpus": 0, "memory_mib": "much", "disk_gib": -1, "colour": "red"}), &["name", "vcpus", "memory_mib", "disk_gib", "colour"]),
        (json!({"name": "n", "image": "/etc/passwd", "kernel": "/boot/vmlinuz"}), &["image", "kernel"]),
        (json!({"name": "n", "image": {"url": "https://example.com/a.qcow2"}}), &["image.sha256"]),
        (json!({"name": "n", "image": {"url": "http://169.254.169.254/a.qcow2", "sha256": hash}}), &["image.url"]),
        (json!({"name": "n", "node": "elsewhere"}), &["node"]),
    ];
    for (body, fields) in rows {
        let answer = bench.post("/vms", &body).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST"), "{body}: {}", answer.text);
        assert_eq!(answer.fields(), fields, "{body}");
    }
    assert_eq!(bench.get("/vms").await.json, json!([]), "nothing was created");
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let node = Node::new().await;
    for name in ["a", "b", "a"] {
        node.created(&json!({"name": name})).await;
    }
    let running = node.created(&json!({"name": "c", "vcpus": 2, "memory_mib": 1024, "disk_gib": 3})).await;
    assert_eq!(node.act(&running, "start").await.status, StatusCode::OK);
    let names =
        |json: &serde_json::Value| json.as_array().expect("a list").iter().map(|vm| vm["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&node.bench.get("/vms/").await.json), ["c", "a", "b", "a"], "newest first");
    assert_eq!(names(&node.bench.get("/vms?name=a").await.json), ["a", "a"]);
    let started = node.bench.get("/vms?status=running").await.json;
    assert_eq!(
        (names(&started), &started[0]["vcpus"], &started[0]["memory_mib"], &started[0]["disk_gib"]),
        (vec!["c".to_owned()], &json!(2), &json!(1024), &json!(3))
    );
    assert_eq!(names(&node.bench.get("/vms?status=created&name=a&limit=1&offset=1").await.json), ["a"]);
    let first = node.bench.get("/vms?limit=3").await;
    let next = first.headers["link"].to_str().expect("text").trim_start_matches('<').split('>').next().expect("an address").to_owned();
    assert_eq!(names(&node.bench.get(&next).await.json), ["a"]);
    assert_eq!(node.bench.get("/vms?status=paused&colour=red").await.fields(), ["status", "colour"]);
}
