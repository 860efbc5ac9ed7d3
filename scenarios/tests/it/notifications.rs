//! The real server and its webhooks: killed in the middle of a delivery, and three of them on one PostgreSQL.

use crate::product::Product;
use crate::receiver::{Answering, Receiver, Seen};
use control::{Control, DEFAULT_TENANT, Options};
use couriers::{Couriers, Policy};
use engine::Engine;
use ports::Connectors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use testkit::product_database::ProductDatabase;
use testkit::rig;
use tokio_util::sync::CancellationToken;

fn spec(dir: &Path, to: &str, somebody: &str) -> Value {
    json!({"name": "Small site", "source": {"type": "static", "paths": {"web_root": dir.join("from")}}, "destination": {"type": "static", "paths": {"web_root": dir.join(to)}},
        "notifications": {"email": {"recipients": [somebody]}}})
}

/// First arrivals, by migration.
fn sequences(seen: &[Seen]) -> BTreeMap<String, Vec<u64>> {
    let mut out = BTreeMap::<String, Vec<u64>>::new();
    for one in seen.iter().filter(|s| s.event() != "migration.progress") {
        let sequences = out.entry(one.json["data"]["session_id"].as_str().unwrap_or_default().to_owned()).or_default();
        if !sequences.contains(&one.sequence()) {
            sequences.push(one.sequence());
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_tells_everything_after_its_restart() {
    let (dir, mail, receiver) = (tempfile::tempdir().expect("a directory"), rig::mail(), Receiver::start().await);
    std::fs::create_dir(dir.path().join("from")).expect("a directory");
    std::fs::write(dir.path().join("from/index.html"), "hello").expect("a file");
    let url = format!("smtp://{}:{}@localhost:{}", mail.user, mail.password, mail.port);
    let ca = mail.ca_file.to_str().expect("a path");
    let more = ["--allow-private-webhooks", "--smtp-url", &url, "--mail-from", "Migrations <migrations@rig.example>", "--smtp-ca", ca];
    let mut product = Product::start_with(&dir.path().join("data"), &[dir.path()], &more).await;
    let (status, made) = product.post("/webhooks/", json!({"name": "all", "url": receiver.url, "events": ["*"]})).await;
    assert_eq!(status, 201, "{made:#}");
    receiver.answer([Answering::Status(200), Answering::Never]);
    let somebody = format!("killed-{}@rig.example", std::process::id());
    let id = product.begin(spec(dir.path(), "to", &somebody)).await;
    receiver.wait(|seen| seen.len() == 2).await;
    product.kill();
    product.restart().await;
    assert_eq!(product.settle(&id).await["status"], "completed");
    let seen = receiver.wait(|seen| seen.iter().any(|s| s.event() == "migration.completed")).await;
    let (_, all) = product.get(&format!("/migrations/{id}/events?limit=1000")).await;
    let expected: Vec<u64> = all["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|e| !matches!(e["event"].as_str(), Some("migration.log" | "migration.progress")))
        .filter_map(|e| e["seq"].as_u64())
        .collect();
    assert_eq!(sequences(&seen)[&id], expected, "all of them, in order");
    assert_eq!(seen[1].header("webhook-id"), seen[2].header("webhook-id"), "the one that was cut off came again");
    assert_eq!(mail.letters_to(&somebody).len(), 1);
}

/// Nobody answers anywhere: nothing is moved here.
struct Nowhere;

#[async_trait::async_trait]
impl Connectors for Nowhere {
    async fn files(&self, at: &domain::spec::FilesAt, _: usize) -> ports::Result<Arc<dyn ports::files::FileTarget>> {
        Err(ports::ConnectorError::new(ports::ErrorKind::Unreachable, "connect to", at.describe(), "nobody is there"))
    }

    async fn database(&self, at: &domain::spec::DatabaseAt, _: usize) -> ports::Result<Arc<dyn ports::databases::Database>> {
        Err(ports::ConnectorError::new(ports::ErrorKind::Unreachable, "connect to", at.describe(), "nobody is there"))
    }
}

async fn server(url: &str, dir: &Path) -> Control {
    let store = store::open(url, dir).await.expect("a store");
    let settings =
        plans::Settings { connectors: Arc::new(Nowhere), backups_dir: dir.join("backups"), work_dir: dir.join("work"), machines: None, images: None };
    let courier = Arc::new(Couriers::new(Policy { allow_private: true }, None).expect("a courier"));
    let options = Options { courier, ..Options::new(dir) };
    Control::new(Engine::new(store.clone(), plans::registry(settings.clone())), store, settings, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_on_one_postgresql_tell_each_event_once() {
    let (database, dir, receiver) = (ProductDatabase::make(rig::postgres18(), "telling"), tempfile::tempdir().expect("a directory"), Receiver::start().await);
    let url = database.url();
    let (stop, mut servers) = (CancellationToken::new(), Vec::new());
    for _ in 0..3 {
        servers.push(server(&url, dir.path()).await);
    }
    servers[0].create_webhook(DEFAULT_TENANT, &json!({"name": "all", "url": receiver.url, "events": ["*"]})).await.expect("a webhook");
    let tellers: Vec<_> = servers
        .iter()
        .map(|s| {
            tokio::spawn({
                let (server, stop) = (s.clone(), stop.clone());
                async move { server.tell_others(stop).await }
            })
        })
        .collect();
    let body = json!({"name": "n", "source": {"type": "static", "host": "old.example", "username": "u", "password": "p"}, "destination": {"type": "aws-s3", "bucket": "new-site"}});
    for round in 0..40 {
        let server = &servers[round % 3];
        let id = server.create(DEFAULT_TENANT, body.clone()).await.expect("a migration").id;
        server.start(DEFAULT_TENANT, &id, None, true).await.expect("started");
        server.cancel(DEFAULT_TENANT, &id).await.expect("cancelled");
    }
    let told = |seen: &[Seen]| sequences(seen).values().map(Vec::len).sum::<usize>();
    let seen = receiver.wait(|seen| told(seen) == 120).await;
    stop.cancel();
    for teller in tellers {
        teller.await.expect("a teller");
    }
    assert_eq!(receiver.seen().len(), 120, "none twice");
    assert!(sequences(&seen).values().all(|s| *s == [1, 2, 3]), "in order");
}
