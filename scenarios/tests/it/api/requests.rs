//! What every request has in common: ids, envelope, slashes, methods, content types, limits, query parameters.

use super::bench::{Answer, Bench, body};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::json;

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

fn assert_envelope(answer: &Answer, status: StatusCode, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
    let error = &answer.json["error"];
    assert!(!error["message"].as_str().expect("a message").is_empty());
    assert!(error["details"].is_object());
    let timestamp = error["timestamp"].as_str().expect("a timestamp");
    assert_eq!((timestamp.len(), timestamp.as_bytes()[19]), (26, b'.'), "{timestamp}");
    assert_eq!(answer.headers["x-request-id"], error["request_id"].as_str().expect("an id"));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn every_error_has_the_envelope() {
    let bench = Bench::new().await;
    assert_envelope(&bench.get("/nothing/here").await, StatusCode::NOT_FOUND, "NOT_FOUND");
    assert_envelope(&bench.get("/migrations/none/status").await, StatusCode::NOT_FOUND, "MIGRATION_NOT_FOUND");
    assert_envelope(&bench.get("/backups/backup-20240826-143022").await, StatusCode::NOT_FOUND, "BACKUP_NOT_FOUND");
    assert_envelope(&bench.get("/backups/..%2f..%2fetc").await, StatusCode::NOT_FOUND, "BACKUP_NOT_FOUND");
    assert_envelope(&bench.get("/migrations?limit=x").await, StatusCode::BAD_REQUEST, "INVALID_PARAMETERS");
    assert_envelope(&bench.get("/migrations?limit=%ff").await, StatusCode::BAD_REQUEST, "INVALID_PARAMETERS");
    let wrong = bench.call(Method::PUT, "/migrations/", Some(&json!({}))).await;
    assert_envelope(&wrong, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
    let allow = wrong.headers["allow"].to_str().expect("text");
    assert!(allow.contains("GET") && allow.contains("POST") && !allow.contains("PUT"), "{allow}");
    let not_found = bench.get("/migrations/%F0%9F%A6%80/status").await;
    assert_eq!(not_found.json["error"]["details"]["session_id"], "🦀");
}

#[tokio::test]
async fn request_ids_are_kept_when_sane_and_made_otherwise() {
    let bench = Bench::new().await;
    let with = |id: &'static str| bench.send(request(Method::GET, "/health").header("X-Request-ID", id).body(Body::empty()).expect("a request"));
    assert_eq!(with("my-own.id:1").await.headers["x-request-id"], "my-own.id:1");
    for bad in ["has blanks", "<x>", ""] {
        assert!(with(bad).await.headers["x-request-id"].to_str().expect("text").starts_with("req-"), "{bad:?}");
    }
    let (first, second) = (bench.get("/").await, bench.get("/").await);
    assert_ne!(first.headers["x-request-id"], second.headers["x-request-id"]);
}

#[tokio::test]
async fn paths_answer_with_and_without_their_slash() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    for path in ["/health", "/system/types", "/migrations", "/backups", "/docs", "/swagger", "/redoc", "/console", "/openapi.json"] {
        for slash in ["", "/"] {
            assert_eq!(bench.get(&format!("{path}{slash}")).await.status, StatusCode::OK, "{path}{slash}");
        }
    }
    for what in ["", "/status", "/logs", "/metrics", "/events"] {
        for slash in ["", "/"] {
            assert_eq!(bench.get(&format!("/migrations/{id}{what}{slash}")).await.status, StatusCode::OK, "{what}{slash}");
        }
    }
    assert_eq!(bench.post("/migrations", &body()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn only_json_within_the_limit_is_read() {
    let bench = Bench::new().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        let answer =
            bench.send(request(Method::POST, "/migrations").header("content-type", kind).body(Body::from(body().to_string())).expect("a request")).await;
        assert_envelope(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE");
    }
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(2 << 20));
    let declared = request(Method::POST, "/migrations").header("content-type", "application/json").header("content-length", large.len());
    assert_envelope(&bench.send(declared.body(Body::from(large.clone())).expect("a request")).await, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE");
    let pieces = futures::stream::iter(large.into_bytes().chunks(4096).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>());
    let streamed = request(Method::POST, "/migrations").header("content-type", "application/json").body(Body::from_stream(pieces)).expect("a request");
    assert_envelope(&bench.send(streamed).await, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE");
    assert_eq!(bench.get("/migrations/").await.json, json!([]));
}

#[tokio::test]
async fn unknown_and_bad_query_parameters_are_named_together() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    let logs = bench.get(&format!("/migrations/{id}/logs?level=LOUD&limit=0&since=soon&tail=1")).await;
    assert_envelope(&logs, StatusCode::BAD_REQUEST, "INVALID_PARAMETERS");
    assert_eq!(logs.fields(), ["level", "limit", "since", "tail"]);
    for (path, field) in [
        ("/migrations?limit=1001".to_owned(), "limit"),
        ("/migrations?status_filter=done".to_owned(), "status_filter"),
        ("/migrations?offset=-1".to_owned(), "offset"),
        ("/migrations?limit=1&limit=2".to_owned(), "limit"),
        (format!("/migrations/{id}/events?wait=31"), "wait"),
        (format!("/migrations/{id}/events?after=x"), "after"),
        (format!("/migrations/{id}/status?verbose=1"), "verbose"),
        (format!("/migrations/{id}/report?format=pdf"), "format"),
        ("/health?x=1".to_owned(), "x"),
    ] {
        let answer = bench.get(&path).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec![field]), "{path}");
    }
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let bench = Bench::new().await;
    for path in ["/docs", "/redoc", "/console"] {
        let page = bench.get(path).await;
        assert!(page.headers["content-type"].to_str().expect("text").starts_with("text/html"));
        assert!(page.headers["content-security-policy"].to_str().expect("text").contains("default-src 'none'"));
        let addresses: Vec<&str> = page.text.split(['"', '\'']).filter(|s| s.starts_with("http") || s.starts_with("//")).collect();
        assert!(addresses.is_empty(), "{path}: {addresses:?}");
        for asset in page.text.split('"').filter(|s| s.starts_with("/docs/assets/") || s.starts_with("/console/")) {
            assert_eq!(bench.get(asset).await.status, StatusCode::OK, "{asset}");
        }
    }
    let browser =
        bench.send(request(Method::GET, "/").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").body(Body::empty()).expect("a request")).await;
    assert_eq!((browser.status, browser.headers["location"].to_str().expect("text")), (StatusCode::SEE_OTHER, "/console"));
    let program = bench.send(request(Method::GET, "/").header("accept", "*/*").body(Body::empty()).expect("a request")).await;
    assert_eq!(program.status, StatusCode::OK);
}
