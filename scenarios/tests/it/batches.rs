//! Batches with the real program: killed at any moment, and shared by two servers on one PostgreSQL. No migration is doubled or forgotten.

use crate::product::Product;
use crate::tree;
use futures::future::join_all;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::product_database::ProductDatabase;
use testkit::rig;

/// Migrations of the source to `to-{round}-{n}`, in two waves, the last one after the first.
fn body(dir: &Path, round: usize, count: usize) -> Value {
    let entry = |n: usize| {
        json!({"name": format!("site {round}-{n}"), "wave": 1 + n % 2, "depends_on": if n + 1 == count { json!([0]) } else { json!([]) },
            "source": {"type": "static", "paths": {"web_root": dir.join("source")}},
            "destination": {"type": "static", "paths": {"web_root": dir.join(format!("to-{round}-{n}"))}}, "safety": {"backup_before": false}})
    };
    let mut entries: Vec<Value> = (0..count).map(entry).collect();
    entries[count - 1]["wave"] = json!(2);
    json!({"migrations": entries, "batch_options": {"parallel_limit": 3}})
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|m| m["id"].as_str().expect("an id").to_owned()).collect()
}

fn is_at_rest(batch: &Value) -> bool {
    matches!(batch["status"].as_str(), Some("completed" | "partial" | "failed" | "cancelled"))
}

/// Every migration of the batches is there once, no other is, and each has brought its files over.
async fn assert_whole(product: &Product, dir: &Path, rounds: &[(usize, Value)]) {
    let (_, listed) = product.get("/migrations?limit=1000").await;
    let mut wanted: Vec<String> = rounds.iter().flat_map(|(_, batch)| ids(&batch["migrations"])).collect();
    let mut found = ids(&listed);
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted, "as many migrations as entries, each once");
    for (round, batch) in rounds {
        assert_eq!(batch["status"], "completed", "{batch:#}");
        for n in 0..batch["migrations"].as_array().expect("a list").len() {
            let to = dir.join(format!("to-{round}-{n}"));
            let same = Command::new("diff").args(["-rq"]).arg(dir.join("source")).arg(&to).output().expect("diff");
            assert!(same.status.success(), "{}: {}", to.display(), String::from_utf8_lossy(&same.stdout));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_outlives_its_server_being_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    tree::make(&dir.path().join("source"), 150);
    let mut product = Product::start(&dir.path().join("data"), &[dir.path()]).await;
    let (_, batch) = product.post("/migrations/batch", body(dir.path(), 0, 8)).await;
    let address = format!("/batches/{}", batch["id"].as_str().expect("an id"));
    let (begun, mut kills) = (Instant::now(), 0);
    loop {
        let (_, now) = product.get(&address).await;
        if is_at_rest(&now) {
            break assert_whole(&product, dir.path(), &[(0, now)]).await;
        }
        assert!(begun.elapsed() < Duration::from_mins(3), "not at rest after {kills} kills: {now:#}");
        let moment = if kills < 12 { rand::rng().random_range(20..500) } else { 1000 };
        tokio::time::sleep(Duration::from_millis(moment)).await;
        if kills < 12 {
            product.kill();
            product.restart().await;
            kills += 1;
        }
    }
    println!("{kills} kills in {:?}", begun.elapsed());
}

/// Killed while the request is being worked on, the batch is there with all its migrations, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    tree::make(&dir.path().join("source"), 5);
    let mut product = Product::start(&dir.path().join("data"), &[dir.path()]).await;
    for round in 0..8 {
        let request = product.http.post(product.url("/migrations/batch")).json(&body(dir.path(), round, 12)).send();
        let asked = tokio::spawn(request);
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..60))).await;
        product.kill();
        // The answer may have come, or not: both are fine.
        drop(asked.await);
        product.restart().await;
    }
    let begun = Instant::now();
    let batches = loop {
        let (_, list) = product.get("/batches?limit=1000").await;
        if list.as_array().expect("a list").iter().all(is_at_rest) {
            break ids(&list);
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "not at rest: {list:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let mut rounds = Vec::new();
    for id in batches {
        let (_, batch) = product.get(&format!("/batches/{id}")).await;
        let name = batch["migrations"][0]["name"].as_str().expect("a name");
        let round = name.trim_start_matches("site ").split('-').next().and_then(|n| n.parse().ok()).expect("a round");
        rounds.push((round, batch));
    }
    println!("{} of 8 batches were stored", rounds.len());
    assert_whole(&product, dir.path(), &rounds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_the_batches_of_one_database() {
    let database = ProductDatabase::make(rig::postgres18(), "batches");
    let url = database.url();
    let dir = tempfile::tempdir().expect("a directory");
    tree::make(&dir.path().join("source"), 40);
    let (data, more) = (dir.path().join("data"), ["--database-url", url.as_str()]);
    let first = Product::start_with(&data, &[dir.path()], &more).await;
    let mut second = Product::start_with(&data, &[dir.path()], &more).await;
    let asked = join_all((0..4).map(|round| {
        if round % 2 == 0 { first.post("/migrations/batch", body(dir.path(), round, 6)) } else { second.post("/migrations/batch", body(dir.path(), round, 6)) }
    }))
    .await;
    let addresses: Vec<String> = asked
        .iter()
        .map(|(status, made)| {
            assert_eq!(*status, 201, "{made:#}");
            format!("/batches/{}", made["id"].as_str().expect("an id"))
        })
        .collect();
    second.kill();
    second.restart().await;
    let (begun, mut most) = (Instant::now(), 0);
    let batches = loop {
        let batches: Vec<Value> = join_all(addresses.iter().map(|a| first.get(a))).await.into_iter().map(|(_, batch)| batch).collect();
        let at_work = |b: &Value| b["migrations"].as_array().expect("a list").iter().filter(|m| m["status"] == "running").count();
        most = batches.iter().map(at_work).max().unwrap_or(0).max(most);
        if batches.iter().all(is_at_rest) {
            break batches;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "not at rest: {batches:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(most <= 3, "{most} at work side by side");
    let rounds: Vec<(usize, Value)> = batches.into_iter().enumerate().collect();
    assert_whole(&first, dir.path(), &rounds).await;
    starts_once(&first, &rounds).await;
}

/// No migration was started twice.
async fn starts_once(product: &Product, rounds: &[(usize, Value)]) {
    let mut seen = BTreeSet::new();
    for id in rounds.iter().flat_map(|(_, batch)| ids(&batch["migrations"])) {
        let (_, page) = product.get(&format!("/migrations/{id}/events")).await;
        let started = page["events"].as_array().expect("a list").iter().filter(|e| e["event"] == "migration.started").count();
        assert_eq!(started, 1, "{id}: {page:#}");
        assert!(seen.insert(id));
    }
}
