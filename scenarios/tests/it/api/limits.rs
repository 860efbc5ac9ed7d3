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
    assert_eq!(never.json, json!({"tenant_id": "default", "running_migrations": null, "stored_backups": null, "requests_per_second": null, "version": 0}));
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
