//! Virtual machines: document 4 over HTTP, and machines that really boot.

mod allowed;
mod disks;
mod document;
mod images;
mod life;
mod machine;
mod nodes;
mod quotas;
mod tasks;

use crate::api::bench::{Answer, Bench};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A bench whose node keeps its machines until it is dropped.
struct Node {
    bench: Bench,
    stop: CancellationToken,
    keeper: Option<JoinHandle<()>>,
}

impl Node {
    async fn new() -> Self {
        let mut node = Self::deserted().await;
        node.keep();
        node
    }

    /// Without a server that keeps machines.
    async fn deserted() -> Self {
        Self { bench: Bench::new().await, stop: CancellationToken::new(), keeper: None }
    }

    /// What a server does in the background.
    fn keep(&mut self) {
        self.stop = CancellationToken::new();
        let (control, stop) = (self.bench.control.clone(), self.stop.clone());
        self.keeper = Some(tokio::spawn(async move { control.keep_vms(stop).await }));
    }

    /// The server goes; its machines stay.
    async fn leave(&mut self) {
        self.stop.cancel();
        if let Some(keeper) = self.keeper.take() {
            keeper.await.expect("it ends well");
        }
    }

    async fn created(&self, body: &Value) -> String {
        let made = self.bench.post("/vms", body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json["id"].as_str().expect("an id").to_owned()
    }

    async fn act(&self, id: &str, what: &str) -> Answer {
        self.bench.call(Method::POST, &format!("/vms/{id}/{what}"), None).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.bench.call(Method::DELETE, path, None).await
    }

    /// Asks for something without waiting for its end; gives the task.
    async fn begun(&self, id: &str, what: &str) -> Value {
        let request = Request::post(format!("/vms/{id}/{what}")).header("prefer", "respond-async").body(Body::empty()).expect("a request");
        let answer = self.bench.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        assert_eq!(answer.headers["location"], format!("/vms/{id}/tasks/{}", answer.json["id"].as_str().expect("an id")));
        answer.json
    }

    /// The machine, as soon as it has that status.
    async fn until(&self, id: &str, status: &str) -> Value {
        self.shown(&format!("/vms/{id}"), |vm| vm["status"] == json!(status) && vm["task_id"].is_null()).await
    }

    /// A task, as soon as it has ended.
    async fn ended(&self, address: &str) -> Value {
        self.shown(address, |task| task["status"] != json!("waiting")).await
    }

    async fn shown(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.bench.get(path).await.json;
            if fits(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "not as wanted within 20 s: {found:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
