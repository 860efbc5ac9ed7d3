//! Document 1: a user registers, gets a token, and owns what it makes.

use super::auth::Guarded;
use super::bench::{Answer, Bench};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use engine::journal::Runs;
use serde_json::{Value, json};

struct User<'a> {
    bench: &'a Bench,
    access: String,
}

impl<'a> User<'a> {
    async fn register(bench: &'a Bench, name: &str) -> Self {
        let body = json!({"username": name, "password": "a-long-password"});
        let made = bench.post("/api/v1/auth/", &body).await;
        assert_eq!((made.status, &made.json["username"]), (StatusCode::CREATED, &json!(name)), "{}", made.text);
        let pair = bench.post("/api/v1/token/", &body).await;
        assert_eq!(pair.status, StatusCode::OK, "{}", pair.text);
        assert!(pair.json["refresh"].is_string());
        Self { bench, access: pair.json["access"].as_str().expect("a token").to_owned() }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", self.access));
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.bench.send(request.expect("a request")).await
    }

    /// Makes one; its id.
    async fn make(&self, noun: &str, body: Value) -> String {
        let made = self.call(Method::POST, &format!("/api/v1/{noun}/"), Some(&body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{noun}: {}", made.text);
        assert_eq!(made.headers["location"].to_str().expect("text"), format!("/api/v1/{noun}/{}", made.json["id"].as_str().expect("an id")));
        made.json["id"].as_str().expect("an id").to_owned()
    }

    /// Credentials, a mount point, two workloads and a target, as a migration needs them.
    async fn parts(&self) -> Parts {
        let credentials = self.make("credentials", json!({"username": "testuser", "password": "canary-word", "domain": "testdomain.com"})).await;
        let mount_point = self.make("mount-points", json!({"mount_point_name": "C:\\", "total_size": 1000})).await;
        let source = self.make("workloads", json!({"ip": "192.168.1.1", "credentials": credentials, "mount_points": [mount_point]})).await;
        let vm = self.make("workloads", json!({"ip": "192.168.1.2", "credentials": credentials, "mount_points": []})).await;
        let target = self.make("migration-targets", json!({"cloud_type": "aws", "cloud_credentials": credentials, "target_vm": vm})).await;
        Parts { credentials, mount_point, source, vm, target }
    }
}

struct Parts {
    credentials: String,
    mount_point: String,
    source: String,
    vm: String,
    target: String,
}

/// A migration into an image is one node's own, and of the same kind for callers.
#[tokio::test]
async fn migrations_into_images_are_listed_too() {
    let guarded = Guarded::new().await;
    for (id, kind) in [("vm", "workload"), ("image", "workload@bench"), ("site", "application")] {
        let run = engine::NewRun { id: id.to_owned(), tenant: "default".to_owned(), kind: kind.to_owned(), input: json!({}), labels: json!({}), holds: None };
        guarded.bench.journal.create(&run, &[]).await.expect("created");
    }
    let listed = guarded.as_admin(Method::GET, "/api/v1/migrations/", None).await.json;
    let mut ids: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|m| m["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["image", "vm"], "{listed:#}");
}

#[tokio::test]
async fn a_user_creates_views_and_deletes_its_objects() {
    let bench = Bench::new().await;
    let user = User::register(&bench, "ann").await;
    let Parts { credentials, mount_point, source, vm, target } = user.parts().await;
    let migration = user.make("migrations", json!({"selected_mount_points": [mount_point], "source": source, "migration_target": target})).await;
    let shown = user.call(Method::GET, &format!("/api/v1/migrations/{migration}/"), None).await.json;
    assert_eq!(
        shown,
        json!({"id": migration, "selected_mount_points": [mount_point], "source": source, "migration_target": target, "state": "NOT_STARTED", "migration_state": "not_started"})
    );
    let started = user.call(Method::POST, &format!("/api/v1/migrations/{migration}/start/"), None).await;
    assert_eq!((started.status, &started.json["state"]), (StatusCode::OK, &json!("RUNNING")), "{}", started.text);
    for (noun, id, used) in [
        ("migrations", &migration, true),
        ("credentials", &credentials, true),
        ("mount-points", &mount_point, true),
        ("workloads", &vm, true),
        ("migration-targets", &target, false),
        ("workloads", &vm, false),
        ("workloads", &source, false),
        ("mount-points", &mount_point, false),
        ("credentials", &credentials, false),
    ] {
        let path = format!("/api/v1/{noun}/{id}/");
        let seen = user.call(Method::GET, &path, None).await;
        assert_eq!((seen.status, &seen.json["id"]), (StatusCode::OK, &json!(id)), "{}", seen.text);
        assert!(!seen.text.contains("canary"), "{}", seen.text);
        let listed = user.call(Method::GET, &format!("/api/v1/{noun}/"), None).await.json;
        assert!(listed.as_array().expect("a list").contains(&seen.json), "{listed}");
        let gone = user.call(Method::DELETE, &path, None).await;
        assert_eq!(gone.status, if used { StatusCode::CONFLICT } else { StatusCode::NO_CONTENT }, "{noun}: {}", gone.text);
        if !used {
            assert_eq!(user.call(Method::GET, &path, None).await.status, StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn nobody_sees_what_is_not_its_own() {
    let bench = Bench::new().await;
    let (ann, bob) = (User::register(&bench, "ann").await, User::register(&bench, "bob").await);
    let parts = ann.parts().await;
    for (noun, id) in
        [("credentials", &parts.credentials), ("mount-points", &parts.mount_point), ("workloads", &parts.source), ("migration-targets", &parts.target)]
    {
        let path = format!("/api/v1/{noun}/{id}/");
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(bob.call(method, &path, None).await.status, StatusCode::NOT_FOUND);
        }
        assert_eq!(bob.call(Method::GET, &format!("/api/v1/{noun}/"), None).await.json, json!([]));
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(
                bench.call(method, &path, None).await.status,
                StatusCode::UNAUTHORIZED,
                "a log-in is needed here, whatever the server asks for elsewhere"
            );
        }
    }
    let borrowed = json!({"ip": "10.0.0.1", "credentials": parts.credentials, "mount_points": [parts.mount_point]});
    let refused = bob.call(Method::POST, "/api/v1/workloads/", Some(&borrowed)).await;
    assert_eq!((refused.status, refused.fields()), (StatusCode::BAD_REQUEST, vec!["credentials", "mount_points[0]"]), "{}", refused.text);
    assert_eq!(bench.post("/api/v1/workloads/", &borrowed).await.status, StatusCode::UNAUTHORIZED);
    bob.parts().await;
    assert_eq!(bench.get("/workloads").await.json, json!([]), "another tenant's");
}

#[tokio::test]
async fn registering_and_tokens() {
    let bench = Bench::new().await;
    let body = json!({"username": "ann", "password": "a-long-password"});
    let first = bench.post("/api/v1/auth/", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = bench.post("/api/v1/auth/", &body).await;
    assert_eq!((again.status, again.fields()), (StatusCode::BAD_REQUEST, vec!["username"]), "{}", again.text);
    for (bad, fields) in [
        (json!({}), vec!["username", "password"]),
        (json!({"username": "a b", "password": "short"}), vec!["username", "password"]),
        (json!({"username": "bob", "password": "a-long-password", "is_admin": true}), vec!["is_admin"]),
    ] {
        let answer = bench.post("/api/v1/auth/", &bad).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, fields), "{}", answer.text);
    }
    let wrong = bench.post("/api/v1/token/", &json!({"username": "ann", "password": "another"})).await;
    assert_eq!((wrong.status, wrong.code()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS"));
    let pair = bench.post("/api/v1/token/", &body).await.json;
    let next = bench.post("/api/v1/token/refresh/", &json!({"refresh": pair["refresh"]})).await;
    assert_eq!(next.status, StatusCode::OK, "{}", next.text);
    assert_ne!(next.json["refresh"], pair["refresh"]);
    assert_eq!(bench.post("/api/v1/token/refresh/", &json!({"refresh": pair["refresh"]})).await.status, StatusCode::UNAUTHORIZED, "good once");
    assert_eq!(bench.post("/auth/token", &body).await.code(), "AUTHENTICATION_DISABLED", "nothing else asks for a log-in");
    assert_eq!(bench.get("/swagger/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_target_says_where_its_cloud_is_asked() {
    let bench = Bench::new().await;
    let user = User::register(&bench, "ann").await;
    let parts = user.parts().await;
    let cloud = json!({"endpoint": "https://ec2.example.com", "session_token": "token-canary"});
    let body = |cloud: &Value| json!({"cloud_type": "aws", "cloud_credentials": parts.credentials, "target_vm": parts.vm, "cloud": cloud});
    let target = user.make("migration-targets", body(&cloud)).await;
    let shown = user.call(Method::GET, &format!("/api/v1/migration-targets/{target}/"), None).await;
    let expected = json!({"endpoint": "https://ec2.example.com", "region": null, "session_token": "********", "ca": null});
    assert_eq!(shown.json["cloud"], expected, "{}", shown.text);
    let migration = user.make("migrations", json!({"selected_mount_points": [parts.mount_point], "source": parts.source, "migration_target": target})).await;
    let tenants = bench.get("/tenants/").await.json;
    let mut ids = tenants.as_array().expect("a list").iter().filter_map(|t| t["id"].as_str());
    let own = ids.find(|id| id.starts_with("user-")).expect("a tenant of its own");
    let kept = bench.journal.input(own, &migration).await.expect("its document");
    assert_eq!(kept["migration_target"]["cloud"], cloud, "with its token");
    let bad = user.call(Method::POST, "/api/v1/migration-targets/", Some(&body(&json!({"endpoint": "https://10.0.0.1", "regoin": "x"})))).await;
    assert_eq!((bad.status, bad.fields()), (StatusCode::BAD_REQUEST, vec!["cloud.regoin", "cloud.endpoint"]), "{}", bad.text);
    assert!(!String::from_utf8_lossy(&bench.stored_bytes()).contains("token-canary"));
}

#[tokio::test]
async fn every_bad_id_is_named_at_once() {
    let bench = Bench::new().await;
    let user = User::register(&bench, "ann").await;
    for (noun, body, fields) in [
        (
            "workloads",
            json!({"ip": "a b", "credentials": "none", "mount_points": ["gone", "lost"], "more": 1}),
            vec!["ip", "more", "credentials", "mount_points[0]", "mount_points[1]"],
        ),
        (
            "migration-targets",
            json!({"cloud_type": "gcp", "cloud_credentials": "none", "target_vm": "gone"}),
            vec!["cloud_type", "cloud_credentials", "target_vm"],
        ),
        (
            "migrations",
            json!({"selected_mount_points": ["none"], "source": "gone", "migration_target": "lost"}),
            vec!["source", "migration_target", "selected_mount_points[0]"],
        ),
    ] {
        let answer = user.call(Method::POST, &format!("/api/v1/{noun}/"), Some(&body)).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, fields), "{}", answer.text);
    }
    let Parts { credentials, .. } = user.parts().await;
    let again = json!({"ip": "::ffff:192.168.1.1", "credentials": credentials, "mount_points": []});
    let taken = user.call(Method::POST, "/api/v1/workloads/", Some(&again)).await;
    assert_eq!((taken.status, taken.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"), "{}", taken.text);
    assert!(taken.json["error"]["message"].as_str().is_some_and(|m| m.contains("the address 192.168.1.1")), "{}", taken.text);
}

/// Parts that a workload was made with, in document 0's words, may serve another one too: they stay as long as they are needed.
#[tokio::test]
async fn shared_parts_outlive_the_workload_they_were_made_with() {
    let guarded = Guarded::new().await;
    let user = User::register(&guarded.bench, "ann").await;
    let whole = json!({
        "ip": "10.0.0.5",
        "credentials": {"username": "root", "password": "canary-word"},
        "storage": {"mount_points": [{"mount_point_name": "/data", "total_size": 5}]},
    });
    let first = user.call(Method::POST, "/workloads", Some(&whole)).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let id = first.json["id"].as_str().expect("an id");
    let parts = user.call(Method::GET, &format!("/api/v1/workloads/{id}"), None).await.json;
    user.make("workloads", json!({"ip": "10.0.0.6", "credentials": parts["credentials"], "mount_points": parts["mount_points"]})).await;
    let changed = user.call(Method::PUT, "/workloads/10.0.0.5", Some(&whole)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!(user.call(Method::DELETE, "/workloads/10.0.0.5", None).await.status, StatusCode::NO_CONTENT);
    let second = user.call(Method::GET, "/workloads/10.0.0.6", None).await;
    assert_eq!((second.status, &second.json["storage"]), (StatusCode::OK, &whole["storage"]), "{}", second.text);
    assert_eq!(user.call(Method::GET, "/workloads", None).await.json, json!([second.json]));
    let credentials = format!("/api/v1/credentials/{}", parts["credentials"].as_str().expect("an id"));
    assert_eq!(user.call(Method::DELETE, &credentials, None).await.status, StatusCode::CONFLICT, "in use");
}
