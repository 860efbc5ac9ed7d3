//! The printed commands and programs, run by the real shell, curl and Python against the real server.

use super::shape::{assert_alike, assert_told};
use super::{json, text};
use crate::api::bench::Bench;
use crate::api::socket::{connect, listen, next};
use crate::oauth::{PASSWORD, guarded, made};
use crate::product::{Product, binary, free_port, http_client};
use engine::RunState;
use engine::journal::Level;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The text with others in the place of what is printed there; each must occur.
pub fn put(text: &str, others: &[(&str, &str)]) -> String {
    others.iter().fold(text.to_owned(), |text, (printed, other)| {
        assert!(text.contains(printed), "'{printed}' is not printed in {text}");
        text.replace(printed, other)
    })
}

/// What the program printed. It must end well.
fn told(mut command: Command) -> String {
    let ended = command.stdin(Stdio::null()).output().expect("a program");
    let (out, errors) = (String::from_utf8_lossy(&ended.stdout).into_owned(), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{out}\n{errors}");
    out
}

fn bash(script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euc", script]);
    told(command)
}

pub fn python(program: &str) -> String {
    let mut command = Command::new(testkit::rig::python());
    command.args(["-u", "-c", program]);
    told(command)
}

/// The last line that a program printed, as JSON.
fn last(told: &str) -> Value {
    let line = told.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {told}"))
}

#[tokio::test]
async fn keys_and_tokens_with_curl() {
    let data = tempfile::tempdir().expect("a directory");
    let (product, token) = guarded(data.path()).await;
    let key = made(&product, &token, "/auth/api-keys/", json!({"name": "shell", "scopes": ["migrations:read"]})).await;
    let base = product.url("");
    let by_key = put(&text("1. API Key Authentication 1"), &[("http://localhost:8000", &base), ("your-api-key", key["api_key"].as_str().expect("a key"))]);
    assert_eq!(last(&bash(&by_key)), json!([]));
    let printed = text("2. JWT Token Authentication 1");
    let (get, use_it) = printed.split_once("# Use JWT token").expect("two commands");
    let tokens = last(&bash(&put(get, &[("http://localhost:8000", &base), ("\"user\"", "\"admin\""), ("\"pass\"", &format!("\"{PASSWORD}\""))])));
    assert_eq!(tokens["token_type"].as_str().expect("a type").to_lowercase(), "bearer");
    let token = tokens["access_token"].as_str().expect("a token");
    assert_eq!(last(&bash(&put(use_it, &[("http://localhost:8000", &base), ("your-jwt-token", token)]))), json!([]));
}

#[tokio::test]
async fn a_tenant_is_chosen_with_requests() {
    let data = tempfile::tempdir().expect("a directory");
    let (product, admin) = guarded(data.path()).await;
    made(&product, &admin, "/tenants/", json!({"id": "tenant-123", "name": "Tenant 123"})).await;
    let user = json!({"username": "ann", "password": PASSWORD, "tenant_id": "tenant-123", "scopes": ["migrations:read", "migrations:write"]});
    made(&product, &admin, "/auth/users/", user).await;
    let (_, tokens) = product.post("/auth/token", json!({"username": "ann", "password": PASSWORD})).await;
    let token = tokens["access_token"].as_str().expect("a token");
    let mine = made(&product, token, "/migrations/", json("Create Migration 2")).await;
    let program = format!(
        "import requests, json\n{}\nprint(json.dumps([response.status_code, response.json()]))",
        put(&text("Multi-tenant Support 1"), &[("http://localhost:8000", &product.url("")), ("your-jwt-token", token)])
    );
    let answer = last(&python(&program));
    assert_eq!((&answer[0], &answer[1][0]["session_id"]), (&json!(200), &mine["session_id"]), "{answer}");
    let elsewhere = last(&python(&program.replace("tenant-123", "default")));
    assert_eq!((&elsewhere[0], &elsewhere[1]["error"]["code"]), (&json!(404), &json!("TENANT_NOT_FOUND")), "{elsewhere}");
}

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Already dead is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it by its printed command; gives its address when it answers.
async fn printed_server(command: &str, port: u16, data: &std::path::Path) -> (Server, String) {
    let path = format!("{}:{}", binary().parent().expect("a directory").display(), std::env::var("PATH").expect("a path"));
    let log = std::fs::File::create(data.join("server.log")).expect("a log");
    let mut server = Command::new("bash");
    server.args(["-c", &format!("exec {command}")]).env("PATH", path).env("MIGRATION_ASSISTANT_DATA_DIR", data).stdin(Stdio::null());
    let server = Server(server.stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("the server"));
    let (base, http) = (format!("http://127.0.0.1:{port}"), http_client());
    let deadline = Instant::now() + Duration::from_secs(30);
    while http.get(format!("{base}/health")).send().await.is_err() {
        assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(data.join("server.log")).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (server, base)
}

#[tokio::test]
async fn the_server_starts_as_printed() {
    let printed = text("Start the API Server 1");
    let (basic, production) = printed.split_once("# Production configuration").expect("two commands");
    let basic = basic.trim().strip_prefix("# Basic startup").expect("a comment").trim();
    let (port, data) = (free_port(), tempfile::tempdir().expect("a directory"));
    let (_server, base) = printed_server(&format!("{basic} --port {port}"), port, data.path()).await;
    let list = http_client().get(format!("{base}/migrations/")).send().await.expect("an answer");
    assert_eq!(list.status().as_u16(), 200, "nobody has to log in on this machine's own address");
    let (port, data) = (free_port(), tempfile::tempdir().expect("a directory"));
    let production = put(production.trim(), &[("--port 8000", &format!("--port {port}"))]);
    let (_server, base) = printed_server(&production, port, data.path()).await;
    let list = http_client().get(format!("{base}/migrations/")).send().await.expect("an answer");
    assert_eq!(list.status().as_u16(), 401, "everybody has to log in");
}

#[tokio::test]
async fn what_is_scheduled_as_printed_starts_when_its_time_has_come() {
    let (data, site) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    std::fs::create_dir(site.path().join("from")).expect("a directory");
    std::fs::write(site.path().join("from/index.html"), "the site").expect("a file");
    let product = Product::start(data.path(), &[site.path()]).await;
    let at = |name: &str| json!({"type": "static", "paths": {"web_root": site.path().join(name)}});
    let (_, made) = product.post("/migrations/", json!({"name": "Later", "source": at("from"), "destination": at("to")})).await;
    let id = made["session_id"].as_str().expect("an id");
    let mut asked = json("Scheduled Migrations 2");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    asked["scheduled_time"] = json!(soon.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let (code, scheduled) = product.post(&format!("/migrations/{id}/schedule"), asked).await;
    assert_eq!((code, &scheduled["status"]), (201, &json!("scheduled")), "{scheduled:#}");
    assert!(!site.path().join("to/index.html").exists(), "not yet");
    assert_eq!(product.settle(id).await["status"], "completed");
    assert_eq!(std::fs::read_to_string(site.path().join("to/index.html")).expect("moved"), "the site");
    let (_, status) = product.get(&format!("/migrations/{id}/status")).await;
    let started: jiff::Timestamp = format!("{}Z", status["start_time"].as_str().expect("a time")).parse().expect("a time");
    assert!(started.as_second() >= soon.as_second(), "{started} is before {soon}");
}

#[tokio::test]
async fn the_health_check_with_requests() {
    let data = tempfile::tempdir().expect("a directory");
    let product = Product::start(data.path(), &[]).await;
    let printed = text("Getting Started/Health Check 1");
    let (program, expected) = printed.split_once("# Expected response:").expect("a program and its answer");
    let program = put(program, &[("http://localhost:8000", &product.url(""))]);
    let answer = last(&python(&format!("{program}\nimport json\nprint(json.dumps(response.json()))")));
    let expected = serde_json::from_str(expected).expect("the printed answer");
    assert_told(
        &expected,
        &answer,
        &["/status", "/version", "/service", "/components/orchestrator", "/components/preset_manager", "/components/validation_engine"],
    );
}

#[tokio::test]
async fn error_recovery_with_requests() {
    let data = tempfile::tempdir().expect("a directory");
    let product = Product::start(data.path(), &[]).await;
    let before = format!("BASE_URL, headers = {:?}, {{'Content-Type': 'application/json'}}\n", product.url(""));
    let call = |config: &Value| {
        format!("{before}{}\nimport json\nprint(json.dumps(create_migration_with_retry(json.loads({:?}))))", text("Error Recovery 1"), config.to_string())
    };
    let answer = last(&python(&call(&json("Create Migration 2"))));
    assert_told(&json("Create Migration 3"), &answer, &["/status", "/message"]);
    // A mistake of the client is its exception, with our status in it.
    let wrong = call(&json!({"name": "x"})).replace("print(", "try: print(");
    let refused = python(&format!("{wrong}\nexcept requests.HTTPError as error: print(json.dumps(error.response.status_code))"));
    assert_eq!(last(&refused), json!(400), "{refused}");
}

#[tokio::test]
async fn the_web_socket_tells_what_the_page_shows() {
    let bench = Bench::new().await;
    let address = listen(&bench).await;
    let hands = bench.running().await;
    let printed = text("Real-time Progress with WebSockets 1");
    assert!(printed.contains("'ws://localhost:8000/ws/migrations/abc123def456'"), "the address that `connect` asks for");
    let mut socket = connect(address, &hands.id).await;
    let shown = json!({"progress": 65.5, "current_step": "Transferring files", "performance_metrics": json("Get Migration Status 2")["performance_metrics"]});
    hands.begin(0).await;
    hands.ledger("files", 4, 1 << 30, 3).await;
    assert_alike(&json!({"progress": 65.5}), &next(&mut socket).await.expect("a message"));
    hands.sample("validate", 2_411_724.8, 3 << 30).await;
    hands.log(Level::Info, "a line", Value::Null).await;
    assert_alike(&shown, &next(&mut socket).await.expect("a message"));
    hands.state(RunState::Completed).await;
    let mut last = Value::Null;
    while let Some(message) = next(&mut socket).await {
        assert!(printed.matches("data.").count() == 3 && message["progress"].is_f64() && message["performance_metrics"].is_object(), "{message}");
        last = message;
    }
    assert_eq!(last["status"], "completed", "the last word before it closes");
}
