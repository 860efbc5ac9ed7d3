//! The own password, and failed log-ins that all servers count together.

use super::auth::{Guarded, PASSWORD, SECRET};
use super::bench::Nowhere;
use axum::http::{Method, StatusCode};
use control::identity::{Grant, Origin, Settings};
use control::{Code, Control, Options};
use engine::Engine;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use testkit::product_database::ProductDatabase;
use testkit::rig;
use zeroize::Zeroizing;

const NEW: &str = "staple battery horse";

async fn change(guarded: &Guarded, token: &str, old: &str, new: &str) -> super::bench::Answer {
    guarded.as_token(token, Method::PUT, "/auth/me/password", Some(&json!({"old_password": old, "new_password": new}))).await
}

#[tokio::test]
async fn a_user_changes_the_own_password_and_only_this_session_stays() {
    let guarded = Guarded::new().await;
    guarded.user("ann", "default", &["migrations:read"]).await;
    let (here, elsewhere) = (guarded.log_in("ann").await, guarded.log_in("ann").await);
    let changed = change(&guarded, &here, PASSWORD, NEW).await;
    assert_eq!((changed.status, changed.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(guarded.as_token(&here, Method::GET, "/auth/me", None).await.status, StatusCode::OK, "whoever asked stays");
    assert_eq!(guarded.as_token(&elsewhere, Method::GET, "/auth/me", None).await.status, StatusCode::UNAUTHORIZED);
    let old = guarded.bench.post("/auth/token", &json!({"username": "ann", "password": PASSWORD})).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED, "{}", old.text);
    let new = guarded.bench.post("/auth/token", &json!({"username": "ann", "password": NEW})).await;
    assert_eq!(new.status, StatusCode::OK, "{}", new.text);
    let entries = guarded.bench.audit("change_own_password").await;
    assert_eq!((entries.len(), entries[0].actor.as_str(), entries[0].result.as_str()), (1, "ann", "done"));
}

#[tokio::test]
async fn a_wrong_old_password_is_a_failed_log_in() {
    let guarded = Guarded::new().await;
    guarded.user("ann", "default", &["migrations:read"]).await;
    let token = guarded.log_in("ann").await;
    for bad in [(PASSWORD, "short"), (PASSWORD, PASSWORD), ("", NEW)] {
        let refused = change(&guarded, &token, bad.0, bad.1).await;
        assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST"), "{}", refused.text);
    }
    for _ in 0..5 {
        let refused = change(&guarded, &token, "wrong", NEW).await;
        assert_eq!((refused.status, refused.fields()), (StatusCode::BAD_REQUEST, vec!["old_password"]), "{}", refused.text);
    }
    let slowed = change(&guarded, &token, PASSWORD, NEW).await;
    assert_eq!((slowed.status, slowed.code()), (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_ATTEMPTS"), "{}", slowed.text);
    assert!(slowed.headers.contains_key("retry-after"));
    let entries = guarded.bench.audit("change_own_password").await;
    assert!(entries.iter().all(|e| e.result != "done"), "{entries:?}");
}

#[tokio::test]
async fn an_api_key_changes_no_password() {
    let guarded = Guarded::new().await;
    let made = guarded.as_admin(Method::POST, "/auth/api-keys/", Some(&json!({"name": "robot", "scopes": ["admin"]}))).await;
    let key = made.json["api_key"].as_str().expect("a key");
    let body = json!({"old_password": PASSWORD, "new_password": NEW});
    let refused = guarded.call(Method::PUT, "/auth/me/password", &[("x-api-key", key)], Some(&body)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS"), "{}", refused.text);
}

async fn server(url: &str, dir: &Path) -> Control {
    let settings =
        plans::Settings { connectors: Arc::new(Nowhere), backups_dir: dir.join("backups"), work_dir: dir.join("work"), machines: None, images: None };
    let store = store::open(url, dir).await.expect("a store");
    let control = Control::new(Engine::new(store.clone(), plans::registry(settings.clone())), store, settings, Options::new(dir));
    control.begin_identity(Settings { secrets: vec![Zeroizing::new(SECRET.to_owned())], ..Settings::default() }).await.expect("identity");
    control
}

async fn log_in(server: &Control, password: &str) -> Result<(), Code> {
    let given: Value = json!({"username": "admin", "password": password});
    let grant = Grant::decode(&given, false, None).map_err(|refusal| refusal.error.code)?;
    let origin = Origin { address: "192.0.2.1".to_owned(), request_id: "r".to_owned() };
    server.token(grant, &origin).await.map(drop).map_err(|refusal| refusal.error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_count_failed_log_ins_together() {
    let (database, dir) = (ProductDatabase::make(rig::postgres18(), "log_ins"), tempfile::tempdir().expect("a directory"));
    let servers = [server(&database.url(), dir.path()).await, server(&database.url(), dir.path()).await];
    servers[0].first_administrator(Some(Zeroizing::new(PASSWORD.to_owned()))).await.expect("an administrator");
    for n in 0..5 {
        assert_eq!(log_in(&servers[n % 2], "wrong").await, Err(Code::InvalidCredentials));
    }
    assert_eq!(log_in(&servers[0], PASSWORD).await, Err(Code::TooManyAttempts), "three of the five were the other's");
    assert_eq!(log_in(&servers[1], PASSWORD).await, Err(Code::TooManyAttempts));
}
