//! Probes and metrics.

use super::bench::Bench;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

#[tokio::test]
async fn a_server_that_is_about_to_end_is_alive_but_not_ready() {
    let bench = Bench::new().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(bench.get(path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(bench.get("/readyz").await.json["status"], "ready");
    bench.control.stand_down();
    let not = bench.get("/readyz").await;
    assert_eq!((not.status, &not.json["reason"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("this server is shutting down")));
    assert_eq!(bench.get("/livez").await.json["status"], "alive");
    bench.created().await;
}

#[tokio::test]
async fn the_numbers_are_those_of_what_happened() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.ledger("files", 2, 500, 1).await;
    hands.begin(0).await;
    hands.done(0, serde_json::json!({})).await;
    bench.get("/migrations/none").await;
    bench.get("/no-such-path").await;
    let answer = bench.get("/metrics").await;
    assert_eq!((answer.status, answer.headers[header::CONTENT_TYPE].to_str().expect("text")), (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "migration_assistant_migrations{state=\"running\"} 1",
        "migration_assistant_migrations{state=\"failed\"} 0",
        "migration_assistant_moved_bytes 500",
        "migration_assistant_step_duration_seconds_count{step=\"validate\"} 1",
        "migration_assistant_http_requests_total{method=\"POST\",route=\"/migrations\",status=\"201\"} 1",
        "migration_assistant_http_requests_total{method=\"GET\",route=\"/migrations/{session_id}\",status=\"404\"} 1",
        "migration_assistant_http_requests_total{method=\"*\",route=\"other\",status=\"404\"} 1",
        "migration_assistant_http_request_duration_seconds_count{method=\"POST\",route=\"/migrations\"} 1",
    ] {
        assert!(answer.text.lines().any(|l| l == line), "{line} is missing in\n{}", answer.text);
    }
    well_formed(&answer.text);
}

/// Every line is a comment or a name with labels and a number; every family is declared once and before its lines.
fn well_formed(text: &str) {
    let mut families = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(rest.split(' ').next().expect("a name").to_owned()), "{line} twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a series and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().expect("a name");
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).filter(|b| families.contains(*b))).unwrap_or(name);
        assert!(families.contains(base), "{line} belongs to no family");
    }
}

#[tokio::test]
async fn an_address_of_their_own_needs_no_log_in() {
    let bench = Bench::new().await;
    let router = api::operations_router(bench.control.clone());
    for (path, status) in [("/metrics", 200), ("/livez", 200), ("/readyz", 200), ("/migrations", 404)] {
        let answer = router.clone().oneshot(Request::get(path).body(Body::empty()).expect("a request")).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(path != "/metrics" || body.starts_with(b"# HELP migration_assistant_"));
    }
}
