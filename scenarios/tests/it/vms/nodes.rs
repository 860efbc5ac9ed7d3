//! Two servers on one PostgreSQL, each with a node of its own: a machine is operated through either, and runs on its own.

use crate::product::Product;
use serde_json::{Value, json};
use testkit::product_database::ProductDatabase;
use testkit::rig;

async fn server(dir: &std::path::Path, node: &str, database: &ProductDatabase) -> Product {
    Product::start_with(&dir.join(node), &[], &["--node-name", node, "--database-url", &database.url()]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_runs_on_its_node_whichever_server_is_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let database = ProductDatabase::make(rig::postgres18(), "vms");
    let one = server(dir.path(), "node-1", &database).await;
    let mut two = server(dir.path(), "node-2", &database).await;
    let made = created_on(&one, "node-2").await;
    let path = |what: &str| format!("/vms/{made}{what}");
    let started = one.post(&path("/start"), json!({})).await;
    assert_eq!((started.0, &started.1["status"], &started.1["node"]), (200, &json!("running"), &json!("node-2")), "{:#}", started.1);
    assert!(dir.path().join("node-2/vms").join(&made).is_dir() && !dir.path().join("node-1/vms").join(&made).exists());
    assert_eq!(two.get(&path("")).await.1["status"], "running");
    let (status, refused) = one.get(&path("/console")).await;
    assert!(status == 503 && refused["error"]["message"].as_str().is_some_and(|m| m.contains("node-2")), "{refused:#}");
    assert_eq!(two.get(&path("/console")).await.0, 200);

    // Its node is away: what is asked waits for it.
    two.kill();
    let (status, task) = one.post(&path("/stop?wait=1"), json!({"force": true})).await;
    assert_eq!((status, &task["status"], &task["operation"]), (202, &json!("waiting"), &json!("force_stop")), "{task:#}");
    assert_eq!(one.post(&path("/start"), json!({})).await.0, 409);
    two.restart().await;
    let (status, deleted) = gone(&one, &made).await;
    assert_eq!((status, &deleted["status"]), (200, &json!("deleted")), "{deleted:#}");
    assert!(!dir.path().join("node-2/vms").join(&made).exists());
}

/// The node says who it is in the moment after its server answers.
async fn created_on(product: &Product, node: &str) -> String {
    let begun = std::time::Instant::now();
    loop {
        let (status, made) = product.post("/vms", json!({"name": "vm1", "memory_mib": 64, "node": node})).await;
        if status == 201 {
            return made["id"].as_str().expect("an id").to_owned();
        }
        assert!(status == 400 && begun.elapsed().as_secs() < 20, "{made:#}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Deletes it as soon as nothing is at work on it.
async fn gone(product: &Product, id: &str) -> (u16, Value) {
    let begun = std::time::Instant::now();
    loop {
        let answer = product.http.delete(product.url(&format!("/vms/{id}"))).send().await.expect("an answer");
        let (status, said) = (answer.status().as_u16(), answer.json().await.expect("JSON"));
        if status != 409 || begun.elapsed().as_secs() > 20 {
            return (status, said);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The disk of a machine is moved by the node that has it; a server elsewhere says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_moved_by_the_node_that_has_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let database = ProductDatabase::make(rig::postgres18(), "disks");
    let outside = dir.path().join("outside");
    let server = async |node: &str| {
        let roots = [dir.path()];
        Product::start_with(&dir.path().join(node), &roots, &["--node-name", node, "--database-url", &database.url()]).await
    };
    let (one, two) = (server("node-1").await, server("node-2").await);
    let vm = created_on(&one, "node-2").await;
    for (what, body) in [("start", json!({})), ("stop", json!({"force": true}))] {
        let (status, answer) = one.post(&format!("/vms/{vm}/{what}"), body).await;
        assert_eq!(status, 200, "{answer:#}");
    }
    let spec = json!({"name": "n", "source": {"type": "vm", "vm": vm}, "destination": {"type": "static", "paths": {"web_root": outside}}});
    let (_, made) = one.post("/migrations/", spec.clone()).await;
    let (status, refused) = one.post(&format!("/migrations/{}/start", made["id"].as_str().expect("an id")), json!({})).await;
    let issue = refused["error"]["details"]["issue"].as_str().expect("words");
    assert!(status == 422 && issue.contains("kept on the node 'node-2'"), "{refused:#}");
    // Both have workers, and only one of them may take it.
    for _ in 0..3 {
        let (id, status) = two.run(spec.clone()).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        assert!(outside.join("vm1.qcow2").is_file() && outside.join("vm1.qcow2.json").is_file());
        let (code, answer) = one.post(&format!("/migrations/{id}/rollback"), json!({})).await;
        assert_eq!(code, 200, "{answer:#}");
        until(&one, &id, "rolled_back").await;
        assert!(!outside.exists(), "what was made goes with what is in it");
    }
}

async fn until(product: &Product, id: &str, status: &str) {
    let begun = std::time::Instant::now();
    loop {
        let (_, found) = product.get(&format!("/migrations/{id}/status")).await;
        if found["status"] == status {
            return;
        }
        assert!(begun.elapsed().as_secs() < 60, "{found:#}");
        product.get(&format!("/migrations/{id}/events?after={}&wait=5", found["last_event"])).await;
    }
}
