//! Where a target's cloud is asked, as it is given, shown and kept.

use super::bench::Bench;
use axum::http::StatusCode;
use couriers::Policy;
use serde_json::{Value, json};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

fn migration(cloud_type: &str, cloud: Value) -> Value {
    let credentials = json!({"username": "testuser", "password": "testpass"});
    let server = |ip: &str| json!({"ip": ip, "credentials": credentials, "storage": {"mount_points": [{"mount_point_name": "/data", "total_size": 1000}]}});
    json!({
        "selected_mount_points": [{"mount_point_name": "/data", "total_size": 1000}],
        "source": server("192.168.1.1"),
        "migration_target": {"cloud_type": cloud_type, "cloud_credentials": credentials, "cloud": cloud, "target_vm": server("192.168.1.2")},
    })
}

#[tokio::test]
async fn it_is_shown_without_its_token_and_kept_sealed() {
    let bench = Bench::new().await;
    let cloud = json!({"endpoint": "https://ec2.example.com", "region": "eu-central-1", "session_token": "token-canary", "ca": PEM});
    let made = bench.post("/migrations", &migration("aws", cloud)).await;
    let shown = json!({"endpoint": "https://ec2.example.com", "region": "eu-central-1", "session_token": "********", "ca": PEM});
    assert_eq!((made.status, &made.json["migration_target"]["cloud"]), (StatusCode::CREATED, &shown), "{}", made.text);
    assert!(!String::from_utf8_lossy(&bench.stored_bytes()).contains("token-canary"));
    let plain = bench.post("/migrations", &migration("vcloud", json!({}))).await;
    assert_eq!(plain.status, StatusCode::CREATED, "{}", plain.text);
}

#[tokio::test]
async fn all_bad_fields_come_back_together() {
    let bench = Bench::new().await;
    let at = |field: &str| format!("migration_target.cloud.{field}");
    let bad = json!({"endpoint": "http://x", "region": "", "session_token": "a b", "ca": "no", "regoin": "x"});
    let answer = bench.post("/migrations", &migration("aws", bad)).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (StatusCode::BAD_REQUEST, ["endpoint", "region", "session_token", "ca", "regoin"].map(at).iter().map(String::as_str).collect())
    );
    let mut key = migration("aws", json!({"region": "eu-central-1"}));
    key["migration_target"]["cloud_credentials"]["username"] = json!("a b");
    assert_eq!(bench.post("/migrations", &key).await.fields(), ["migration_target.cloud_credentials.username"]);
    let answer = bench.post("/migrations", &migration("vsphere", json!({"region": "r", "endpoint": 5}))).await;
    assert_eq!(answer.fields(), [at("endpoint"), at("region")]);
    let answer = bench.post("/migrations", &migration("aws", json!("eu-central-1"))).await;
    assert_eq!(answer.fields(), ["migration_target.cloud"]);
}

#[tokio::test]
async fn addresses_inside_are_for_the_operator_to_allow() {
    let inside = ["https://127.0.0.1:8443", "https://10.0.0.5/sdk", "https://localhost", "https://[::1]", "https://169.254.169.254"];
    let (closed, open) = (Bench::new().await, Bench::telling(Policy { allow_private: true }, None).await);
    for endpoint in inside {
        let body = migration("vsphere", json!({"endpoint": endpoint}));
        let refused = closed.post("/migrations", &body).await;
        assert_eq!((refused.status, refused.fields()), (StatusCode::BAD_REQUEST, vec!["migration_target.cloud.endpoint"]), "{endpoint}: {}", refused.text);
        let expected = if endpoint.contains("169.254") { StatusCode::BAD_REQUEST } else { StatusCode::CREATED };
        assert_eq!(open.post("/migrations", &body).await.status, expected, "{endpoint}");
    }
}
