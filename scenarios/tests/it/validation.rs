//! `POST /validate/` against the rig's real servers: what is wrong is named with its field, once, and within the time limit.

use crate::product::Product;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::rig;

fn ssh() -> Value {
    let at = rig::ssh();
    let keys = std::fs::read_to_string(&at.known_hosts_file).expect("the server's keys");
    let key = keys.lines().find(|l| !l.trim().is_empty()).expect("a key");
    json!({"type": "server", "host": at.host, "port": at.port, "username": at.user, "password": at.password, "host_key": key, "paths": {"web_root": at.home}})
}

fn s3() -> Value {
    let at = rig::s3();
    json!({"type": "aws-s3", "bucket": "validation-nowhere", "endpoint": at.endpoint, "access_key_id": at.access_key_id, "secret_access_key": at.secret_access_key})
}

fn mariadb() -> Value {
    let at = rig::mariadb();
    json!({"type": "mysql", "host": at.host, "port": at.port, "username": at.user, "password": at.password, "database": "mysql"})
}

fn with(mut system: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().expect("changes") {
        system[name] = value.clone();
    }
    system
}

async fn product() -> (tempfile::TempDir, Product) {
    let dir = tempfile::tempdir().expect("a directory");
    let product = Product::start(&dir.path().join("data"), &[dir.path()]).await;
    (dir, product)
}

async fn validate(product: &Product, source: &Value, destination: &Value) -> Value {
    let (status, found) = product.post("/validate/", json!({"name": "n", "source": source, "destination": destination})).await;
    assert_eq!(status, 200, "{found:#}");
    found
}

/// Check, field and kind of each failure.
fn failures(found: &Value) -> Vec<(String, String, String)> {
    let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = found["checks"].as_array().expect("checks").iter().filter(|c| c["outcome"] == "failed");
    checks.map(|c| (text(c, "check"), text(c, "field"), text(c, "kind"))).collect()
}

#[tokio::test]
async fn good_systems_pass_every_check() {
    let (dir, product) = product().await;
    let site = dir.path().join("site");
    std::fs::create_dir(&site).expect("a site");
    std::fs::write(site.join("index.html"), "hello").expect("a page");
    let large = std::fs::File::create(site.join("video.mp4")).expect("a large file");
    large.set_len(500 << 20).expect("500 MB, sparse");
    let source = json!({"type": "static", "paths": {"web_root": site}});
    let found = validate(&product, &source, &json!({"type": "static", "paths": {"web_root": dir.path().join("new")}})).await;
    assert_eq!((&found["valid"], &found["can_proceed"], &found["checks_failed"]), (&json!(true), &json!(true), &json!(0)), "{found:#}");
    assert_eq!(found["warnings"], json!(["Large file detected: video.mp4 (500MB) - consider compression"]));
    assert_eq!((&found["estimate"]["files"], &found["estimate"]["bytes"]), (&json!(2), &json!((500u64 << 20) + 5)));
    assert!(!dir.path().join("new").exists(), "a validation leaves nothing behind");
}

#[tokio::test]
async fn each_fault_is_named_once_with_its_field() {
    let (_dir, product) = product().await;
    let plain = rig::ssh().home.join(format!("validation-{}", std::process::id()));
    std::fs::create_dir_all(&plain).expect("a directory that is no WordPress");
    let wrong = [
        (with(ssh(), json!({"password": "wrong"})), "source_credentials", "source.password", "authentication"),
        (unknown_key(), "source_connectivity", "source.host_key", "host_key"),
        (with(ssh(), json!({"host": "no-such-host.invalid"})), "source_connectivity", "source.host", "unreachable"),
        (with(ssh(), json!({"port": 1})), "source_connectivity", "source.host", "unreachable"),
        (with(ssh(), json!({"paths": {"web_root": "/no/such/directory"}})), "source_permissions", "source.paths.web_root", "not_found"),
        (with(ssh(), json!({"type": "wordpress", "paths": {"web_root": plain}})), "wordpress", "source.paths.web_root", "not_found"),
    ];
    for (source, check, field, kind) in wrong {
        let found = validate(&product, &source, &s3()).await;
        let named = failures(&found);
        assert_eq!(named, [(check.to_owned(), field.to_owned(), kind.to_owned())], "{found:#}");
        assert!(!found.to_string().contains(&rig::ssh().password), "the password came back");
    }
    std::fs::remove_dir(&plain).expect("nothing was left in it");
    let found = validate(&product, &unknown_key(), &s3()).await;
    assert!(found["errors"][0].as_str().expect("text").contains("SHA256:"), "the fingerprint to confirm is named: {found:#}");
    let bad_key = with(s3(), json!({"secret_access_key": "wrong"}));
    assert_eq!(failures(&validate(&product, &ssh(), &bad_key).await)[0].0, "destination_credentials");
}

fn unknown_key() -> Value {
    with(ssh(), json!({"host_key": null}))
}

#[tokio::test]
async fn faults_of_databases_have_their_fields() {
    let (_dir, product) = product().await;
    for (changes, check, kind) in [
        (json!({"password": "wrong"}), "source_database_credentials", "authentication"),
        (json!({"database": "no_such_database"}), "source_database_credentials", "not_found"),
        (json!({"port": 1}), "source_database_connectivity", "unreachable"),
    ] {
        let found = validate(&product, &with(mariadb(), changes), &with(mariadb(), json!({"database": "validation_nowhere"}))).await;
        let named = failures(&found);
        assert_eq!((named.len(), named[0].0.as_str(), named[0].2.as_str()), (1, check, kind), "{found:#}");
        assert!(named[0].1.starts_with("source."), "{found:#}");
    }
}

#[tokio::test]
async fn an_older_postgresql_is_refused() {
    let (_dir, product) = product().await;
    let side = |at: rig::Server, database: &str| json!({"type": "postgresql", "host": at.host, "port": at.port, "username": at.user, "password": at.password, "database": database});
    let found = validate(&product, &side(rig::postgres18(), "postgres"), &side(rig::postgres15(), "validation_nowhere")).await;
    assert_eq!(failures(&found), [("database_versions".to_owned(), "destination.database".to_owned(), "unsupported".to_owned())], "{found:#}");
    let found = validate(&product, &side(rig::postgres15(), "postgres"), &side(rig::postgres18(), "validation_nowhere")).await;
    assert_eq!(failures(&found), [], "{found:#}");
}

/// Accepts connections and never says a word.
async fn silent() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    port
}

#[tokio::test]
async fn silent_servers_end_within_the_limit() {
    let (_dir, product) = product().await;
    let port = silent().await;
    let source = with(ssh(), json!({"port": port, "database": with(mariadb(), json!({"port": port}))}));
    let destination = with(s3(), json!({"endpoint": format!("http://127.0.0.1:{port}"), "database": with(mariadb(), json!({"port": port}))}));
    let began = Instant::now();
    let found = validate(&product, &source, &destination).await;
    assert!(began.elapsed() < Duration::from_secs(25), "took {:?}", began.elapsed());
    let named: Vec<String> = failures(&found).into_iter().map(|(check, ..)| check).collect();
    for door in ["source_", "source_database_", "destination_", "destination_database_"] {
        assert!(named.iter().any(|check| check.starts_with(door)), "{door}: {found:#}");
    }
    assert_eq!(found["can_proceed"], false);
}
