//! OAuth2 authorization code: the page, the way back, the exchange, and everything that must not work.

use super::auth::{Guarded, PASSWORD};
use super::bench::Answer;
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

const BACK: &str = "https://app.example/callback?keep=1";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

async fn client(guarded: &Guarded, confidential: bool) -> (String, Option<String>) {
    let body = json!({"name": "The <App>", "redirect_uris": [BACK], "confidential": confidential});
    let made = guarded.as_admin(Method::POST, "/auth/clients/", Some(&body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    (made.json["client_id"].as_str().expect("an id").to_owned(), made.json["client_secret"].as_str().map(str::to_owned))
}

fn address(parameters: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://x/auth/authorize").expect("an address");
    url.query_pairs_mut().extend_pairs(parameters);
    format!("/auth/authorize?{}", url.query().unwrap_or_default())
}

/// The ticket and the cookie of a page.
fn opened(page: &Answer) -> (String, String) {
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let ticket = page.text.split("name=\"ticket\" value=\"").nth(1).and_then(|t| t.split('"').next()).expect("a ticket").to_owned();
    let cookie = page.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && cookie.contains("Path=/auth/authorize"), "{cookie}");
    (ticket, cookie.split(';').next().expect("a cookie").to_owned())
}

/// Where the browser is sent, as its parameters.
fn sent(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let to = Url::parse(answer.headers["location"].to_str().expect("text")).expect("an address");
    assert!(to.as_str().starts_with(BACK), "{to}");
    to.query_pairs().map(|(n, v)| (n.into_owned(), v.into_owned())).collect()
}

fn value(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
}

/// Logs in on the page and agrees; gives the code.
async fn agreed(guarded: &Guarded, parameters: &[(&str, &str)]) -> String {
    let (ticket, cookie) = opened(&guarded.bench.get(&address(parameters)).await);
    let fields = [("ticket", &*ticket), ("decision", "allow"), ("username", "ann"), ("password", PASSWORD)];
    let back = sent(&guarded.form("/auth/authorize", &[("cookie", &cookie)], &fields).await);
    assert_eq!((value(&back, "state").as_deref(), value(&back, "keep").as_deref()), (Some("s & t"), Some("1")));
    value(&back, "code").expect("a code")
}

#[tokio::test]
async fn an_application_is_let_in_with_a_secret_or_with_pkce() {
    let guarded = Guarded::new().await;
    guarded.user("ann", "default", &["admin"]).await;
    let (id, secret) = client(&guarded, true).await;
    let code = agreed(&guarded, &[("response_type", "code"), ("client_id", &id), ("state", "s & t")]).await;
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", secret.expect("a secret"))));
    let tokens = guarded.form("/auth/token", &[("authorization", &basic)], &[("grant_type", "authorization_code"), ("code", &code)]).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.text);
    assert!(!tokens.json["scope"].as_str().expect("a scope").contains("admin"), "an application does not become an administrator unasked");
    let token = tokens.json["access_token"].as_str().expect("a token");
    assert_eq!(guarded.as_token(token, Method::GET, "/migrations/", None).await.status, StatusCode::OK);
    assert_eq!(guarded.as_token(token, Method::GET, "/auth/users/", None).await.status, StatusCode::FORBIDDEN);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.json["refresh_token"].as_str().expect("a token"))];
    assert_eq!(guarded.form("/auth/token", &[], &refresh).await.status, StatusCode::BAD_REQUEST, "the refresh token is the application's alone");
    assert_eq!(guarded.form("/auth/token", &[("authorization", &basic)], &refresh).await.status, StatusCode::OK);

    let (id, secret) = client(&guarded, false).await;
    assert_eq!(secret, None);
    let challenge = challenge();
    let asked = [
        ("response_type", "code"),
        ("client_id", &*id),
        ("redirect_uri", BACK),
        ("scope", "presets:read"),
        ("state", "s & t"),
        ("code_challenge", &*challenge),
        ("code_challenge_method", "S256"),
    ];
    let code = agreed(&guarded, &asked).await;
    let exchange = [("grant_type", "authorization_code"), ("code", &*code), ("client_id", &*id), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    let tokens = guarded.form("/auth/token", &[], &exchange).await;
    assert_eq!((tokens.status, &tokens.json["scope"]), (StatusCode::OK, &json!("presets:read")), "{}", tokens.text);
    // The same code again: refused, and what it gave ends.
    let again = guarded.form("/auth/token", &[], &exchange).await;
    assert_eq!((again.status, &again.json["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
    let token = tokens.json["access_token"].as_str().expect("a token");
    assert_eq!(guarded.as_token(token, Method::GET, "/auth/me", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_code_is_for_one_client_one_address_one_verifier() {
    let guarded = Guarded::new().await;
    guarded.user("ann", "default", &["migrations:read"]).await;
    let (id, _) = client(&guarded, false).await;
    let (other, secret) = client(&guarded, true).await;
    let (secret, challenge) = (secret.expect("a secret"), challenge());
    let asked = [
        ("response_type", "code"),
        ("client_id", &*id),
        ("redirect_uri", BACK),
        ("state", "s & t"),
        ("code_challenge", &*challenge),
        ("code_challenge_method", "S256"),
    ];
    let code = agreed(&guarded, &asked).await;
    let base = [("grant_type", "authorization_code"), ("code", &*code)];
    for more in [
        vec![("client_id", &*id), ("redirect_uri", BACK)],
        vec![("client_id", &*id), ("redirect_uri", BACK), ("code_verifier", "eBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")],
        vec![("client_id", &*id), ("code_verifier", VERIFIER)],
        vec![("client_id", &*id), ("redirect_uri", "https://app.example/callback"), ("code_verifier", VERIFIER)],
        vec![("client_id", &*other), ("client_secret", &*secret), ("redirect_uri", BACK), ("code_verifier", VERIFIER)],
        vec![("client_id", &*other), ("client_secret", "wrong"), ("redirect_uri", BACK), ("code_verifier", VERIFIER)],
        vec![("client_id", &*id), ("client_secret", "guess"), ("redirect_uri", BACK), ("code_verifier", VERIFIER)],
    ] {
        let fields: Vec<(&str, &str)> = base.into_iter().chain(more).collect();
        let answer = guarded.form("/auth/token", &[], &fields).await;
        assert!(answer.status.is_client_error(), "{fields:?}: {}", answer.text);
    }
    let right = [("client_id", &*id), ("redirect_uri", BACK), ("code_verifier", VERIFIER)];
    let fields: Vec<(&str, &str)> = base.into_iter().chain(right).collect();
    assert_eq!(guarded.form("/auth/token", &[], &fields).await.status, StatusCode::OK, "wrong tries did not spend it");
}

#[tokio::test]
async fn the_browser_is_sent_to_registered_addresses_only() {
    let guarded = Guarded::new().await;
    let (id, _) = client(&guarded, false).await;
    let evil = "https://evil.example/";
    for bad in [
        vec![],
        vec![("client_id", "none")],
        vec![("client_id", &*id), ("redirect_uri", evil)],
        vec![("client_id", &*id), ("redirect_uri", "https://app.example/callback")],
        vec![("client_id", &*id), ("redirect_uri", "https://app.example/callback?keep=1&x=2")],
        vec![("client_id", &*id), ("redirect_uri", "https://app.example/callback?keep=1/../x")],
    ] {
        let page = guarded.bench.get(&address(&[&[("response_type", "code")], &*bad].concat())).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad:?}");
        assert!(page.headers.get("location").is_none() && page.headers["content-type"].to_str().expect("text").starts_with("text/html"));
    }
    let challenge = challenge();
    for (more, word) in [
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "code"), ("scope", "root"), ("code_challenge", &*challenge), ("code_challenge_method", "S256")], "invalid_scope"),
        (vec![("response_type", "code")], "invalid_request"),
        (vec![("response_type", "code"), ("code_challenge", &*challenge)], "invalid_request"),
        (vec![("response_type", "code"), ("code_challenge", VERIFIER), ("code_challenge_method", "plain")], "invalid_request"),
        (vec![("response_type", "code"), ("code_challenge", "x"), ("code_challenge_method", "S256")], "invalid_request"),
    ] {
        let back = sent(&guarded.bench.get(&address(&[&[("client_id", &*id), ("state", "s")], &*more].concat())).await);
        assert_eq!((value(&back, "error").as_deref(), value(&back, "state").as_deref()), (Some(word), Some("s")), "{more:?}");
    }
}

#[tokio::test]
async fn the_page_cannot_be_answered_by_others() {
    let guarded = Guarded::new().await;
    guarded.user("ann", "default", &["migrations:read"]).await;
    let (id, _) = client(&guarded, true).await;
    let page = guarded.bench.get(&address(&[("response_type", "code"), ("client_id", &id), ("state", "<s>")])).await;
    let (ticket, cookie) = opened(&page);
    assert!(page.text.contains("The &lt;App&gt;") && !page.text.contains("<App>") && !page.text.contains("<script"), "{}", page.text);
    let policy = page.headers["content-security-policy"].to_str().expect("text");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("form-action 'self' https://app.example;") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(page.headers["cache-control"] == "no-store" && page.headers["x-frame-options"] == "DENY");
    let allow = |ticket: String| {
        vec![
            ("ticket".to_owned(), ticket),
            ("decision".to_owned(), "allow".to_owned()),
            ("username".to_owned(), "ann".to_owned()),
            ("password".to_owned(), PASSWORD.to_owned()),
        ]
    };
    let send = |headers: Vec<(&'static str, String)>, fields: Vec<(String, String)>| {
        let guarded = &guarded;
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            guarded.form("/auth/authorize", &headers, &fields).await
        }
    };
    for (why, headers, fields) in [
        ("without the cookie", vec![], allow(ticket.clone())),
        ("with another's cookie", vec![("cookie", "ma_authorize=AAAA".to_owned())], allow(ticket.clone())),
        ("with a changed ticket", vec![("cookie", cookie.clone())], allow(format!("{}x", &ticket[..ticket.len() - 1]))),
        ("with an access token for a ticket", vec![("cookie", cookie.clone())], allow(guarded.admin.clone())),
        (
            "from another origin",
            vec![("cookie", cookie.clone()), ("host", "ma.example".to_owned()), ("origin", "https://evil.example".to_owned())],
            allow(ticket.clone()),
        ),
        ("from another site", vec![("cookie", cookie.clone()), ("sec-fetch-site", "cross-site".to_owned())], allow(ticket.clone())),
    ] {
        let answer = send(headers, fields).await;
        assert_eq!((answer.status, answer.headers.get("location")), (StatusCode::BAD_REQUEST, None), "{why}");
    }
    let mut wrong = allow(ticket.clone());
    wrong[3].1 = "wrong".to_owned();
    let again = send(vec![("cookie", cookie.clone())], wrong).await;
    assert!(again.text.contains("The user name or the password is wrong"), "{}", again.text);
    opened(&again);
    let mut refused = allow(ticket.clone());
    refused[1].1 = "deny".to_owned();
    let back = sent(&send(vec![("cookie", cookie.clone())], refused).await);
    assert_eq!((value(&back, "error").as_deref(), value(&back, "state").as_deref()), (Some("access_denied"), Some("<s>")));
    let headers =
        vec![("cookie", cookie), ("host", "ma.example".to_owned()), ("origin", "https://ma.example".to_owned()), ("sec-fetch-site", "same-origin".to_owned())];
    assert!(value(&sent(&send(headers, allow(ticket)).await), "code").is_some());
}

#[tokio::test]
async fn clients_are_described_changed_and_removed() {
    let guarded = Guarded::new().await;
    let bad = json!({"name": "", "redirect_uris": ["javascript:alert(1)", "http://app.example/"], "secret": "x"});
    let bad = guarded.as_admin(Method::POST, "/auth/clients/", Some(&bad)).await;
    assert_eq!(bad.fields(), ["name", "redirect_uris[0]", "redirect_uris[1]", "secret"], "{}", bad.text);
    let (id, secret) = client(&guarded, true).await;
    let path = format!("/auth/clients/{id}");
    let changed = guarded.as_admin(Method::PUT, &path, Some(&json!({"name": "New", "redirect_uris": ["https://b.example/"]}))).await;
    assert_eq!((&changed.json["name"], &changed.json["confidential"]), (&json!("New"), &json!(true)), "{}", changed.text);
    let listed = guarded.as_admin(Method::GET, "/auth/clients/", None).await;
    assert!(!listed.text.contains(&secret.expect("a secret")) && listed.json[0]["client_id"] == json!(id));
    assert_eq!(guarded.as_admin(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(guarded.as_admin(Method::GET, &path, None).await.status, StatusCode::NOT_FOUND);
    let gone: Value = guarded.as_admin(Method::GET, "/auth/clients/", None).await.json;
    assert_eq!(gone, json!([]));
}
