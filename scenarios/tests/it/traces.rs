//! One trace from a caller's request through the run and its steps to the webhook that is told of it, and the log beside it.

use crate::collector::{Collector, Span};
use crate::product::Product;
use crate::receiver::Receiver;
use crate::tree;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn spec(dir: &Path) -> Value {
    json!({"name": "traced", "source": {"type": "static", "paths": {"web_root": dir.join("source")}},
        "destination": {"type": "static", "paths": {"web_root": dir.join("to")}}, "safety": {"backup_before": false}})
}

async fn post_as_part_of(product: &Product, traceparent: &str, path: &str, body: Value) {
    let sent = product.http.post(product.url(path)).header("traceparent", traceparent).header("x-request-id", "req-of-the-trace").json(&body).send();
    let answer = sent.await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.expect("a body"));
}

async fn created(product: &Product, dir: &Path) -> String {
    let (status, made) = product.post("/migrations", spec(dir)).await;
    assert_eq!(status, 201, "{made:#}");
    made["id"].as_str().expect("an id").to_owned()
}

/// The span with that name, of the caller's trace.
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans
        .iter()
        .find(|s| s.trace == TRACE && s.name == name)
        .unwrap_or_else(|| panic!("no span '{name}' in {:#?}", spans.iter().map(|s| &s.name).collect::<Vec<_>>()))
}

fn log(product: &Product) -> Vec<Value> {
    let text = std::fs::read_to_string(product.data.join("server.log")).expect("the log");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_from_the_request_to_the_webhook() {
    let dir = tempfile::tempdir().expect("a directory");
    tree::make(&dir.path().join("source"), 20);
    let (collector, receiver) = (Collector::start().await, Receiver::start().await);
    let more = ["--otlp-endpoint", &collector.url, "--allow-private-webhooks", "--log-format", "json"];
    let mut product = Product::start_with(&dir.path().join("data"), &[dir.path()], &more).await;
    let (status, _) = product.post("/webhooks", json!({"name": "traced", "url": receiver.url, "events": ["migration.completed"]})).await;
    assert_eq!(status, 201);
    let id = created(&product, dir.path()).await;
    post_as_part_of(&product, CALLER, &format!("/migrations/{id}/start?skip_validation=false"), json!({})).await;
    assert_eq!(product.settle(&id).await["status"], "completed");
    let told = receiver.wait(|seen| seen.iter().any(|s| s.event() == "migration.completed")).await;
    product.end();
    let spans = collector.wait(|spans| spans.iter().any(|s| s.name == "deliver migration.completed")).await;

    let (request, run) = (named(&spans, "POST /migrations/{session_id}/start"), named(&spans, "run application"));
    assert_eq!((request.parent.as_str(), request.kind, request.service.as_str()), ("00f067aa0ba902b7", 2, "migration-assistant"));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/migrations/{session_id}/start"),
        ("url.path", format!("/migrations/{id}/start").as_str()),
        ("http.response.status_code", "200"),
        ("migration_assistant.tenant", "default"),
        ("migration_assistant.request.id", "req-of-the-trace"),
    ] {
        assert_eq!(request.says(name), value, "{name}");
    }
    assert_eq!((&run.parent, run.says("migration_assistant.migration.id"), run.says("migration_assistant.outcome")), (&request.id, id.as_str(), "completed"));
    let (_, view) = product_steps(&spans, run);
    assert!(view.contains("validate") && view.len() > 3, "{view:?}");
    let delivery = named(&spans, "deliver migration.completed");
    assert_eq!((&delivery.parent, delivery.kind, delivery.says("http.response.status_code")), (&request.id, 3, "200"));
    let sent = told.iter().find(|s| s.event() == "migration.completed").expect("told");
    assert_eq!(sent.header("traceparent"), format!("00-{TRACE}-{}-01", delivery.id));
    assert!(spans.iter().all(|s| s.status != 2), "nothing failed");
    assert!(spans.iter().all(|s| !s.name.contains("/livez") && !s.name.contains("/health")), "probes are no traces");

    let lines = log(&product);
    let answered = lines.iter().find(|l| l["request_id"] == "req-of-the-trace" && l["message"] == "answered").expect("the request's line");
    assert_eq!((&answered["level"], &answered["trace_id"], &answered["span_id"]), (&json!("INFO"), &json!(TRACE), &json!(request.id)));
    assert_eq!((&answered["method"], &answered["route"], &answered["status"]), (&json!("POST"), &json!("/migrations/{session_id}/start"), &json!(200)));
    assert!(answered["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0) && answered["tenant"] == "default", "{answered:#}");
    let of_run: Vec<&Value> = lines.iter().filter(|l| l["target"] == "run").collect();
    assert!(of_run.iter().all(|l| l["migration_id"] == json!(id) && l["trace_id"] == TRACE && l["tenant"] == "default"), "{of_run:#?}");
    assert!(of_run.iter().any(|l| l["kind"] == "step.done" && l["step"] == "validate"), "{of_run:#?}");
}

/// The steps below a run, whose outcome is told.
fn product_steps<'a>(spans: &'a [Span], run: &Span) -> (Vec<&'a Span>, BTreeSet<&'a str>) {
    let steps: Vec<&Span> = spans.iter().filter(|s| s.parent == run.id).collect();
    assert!(steps.iter().all(|s| s.trace == run.trace && s.says("migration_assistant.outcome") == "done"), "{steps:#?}");
    let names = steps.iter().map(|s| s.says("migration_assistant.step")).collect();
    (steps, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_finds_its_trace_again_after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    tree::make(&dir.path().join("source"), 20);
    let collector = Collector::start().await;
    let mut product = Product::start_with(&dir.path().join("data"), &[dir.path()], &["--otlp-endpoint", &collector.url]).await;
    let id = created(&product, dir.path()).await;
    let at = jiff::Timestamp::now() + Duration::from_secs(2);
    post_as_part_of(&product, CALLER, &format!("/migrations/{id}/schedule"), json!({"scheduled_time": at.to_string(), "auto_start": true})).await;
    product.kill();
    product.restart().await;
    let status = product.settle(&id).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    product.end();
    let spans = collector.wait(|spans| spans.iter().any(|s| s.name == "run application")).await;
    let run = named(&spans, "run application");
    assert_eq!(run.says("migration_assistant.migration.id"), id);
    assert!(product_steps(&spans, run).1.contains("validate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_nothing_but_its_traces() {
    let dir = tempfile::tempdir().expect("a directory");
    let away = format!("http://127.0.0.1:{}", crate::product::free_port());
    let mut product = Product::start_with(&dir.path().join("data"), &[], &["--otlp-endpoint", &away, "--log-format", "json"]).await;
    for _ in 0..50 {
        assert_eq!(product.get("/migrations").await.0, 200);
    }
    product.end();
    let told: Vec<Value> = log(&product).into_iter().filter(|l| l["message"].as_str().is_some_and(|m| m.contains("did not reach the collector"))).collect();
    assert_eq!((told.len(), &told[0]["level"]), (1, &json!("WARN")), "{told:#?}");
}
