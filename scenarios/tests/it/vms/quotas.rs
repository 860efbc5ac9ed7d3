//! Quotas for machines: asked when one is made, whoever makes it and however many at once.

use crate::api::bench::{Answer, Bench};
use axum::http::{Method, StatusCode};
use control::vms::{Holds, Setup};
use domain::decode::Problems;
use domain::vms::VmSpec;
use futures::future::join_all;
use ports::ErrorKind;
use ports::disks::VmHolds;
use ports::records::{Fields, RecordFilter, Records, SYSTEM, Write};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::product_database::ProductDatabase;
use testkit::rig;

async fn limited(quotas: &Value) -> Bench {
    let bench = Bench::new().await;
    let set = bench.call(Method::PUT, "/tenants/default/quotas", Some(quotas)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.text);
    bench
}

fn refused(answer: &Answer, quota: &str, limit: u64, used: u64) {
    assert_eq!((answer.status, answer.code()), (StatusCode::TOO_MANY_REQUESTS, "QUOTA_EXCEEDED"), "{}", answer.text);
    assert_eq!(answer.json["error"]["details"], json!({"quota": quota, "limit": limit, "used": used}));
}

#[tokio::test]
async fn of_many_at_once_as_many_are_made_as_may() {
    let bench = limited(&json!({"vms": 3})).await;
    let body = json!({"name": "n"});
    let answers = join_all((0..12).map(|_| bench.post("/vms", &body))).await;
    let made: Vec<&Answer> = answers.iter().filter(|a| a.status == StatusCode::CREATED).collect();
    assert_eq!(made.len(), 3);
    for answer in answers.iter().filter(|a| a.status != StatusCode::CREATED) {
        refused(answer, "vms", 3, 3);
    }
    assert_eq!(bench.get("/vms").await.json.as_array().expect("a list").len(), 3);
}

#[tokio::test]
async fn each_sum_has_its_limit() {
    let bench = limited(&json!({"vm_vcpus": 4, "vm_memory_mib": 1024, "vm_disk_gib": 10})).await;
    let made = bench.post("/vms", &json!({"name": "n", "vcpus": 3, "memory_mib": 600, "disk_gib": 8})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    refused(&bench.post("/vms", &json!({"name": "n", "vcpus": 2})).await, "vm_vcpus", 4, 3);
    refused(&bench.post("/vms", &json!({"name": "n", "memory_mib": 425})).await, "vm_memory_mib", 1024, 600);
    let full = bench.post("/vms", &json!({"name": "n", "memory_mib": 100, "disk_gib": 3})).await;
    refused(&full, "vm_disk_gib", 10, 8);
    assert!(full.json["error"]["message"].as_str().expect("words").contains("8 are used and 3 more would be"), "{}", full.text);
    let image = bench.root().join("a.qcow2");
    std::fs::write(&image, b"an image").expect("a file");
    let unknown = bench.post("/vms", &json!({"name": "n", "memory_mib": 100, "image": image})).await;
    assert_eq!((unknown.status, unknown.fields()), (StatusCode::BAD_REQUEST, vec!["disk_gib"]), "{}", unknown.text);
    let rest = bench.post("/vms", &json!({"name": "n", "memory_mib": 424, "disk_gib": 2, "image": image})).await;
    assert_eq!(rest.status, StatusCode::CREATED, "what is left is there to be used: {}", rest.text);
    let bad = bench.call(Method::PUT, "/tenants/default/quotas", Some(&json!({"vms": -1, "vm_vcpus": "x", "vm_disk": 1}))).await;
    assert_eq!(bad.fields(), ["vms", "vm_vcpus", "vm_disk"]);
}

/// Two servers on one PostgreSQL, and machines that migrations make.
#[tokio::test(flavor = "multi_thread")]
async fn servers_on_one_database_count_together() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "machines"), tempfile::tempdir().expect("a directory"));
    let (one, two) = (store::open(&database.url(), dir.path()).await.expect("a store"), store::open(&database.url(), dir.path()).await.expect("a store"));
    let stores: [Arc<dyn Records>; 2] = [one, two];
    let holds = stores.clone().map(|records| Arc::new(Holds::new(records, Setup { node: "n".to_owned(), ..Setup::default() })));
    let spec = VmSpec::decode(&json!({"name": "n"}), &mut Problems::default()).expect("a definition");
    let (spec, holds) = (&spec, &holds);
    // Who comes first differs from tenant to tenant.
    for tenant in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        stores[0].apply(vec![Write::insert(SYSTEM, "quota", tenant, Fields::body(json!({"vms": 5})))]).await.expect("a quota");
        let answers = join_all((0..16).map(|n| async move { holds[n % 2].make(tenant, &format!("{tenant}{n}"), "run", spec).await })).await;
        assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 5);
        let refused = answers.iter().filter_map(|a| a.as_ref().err());
        assert!(refused.clone().all(|e| e.kind == ErrorKind::NoSpace && e.reason.contains("5 virtual machines")), "{:?}", refused.collect::<Vec<_>>());
        let made = stores[1].list(tenant, "vm", &RecordFilter::default()).await.expect("machines");
        assert_eq!(made.len(), 5);
        let again = holds[0].make(tenant, &made[0].id, "run", spec).await;
        assert!(again.is_ok(), "what is there already asks for no more room: {again:?}");
    }
}
