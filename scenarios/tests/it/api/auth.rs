//! Logging in: first administrator, tokens, refresh, keys, users, tenants.

use super::bench::{Answer, Bench, body};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use control::identity::Settings;
use engine::journal::Level;
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Error, Message};
use zeroize::Zeroizing;

pub const PASSWORD: &str = "correct horse battery";
pub const SECRET: &str = "a secret of this test, long enough for HS256";

/// A bench where everybody has to log in, with its administrator's token.
pub struct Guarded {
    pub bench: Bench,
    pub admin: String,
}

impl Guarded {
    pub async fn new() -> Self {
        let bench = Bench::new().await;
        let settings = Settings { secrets: vec![Zeroizing::new(SECRET.to_owned())], ..Settings::default() };
        bench.control.begin_identity(settings).await.expect("identity");
        assert_eq!(bench.control.first_administrator(Some(Zeroizing::new(PASSWORD.to_owned()))).await.expect("an administrator"), None);
        let mut guarded = Self { bench, admin: String::new() };
        guarded.admin = guarded.log_in("admin").await;
        guarded
    }

    pub async fn log_in(&self, username: &str) -> String {
        let tokens = self.bench.post("/auth/token", &json!({"username": username, "password": PASSWORD})).await;
        assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.text);
        tokens.json["access_token"].as_str().expect("a token").to_owned()
    }

    /// A request with headers.
    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.bench.send(request.expect("a request")).await
    }

    pub async fn as_token(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
    }

    pub async fn as_admin(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.as_token(&self.admin, method, path, body).await
    }

    /// A new user with the common password; gives the id.
    pub async fn user(&self, name: &str, tenant: &str, scopes: &[&str]) -> String {
        let body = json!({"username": name, "password": PASSWORD, "tenant_id": tenant, "scopes": scopes});
        let made = self.as_admin(Method::POST, "/auth/users/", Some(&body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json["id"].as_str().expect("an id").to_owned()
    }

    pub async fn tenant(&self, id: &str) {
        let made = self.as_admin(Method::POST, "/tenants/", Some(&json!({"id": id, "name": id}))).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }

    pub async fn form(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let text = fields.iter().fold(url::form_urlencoded::Serializer::new(String::new()), |mut form, (n, v)| {
            form.append_pair(n, v);
            form
        });
        let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut text = text;
        self.bench.send(request.body(Body::from(text.finish())).expect("a request")).await
    }
}

#[tokio::test]
async fn the_first_administrator_comes_with_a_token_that_works_once() {
    let bench = Bench::new().await;
    bench.control.begin_identity(Settings::default()).await.expect("identity");
    let old = bench.control.first_administrator(None).await.expect("a token").expect("nobody is there");
    let token = bench.control.first_administrator(None).await.expect("a token").expect("nobody is there");
    let redeem = |token: String| {
        let body = json!({"token": token, "password": PASSWORD});
        let bench = &bench;
        async move { bench.post("/auth/setup", &body).await }
    };
    assert_eq!(redeem(old).await.code(), "INVALID_CREDENTIALS", "an older token no longer works");
    let weak = bench.post("/auth/setup/", &json!({"token": token, "password": "short", "x": 1})).await;
    assert_eq!((weak.status, weak.fields()), (StatusCode::BAD_REQUEST, vec!["password", "x"]));
    let made = redeem(token.clone()).await;
    assert_eq!((made.status, &made.json["username"], &made.json["tenant_id"]), (StatusCode::CREATED, &json!("admin"), &json!("default")), "{}", made.text);
    assert_eq!(redeem(token).await.status, StatusCode::UNAUTHORIZED, "it works once");
    assert_eq!(bench.control.first_administrator(None).await.expect("asked"), None, "there is somebody now");
    let tokens = bench.post("/auth/token", &json!({"username": "ADMIN", "password": PASSWORD})).await;
    assert_eq!((tokens.status, &tokens.json["scope"]), (StatusCode::OK, &json!("admin")), "{}", tokens.text);
}

/// The two samples of document 3, with their documented refusal.
#[tokio::test]
async fn tokens_and_keys_open_the_door() {
    let guarded = Guarded::new().await;
    let closed = guarded.bench.get("/migrations/").await;
    assert_eq!((closed.status, closed.code()), (StatusCode::UNAUTHORIZED, "AUTHENTICATION_REQUIRED"));
    assert_eq!(closed.json["error"]["message"], "Authentication credentials required");
    assert_eq!(closed.json["error"]["details"], json!({"supported_methods": ["Bearer", "API-Key"], "auth_url": "/auth/token"}));
    assert!(closed.headers["www-authenticate"].to_str().expect("text").starts_with("Bearer"));
    for public in ["/", "/health", "/docs", "/redoc", "/openapi.json", "/console"] {
        assert_eq!(guarded.bench.get(public).await.status, StatusCode::OK, "{public}");
    }
    guarded.user("user", "default", &["migrations:read"]).await;
    let tokens = guarded.bench.post("/auth/token", &json!({"username": "user", "password": PASSWORD})).await;
    assert_eq!((&tokens.json["token_type"], &tokens.json["expires_in"], &tokens.json["scope"]), (&json!("bearer"), &json!(1800), &json!("migrations:read")));
    assert_eq!(tokens.headers["cache-control"], "no-store");
    let token = tokens.json["access_token"].as_str().expect("a token");
    assert_eq!(guarded.as_token(token, Method::GET, "/migrations/", None).await.status, StatusCode::OK);
    let denied = guarded.as_token(token, Method::POST, "/migrations/", Some(&body())).await;
    assert_eq!((denied.status, denied.code()), (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS"));
    assert_eq!(denied.json["error"]["message"], "Insufficient permissions for this operation");
    assert_eq!(denied.json["error"]["details"], json!({"required_scope": "migrations:write", "current_scopes": ["migrations:read"]}));

    let asked = json!({"name": "robot", "scopes": ["migrations:read"]});
    let key = guarded.as_token(token, Method::POST, "/auth/api-keys/", Some(&asked)).await;
    assert_eq!(key.status, StatusCode::CREATED, "{}", key.text);
    let (text, id) = (key.json["api_key"].as_str().expect("a key"), key.json["id"].as_str().expect("an id"));
    assert!(text.starts_with(key.json["prefix"].as_str().expect("a prefix")));
    assert_eq!(guarded.call(Method::GET, "/migrations/", &[("X-API-Key", text)], None).await.status, StatusCode::OK);
    assert_eq!(guarded.call(Method::GET, "/migrations/", &[("authorization", &format!("Bearer {text}"))], None).await.status, StatusCode::OK);
    let listed = guarded.as_token(token, Method::GET, "/auth/api-keys/", None).await;
    assert!(!listed.text.contains(&text[12..]), "the key is never shown again");
    let more = guarded.as_token(token, Method::POST, "/auth/api-keys/", Some(&json!({"name": "more", "scopes": ["migrations:write"]}))).await;
    assert_eq!(more.status, StatusCode::FORBIDDEN, "no key beyond one's own rights");
    assert_eq!(guarded.as_admin(Method::DELETE, &format!("/auth/api-keys/{id}"), None).await.status, StatusCode::NO_CONTENT);
    for wrong in [text, "ma_00000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x", ""] {
        assert_eq!(guarded.call(Method::GET, "/migrations/", &[("X-API-Key", wrong)], None).await.status, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_second_use_ends_the_session() {
    let guarded = Guarded::new().await;
    let text = |answer: &Answer, name: &str| answer.json[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", answer.text)).to_owned();
    let first = guarded.form("/auth/token", &[], &[("grant_type", "password"), ("username", "admin"), ("password", PASSWORD), ("unknown", "ignored")]).await;
    let exchange = |token: String| {
        let guarded = &guarded;
        async move { guarded.form("/auth/token", &[], &[("grant_type", "refresh_token"), ("refresh_token", &token)]).await }
    };
    let second = exchange(text(&first, "refresh_token")).await;
    let third = exchange(text(&second, "refresh_token")).await;
    assert_eq!(third.status, StatusCode::OK, "{}", third.text);
    for token in [&first, &second, &third].map(|a| text(a, "access_token")) {
        assert_eq!(guarded.as_token(&token, Method::GET, "/auth/me", None).await.status, StatusCode::OK);
    }
    let stolen = exchange(text(&first, "refresh_token")).await;
    assert_eq!((stolen.status, &stolen.json["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")), "{}", stolen.text);
    assert_eq!(exchange(text(&third, "refresh_token")).await.status, StatusCode::BAD_REQUEST, "the whole family is gone");
    assert_eq!(guarded.as_token(&text(&third, "access_token"), Method::GET, "/auth/me", None).await.status, StatusCode::UNAUTHORIZED);
    let json = guarded.bench.post("/auth/token", &json!({"refresh_token": text(&third, "refresh_token")})).await;
    assert_eq!((json.status, json.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));

    let again = guarded.bench.post("/auth/token", &json!({"username": "admin", "password": PASSWORD})).await;
    assert_eq!(guarded.form("/auth/revoke", &[], &[("token", &text(&again, "refresh_token"))]).await.status, StatusCode::OK);
    assert_eq!(guarded.as_token(&text(&again, "access_token"), Method::GET, "/auth/me", None).await.status, StatusCode::UNAUTHORIZED, "logged out");
}

#[tokio::test]
async fn refusals_have_oauths_form_on_forms_and_ours_on_json() {
    let guarded = Guarded::new().await;
    for (fields, status, word) in [
        (vec![("grant_type", "password"), ("username", "admin"), ("password", "wrong")], 400, "invalid_grant"),
        (vec![("grant_type", "password"), ("username", "admin")], 400, "invalid_request"),
        (vec![("grant_type", "implicit")], 400, "unsupported_grant_type"),
        (vec![("grant_type", "authorization_code"), ("code", "x")], 401, "invalid_client"),
        (vec![("grant_type", "password"), ("username", "admin"), ("password", PASSWORD), ("client_id", "none")], 401, "invalid_client"),
        (vec![("grant_type", "password"), ("username", "admin"), ("password", PASSWORD), ("scope", "root")], 400, "invalid_scope"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "mr_x")], 400, "invalid_grant"),
    ] {
        let answer = guarded.form("/auth/token", &[], &fields).await;
        assert_eq!((answer.status.as_u16(), answer.json["error"].as_str()), (status, Some(word)), "{fields:?}: {}", answer.text);
        assert!(answer.json["error_description"].is_string() && answer.headers["cache-control"] == "no-store");
    }
    let basic = guarded.form("/auth/token", &[("authorization", "Basic eDp5")], &[("grant_type", "password")]).await;
    assert!(basic.headers["www-authenticate"].to_str().expect("text").starts_with("Basic"));
    let bad = guarded.bench.post("/auth/token", &json!({"username": 1, "pasword": "x"})).await;
    assert_eq!((bad.status, bad.fields()), (StatusCode::BAD_REQUEST, vec!["username", "pasword"]), "{}", bad.text);
    let wrong = guarded.bench.post("/auth/token", &json!({"username": "nobody", "password": "wrong"})).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));
}

#[tokio::test]
async fn failed_log_ins_have_to_wait_and_all_are_in_the_audit_log() {
    let guarded = Guarded::new().await;
    guarded.user("ann", "default", &[]).await;
    for _ in 0..5 {
        assert_eq!(guarded.bench.post("/auth/token", &json!({"username": "ann", "password": "wrong"})).await.status, StatusCode::UNAUTHORIZED);
    }
    let slowed = guarded.bench.post("/auth/token", &json!({"username": "Ann", "password": PASSWORD})).await;
    assert_eq!((slowed.status, slowed.code()), (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_ATTEMPTS"), "also the right password has to wait");
    assert!(slowed.headers["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds") >= 1);
    guarded.log_in("admin").await;
    let entries = guarded.bench.audit("log_in").await;
    let count = |actor: &str, result: &str| entries.iter().filter(|e| e.actor == actor && e.result == result).count();
    assert_eq!((count("ann", "INVALID_CREDENTIALS"), count("Ann", "TOO_MANY_ATTEMPTS"), count("admin", "done")), (5, 1, 2));
    assert!(entries.iter().all(|e| e.proof == "password" && e.source == "local" && !e.request_id.is_empty()));
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let guarded = Guarded::new().await;
    guarded.tenant("tenant-123").await;
    guarded.user("ann", "tenant-123", &["admin"]).await;
    let ann = guarded.log_in("ann").await;
    let theirs = guarded.as_token(&ann, Method::POST, "/migrations/", Some(&body())).await.json["session_id"].as_str().expect("an id").to_owned();
    let ours = guarded.as_admin(Method::POST, "/migrations/", Some(&body())).await.json["session_id"].as_str().expect("an id").to_owned();
    for (token, foreign, tenant) in [(&ann, &ours, "default"), (&guarded.admin, &theirs, "tenant-123")] {
        for path in [format!("/migrations/{foreign}"), format!("/migrations/{foreign}/status")] {
            let answer = guarded.as_token(token, Method::GET, &path, None).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "MIGRATION_NOT_FOUND"), "{path}");
        }
        for tenant in [tenant, "none"] {
            let headers = [("authorization", &*format!("Bearer {token}")), ("X-Tenant-ID", tenant)];
            let answer = guarded.call(Method::GET, "/migrations/", &headers, None).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "TENANT_NOT_FOUND"), "{tenant}");
        }
    }
    assert_eq!(guarded.as_token(&ann, Method::GET, "/migrations/", None).await.json.as_array().expect("a list").len(), 1);
    let users = guarded.as_token(&ann, Method::GET, "/auth/users/", None).await.json;
    assert_eq!(users.as_array().expect("a list").iter().map(|u| &u["username"]).collect::<Vec<_>>(), ["ann"]);
    assert_eq!(guarded.as_token(&ann, Method::POST, "/tenants/", Some(&json!({"name": "mine"}))).await.status, StatusCode::FORBIDDEN);
    assert_eq!(guarded.as_token(&ann, Method::GET, "/tenants/default", None).await.code(), "TENANT_NOT_FOUND");
    assert_eq!(guarded.as_admin(Method::DELETE, "/tenants/tenant-123", None).await.code(), "TENANT_NOT_EMPTY");
    // One user of two tenants chooses.
    let id = guarded.user("bob", "default", &["migrations:read"]).await;
    let change = json!({"tenant_id": "tenant-123", "scopes": ["migrations:read", "presets:read"]});
    let changed = guarded.as_admin(Method::PATCH, &format!("/auth/users/{id}"), Some(&change)).await;
    assert_eq!(changed.json["tenants"].as_array().map(Vec::len), Some(2), "{}", changed.text);
    let bob = format!("Bearer {}", guarded.log_in("bob").await);
    let me = |tenant| {
        let (guarded, bob) = (&guarded, &bob);
        async move { guarded.call(Method::GET, "/auth/me", &[("authorization", bob), ("x-tenant-id", tenant)], None).await.json }
    };
    assert_eq!(me("default").await["scopes"], json!(["migrations:read"]));
    assert_eq!(me("tenant-123").await["scopes"], json!(["migrations:read", "presets:read"]));
    let takeover = guarded.as_token(&ann, Method::PATCH, &format!("/auth/users/{id}"), Some(&json!({"password": "taken over by ann"}))).await;
    assert_eq!(takeover.status, StatusCode::FORBIDDEN, "bob belongs to another tenant too");
}

#[tokio::test]
async fn changes_to_a_user_count_at_once() {
    let guarded = Guarded::new().await;
    let id = guarded.user("ann", "default", &["migrations:read", "presets:read"]).await;
    let path = format!("/auth/users/{id}");
    let ann = guarded.log_in("ann").await;
    let key = guarded.as_token(&ann, Method::POST, "/auth/api-keys/", Some(&json!({"name": "k", "scopes": ["migrations:read", "presets:read"]}))).await;
    let key = key.json["api_key"].as_str().expect("a key").to_owned();
    let list = || guarded.as_token(&ann, Method::GET, "/migrations/", None);
    let list_by_key = || async { guarded.call(Method::GET, "/migrations/", &[("x-api-key", &key)], None).await.status };
    assert_eq!((list().await.status, list_by_key().await), (StatusCode::OK, StatusCode::OK));
    guarded.as_admin(Method::PATCH, &path, Some(&json!({"scopes": ["presets:read"]}))).await;
    assert_eq!((list().await.status, list_by_key().await), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    guarded.as_admin(Method::PATCH, &path, Some(&json!({"scopes": ["migrations:read"], "disabled": true}))).await;
    assert_eq!((list().await.status, list_by_key().await), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    guarded.as_admin(Method::PATCH, &path, Some(&json!({"disabled": false}))).await;
    assert_eq!((list().await.status, list_by_key().await), (StatusCode::OK, StatusCode::OK));
    let changed = guarded.as_admin(Method::PATCH, &path, Some(&json!({"password": "another password"}))).await;
    assert_eq!((changed.status, list().await.status), (StatusCode::OK, StatusCode::UNAUTHORIZED), "a new password ends the sessions");
    assert_eq!(guarded.as_admin(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!((list().await.status, list_by_key().await), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    let admin = guarded.as_admin(Method::GET, "/auth/me", None).await.json["user_id"].as_str().expect("an id").to_owned();
    for body in [json!({"disabled": true}), json!({"scopes": ["presets:read"]})] {
        let last = guarded.as_admin(Method::PATCH, &format!("/auth/users/{admin}"), Some(&body)).await;
        assert_eq!(last.code(), "LAST_ADMINISTRATOR", "{}", last.text);
    }
}

#[tokio::test]
async fn nothing_secret_is_stored_in_plain_words() {
    let guarded = Guarded::new().await;
    let tokens = guarded.bench.post("/auth/token", &json!({"username": "admin", "password": PASSWORD})).await.json;
    let key = guarded.as_admin(Method::POST, "/auth/api-keys/", Some(&json!({"name": "k", "scopes": ["admin"]}))).await.json["api_key"]
        .as_str()
        .expect("a key")
        .to_owned();
    let client = json!({"name": "c", "redirect_uris": ["https://c.example/cb"]});
    let client = guarded.as_admin(Method::POST, "/auth/clients/", Some(&client)).await.json["client_secret"].as_str().expect("a secret").to_owned();
    let stored = guarded.bench.stored_bytes();
    for secret in
        [PASSWORD, &key[12..], &client, tokens["refresh_token"].as_str().expect("a token"), tokens["access_token"].as_str().expect("a token"), "$argon2id$"]
    {
        assert!(!stored.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} can be read in the store");
    }
}

/// Browsers can send no headers with a WebSocket; whoever may no longer look is let go.
#[tokio::test]
async fn a_web_socket_asks_who_is_there_and_asks_again() {
    let guarded = Guarded::new().await;
    let id = guarded.user("ann", "default", &["migrations:read"]).await;
    let ann = guarded.log_in("ann").await;
    let run = guarded.as_admin(Method::POST, "/migrations/", Some(&body())).await.json["session_id"].as_str().expect("an id").to_owned();
    let started = guarded.as_admin(Method::POST, &format!("/migrations/{run}/start?skip_validation=true"), None).await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    let hands = guarded.bench.take_up().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = guarded.bench.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let open = |query: String| tokio_tungstenite::connect_async(format!("ws://{address}/ws/migrations/{run}{query}"));
    for query in ["", "?access_token=x", "?access_token="] {
        match open(query.to_owned()).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 401, "{query}"),
            other => panic!("{query}: {:?}", other.map(|_| "it opened")),
        }
    }
    let (mut socket, _) = open(format!("?access_token={ann}")).await.expect("it opens");
    let first = socket.next().await.expect("a message").expect("a message");
    assert!(first.to_text().expect("text").contains("\"running\""), "{first}");
    guarded.as_admin(Method::PATCH, &format!("/auth/users/{id}"), Some(&json!({"disabled": true}))).await;
    hands.log(Level::Info, "a line that is none of her business", Value::Null).await;
    let next = tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("in time").expect("a message").expect("a message");
    assert!(matches!(&next, Message::Close(Some(frame)) if u16::from(frame.code) == 1008), "{next:?}");
}

#[tokio::test]
async fn lists_of_users_and_tenants_go_on_behind_the_last_one() {
    let guarded = Guarded::new().await;
    for n in 1..=4 {
        guarded.user(&format!("user-{n}"), "default", &["migrations:read"]).await;
        guarded.tenant(&format!("tenant-{n}")).await;
    }
    for list in ["/auth/users/", "/tenants/"] {
        let whole = guarded.as_admin(Method::GET, list, None).await;
        assert!(whole.json.as_array().is_some_and(|l| l.len() == 5) && !whole.headers.contains_key("link"), "{list}: {}", whole.text);
        let (mut seen, mut at) = (Vec::new(), Some(format!("{list}?limit=2")));
        while let Some(page) = at {
            let answer = guarded.as_admin(Method::GET, &page, None).await;
            seen.extend(answer.json.as_array().expect("a list").clone());
            at = answer.headers.get("link").map(|link| link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned());
        }
        assert_eq!(Value::Array(seen), whole.json, "{list}");
        assert_eq!(guarded.as_admin(Method::GET, &format!("{list}?limit=2&offset=3"), None).await.json.as_array().map(Vec::len), Some(2), "{list}");
        assert_eq!(guarded.as_admin(Method::GET, &format!("{list}?cursor=%25"), None).await.fields(), ["cursor"], "{list}");
    }
}
