//! The real server with its real clients: Python's requests-oauthlib, and the command line with a key.

mod openid;

use crate::product::{Product, binary};
use serde_json::{Value, json};
use std::process::Command;

pub const PASSWORD: &str = "correct horse battery";

/// A server where everybody has to log in, and its administrator's token. The setup token comes from what the server printed.
pub async fn guarded(data: &std::path::Path) -> (Product, String) {
    let product = Product::start_with(data, &[], &["--auth-enabled"]).await;
    let log = std::fs::read_to_string(data.join("server.log")).expect("the server's log");
    let printed = log.split('"').find(|word| word.starts_with("setup_")).expect("a setup token").to_owned();
    let (status, made) = product.post("/auth/setup", json!({"token": printed, "password": PASSWORD})).await;
    assert_eq!(status, 201, "{made:#}");
    let (status, tokens) = product.post("/auth/token", json!({"username": "admin", "password": PASSWORD})).await;
    assert_eq!(status, 200, "{tokens:#}");
    (product, tokens["access_token"].as_str().expect("a token").to_owned())
}

pub async fn made(product: &Product, token: &str, path: &str, body: Value) -> Value {
    let answer = product.http.post(product.url(path)).bearer_auth(token).json(&body).send().await.expect("an answer");
    let (status, text) = (answer.status().as_u16(), answer.text().await.expect("a body"));
    assert_eq!(status, 201, "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn the_sample_of_document_3_runs_with_the_real_library() {
    let data = tempfile::tempdir().expect("a directory");
    let (product, token) = guarded(data.path()).await;
    let client = made(&product, &token, "/auth/clients/", json!({"name": "sample", "redirect_uris": ["https://client.example/callback"]})).await;
    let text = move |name: &str| client[name].as_str().expect("text").to_owned();
    let script = testkit::rig::workspace().join("scenarios/tests/it/oauth/document3.py");
    let base = product.url("");
    let ended = tokio::task::spawn_blocking(move || {
        let arguments = [base, text("client_id"), text("client_secret"), "admin".to_owned(), PASSWORD.to_owned()];
        Command::new(testkit::rig::python()).arg(script).args(arguments).env("OAUTHLIB_INSECURE_TRANSPORT", "1").output().expect("Python")
    });
    let ended = ended.await.expect("Python");
    let (out, errors) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && out.contains("document 3 works"), "{out}\n{errors}");
}

#[tokio::test]
async fn commands_reach_a_guarded_server_with_a_key() {
    let data = tempfile::tempdir().expect("a directory");
    let (product, token) = guarded(data.path()).await;
    let key = made(&product, &token, "/auth/api-keys/", json!({"name": "shell", "scopes": ["migrations:read"]})).await;
    let (key, base) = (key["api_key"].as_str().expect("a key").to_owned(), product.url(""));
    let run = |variable: &str, value: &str, words: &[&str]| {
        let ended = Command::new(binary()).args(["--server", &base]).args(words).env(variable, value).output().expect("the program");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    assert_eq!(run("MIGRATION_ASSISTANT_API_KEY", &key, &["status"]).0, Some(0));
    assert_eq!(run("MIGRATION_ASSISTANT_TOKEN", &token, &["status"]).0, Some(0));
    let (code, letter) = run("MIGRATION_ASSISTANT_API_KEY", "ma_wrong", &["status"]);
    assert_eq!(code, Some(6), "{letter}");
    assert!(letter.contains("MIGRATION_ASSISTANT_API_KEY") && !letter.contains("ma_wrong"), "{letter}");
    let (code, letter) = run("MIGRATION_ASSISTANT_API_KEY", &key, &["cancel", "none"]);
    assert_eq!(code, Some(6), "a key that may only read: {letter}");
    let log = std::fs::read_to_string(data.path().join("server.log")).expect("the server's log");
    assert!(!log.contains(PASSWORD) && !log.contains(&key[12..]) && !log.contains(&token));
}
