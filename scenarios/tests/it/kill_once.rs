//! Requests with an `Idempotency-Key` against a server that is killed at random moments: each is done once, and each gets its answer.
//!
//! `MA_KILLS` sets the number of kills (20 by default, a quarter of them on PostgreSQL, where a dead server's keys are held for their lease).

use crate::product::Product;
use futures::future::join_all;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use testkit::product_database::ProductDatabase;
use testkit::rig;

/// Requests of one round.
const AT_ONCE: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start(&dir.path().join("data"), &[dir.path()]).await;
    under_fire(product, wanted(), 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "once"), tempfile::tempdir().expect("a directory"));
    let product = Product::start_with(&dir.path().join("data"), &[dir.path()], &["--database-url", &database.url()]).await;
    under_fire(product, wanted().div_ceil(4), 500).await;
}

fn wanted() -> usize {
    std::env::var("MA_KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(20)
}

/// Kills the server at a random moment of the first `longest` milliseconds of each round.
async fn under_fire(mut product: Product, kills: usize, longest: u64) {
    let (mut answers, mut lost, mut replayed) = (BTreeMap::new(), 0, 0);
    for round in 0..kills {
        let names: Vec<String> = (0..AT_ONCE).map(|n| format!("round {round} request {n}")).collect();
        let asked = {
            let (http, url, names) = (product.http.clone(), product.url("/migrations/"), names.clone());
            tokio::spawn(async move { join_all(names.iter().map(|name| ask(&http, &url, name))).await })
        };
        // From before the first commit to after the last answer.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(1..longest))).await;
        product.kill();
        let first = asked.await.expect("the requests end");
        product.restart().await;
        for (name, before) in names.into_iter().zip(first) {
            let (id, again) = until_answered(&product, &name).await;
            match before {
                Some((told, _)) => assert_eq!(told, id, "{name}: the same answer again"),
                None => {
                    lost += 1;
                    replayed += usize::from(again);
                }
            }
            answers.insert(name, id);
        }
    }
    println!("{kills} kills: of {} requests {lost} lost their answer, {replayed} of these had been done and were told so", answers.len());
    let made = all(&product).await;
    assert_eq!(made, answers, "one migration for each request, and no more");
}

/// Every migration's id by its name; a name that is there twice is an error.
async fn all(product: &Product) -> BTreeMap<String, String> {
    let (mut made, mut offset) = (BTreeMap::new(), 0);
    loop {
        let (status, page) = product.get(&format!("/migrations?limit=100&offset={offset}")).await;
        assert_eq!(status, 200, "{page:#}");
        let page = page.as_array().expect("a list").clone();
        for migration in &page {
            let text = |name: &str| migration[name].as_str().expect("a text").to_owned();
            assert!(made.insert(text("name"), text("session_id")).is_none(), "'{}' was made twice", text("name"));
        }
        offset += page.len();
        if page.is_empty() {
            return made;
        }
    }
}

/// Asks until there is an answer; a server's death may hold the key for its lease.
async fn until_answered(product: &Product, name: &str) -> (String, bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(answer) = ask(&product.http, &product.url("/migrations/"), name).await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{name}: no answer within a minute");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The id that was made, and whether it was made before; nothing when there is no answer yet.
async fn ask(http: &reqwest::Client, url: &str, name: &str) -> Option<(String, bool)> {
    let body = json!({"name": name, "source": {"type": "static", "host": "old.example", "username": "u", "password": "p"}, "destination": {"type": "aws-s3", "bucket": "new-site"}});
    let answer = http.post(url).header("idempotency-key", name.replace(' ', "-")).json(&body).send().await.ok()?;
    let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
    let told: Value = answer.json().await.ok()?;
    match status {
        201 => Some((told["session_id"].as_str().expect("an id").to_owned(), again)),
        409 if told["error"]["code"] == "IDEMPOTENCY_IN_FLIGHT" => None,
        503 => None,
        _ => panic!("{name}: {status} {told:#}"),
    }
}
