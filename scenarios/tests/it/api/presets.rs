//! Presets: document 3's list, details and migration, and a tenant's own.

use super::bench::{Answer, Bench};
use super::document::assert_timestamp;
use super::openapi::assert_answer;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

/// Document 3's template, word for word.
fn wordpress() -> Value {
    json!({
        "source": {
            "type": "wordpress", "host": "{{source_host}}", "username": "{{source_username}}", "password": "{{source_password}}",
            "database": {"type": "mysql", "host": "{{db_host}}", "username": "{{db_username}}", "password": "{{db_password}}", "database": "{{db_name}}"}
        },
        "destination": {
            "type": "aws-s3", "region": "{{aws_region}}", "bucket": "{{s3_bucket}}",
            "database": {"type": "aurora-mysql", "cluster": "{{aurora_cluster}}", "username": "{{aurora_username}}", "password": "{{aurora_password}}"}
        },
        "transfer": {"method": "hybrid_sync", "options": {"compression": true, "parallel_transfers": 4}}
    })
}

/// A preset of one's own, with a fixed secret.
fn own() -> Value {
    json!({"id": "our-shop", "name": "Our shop", "description": "The shop, every week", "optional": ["destination.region"],
        "config_template": {
            "source": {"type": "static", "host": "{{host}}", "username": "shop", "password": "canary-of-ours"},
            "destination": {"type": "aws-s3", "bucket": "{{bucket}}", "region": "{{region}}"}}})
}

async fn put(bench: &Bench, path: &str, tag: &str, body: &Value) -> Answer {
    let request = Request::builder().method(Method::PUT).uri(path).header("content-type", "application/json").header("if-match", tag);
    bench.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

#[tokio::test]
async fn the_documents_list_and_details() {
    let bench = Bench::new().await;
    let list = bench.get("/presets/").await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text);
    let documented = [
        json!({"id": "wordpress-mysql", "name": "WordPress with MySQL", "description": "WordPress CMS with MySQL database migration",
            "source_types": ["wordpress"], "destination_types": ["aws-s3", "gcp-gcs", "azure-blob"]}),
        json!({"id": "django-postgres", "name": "Django with PostgreSQL", "description": "Django application with PostgreSQL database",
            "source_types": ["django"], "destination_types": ["aws-ec2", "gcp-compute", "azure-vm"]}),
    ];
    for (found, wanted) in list.json.as_array().expect("a list").iter().zip(&documented) {
        for (field, value) in wanted.as_object().expect("fields") {
            assert_eq!(&found[field], value, "{field}");
        }
    }
    let detail = bench.get("/presets/wordpress-mysql").await.json;
    let named = (&detail["id"], &detail["name"], &detail["description"], &detail["custom"]);
    assert_eq!(named, (&json!("wordpress-mysql"), &json!("WordPress with MySQL"), &json!("WordPress CMS with MySQL database migration"), &json!(false)));
    assert_eq!(detail["config_template"], wordpress());
    assert_eq!((&detail["supported"], &detail["unsupported_reason"]), (&json!(true), &Value::Null));
    for id in
        ["drupal-mysql", "laravel-mysql", "rails-postgres", "static-s3", "static-gcs", "static-azure", "mysql-postgres", "postgres-mysql", "mongo-postgres"]
            .into_iter()
            .chain(["redis-postgres", "docker-static", "docker-mysql", "docker-postgres"])
    {
        assert_eq!(bench.get(&format!("/presets/{id}")).await.status, StatusCode::OK, "{id}");
    }
    let missing = bench.get("/presets/none").await;
    assert_eq!((missing.status, missing.code(), &missing.json["error"]["details"]["preset_id"]), (StatusCode::NOT_FOUND, "NOT_FOUND", &json!("none")));
    assert_eq!(bench.get("/health").await.json["components"]["preset_manager"], true);
}

#[tokio::test]
async fn the_documents_migration_from_a_preset() {
    let bench = Bench::new().await;
    let body = json!({"overrides": {
        "source.host": "my-wordpress-server.com", "source.username": "myuser", "destination.bucket": "my-new-website-bucket", "destination.region": "us-west-2"}});
    let made = bench.post("/presets/wordpress-mysql/create-migration", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["session_id"].as_str().expect("an id").to_owned();
    assert_eq!(made.headers["location"], format!("/migrations/{id}"));
    assert_eq!((&made.json["status"], &made.json["message"]), (&json!("created"), &json!("Migration session created from preset wordpress-mysql")));
    assert_timestamp(&made.json["created_at"]);
    let document = bench.document(&id).await;
    assert_eq!(
        document,
        json!({"name": "WordPress with MySQL", "source": {"type": "wordpress", "host": "my-wordpress-server.com", "username": "myuser"},
            "destination": {"type": "aws-s3", "bucket": "my-new-website-bucket", "region": "us-west-2"},
            "transfer": {"method": "hybrid_sync", "options": {"compression": true, "parallel_transfers": 4}}}),
        "what nobody gave is left out"
    );
}

#[tokio::test]
async fn every_override_that_is_wrong_is_named_at_once() {
    let bench = Bench::new().await;
    let path = "/presets/wordpress-mysql/create-migration";
    for (overrides, fields) in [
        (json!({}), vec!["destination.bucket", "source.host"]),
        (json!({"source.hots": "h", "destination.bucket": "new-site", "source.host": "h"}), vec!["source.hots"]),
        (json!({"source.host": "two words", "destination.bucket": "B", "nothing.like.it": 1}), vec!["source.host", "destination.bucket", "nothing"]),
        (json!({"source.host": 5, "destination.bucket": "new-site"}), vec!["source.host"]),
        (json!({"source.host": "h", "destination.bucket": "new-site", "source.host.name": "x"}), vec!["source.host.name"]),
        (json!({"source.host": "h", "destination.bucket": "new-site", "source..host": "x", "": 1}), vec!["", "source..host"]),
        (
            json!({"source.host": "h", "destination.bucket": "new-site", "source.database.host": "d"}),
            vec!["source.database.username", "source.database.database"],
        ),
        (
            json!({"source.host": "h", "destination.bucket": "new-site", "transfer.options.parallel_transfers": "8"}),
            vec!["transfer.options.parallel_transfers"],
        ),
    ] {
        let answer = bench.post(path, &json!({"overrides": overrides})).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "INVALID_CONFIGURATION"), "{}", answer.text);
        let (mut found, mut wanted) = (answer.fields(), fields);
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{overrides}");
    }
    for (body, field) in [(json!({"overrides": []}), "overrides"), (json!({"override": {}}), "override"), (json!({"name": 5}), "name"), (json!([]), "body")] {
        let answer = bench.post(path, &body).await;
        assert_eq!((answer.status, answer.code(), answer.fields()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST", vec![field]), "{body}");
    }
    assert_eq!(bench.get("/migrations/").await.json, json!([]), "nothing was created");
    let typed = json!({"name": "Mine", "overrides": {"source.host": "h", "destination.bucket": "new-site", "safety.backup_before": false,
        "transfer.options.exclude": ["*.log"], "source.database": {"type": "mysql", "host": "d", "username": "u", "password": "canary-db", "database": "wp"}}});
    let made = bench.post(path, &typed).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["session_id"].as_str().expect("an id");
    let document = bench.document(id).await;
    assert_eq!(
        (&document["name"], &document["safety"]["backup_before"], &document["transfer"]["options"]["exclude"][0]),
        (&json!("Mine"), &json!(false), &json!("*.log"))
    );
    assert_eq!(document["source"]["database"]["password"], "canary-db");
    assert!(!bench.get(&format!("/migrations/{id}")).await.text.contains("canary-db"));
}

#[tokio::test]
async fn answers_are_as_documented() {
    let bench = Bench::new().await;
    let document = bench.get("/openapi.json").await.json;
    let made = bench.post("/presets", &own()).await;
    assert_answer(&document, "post", "/presets", "201", &made.json);
    for path in ["/presets", "/presets/export"] {
        assert_answer(&document, "get", path, "200", &bench.get(path).await.json);
    }
    for id in ["our-shop", "mongo-postgres"] {
        assert_answer(&document, "get", "/presets/{preset_id}", "200", &bench.get(&format!("/presets/{id}")).await.json);
        assert_answer(&document, "get", "/presets/{preset_id}/export", "200", &bench.get(&format!("/presets/{id}/export")).await.json);
    }
    let imported = bench.post("/presets/import", &json!({"presets": [own()], "on_conflict": "skip"})).await;
    assert_answer(&document, "post", "/presets/import", "200", &imported.json);
    let deleted = bench.call(Method::DELETE, "/presets/our-shop", None).await;
    assert_answer(&document, "delete", "/presets/{preset_id}", "200", &deleted.json);
}

/// No surprise later: whatever the list calls supported is accepted when all its parameters are given, and the rest is refused with the reason.
#[tokio::test]
async fn what_the_list_says_is_true() {
    let bench = Bench::new().await;
    for preset in bench.get("/presets").await.json.as_array().expect("a list") {
        let id = preset["id"].as_str().expect("an id");
        let detail = bench.get(&format!("/presets/{id}")).await.json;
        let overrides: serde_json::Map<String, Value> = detail["parameters"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|p| (p["path"].as_str().expect("a path").to_owned(), value_for(p["path"].as_str().expect("a path"))))
            .collect();
        let answer = bench.post(&format!("/presets/{id}/create-migration"), &json!({"overrides": overrides})).await;
        if detail["supported"] == true {
            assert_eq!(answer.status, StatusCode::CREATED, "{id}: {}", answer.text);
        } else {
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "INVALID_CONFIGURATION"), "{id}: {}", answer.text);
            assert_eq!(answer.json["error"]["details"]["unsupported_reason"], detail["unsupported_reason"], "{id}");
            assert!(!detail["unsupported_reason"].as_str().expect("a reason").is_empty());
        }
    }
}

fn value_for(path: &str) -> Value {
    match path.rsplit('.').next().expect("a field") {
        "port" => json!(13306),
        "web_root" => json!("/srv/site"),
        "private_key" => json!("-----BEGIN OPENSSH PRIVATE KEY-----"),
        "url" | "endpoint" => json!("https://new.example"),
        _ => json!("some-value"),
    }
}

#[tokio::test]
async fn a_preset_of_ones_own() {
    let bench = Bench::new().await;
    let made = bench.post("/presets/", &own()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!((&made.headers["location"], &made.headers["etag"]), (&"/presets/our-shop".parse().expect("a value"), &"\"1\"".parse().expect("a value")));
    assert_eq!((&made.json["custom"], &made.json["source_types"], &made.json["supported"]), (&json!(true), &json!(["static"]), &json!(true)));
    assert_eq!(
        (&made.json["config_template"]["source"]["password"], &made.json["config_template"]["source"]["host"]),
        (&json!("********"), &json!("{{host}}"))
    );
    let again = bench.post("/presets", &own()).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"));
    let listed = bench.get("/presets?custom=true").await.json;
    assert_eq!((listed.as_array().expect("a list").len(), &listed[0]["id"]), (1, &json!("our-shop")));

    let mut changed = bench.get("/presets/our-shop").await.json["config_template"].clone();
    changed["destination"]["prefix"] = json!("shop");
    let body = json!({"name": "Our shop", "optional": ["destination.region"], "config_template": changed});
    let stale = put(&bench, "/presets/our-shop", "\"7\"", &body).await;
    assert_eq!((stale.status, stale.code()), (StatusCode::PRECONDITION_FAILED, "CHANGED_MEANWHILE"), "{}", stale.text);
    let fresh = put(&bench, "/presets/our-shop", "\"1\"", &body).await;
    assert_eq!((fresh.status, &fresh.headers["etag"]), (StatusCode::OK, &"\"2\"".parse().expect("a value")), "{}", fresh.text);
    let migration = bench.post("/presets/our-shop/create-migration", &json!({"overrides": {"source.host": "h", "destination.bucket": "new-site"}})).await;
    let document = bench.document(migration.json["session_id"].as_str().expect("an id")).await;
    assert_eq!((&document["source"]["password"], &document["destination"]["prefix"]), (&json!("canary-of-ours"), &json!("shop")), "the mask kept the secret");
    for text in [made.text, fresh.text, bench.get("/presets").await.text, bench.get("/presets/our-shop").await.text, bench.get("/presets/export").await.text] {
        assert!(!text.contains("canary-of-ours"), "{text}");
    }
    let deleted = bench.call(Method::DELETE, "/presets/our-shop", None).await;
    assert_eq!((deleted.status, &deleted.json["status"]), (StatusCode::OK, &json!("deleted")));
    assert_eq!(bench.get("/presets/our-shop").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn built_in_ones_are_read_only_and_bad_ones_are_not_stored() {
    let bench = Bench::new().await;
    for answer in [bench.call(Method::PUT, "/presets/wordpress-mysql", Some(&own())).await, bench.call(Method::DELETE, "/presets/wordpress-mysql", None).await]
    {
        assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "PRESET_READ_ONLY"), "{}", answer.text);
    }
    let taken = bench.post("/presets", &json!({"id": "wordpress-mysql", "name": "x", "config_template": own()["config_template"]})).await;
    assert_eq!((taken.status, taken.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"));
    for (change, value, field) in [
        ("id", json!("Our Shop"), "id"),
        ("id", json!("export"), "id"),
        ("name", json!(""), "name"),
        ("nam", json!("x"), "nam"),
        ("source_types", json!(["wordpres"]), "source_types[0]"),
        ("optional", json!(["source.nothing"]), "optional[0]"),
        ("config_template", json!(5), "config_template"),
        ("config_template", Value::Null, "config_template"),
        (
            "config_template",
            json!({"source": {"type": "static", "hots": "{{h}}"}, "destination": {"type": "aws-s3", "bucket": "{{b}}"}}),
            "config_template.source.hots",
        ),
        (
            "config_template",
            json!({"source": {"type": "static", "host": "{{h|upper}}"}, "destination": {"type": "aws-s3", "bucket": "{{b}}"}}),
            "config_template.source.host",
        ),
        (
            "config_template",
            json!({"source": {"type": "static", "host": "h", "username": "u", "password": "********"}, "destination": {"type": "aws-s3", "bucket": "{{b}}"}}),
            "config_template.source.password",
        ),
    ] {
        let mut body = json!({"name": "Mine", "config_template": own()["config_template"]});
        body[change] = value;
        let answer = bench.post("/presets", &body).await;
        assert_eq!((answer.status, answer.code(), answer.fields()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST", vec![field]), "{body}");
    }
    assert_eq!(bench.get("/presets?custom=true").await.json, json!([]));
}

#[tokio::test]
async fn exports_are_imported_elsewhere() {
    let (here, there) = (Bench::new().await, Bench::new().await);
    here.post("/presets", &own()).await;
    let mut exchange = here.get("/presets/export").await.json;
    let template = &exchange["presets"][0]["config_template"];
    assert_eq!((&exchange["format"], &template["source"]["password"]), (&json!("migration-assistant-presets"), &json!("{{source_password}}")));
    let first = there.post("/presets/import", &exchange).await;
    assert_eq!((first.status, &first.json["created"]), (StatusCode::OK, &json!(["our-shop"])), "{}", first.text);
    let again = there.post("/presets/import", &exchange).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"));
    for (rule, word) in [("skip", "skipped"), ("replace", "replaced")] {
        exchange["on_conflict"] = json!(rule);
        let answer = there.post("/presets/import", &exchange).await;
        assert_eq!((answer.status, &answer.json[word]), (StatusCode::OK, &json!(["our-shop"])), "{}", answer.text);
    }
    let needs = there.post("/presets/our-shop/create-migration", &json!({"overrides": {"source.host": "h", "destination.bucket": "new-site"}})).await;
    assert_eq!(needs.fields(), ["source.password"], "the secret stayed at home: {}", needs.text);
    let built_in = here.get("/presets/static-s3/export").await.json;
    let refused = there.post("/presets/import", &built_in).await;
    assert_eq!(refused.fields(), ["presets[0].id"], "{}", refused.text);
    let bad = there.post("/presets/import", &json!({"presets": [own(), own(), {"name": "x"}, 5], "on_conflict": "perhaps", "x": 1})).await;
    assert_eq!(bad.fields(), ["on_conflict", "presets[1].id", "presets[2].config_template", "presets[3]", "x"], "{}", bad.text);
}
