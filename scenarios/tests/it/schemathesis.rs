//! The real server against the tool schemathesis, with all of its checks: what the OpenAPI document promises is what happens.
//!
//! `schemathesis/seed.py` makes what the operations work on, `hooks.py` and `bodies.py` tell the tool what a schema cannot say. More cases and
//! other ones: `MA_SCHEMATHESIS="-n 200 --seed 7"`.

use crate::product::Product;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Test cases per operation in the fuzzing phase, and where chance begins.
const USUAL: &str = "-n 3 --seed 1";

fn place() -> PathBuf {
    testkit::rig::workspace().join("scenarios/tests/it/schemathesis")
}

/// An API key of an administrator whom the test cases leave alone: with it gone, nothing would be tested any more.
async fn key(product: &Product) -> String {
    let password = "correct horse battery";
    let log = std::fs::read_to_string(product.data.join("server.log")).expect("the server's log");
    let printed = log.split('"').find(|word| word.starts_with("setup_")).expect("a setup token").to_owned();
    let (status, made) = product.post("/auth/setup", json!({"token": printed, "username": "keeper", "password": password})).await;
    assert_eq!(status, 201, "{made:#}");
    let (status, tokens) = product.post("/auth/token", json!({"username": "keeper", "password": password})).await;
    assert_eq!(status, 200, "{tokens:#}");
    let ask = product.http.post(product.url("/auth/api-keys")).bearer_auth(tokens["access_token"].as_str().expect("a token"));
    let made: Value = ask.json(&json!({"name": "schemathesis", "scopes": ["admin"]})).send().await.expect("an answer").json().await.expect("JSON");
    made["api_key"].as_str().expect("a key").to_owned()
}

/// The whole run: its exit, what it printed, and its report.
struct Run {
    good: bool,
    printed: String,
    report: Value,
}

fn run(base: &str, key: &str, dir: &Path) -> Run {
    let more = std::env::var("MA_SCHEMATHESIS").unwrap_or_else(|_| USUAL.to_owned());
    let report = dir.join("report.json");
    let mut tool = Command::new(testkit::rig::python());
    tool.args(["-m", "schemathesis.cli", "--config-file"]).arg(place().join("schemathesis.toml"));
    tool.args(["run", &format!("{base}/openapi.json"), "--checks", "all", "--report", "json", "--report-json-path"]).arg(&report);
    tool.args(more.split_whitespace()).current_dir(dir).env("PYTHONPATH", place()).env("PYTHONDONTWRITEBYTECODE", "1");
    tool.env("MA_BASE", base).env("MA_KEY", key).env("MA_ROOT", dir.join("root"));
    let ended = tool.output().expect("the tool");
    let printed = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    let report = std::fs::read(&report).unwrap_or_else(|e| panic!("no report: {e}\n{printed}"));
    Run { good: ended.status.success(), printed, report: serde_json::from_slice(&report).expect("a JSON report") }
}

/// The operations of the document that never got a good answer to a good request.
fn without_success(report: &Value) -> (usize, Vec<String>) {
    let rates = report["valid_rates"].as_object().expect("rates");
    let never = |phases: &Value| phases.as_object().is_some_and(|p| p.values().all(|rate| rate["accepted"] == 0));
    (rates.len(), rates.iter().filter(|(_, phases)| never(phases)).map(|(label, _)| label.clone()).collect())
}

#[tokio::test]
async fn the_document_promises_what_happens() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root");
    std::fs::create_dir(&root).expect("a directory");
    let more = ["--auth-enabled", "--allow-private-webhooks"];
    let product = Product::start_with(&dir.path().join("data"), &[&root], &more).await;
    let key = key(&product).await;
    let (base, at) = (product.url(""), dir.path().to_owned());
    let ended = tokio::task::spawn_blocking(move || run(&base, &key, &at)).await.expect("the tool");
    let found = ended.printed.find("= ERRORS").or_else(|| ended.printed.find("= FAILURES")).unwrap_or_default();
    let log = std::fs::read_to_string(product.data.join("server.log")).expect("the server's log");
    let defects = log.lines().filter(|l| l.contains("internal error") || l.contains("panicked")).collect::<Vec<_>>().join("\n");
    assert!(ended.good, "{}\ndefects in the server's log:\n{defects}", &ended.printed[found..]);
    let (all, never) = without_success(&ended.report);
    assert!(all >= 90, "only {all} operations were tried");
    assert!(never.len() * 5 <= all, "too many operations never succeeded: {never:#?}");
    assert!(defects.is_empty(), "defects in the server's log:\n{defects}");
}
