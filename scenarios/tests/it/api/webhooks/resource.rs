//! The resource: document 3's body, what is refused, secrets, the test button.

use super::{bench, later, signed, tell, webhook};
use crate::api::bench::{Answer, Bench, body};
use crate::receiver::{Answering, Receiver};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

/// Document 3's body, word for word.
fn sample() -> Value {
    json!({
        "name": "Migration Notifications",
        "url": "https://api.example.com/migration-webhook",
        "events": ["migration.started", "migration.completed", "migration.failed", "migration.progress"],
        "headers": {"Authorization": "Bearer webhook-token", "Content-Type": "application/json"},
        "retry_policy": {"max_retries": 3, "retry_delay": 5}
    })
}
#[tokio::test]
async fn the_documents_webhook() {
    let bench = Bench::new().await;
    let made = bench.post("/webhooks/", &sample()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["id"].as_str().expect("an id");
    assert_eq!(made.headers["location"], format!("/webhooks/{id}"));
    assert_eq!(made.headers["etag"], "\"1\"");
    assert!(made.json["secret"].as_str().expect("a secret").starts_with("whsec_"));
    for (field, expected) in [
        ("name", json!("Migration Notifications")),
        ("active", json!(true)),
        ("retry_policy", sample()["retry_policy"].clone()),
        ("headers", json!({"Authorization": "********", "Content-Type": "********"})),
    ] {
        assert_eq!(made.json[field], expected);
    }
    assert_eq!(made.json["events"].as_array().expect("a list").len(), 4);
    let mut shown = made.json.clone();
    shown.as_object_mut().expect("an object").remove("secret");
    assert_eq!(bench.get(&format!("/webhooks/{id}/")).await.json, shown);
    assert_eq!(bench.get("/webhooks").await.json, json!([shown]));
    assert!(!bench.get("/webhooks").await.text.contains("webhook-token"));
    let changed = bench
        .call(
            Method::PUT,
            &format!("/webhooks/{id}"),
            Some(&json!({"name": "Other", "url": "https://api.example.com/2", "events": ["*"], "headers": {"Authorization": "********"}, "active": false})),
        )
        .await;
    assert_eq!((changed.status, &changed.json["active"], &changed.json["events"]), (StatusCode::OK, &json!(false), &json!(["*"])), "{}", changed.text);
    assert_eq!(bench.call(Method::DELETE, &format!("/webhooks/{id}"), None).await.json, json!({"id": id, "status": "deleted"}));
    assert_eq!(bench.get(&format!("/webhooks/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let bench = Bench::new().await;
    let with = |field: &str, value: Value| {
        let mut body = sample();
        body[field] = value;
        body
    };
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["name", "url", "events"]),
        (with("events", json!(["migration.done", "*", "migration"])), &["events[0]", "events[2]"]),
        (with("events", json!([])), &["events"]),
        (
            with(
                "headers",
                json!({"Host": "x", "webhook-signature": "x", "Content-Length": "1", "a b": "x", "X-A": 1, "X-B": "a\nb", "X-C": "ü", "X-D": "********"}),
            ),
            &["headers.Content-Length", "headers.Host", "headers.X-A", "headers.X-B", "headers.X-C", "headers.X-D", "headers.a b", "headers.webhook-signature"],
        ),
        (with("headers", json!({"Content-Type": "text/plain", "x-a": "1", "X-A": "2"})), &["headers.Content-Type", "headers.x-a"]),
        (
            with("retry_policy", json!({"max_retries": 21, "retry_delay": 0, "max_retry": 1})),
            &["retry_policy.max_retries", "retry_policy.retry_delay", "retry_policy.max_retry"],
        ),
        (with("active", json!("yes")), &["active"]),
        (with("secret", json!("mine")), &["secret"]),
    ];
    for (body, expected) in cases {
        let answer = bench.post("/webhooks", &body).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, expected.to_vec()), "{}", answer.text);
    }
    for url in [
        "http://127.0.0.1/",
        "http://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest",
        "ftp://example.com/",
        "https://u:p@example.com/",
        "http://localhost:8080/",
        "nonsense",
    ] {
        let answer = bench.post("/webhooks", &with("url", json!(url))).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec!["url"]), "{url}");
    }
    let mut migration = body();
    migration["notifications"] = json!({"webhook": {"url": "http://10.0.0.1/"}, "slack": {"webhook_url": "http://[::1]/"}});
    assert_eq!(bench.post("/migrations", &migration).await.fields(), ["notifications.webhook.url", "notifications.slack.webhook_url"]);
}

#[tokio::test]
async fn a_changed_host_gets_no_stored_header_and_a_lost_update_is_refused() {
    let bench = Bench::new().await;
    let made = bench.post("/webhooks", &sample()).await;
    let at = made.headers["location"].to_str().expect("text");
    let mut elsewhere = sample();
    (elsewhere["url"], elsewhere["headers"]) = (json!("https://other.example.com/"), json!({"Authorization": "********"}));
    let answer = bench.call(Method::PUT, at, Some(&elsewhere)).await;
    assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec!["headers.Authorization"]), "{}", answer.text);
    let put = |tag: &'static str| {
        bench.send(
            Request::put(at).header("if-match", tag).header("content-type", "application/json").body(Body::from(sample().to_string())).expect("a request"),
        )
    };
    assert_eq!(put("\"1\"").await.status, StatusCode::OK);
    assert_eq!(put("\"1\"").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put("\"2\"").await.headers["etag"], "\"3\"");
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_old_one_for_its_grace() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, old) = webhook(&bench, &receiver, &["migration.created"]).await;
    let rotated = bench.post(&format!("{at}/rotate-secret"), &json!({"grace_seconds": 3600})).await;
    let new = rotated.json["secret"].as_str().expect("a secret").to_owned();
    assert!(rotated.json["previous_secret_until"].is_string() && new != old);
    bench.created().await;
    tell(&bench, None).await;
    bench.created().await;
    tell(&bench, Some(later(3601))).await;
    let seen = receiver.take();
    assert!(signed(&seen[0], &old) && signed(&seen[0], &new), "both");
    assert!(!signed(&seen[1], &old) && signed(&seen[1], &new), "the new one alone");
    let at_once = bench.post(&format!("{at}/rotate-secret"), &json!({"grace_seconds": 0})).await;
    assert_eq!(at_once.json["previous_secret_until"], Value::Null);
    assert_eq!(bench.post(&format!("{at}/rotate-secret"), &json!({"grace_seconds": -1, "x": 1})).await.fields(), ["grace_seconds", "x"]);
    assert!(!bench.get(&at).await.text.contains(&new));
}

#[tokio::test]
async fn a_test_is_really_sent() {
    let bench = bench().await;
    let receiver = Receiver::start().await;
    let (at, secret) = webhook(&bench, &receiver, &["*"]).await;
    receiver.answer([Answering::Status(200), Answering::Status(401)]);
    let test = |answer: Answer| (answer.json["success"].clone(), answer.json["status_code"].clone(), answer.json["response_excerpt"].clone());
    assert_eq!(test(bench.call(Method::POST, &format!("{at}/test"), None).await), (json!(true), json!(200), json!("thank you")));
    assert_eq!(test(bench.call(Method::POST, &format!("{at}/test"), None).await), (json!(false), json!(401), json!("thank you")));
    let seen = receiver.take();
    assert!(seen[0].event() == "webhook.test" && signed(&seen[0], &secret) && seen[0].header("authorization") == "Bearer canary-token");
    drop(receiver);
    let (strict, public) = (Bench::new().await, json!({"name": "n", "url": "https://nobody.invalid/hook", "events": ["*"]}));
    let at = strict.post("/webhooks", &public).await.headers["location"].to_str().expect("text").to_owned();
    let nobody = strict.call(Method::POST, &format!("{at}/test"), None).await;
    assert_eq!((nobody.status, &nobody.json["success"], &nobody.json["status_code"]), (StatusCode::OK, &json!(false), &Value::Null), "{}", nobody.text);
    assert!(nobody.json["error"].as_str().is_some_and(|e| e.contains("nobody.invalid")), "{}", nobody.text);
}
