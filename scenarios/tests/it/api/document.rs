//! Document 3's own requests and the shape of its own answers, word for word.

use super::bench::{Bench, body};
use axum::http::StatusCode;
use engine::journal::Level;
use serde_json::{Value, json};

/// The body of "Create Migration".
pub fn sample() -> Value {
    json!({
        "name": "WordPress to AWS Migration",
        "description": "Migrating company website to AWS infrastructure",
        "source": {
            "type": "wordpress", "host": "old-server.com", "port": 22, "username": "user", "password": "secure_password",
            "paths": {"web_root": "/var/www/html", "uploads": "/var/www/html/wp-content/uploads"},
            "database": {"type": "mysql", "host": "old-server.com", "port": 3306, "username": "wp_user", "password": "wp_password", "database": "wordpress_db"}
        },
        "destination": {
            "type": "aws-s3", "region": "us-east-1", "bucket": "my-new-website",
            "database": {"type": "aurora-mysql", "cluster": "my-website-cluster", "username": "admin", "password": "admin_password"}
        },
        "transfer": {"method": "hybrid_sync", "options": {"compression": true, "parallel_transfers": 4, "chunk_size": "10MB", "resume_on_failure": true, "verify_checksums": true}},
        "safety": {"backup_before": true, "backup_retention_days": 30, "rollback_on_failure": true, "verify_after": true, "maintenance_mode": true},
        "notifications": {
            "email": {"enabled": true, "recipients": ["admin@example.com"]},
            "webhook": {"enabled": true, "url": "https://api.example.com/migration-webhook"}
        }
    })
}

/// `2024-08-26T14:30:22.123456`: 26 characters, no zone.
pub fn assert_timestamp(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no timestamp"));
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    assert!(text.len() == 26 && digits == 20 && text.as_bytes()[10] == b'T' && text.as_bytes()[19] == b'.', "{text}");
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn root_and_health_and_types() {
    let bench = Bench::new().await;
    let root = bench.get("/").await.json;
    assert_eq!(root["name"], "Web & Database Migration Assistant API");
    assert_eq!((&root["docs_url"], &root["redoc_url"], &root["health_url"]), (&json!("/docs"), &json!("/redoc"), &json!("/health")));
    assert_eq!(root["features"].as_array().expect("a list").len(), 7);
    let health = bench.get("/health").await;
    assert_eq!(health.status, StatusCode::OK, "{}", health.text);
    assert_eq!((&health.json["status"], &health.json["service"]), (&json!("healthy"), &json!("Migration Assistant API")));
    assert_timestamp(&health.json["timestamp"]);
    assert_eq!((&health.json["components"]["orchestrator"], &health.json["components"]["validation_engine"]), (&json!(true), &json!(true)));
    let types = bench.get("/system/types").await.json;
    let has = |list: &str, words: &[&str]| words.iter().all(|w| types[list].as_array().expect("a list").contains(&json!(w)));
    assert!(has("system_types", &["wordpress", "drupal", "django", "static", "mysql", "postgresql", "mongodb", "aws-s3", "gcp-gcs", "azure-blob"]));
    assert!(has("transfer_methods", &["ssh", "ftp", "rsync", "s3_sync", "gcs_sync", "azure_sync", "hybrid_sync", "docker_cp"]));
    assert!(has("database_types", &["mysql", "postgresql", "mongodb", "redis", "sqlite", "aurora-mysql", "aurora-postgres", "cloud-sql"]));
}

#[tokio::test]
async fn create_list_and_get() {
    let bench = Bench::new().await;
    let made = bench.post("/migrations/", &sample()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["session_id"].as_str().expect("an id").to_owned();
    assert_eq!(made.headers["location"], format!("/migrations/{id}"));
    assert_eq!((&made.json["status"], &made.json["message"]), (&json!("created"), &json!("Migration session created successfully")));
    assert_timestamp(&made.json["created_at"]);
    let short = json!({"name": "WordPress Migration", "source": {"type": "wordpress", "host": "old-server.com"}, "destination": {"type": "aws-s3", "bucket": "new-bucket"}});
    assert_eq!(bench.post("/migrations", &short).await.status, StatusCode::CREATED, "the SDK sample");

    let listed = bench.get("/migrations/?status_filter=pending&limit=10").await.json;
    let (newest, oldest) = (&listed[0], &listed[1]);
    assert_eq!((&newest["name"], &oldest["session_id"]), (&json!("WordPress Migration"), &json!(id)));
    for field in ["session_id", "name", "status", "created_at", "start_time", "end_time", "source_type", "destination_type", "progress"] {
        assert!(keys(oldest).contains(&field), "{field} is missing");
    }
    assert_eq!((&oldest["source_type"], &oldest["destination_type"], &oldest["progress"]), (&json!("wordpress"), &json!("aws-s3"), &json!(0.0)));
    assert_eq!(bench.get("/migrations/?status_filter=running").await.json, json!([]));
    assert_eq!(bench.get("/migrations/?limit=1&offset=1").await.json[0]["session_id"], json!(id));

    let got = bench.get(&format!("/migrations/{id}")).await;
    assert_eq!(got.json["configuration"]["source"]["password"], "********");
    assert_eq!(got.json["configuration"]["source"]["database"]["username"], "wp_user");
    for secret in ["secure_password", "wp_password", "admin_password"] {
        assert!(!got.text.contains(secret), "{secret} is shown");
    }
}

#[tokio::test]
async fn status_of_a_running_migration() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    let steps_total = bench.get(&hands.path("status")).await.json["steps_total"].as_u64().expect("a number");
    for index in 0..4 {
        hands.begin(index).await;
        hands.done(index, json!({})).await;
    }
    hands.begin(4).await;
    hands.ledger("files", 4, 1 << 30, 3).await;
    hands.sample("files", 2_411_724.8, 3 << 30).await;
    let status = bench.get(&hands.path("status")).await.json;
    assert_eq!((&status["session_id"], &status["id"]), (&json!(hands.id), &json!(hands.id)));
    assert_eq!((&status["status"], &status["error"], &status["end_time"]), (&json!("running"), &Value::Null, &Value::Null));
    assert_timestamp(&status["start_time"]);
    assert_eq!(status["steps_completed"], 4);
    let progress = status["progress"].as_f64().expect("percent");
    assert!((45.0..55.0).contains(&progress), "three quarters of the copying, and no verification yet: {progress}");
    assert!(metrics_remaining(&status) > 0.0);
    assert_eq!(status["current_step"], "Transferring files");
    assert!(status["duration"].as_f64().expect("seconds") >= 0.0);
    let metrics = &status["performance_metrics"];
    assert_eq!((&metrics["transfer_rate_current"], &metrics["transfer_rate_average"]), (&json!("2.3 MB/s"), &json!("1.1 MB/s")));
    assert_eq!((&metrics["files_transferred"], &metrics["files_total"]), (&json!(30), &json!(40)));
    assert_eq!((&metrics["data_transferred"], &metrics["data_total"]), (&json!("3.0 GB"), &json!("4.0 GB")));
    assert_eq!((&metrics["data_transferred_bytes"], &metrics["data_total_bytes"]), (&json!(3u64 << 30), &json!(4u64 << 30)));
    let operation = json!({"type": "file_transfer", "source": "/var/www/a/", "destination": "s3://new-site/a/", "progress": 78.2});
    assert_eq!(status["current_operation"], operation);
    assert_eq!(status["steps"].as_array().expect("a list").len() as u64, steps_total);
}

fn metrics_remaining(status: &Value) -> f64 {
    status["performance_metrics"]["estimated_remaining"].as_f64().expect("seconds")
}

#[tokio::test]
async fn logs_filter_and_page() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.log(Level::Info, "Transferred image.jpg (2.1MB)", json!({"file_size": 2_097_152})).await;
    hands.log(Level::Warning, "Retrying transfer for large-file.mp4 (attempt 2/3)", json!({"retry_count": 2})).await;
    let answer = bench.get(&hands.path("logs")).await.json;
    assert_eq!(answer["session_id"], json!(hands.id));
    let newest = &answer["logs"][0];
    assert_eq!((&newest["level"], &newest["component"], &newest["details"]["retry_count"]), (&json!("WARNING"), &json!("file_transfer"), &json!(2)));
    assert_timestamp(&newest["timestamp"]);
    assert_eq!(answer["total_logs"].as_u64().expect("a number") as usize, answer["logs"].as_array().expect("a list").len());
    assert_eq!(answer["has_more"], false);
    let warnings = bench.get(&hands.path("logs?level=WARNING")).await.json;
    assert_eq!((warnings["logs"].as_array().expect("a list").len(), &warnings["total_logs"]), (1, &json!(1)));
    let first = bench.get(&hands.path("logs?limit=1")).await.json;
    assert_eq!((first["logs"].as_array().expect("a list").len(), &first["has_more"]), (1, &json!(true)));
    let since = newest["timestamp"].as_str().expect("text");
    assert!(bench.get(&hands.path(&format!("logs?since={since}"))).await.json["total_logs"].as_u64() >= Some(1));
    assert_eq!(bench.get(&hands.path("logs?since=2999-01-01T00:00:00Z")).await.json["total_logs"], 0);
}

#[tokio::test]
async fn metrics_have_every_section() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.begin(0).await;
    hands.log(Level::Warning, "careful", Value::Null).await;
    hands.ledger("tables", 2, 1 << 20, 1).await;
    hands.ledger("files", 2, 1 << 20, 2).await;
    hands.sample("validate", 1_048_576.0, 3 << 20).await;
    let metrics = bench.get(&hands.path("metrics")).await.json;
    let metrics = &metrics["metrics"];
    assert_eq!((&metrics["transfer"]["bytes_transferred"], &metrics["transfer"]["bytes_total"]), (&json!(3 << 20), &json!(4 << 20)));
    assert_eq!((&metrics["transfer"]["files_transferred"], &metrics["transfer"]["rate_peak"]), (&json!(20), &json!("2.0 MB/s")));
    assert_eq!((&metrics["database"]["rows_migrated"], &metrics["database"]["rows_total"]), (&json!(10), &json!(20)));
    assert_eq!(metrics["overall"]["estimated_remaining"], 6.0, "1 MiB left to copy and 4 MiB to verify, which counts half, at half a MiB per second");
    assert_eq!(metrics["errors"], json!({"total_errors": 0, "total_warnings": 1, "retry_count": 5}));
    assert!(metrics["system"]["memory_usage_bytes"].as_u64() > Some(1 << 20));
    assert!(metrics["system"]["cpu_usage"].as_f64().is_some());
    assert!(metrics["system"]["disk_usage"].is_string());
}

#[tokio::test]
async fn validate_answers_with_what_was_found() {
    let bench = Bench::new().await;
    let answer = bench.post("/validate/", &body()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let found = &answer.json;
    assert_eq!((&found["valid"], &found["can_proceed"], &found["checks_failed"]), (&json!(false), &json!(false), &json!(2)));
    let performed = found["checks"].as_array().expect("a list").iter().filter(|c| c["outcome"] != "skipped").count();
    assert_eq!(found["checks_performed"].as_u64().expect("a number") as usize, performed);
    assert!(found["warnings"].is_array() && found["errors"].is_array() && found["estimated_duration"].is_string());
    assert!(found["errors"][0].as_str().expect("text").starts_with("source.host: could not connect to"), "{}", answer.text);
}
