//! "Basic API Usage" as it is printed: a real WordPress moves to a real object store and database, watched by the printed loop; then its log, its
//! validation and its rollback.

use super::programs::{put, python};
use super::shape::{assert_alike, assert_told};
use super::{json, line};
use crate::oauth::guarded;
use crate::product::Product;
use crate::wordpress::{Site, mysql, shell};
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

/// Where the printed hosts are in the rig.
struct Places {
    site: Site,
    bucket: String,
    database: String,
}

impl Places {
    /// The site has a picture that is worth its own line in the log; the database holds something that is worth a backup.
    async fn new() -> Self {
        let (id, site) = (std::process::id(), Site::new("document3"));
        let folder = site.root.join("wp-content/uploads/2024/08");
        let user = testkit::rig::ssh().user;
        shell(&format!("mkdir -p {0} && head -c 2200000 /dev/urandom > {0}/image.jpg && chown -R {user} {0}", folder.display()));
        let database = format!("document3_{id}");
        let older = format!("CREATE DATABASE {database}; CREATE TABLE {database}.wp_options(option_id INT PRIMARY KEY, old TEXT)");
        mysql().await.query_drop(format!("{older}; INSERT INTO {database}.wp_options VALUES (1, 'before')")).await.expect("an older database");
        Self { site, bucket: format!("document3-{id}"), database }
    }

    /// What is in the place of the printed values, as fields.
    fn program(&self, base: &str, token: &str) -> String {
        let (source, s3, from, to) = (self.site.source(), testkit::rig::s3(), testkit::rig::mariadb(), testkit::rig::mysql());
        let field = |name: &str| source[name].to_string();
        let ssh = format!("\"host\": {}, \"port\": {}, \"host_key\": {}, \"paths\": {}", field("host"), field("port"), field("host_key"), field("paths"));
        let store = format!(
            "\"region\": \"us-east-1\", \"endpoint\": \"{}\", \"access_key_id\": \"{}\", \"secret_access_key\": \"{}\"",
            s3.endpoint, s3.access_key_id, s3.secret_access_key
        );
        let cluster = format!("\"cluster\": \"{}\", \"port\": {}, \"database\": \"{}\"", to.host, to.port, self.database);
        let wordpress = format!("\"username\": \"wp_user\", \"port\": {}", from.port);
        let printed = super::text("Basic API Usage 1").replacen("\"host\": \"old-server.com\"", &ssh, 1);
        put(
            &printed,
            &[
                ("http://localhost:8000", base),
                ("your-jwt-token", token),
                ("\"username\": \"user\"", &format!("\"username\": {}", field("username"))),
                ("\"password\": \"pass\"", &format!("\"password\": {}", field("password"))),
                ("\"username\": \"wp_user\"", &wordpress),
                ("old-server.com", &from.host),
                ("wp_user", &from.user),
                ("wp_pass", &from.password),
                ("wordpress_db", &testkit::rig::setting("RIG_WP_DB")),
                ("\"region\": \"us-east-1\"", &store),
                ("my-new-website", &self.bucket),
                ("\"cluster\": \"my-website-cluster\"", &cluster),
                ("\"admin\"", &format!("\"{}\"", to.user)),
                ("admin_pass", &to.password),
            ],
        )
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let gone = format!("DROP DATABASE IF EXISTS {}", self.database);
        let drops = async move { mysql().await.query_drop(gone).await };
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = std::thread::spawn(move || runtime().block_on(drops)).join();
        assert!(ended.is_ok_and(|e| e.is_ok()) || std::thread::panicking(), "the database is dropped");
    }
}

/// As that caller.
async fn ask(product: &Product, token: &str, key: &str, id: &str, body: Option<&Value>) -> (u16, Value) {
    let (method, path) = line(key, &[("session_id", id)]);
    let mut request = product.http.request(method, product.url(&path)).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// The printed body with the rig's places.
fn to_validate(places: &Places) -> Value {
    let (mut body, source, s3, from) = (json("Validate Configuration 2"), places.site.source(), testkit::rig::s3(), testkit::rig::mariadb());
    for name in ["host", "port", "username", "password", "host_key", "paths"] {
        body["source"][name] = source[name].clone();
    }
    let others =
        json!({"host": from.host, "port": from.port, "username": from.user, "password": from.password, "database": testkit::rig::setting("RIG_WP_DB")});
    body["source"]["database"].as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
    let store = json!({"endpoint": s3.endpoint, "bucket": places.bucket, "access_key_id": s3.access_key_id, "secret_access_key": s3.secret_access_key});
    body["destination"].as_object_mut().expect("an object").extend(store.as_object().expect("an object").clone());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_basic_program_moves_a_wordpress() {
    let (data, places) = (tempfile::tempdir().expect("a directory"), Places::new().await);
    let (product, token) = guarded(data.path()).await;
    let (code, found) = ask(&product, &token, "Validate Configuration 1", "", Some(&to_validate(&places))).await;
    assert_eq!(code, 200, "{found:#}");
    let mut printed = json("Validate Configuration 3");
    printed["warnings"] = json!([]);
    assert_told(&printed, &found, &["/valid", "/can_proceed", "/checks_failed", "/errors"]);

    let told = python(&places.program(&product.url(""), &token));
    let said: Vec<&str> = told.lines().collect();
    let id = said[0].strip_prefix("Created migration session: ").expect("its first line").to_owned();
    assert_eq!((said[1], said[said.len() - 1]), ("Migration started!", "Migration finished!"), "{told}");
    assert!(said[2..said.len() - 1].iter().all(|line| line.starts_with("Status: ") && line.ends_with('%')), "{told}");
    assert_eq!(said[said.len() - 2], "Status: completed, Progress: 100.0%", "{told}");

    let (_, logs) = ask(&product, &token, "Migration Logs 1", &id, None).await;
    let mut printed = json("Migration Logs 2");
    let transferred = printed["logs"][0].clone();
    for entry in printed["logs"].as_array_mut().expect("a list") {
        entry["details"] = json!({});
    }
    assert_alike(&printed, &logs);
    let all = product.http.get(product.url(&format!("/migrations/{id}/logs?limit=1000&level=INFO"))).bearer_auth(&token).send().await.expect("an answer");
    let all: Value = all.json().await.expect("JSON");
    let one = all["logs"].as_array().expect("a list").iter().find(|l| l["details"]["checksum"].is_string()).expect("a file's own line");
    assert_alike(&transferred, one);
    assert!(one["message"].as_str().is_some_and(|m| m.starts_with("Transferred ") && m.ends_with(')')), "{one}");

    let (_, metrics) = ask(&product, &token, "Performance Metrics 1", &id, None).await;
    assert_alike(&json("Performance Metrics 2"), &metrics);

    let backups: Value = product.http.get(product.url("/backups")).bearer_auth(&token).send().await.expect("an answer").json().await.expect("JSON");
    let mut body = json("Rollback Migration 2");
    body["backup_id"] = backups.as_array().expect("a list").iter().find(|b| b["session_id"] == json!(id)).expect("its backup")["backup_id"].clone();
    let (code, answer) = ask(&product, &token, "Rollback Migration 1", &id, Some(&body)).await;
    assert_eq!(code, 200, "{answer:#}");
    assert_told(&json("Rollback Migration 3"), &answer, &["/status", "/message"]);
    assert_eq!(rested(&product, &token, &id).await, "rolled_back");
    let old: Option<String> = mysql().await.query_first(format!("SELECT old FROM {}.wp_options", places.database)).await.expect("the old table");
    assert_eq!(old.as_deref(), Some("before"), "what stood there is back");
}

/// Its status once nothing happens any more.
async fn rested(product: &Product, token: &str, id: &str) -> String {
    let mut after = 0;
    loop {
        let get =
            async |path: String| product.http.get(product.url(&path)).bearer_auth(token).send().await.expect("an answer").json::<Value>().await.expect("JSON");
        let status = get(format!("/migrations/{id}/status")).await;
        match status["status"].as_str() {
            Some(word @ ("completed" | "failed" | "cancelled" | "rolled_back" | "stuck")) => return word.to_owned(),
            _ => {
                let page = get(format!("/migrations/{id}/events?after={after}&wait=5")).await;
                after = page["events"].as_array().and_then(|e| e.last()).and_then(|e| e["seq"].as_u64()).unwrap_or(after);
            }
        }
    }
}
