//! Requests that are counted, and quotas.

use super::bench::{Answer, Bench};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::product_database::ProductDatabase;
use testkit::rig;

async fn set(bench: &Bench, quotas: &Value) -> Answer {
    let set = bench.call(Method::PUT, "/tenants/default/quotas", Some(quotas)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    set
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |v| v.to_str().expect("text"))
}

#[tokio::test]
async fn a_tenant_has_its_quota_of_requests_and_is_told() {
    let bench = Bench::new().await;
    assert_eq!(header(&bench.get("/migrations").await, "ratelimit-limit"), "", "nothing limits it");
    set(&bench, &json!({"requests_per_second": 1})).await;
    let first = bench.get("/migrations").await;
    let named = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy"].map(|name| header(&first, name).to_owned());
    assert_eq!((first.status, named.as_slice()), (StatusCode::OK, ["2", "1", "1", "2;w=2"].map(str::to_owned).as_slice()));
    assert_eq!(header(&bench.get("/migrations").await, "ratelimit-remaining"), "0");
    let refused = bench.get("/migrations").await;
    assert_eq!((refused.status, refused.code()), (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"), "{}", refused.text);
    assert_eq!((header(&refused, "retry-after"), header(&refused, "ratelimit-remaining")), ("1", "0"));
    assert_eq!(bench.get("/health").await.status, StatusCode::OK, "whoever watches is never refused");
}

#[tokio::test]
async fn quotas_of_migrations_hold_at_the_start() {
    let bench = Bench::new().await;
    let never = bench.get("/tenants/default/quotas").await;
    assert_eq!(
        never.json,
        json!({"tenant_id": "default", "running_migrations": null, "stored_backups": null, "requests_per_second": null,
        "vms": null, "vm_vcpus": null, "vm_memory_mib": null, "vm_disk_gib": null, "version": 0})
    );
    let bad = bench.call(Method::PUT, "/tenants/default/quotas", Some(&json!({"requests_per_second": 0, "disk": 1}))).await;
    assert_eq!((bad.status, bad.fields()), (StatusCode::BAD_REQUEST, vec!["requests_per_second", "disk"]), "{}", bad.text);
    assert_eq!(header(&set(&bench, &json!({"running_migrations": 1})).await, "etag"), "\"1\"");
    let hands = bench.running().await;
    let second = bench.created().await;
    let start = format!("/migrations/{second}/start?skip_validation=true");
    let refused = bench.post(&start, &json!({})).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::TOO_MANY_REQUESTS, "QUOTA_EXCEEDED"), "{}", refused.text);
    assert_eq!(refused.json["error"]["details"], json!({"quota": "running_migrations", "limit": 1, "used": 1}));
    hands.state(engine::RunState::Completed).await;
    assert_eq!(bench.post(&start, &json!({})).await.status, StatusCode::OK);
    set(&bench, &json!({"stored_backups": 0})).await;
    let third = bench.created().await;
    let refused = bench.post(&format!("/migrations/{third}/start?skip_validation=true"), &json!({})).await;
    assert_eq!((refused.code(), &refused.json["error"]["details"]["quota"]), ("QUOTA_EXCEEDED", &json!("stored_backups")), "{}", refused.text);
}

/// Creates so many, and starts them all at once; the answers.
async fn start_at_once(bench: &Bench, count: usize) -> Vec<Answer> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(bench.created().await);
    }
    let paths: Vec<String> = ids.iter().map(|id| format!("/migrations/{id}/start?skip_validation=true")).collect();
    let nothing = json!({});
    futures::future::join_all(paths.iter().map(|path| bench.post(path, &nothing))).await
}

fn started_and_over(answers: &[Answer], quota: &str) -> (usize, usize) {
    let over = |a: &&Answer| a.code() == "QUOTA_EXCEEDED" && a.status == StatusCode::TOO_MANY_REQUESTS && a.json["error"]["details"]["quota"] == quota;
    (answers.iter().filter(|a| a.status == StatusCode::OK).count(), answers.iter().filter(over).count())
}

#[tokio::test]
async fn of_twenty_starts_at_once_three_find_the_three_places() {
    let bench = Bench::new().await;
    set(&bench, &json!({"running_migrations": 3})).await;
    assert_eq!(started_and_over(&start_at_once(&bench, 20).await, "running_migrations"), (3, 17));
    let ended = bench.take_up().await;
    let id = ended.id.clone();
    ended.state(engine::RunState::Completed).await;
    assert_eq!(started_and_over(&start_at_once(&bench, 1).await, "running_migrations"), (1, 0), "its place is free again");
    let refused = bench.post(&format!("/migrations/{id}/rollback"), &json!({})).await;
    assert_eq!(started_and_over(&[refused], "running_migrations"), (0, 1), "a rollback needs a place, too");
}

#[tokio::test]
async fn starts_at_once_do_not_share_the_last_place_for_a_backup() {
    let bench = Bench::new().await;
    set(&bench, &json!({"stored_backups": 2})).await;
    assert_eq!(started_and_over(&start_at_once(&bench, 8).await, "stored_backups"), (2, 6));
    bench.take_up().await.state(engine::RunState::Cancelled).await;
    assert_eq!(started_and_over(&start_at_once(&bench, 3).await, "stored_backups"), (1, 2), "one that ended without a backup needs no place");
}

#[tokio::test]
async fn a_batch_waits_for_room_and_says_so() {
    let bench = Bench::new().await;
    set(&bench, &json!({"running_migrations": 1})).await;
    let site = |n: u8| {
        let mut site = super::bench::body();
        site["name"] = json!(format!("site {n}"));
        site
    };
    let batch = json!({"migrations": [site(1), site(2)], "batch_options": {"parallel_limit": 2, "skip_validation": true}});
    let made = bench.post("/migrations/batch", &batch).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let path = format!("/batches/{}", made.json["batch_id"].as_str().expect("an id"));
    let waiting = async || {
        bench.control.turn_batches(None).await.expect("a look");
        let shown = bench.get(&path).await.json;
        let said = shown["migrations"].as_array().expect("a list").iter().filter(|m| m["error"]["code"] == "QUOTA_EXCEEDED").count();
        (said == 1).then_some(shown)
    };
    let shown = bench.until(waiting).await;
    let running = shown["migrations"].as_array().expect("a list").iter().filter(|m| m["status"] == "running").count();
    assert_eq!((running, &shown["status"]), (1, &json!("running")), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_database_count_together() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "permits"), tempfile::tempdir().expect("a directory"));
    let url = database.url();
    let (one, two) = (store::open(&url, dir.path()).await.expect("a store"), store::open(&url, dir.path()).await.expect("a store"));
    let stores: [std::sync::Arc<dyn ports::records::Records>; 2] = [one, two];
    let took = futures::future::join_all((0..40).map(|n| {
        let store = stores[n % 2].clone();
        // A permit an hour, ten at once.
        async move { store.take_permits("k", 1, 3_600_000_000, 10).await.expect("a store").expect("shared").granted }
    }))
    .await;
    assert_eq!(took.iter().sum::<u32>(), 10);
    let handful = stores[0].take_permits("another", 25, 3_600_000_000, 10).await.expect("a store").expect("shared");
    assert_eq!(handful.granted, 10, "what there is");
}
