//! Every route × every role × own and foreign things. The routes are the document's, which is made from the router's table; what each
//! needs is written down once more in `access.txt`, so that a route nobody thought about fails here.

use super::auth::{Guarded, PASSWORD};
use super::bench::{Answer, body};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Operation and what it needs: a scope, `log-in`, or `public`.
const EXPECTED: &str = include_str!("access.txt");

struct Route {
    id: String,
    method: Method,
    path: String,
    access: String,
}

fn routes(document: &Value) -> Vec<Route> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let access = match operation["x-required-scope"].as_str() {
                Some(scope) => scope.to_owned(),
                None if operation["security"] == json!([]) => "public".to_owned(),
                None => "log-in".to_owned(),
            };
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            let secured = operation["security"].as_array().unwrap_or_else(|| panic!("{id} says nothing of its security"));
            assert_eq!(secured.is_empty(), access == "public", "{id}");
            let known = operation["responses"].as_object().expect("responses");
            assert!(access == "public" || known.contains_key("401"), "{id} does not say that it needs a log-in");
            all.push(Route { id, method, path: path.clone(), access });
        }
    }
    all
}

/// Somebody who asks.
struct Role {
    name: String,
    /// `None`: nobody.
    scopes: Option<BTreeSet<String>>,
    key: Option<String>,
}

impl Role {
    fn may(&self, access: &str) -> bool {
        let has = |word: &str| self.scopes.as_ref().is_some_and(|s| s.contains(word) || s.contains("admin"));
        match access {
            "public" => true,
            "log-in" => self.scopes.is_some(),
            scope => has(scope),
        }
    }
}

#[tokio::test]
async fn every_route_is_written_down_with_what_it_needs() {
    let document = Guarded::new().await.bench.get("/openapi.json").await.json;
    let expected: BTreeMap<&str, &str> =
        EXPECTED.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#')).map(|l| l.split_once(' ').expect("two words")).collect();
    let real: BTreeMap<String, String> = routes(&document).into_iter().map(|r| (r.id, r.access)).collect();
    let missing: Vec<String> =
        real.iter().filter(|(id, access)| expected.get(id.as_str()) != Some(&access.as_str())).map(|(id, access)| format!("{id} {access}")).collect();
    let gone: Vec<&&str> = expected.keys().filter(|id| !real.contains_key(**id)).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "decide who may call them, then correct access.txt\nnot there, or otherwise: {missing:#?}\nno longer a route: {gone:#?}"
    );
}

/// What is used up or would end the roles' own sessions is asked last and with an id that nobody has.
#[tokio::test]
async fn every_route_asks_every_role_for_its_scope() {
    let guarded = Guarded::new().await;
    let document = guarded.bench.get("/openapi.json").await.json;
    let routes = routes(&document);
    let scopes: BTreeSet<&str> = routes.iter().map(|r| r.access.as_str()).filter(|a| a.contains(':')).collect();
    let reader: Vec<&str> = scopes.iter().copied().filter(|s| s.ends_with(":read")).collect();
    let writer: Vec<&str> = scopes.iter().copied().collect();
    guarded.tenant("other").await;
    guarded.user("chief", "default", &["admin"]).await;
    guarded.user("stranger", "other", &["admin"]).await;
    let mut roles = vec![Role { name: "anonymous".to_owned(), scopes: None, key: None }];
    let chief = guarded.log_in("chief").await;
    let sets = scopes.iter().map(|s| vec![*s]).chain([Vec::new(), reader, writer, vec!["admin"]]);
    for set in sets {
        roles.push(role(&guarded, &chief, &set).await);
    }
    let stranger = guarded.log_in("stranger").await;
    let mut foreign = role(&guarded, &stranger, &["admin"]).await;
    foreign.name = "administrator of another tenant".to_owned();
    roles.push(foreign);
    let own = guarded.as_admin(Method::POST, "/migrations/", Some(&body())).await.json["session_id"].as_str().expect("an id").to_owned();

    for route in &routes {
        for role in &roles {
            for id in ["none", own.as_str()] {
                let is_read = route.method == Method::GET;
                // Writes are asked for things that are not there, so that every role finds the same.
                if id != "none" && (!is_read || !route.path.contains("{session_id}")) {
                    continue;
                }
                let answer = ask(&guarded, route, role, id).await;
                judge(route, role, id, &answer);
                if role.name == "administrator of another tenant" && id != "none" {
                    assert!(answer.status == StatusCode::NOT_FOUND, "{} shows a foreign migration: {}", route.id, answer.text);
                }
            }
        }
    }
    assert_eq!(guarded.as_admin(Method::GET, "/migrations/", None).await.json[0]["session_id"], json!(own), "nobody has changed it");
}

async fn role(guarded: &Guarded, token: &str, scopes: &[&str]) -> Role {
    let name = if scopes.is_empty() { "without scopes".to_owned() } else { scopes.join(" ") };
    let made = guarded.as_token(token, Method::POST, "/auth/api-keys/", Some(&json!({"name": name, "scopes": scopes}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let key = made.json["api_key"].as_str().expect("a key").to_owned();
    Role { name, scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()), key: Some(key) }
}

async fn ask(guarded: &Guarded, route: &Route, role: &Role, id: &str) -> Answer {
    let parts: Vec<&str> = route.path.split('/').map(|part| if part.starts_with('{') { id } else { part }).collect();
    let headers: Vec<(&str, &str)> = role.key.iter().map(|key| ("x-api-key", key.as_str())).collect();
    let sent = (route.method != Method::GET && route.method != Method::DELETE).then(|| json!({"no-such-field": 1}));
    guarded.call(route.method.clone(), &parts.join("/"), &headers, sent.as_ref()).await
}

fn judge(route: &Route, role: &Role, id: &str, answer: &Answer) {
    let told = format!("{} {} ({}) as {} with {id}: {} {}", route.method, route.path, route.access, role.name, answer.status, answer.text);
    if route.access != "public" && role.scopes.is_none() {
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "AUTHENTICATION_REQUIRED"), "{told}");
    } else if !role.may(&route.access) {
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS"), "{told}");
        assert_eq!(answer.json["error"]["details"]["required_scope"], json!(route.access), "{told}");
    } else {
        assert_ne!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "AUTHENTICATION_REQUIRED"), "{told}");
        // What only the administrators of `default` may do is refused to others behind the scope.
        let behind = role.name == "administrator of another tenant" && route.access == "admin";
        assert!(behind || answer.status != StatusCode::FORBIDDEN, "{told}");
    }
}

/// The scheme that the OpenAPI document promises is the one that works.
#[tokio::test]
async fn the_document_names_the_ways_in() {
    let guarded = Guarded::new().await;
    let document = guarded.bench.get("/openapi.json").await.json;
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["api_key"]["name"], &schemes["bearer"]["scheme"]), (&json!("X-API-Key"), &json!("bearer")));
    let flow = &schemes["oauth2"]["flows"]["password"];
    let token =
        guarded.form(flow["tokenUrl"].as_str().expect("an address"), &[], &[("username", "admin"), ("password", PASSWORD), ("scope", "presets:read")]).await;
    assert_eq!(token.json["scope"], "presets:read", "{}", token.text);
    assert!(flow["scopes"].as_object().expect("scopes").contains_key("migrations:write"));
    let token = token.json["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(guarded.as_token(&token, Method::GET, "/migrations/", None).await.status, StatusCode::FORBIDDEN, "the token has the scope that was asked for");
}
