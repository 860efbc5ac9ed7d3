//! Every malformed body gets a 400 that names each bad field, and nothing is created.

use super::bench::{Bench, body};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

/// The good body with one change: a value set at a path, or removed when it is null.
fn with(path: &str, value: Value) -> Value {
    let mut document = body();
    document["transfer"] = json!({"method": "hybrid_sync", "options": {}});
    document["safety"] = json!({});
    document["notifications"] = json!({"email": {}, "webhook": {}});
    set(&mut document, path, value);
    document
}

fn set(document: &mut Value, path: &str, value: Value) {
    let (parents, last) = path.rsplit_once('.').map_or((Vec::new(), path), |(p, l)| (p.split('.').collect(), l));
    let mut at = document;
    for parent in parents {
        at = &mut at[parent];
    }
    at[last] = value;
}

fn several(changes: &[(&str, Value)]) -> Value {
    let mut document = with("name", json!("Site"));
    for (path, value) in changes {
        set(&mut document, path, value.clone());
    }
    document
}

fn database(side: &str, value: Value) -> Value {
    let good = json!({"type": "mysql", "host": "db.example", "username": "u", "password": "p", "database": "d"});
    let (mut source, mut destination) = (good.clone(), good);
    let changed = if side == "source" { &mut source } else { &mut destination };
    for (name, v) in value.as_object().expect("changes") {
        changed[name] = v.clone();
    }
    several(&[
        ("source.database", source),
        ("destination", json!({"type": "static", "host": "new.example", "username": "u"})),
        ("destination.database", destination),
    ])
}

fn local(source: Value, destination: Value) -> Value {
    json!({"name": "n", "source": {"type": "static", "paths": {"web_root": source}}, "destination": {"type": "static", "paths": {"web_root": destination}}})
}

type Row = (Value, &'static [&'static str]);

/// Body and the fields that the answer must name, all of them and no other.
fn table() -> Vec<Row> {
    let mut rows = shapes();
    rows.extend(systems());
    rows.extend(databases());
    rows.extend(options());
    rows.extend(local_paths());
    rows
}

fn shapes() -> Vec<Row> {
    vec![
        (json!([]), &["body"]),
        (json!("text"), &["body"]),
        (json!(1), &["body"]),
        (json!(null), &["body"]),
        (json!({}), &["name", "source", "destination"]),
        (json!({"name": "n"}), &["source", "destination"]),
        (with("name", json!(null)), &["name"]),
        (with("name", json!("")), &["name"]),
        (with("name", json!("   ")), &["name"]),
        (with("name", json!(5)), &["name"]),
        (with("name", json!(["a"])), &["name"]),
        (with("name", json!("a\u{0}b")), &["name"]),
        (with("name", json!("x".repeat(201))), &["name"]),
        (with("description", json!(7)), &["description"]),
        (with("source", json!(null)), &["source"]),
        (with("source", json!("server")), &["source"]),
        (with("destination", json!([])), &["destination"]),
        (with("sauce", json!({})), &["sauce"]),
        (with("Name", json!("x")), &["Name"]),
        (
            several(&[("name", json!(1)), ("extra", json!(1)), ("source.port", json!(0)), ("destination.bucket", json!("UPPER"))]),
            &["name", "source.port", "destination.bucket", "extra"],
        ),
    ]
}

fn systems() -> Vec<Row> {
    vec![
        (with("source.type", json!(null)), &["source.type"]),
        (with("source.type", json!("invalid_type")), &["source.type"]),
        (with("source.type", json!(3)), &["source.type"]),
        (with("source.type", json!("WordPress")), &["source.type"]),
        (with("source.host", json!(5)), &["source.host"]),
        (with("source.host", json!("https://old.example/")), &["source.host"]),
        (with("source.host", json!("two words")), &["source.host"]),
        (with("source.port", json!("22")), &["source.port"]),
        (with("source.port", json!(65536)), &["source.port"]),
        (with("source.port", json!(-1)), &["source.port"]),
        (with("source.port", json!(22.5)), &["source.port"]),
        (with("source.username", json!("")), &["source.username"]),
        (with("source.password", json!(12345)), &["source.password"]),
        (with("source.url", json!("old.example")), &["source.url"]),
        (with("source.paths", json!("/var/www")), &["source.paths"]),
        (with("source.paths", json!({"web_root": "var/www"})), &["source.paths.web_root"]),
        (with("source.paths", json!({"web_root": 5})), &["source.paths.web_root"]),
        (with("source.paths", json!({"webroot": "/var/www"})), &["source.paths.webroot"]),
        (with("source.bucket", json!("b")), &["source.bucket"]),
        (several(&[("source.host_key", json!("SHA256:x")), ("source.known_hosts", json!("/x"))]), &["source.known_hosts"]),
        (with("source.jump", json!({})), &["source.jump.host"]),
        (with("source.jump", json!({"host": "j", "port": 0})), &["source.jump.port"]),
        (with("destination.bucket", json!(null)), &["destination.bucket"]),
        (with("destination.bucket", json!("")), &["destination.bucket"]),
        (with("destination.bucket", json!("Has_Upper")), &["destination.bucket"]),
        (with("destination.bucket", json!("ab")), &["destination.bucket"]),
        (with("destination.bucket", json!("-ab-")), &["destination.bucket"]),
        (with("destination.bucket", json!("a..b")), &["destination.bucket"]),
        (with("destination.endpoint", json!("localhost:9000")), &["destination.endpoint"]),
        (with("destination.secret_access_key", json!(null)), &["destination.secret_access_key"]),
        (with("destination.path_style", json!("yes")), &["destination.path_style"]),
        (with("destination", json!({"type": "gcp-gcs", "bucket": "b"})), &["destination.type"]),
        (with("destination", json!({"type": "mysql", "host": "h", "username": "u", "database": "d"})), &["destination.type", "source.database"]),
    ]
}

fn databases() -> Vec<Row> {
    vec![
        (with("source.database", json!("d")), &["source.database"]),
        (with("source.database", json!({})), &["source.database.type", "source.database.database"]),
        (database("source", json!({"type": "oracle"})), &["source.database.type"]),
        (database("source", json!({"host": null})), &["source.database.host"]),
        (database("source", json!({"username": " "})), &["source.database.username"]),
        (database("source", json!({"database": ""})), &["source.database.database"]),
        (database("source", json!({"port": 0})), &["source.database.port"]),
        (database("source", json!({"tls": "maybe"})), &["source.database.tls"]),
        (database("source", json!({"user": "u"})), &["source.database.user"]),
        (database("destination", json!({"type": "postgresql"})), &["destination.database.type"]),
        (
            database("source", json!({"type": "sqlite", "host": null, "username": null, "password": null, "database": "site.db"})),
            &["source.database.database", "destination.database.type"],
        ),
        (
            database("source", json!({"type": "sqlite", "database": "/x"})),
            &["source.database.host", "source.database.username", "source.database.password", "destination.database.type"],
        ),
        (
            json!({"name": "n", "source": {"type": "mysql", "host": "h", "username": "u", "database": "d"}, "destination": {"type": "aws-s3", "bucket": "new-site"}}),
            &["destination.database"],
        ),
    ]
}

fn options() -> Vec<Row> {
    vec![
        (with("transfer", json!([])), &["transfer"]),
        (with("transfer.method", json!("pigeon")), &["transfer.method"]),
        (with("transfer.options", json!(1)), &["transfer.options"]),
        (with("transfer.options.compression", json!("true")), &["transfer.options.compression"]),
        (with("transfer.options.parallel_transfers", json!(0)), &["transfer.options.parallel_transfers"]),
        (with("transfer.options.parallel_transfers", json!(257)), &["transfer.options.parallel_transfers"]),
        (with("transfer.options.chunk_size", json!("ten")), &["transfer.options.chunk_size"]),
        (with("transfer.options.chunk_size", json!("1KB")), &["transfer.options.chunk_size"]),
        (with("transfer.options.chunk_size", json!(true)), &["transfer.options.chunk_size"]),
        (with("transfer.options.symlinks", json!("copy")), &["transfer.options.symlinks"]),
        (with("transfer.options.exclude", json!("*.log")), &["transfer.options.exclude"]),
        (with("transfer.options.exclude", json!(["*.log", 1])), &["transfer.options.exclude[1]"]),
        (with("transfer.options.paralel_transfers", json!(4)), &["transfer.options.paralel_transfers"]),
        (with("safety.backup_before", json!("yes")), &["safety.backup_before"]),
        (with("safety.backup_retention_days", json!(0)), &["safety.backup_retention_days"]),
        (with("safety.unknown", json!(true)), &["safety.unknown"]),
        (with("notifications.email.recipients", json!(["nobody"])), &["notifications.email.recipients[0]"]),
        (with("notifications.webhook.url", json!("ftp://x")), &["notifications.webhook.url"]),
        (with("notifications.sms", json!({})), &["notifications.sms"]),
    ]
}

/// The wall around the server's own disk.
fn local_paths() -> Vec<Row> {
    vec![
        (local(json!("/etc"), json!("/root")), &["source.paths.web_root", "destination.paths.web_root"]),
        (local(json!("/"), json!("/tmp/../etc")), &["source.paths.web_root", "destination.paths.web_root"]),
        (
            json!({"name": "n", "source": {"type": "sqlite", "database": "/etc/passwd"}, "destination": {"type": "sqlite", "database": "/root/x.db"}}),
            &["source.database", "destination.database"],
        ),
        (with("source.private_key", json!("/root/.ssh/id_ed25519")), &["source.private_key"]),
        (with("source.known_hosts", json!("/root/.ssh/known_hosts")), &["source.known_hosts"]),
    ]
}

#[tokio::test]
async fn each_malformed_body_is_a_400_that_names_each_bad_field() {
    let bench = Bench::new().await;
    let rows = table();
    assert!(rows.len() >= 60, "{}", rows.len());
    let mut wrong = Vec::new();
    for (document, fields) in &rows {
        for path in ["/migrations/", "/validate", "/migrations/dry-run/"] {
            let answer = bench.post(path, document).await;
            let (mut named, mut wanted) = (answer.fields(), fields.to_vec());
            named.sort_unstable();
            wanted.sort_unstable();
            let refused = answer.status == StatusCode::BAD_REQUEST && answer.code() == "INVALID_CONFIGURATION";
            if !refused || named != wanted || ["hidden-word-1", "hidden-word-2"].iter().any(|secret| answer.text.contains(secret)) {
                wrong.push(format!("{path} {document}\n  wanted {wanted:?}\n  got {} {}", answer.status, answer.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(bench.get("/migrations/").await.json, json!([]), "nothing was created");
}

#[tokio::test]
async fn broken_json_says_where() {
    let bench = Bench::new().await;
    let broken: [(&[u8], u64); 9] = [
        (b"", 1),
        (b"{", 1),
        (b"{\"name\": \"n\",}", 1),
        (b"{\n\"name\": n}", 2),
        (b"{} {}", 1),
        (b"\xff\xfe", 1),
        (b"{\"a\": \"\x01\"}", 1),
        (b"name=value", 1),
        (b"{\"a\": 1e999}", 1),
    ];
    for (bytes, line) in broken {
        let request = Request::post("/migrations").header("content-type", "application/json; charset=utf-8").body(Body::from(bytes)).expect("a request");
        let answer = bench.send(request).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "MALFORMED_JSON"), "{bytes:?}: {}", answer.text);
        assert_eq!(answer.json["error"]["details"]["line"], line, "{bytes:?}: {}", answer.text);
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = bench.send(Request::post("/migrations").header("content-type", "application/json").body(Body::from(deep)).expect("a request")).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "MALFORMED_JSON"));
    assert_eq!(bench.get("/migrations/").await.json, json!([]));
}

#[tokio::test]
async fn bodies_of_other_requests_are_read_as_strictly() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    let rows: [(&str, Value, &[&str]); 8] = [
        ("start", json!({"auto_rollback": "yes", "later": 1}), &["auto_rollback", "later"]),
        ("start", json!([]), &["body"]),
        ("start", json!({"send_notifications": 0}), &["send_notifications"]),
        ("rollback", json!({"backup": "x"}), &["backup"]),
        ("rollback", json!({"backup_id": 5}), &["backup_id"]),
        (
            "rollback",
            json!({"rollback_options": {"restore_files": "no", "restore_all": true}}),
            &["rollback_options.restore_files", "rollback_options.restore_all"],
        ),
        ("rollback", json!({"rollback_options": []}), &["rollback_options"]),
        ("rollback", json!({"rollback_options": {"restore_files": false, "restore_database": false, "restore_configuration": false}}), &["rollback_options"]),
    ];
    for (verb, document, fields) in rows {
        let answer = bench.post(&format!("/migrations/{id}/{verb}"), &document).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST"), "{verb} {document}: {}", answer.text);
        assert_eq!(answer.fields(), fields, "{verb} {document}");
    }
    assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.json["status"], "created");
}
