//! Images that a machine must not be made of, those that it may, and what a migration keeps until it is taken back.

use crate::product::Product;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

struct Story {
    product: Product,
    /// Where images lie.
    outside: PathBuf,
}

impl Story {
    async fn new(dir: &Path) -> Self {
        let outside = dir.join("outside");
        std::fs::create_dir(&outside).expect("a directory");
        Self { product: Product::start(&dir.join("data"), &[&outside]).await, outside }
    }

    fn place(&self) -> Value {
        json!({"type": "static", "paths": {"web_root": self.outside}})
    }

    /// Exports the disk of a machine without a system; gives the image.
    async fn exported(&self) -> PathBuf {
        let (_, vm) = self.product.post("/vms", json!({"name": "plain", "memory_mib": 64})).await;
        let id = vm["id"].as_str().expect("an id");
        for (what, body) in [("start", json!({})), ("stop", json!({"force": true}))] {
            let (status, answer) = self.product.post(&format!("/vms/{id}/{what}"), body).await;
            assert_eq!(status, 200, "{answer:#}");
        }
        let (_, status) = self.product.run(json!({"name": "out", "source": {"type": "vm", "vm": id}, "destination": self.place()})).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        self.outside.join("plain.qcow2")
    }

    async fn import(&self, machine: Value, safety: Value) -> (String, Value) {
        let mut destination = json!({"type": "vm", "name": "new"});
        destination.as_object_mut().expect("fields").extend(machine.as_object().expect("fields").clone());
        self.product.run(json!({"name": "in", "source": self.place(), "destination": destination, "safety": safety})).await
    }

    async fn machines(&self) -> Vec<Value> {
        self.product.get("/vms").await.1.as_array().expect("a list").clone()
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        let answer = self.product.http.delete(self.product.url(path)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    fn kept(&self) -> usize {
        let entries = std::fs::read_dir(self.product.data.join("vms")).expect("machines").flatten();
        entries.filter(|e| !e.file_name().to_string_lossy().starts_with('.')).count()
    }
}

fn sha256(file: &Path) -> String {
    hex::encode(Sha256::digest(std::fs::read(file).expect("bytes")))
}

fn refused(status: &Value, said: &str) {
    let error = status["error"]["message"].as_str().expect("why");
    assert!(status["status"] == "failed" && status["rolled_back"] == true && error.contains(said), "'{said}': {status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_touched_or_points_elsewhere_makes_no_machine() {
    let dir = tempfile::tempdir().expect("a directory");
    let story = Story::new(dir.path()).await;
    let image = story.exported().await;
    let told: Value = serde_json::from_slice(&std::fs::read(story.outside.join("plain.qcow2.json")).expect("a description")).expect("JSON");
    assert_eq!((&told["image"]["sha256"], &told["image"]["size"]), (&json!(sha256(&image)), &json!(1_u64 << 30)), "{told:#}");

    let mut bytes = std::fs::read(&image).expect("bytes");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&image, bytes).expect("touched");
    let (_, status) = story.import(json!({}), json!({})).await;
    refused(&status, "SHA-256");
    let evil = story.outside.join("evil.qcow2");
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd"]).arg(evil).arg("1M").status().expect("qemu-img");
    assert!(made.success());
    let (_, status) = story.import(json!({"image": "evil.qcow2"}), json!({})).await;
    refused(&status, "more than one file");
    assert_eq!((story.machines().await.len(), story.kept()), (1, 1), "the one that was exported");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_image_with_a_hash_will_do_and_a_quota_is_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let story = Story::new(dir.path()).await;
    let raw = story.outside.join("disk.raw");
    std::fs::write(&raw, vec![7; 3 << 20]).expect("an image");
    let machine = json!({"image": "disk.raw", "sha256": sha256(&raw), "memory_mib": 64});
    let (id, status) = story.import(machine.clone(), json!({})).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    let page = story.product.http.get(story.product.url(&format!("/migrations/{id}/report"))).header("accept", "text/html").send().await.expect("an answer");
    let page = page.text().await.expect("a page");
    assert!(page.contains("Migration report: in") && page.contains("Importing disk"), "{page}");
    let vm = story.machines().await.remove(0);
    assert_eq!((&vm["status"], &vm["disk_gib"], &vm["image"]["migration_id"]), (&json!("stopped"), &json!(1), &json!(id)), "{vm:#}");
    let start = format!("/vms/{}/start", vm["id"].as_str().expect("an id"));
    let (status, started) = story.product.post(&start, json!({})).await;
    assert_eq!(status, 200, "{started:#}");
    let (status, _) = story.product.post(&start.replace("start", "stop"), json!({"force": true})).await;
    assert_eq!(status, 200);

    let set = story.product.http.put(story.product.url("/tenants/default/quotas")).json(&json!({"vms": 1})).send().await.expect("an answer");
    assert_eq!(set.status().as_u16(), 200);
    let (_, status) = story.import(machine, json!({})).await;
    refused(&status, "This tenant may have 1 virtual machines");
    assert_eq!((story.machines().await.len(), story.kept()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_failed_keeps_its_machine_until_it_is_taken_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let story = Story::new(dir.path()).await;
    let rubbish = story.outside.join("disk.qcow2");
    let mut bytes = vec![0; 4096];
    bytes[..4].copy_from_slice(b"QFI\xfb");
    std::fs::write(&rubbish, bytes).expect("rubbish");
    let (id, status) = story.import(json!({"image": "disk.qcow2"}), json!({"rollback_on_failure": false})).await;
    assert_eq!((&status["status"], &status["error"]["step"]), (&json!("failed"), &json!("verify")), "{status:#}");
    let vm = story.machines().await.remove(0);
    let path = format!("/vms/{}", vm["id"].as_str().expect("an id"));
    assert_eq!((&vm["status"], &vm["migration_id"]), (&json!("migrating"), &json!(id)), "{vm:#}");
    let (status, answer) = story.delete(&path).await;
    assert_eq!((status, &answer["error"]["details"]["migration_id"]), (409, &json!(id)), "{answer:#}");
    let (status, answer) = story.delete(&format!("/migrations/{id}")).await;
    assert_eq!((status, &answer["error"]["details"]["vm_id"]), (409, &vm["id"]), "{answer:#}");

    let (status, answer) = story.product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!(status, 200, "{answer:#}");
    let begun = Instant::now();
    while story.product.get(&format!("/migrations/{id}/status")).await.1["status"] != "rolled_back" {
        assert!(begun.elapsed() < Duration::from_mins(1));
        story.product.get(&format!("/migrations/{id}/events?wait=1")).await;
    }
    assert_eq!((story.product.get(&path).await.0, story.kept()), (404, 0));
    assert_eq!(story.delete(&format!("/migrations/{id}")).await.0, 200);
}
