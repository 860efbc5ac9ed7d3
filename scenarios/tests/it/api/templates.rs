//! Templates: document 3's sample, variables of every type, and secrets that stay secret.

use super::bench::Bench;
use super::document::assert_timestamp;
use super::openapi::assert_answer;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

/// Document 3's body, word for word.
fn sample() -> Value {
    json!({
        "name": "WordPress to AWS Template",
        "description": "Standard WordPress to AWS S3 + Aurora migration",
        "template": {
            "source": {"type": "wordpress", "host": "{{source_host}}", "username": "{{source_username}}"},
            "destination": {"type": "aws-s3", "region": "{{aws_region}}", "bucket": "{{s3_bucket}}"}
        },
        "variables": [
            {"name": "source_host", "type": "string", "required": true},
            {"name": "source_username", "type": "string", "required": true},
            {"name": "aws_region", "type": "string", "default": "us-east-1"},
            {"name": "s3_bucket", "type": "string", "required": true}
        ]
    })
}

/// A template with a variable of every type, and fixed secrets.
fn every_type() -> Value {
    json!({
        "name": "All",
        "template": {
            "name": "{{site}} moves",
            "source": {"type": "static", "host": "{{site}}.example", "port": "{{port}}", "username": "u", "password": "{{password}}", "passphrase": "canary-fixed"},
            "destination": {"type": "aws-s3", "bucket": "site-{{site}}", "region": "{{region}}", "access_key_id": "AK", "secret_access_key": "{{key}}"},
            "transfer": {"options": {"parallel_transfers": "{{threads}}", "exclude": ["*.{{site}}", "{{extra}}"]}},
            "safety": {"backup_before": "{{backup}}"}
        },
        "variables": [
            {"name": "site", "type": "string", "required": true, "description": "Its short name"},
            {"name": "port", "type": "integer", "default": 22},
            {"name": "password", "type": "secret", "required": true},
            {"name": "key", "type": "secret", "default": "canary-default"},
            {"name": "region", "type": "enum", "values": ["us-east-1", "eu-central-1"], "default": "eu-central-1"},
            {"name": "threads", "type": "number", "default": 8},
            {"name": "backup", "type": "boolean", "default": true},
            {"name": "extra", "type": "string"}
        ]
    })
}

async fn created(bench: &Bench, body: &Value) -> String {
    let made = bench.post("/templates/", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.json["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn the_documents_sample() {
    let bench = Bench::new().await;
    let made = bench.post("/templates/", &sample()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["id"].as_str().expect("an id").to_owned();
    assert_eq!((&made.headers["location"], &made.headers["etag"]), (&format!("/templates/{id}").parse().expect("a value"), &"\"1\"".parse().expect("a value")));
    assert_eq!((&made.json["name"], &made.json["template"]), (&json!("WordPress to AWS Template"), &sample()["template"]));
    assert_timestamp(&made.json["created_at"]);
    for (variable, wanted) in made.json["variables"].as_array().expect("a list").iter().zip(sample()["variables"].as_array().expect("a list")) {
        wanted.as_object().expect("fields").iter().for_each(|(field, value)| assert_eq!(&variable[field], value));
    }
    let used = bench
        .post(
            &format!("/templates/{id}/create-migration"),
            &json!({"variables": {"source_host": "old.example", "source_username": "u", "s3_bucket": "new-site"}}),
        )
        .await;
    assert_eq!(used.status, StatusCode::CREATED, "{}", used.text);
    assert_eq!((&used.json["status"], &used.json["message"]), (&json!("created"), &json!("Migration session created from template WordPress to AWS Template")));
    let document = bench.document(used.json["session_id"].as_str().expect("an id")).await;
    assert_eq!(
        document,
        json!({"name": "WordPress to AWS Template", "source": {"type": "wordpress", "host": "old.example", "username": "u"},
            "destination": {"type": "aws-s3", "region": "us-east-1", "bucket": "new-site"}})
    );
    let listed = bench.get("/templates/?limit=10").await.json;
    assert_eq!((listed.as_array().expect("a list").len(), &listed[0]["id"], listed[0].get("template")), (1, &json!(id), None));
    let gone = bench.call(Method::DELETE, &format!("/templates/{id}"), None).await;
    assert_eq!((gone.status, &gone.json["status"]), (StatusCode::OK, &json!("deleted")));
    assert_eq!(bench.get(&format!("/templates/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn variables_keep_their_types_and_secrets_stay_secret() {
    let bench = Bench::new().await;
    let id = created(&bench, &every_type()).await;
    let path = format!("/templates/{id}/create-migration");
    let used = bench.post(&path, &json!({"variables": {"site": "shop", "password": "canary-given", "port": 2222, "backup": false}, "name": "By hand"})).await;
    assert_eq!(used.status, StatusCode::CREATED, "{}", used.text);
    let document = bench.document(used.json["session_id"].as_str().expect("an id")).await;
    assert_eq!(
        document,
        json!({"name": "By hand",
            "source": {"type": "static", "host": "shop.example", "port": 2222, "username": "u", "password": "canary-given", "passphrase": "canary-fixed"},
            "destination": {"type": "aws-s3", "bucket": "site-shop", "region": "eu-central-1", "access_key_id": "AK", "secret_access_key": "canary-default"},
            "transfer": {"options": {"parallel_transfers": 8, "exclude": ["*.shop"]}}, "safety": {"backup_before": false}})
    );
    let shown = bench.get(&format!("/templates/{id}")).await;
    let document = bench.get("/openapi.json").await.json;
    assert_answer(&document, "get", "/templates/{template_id}", "200", &shown.json);
    assert_answer(&document, "get", "/templates", "200", &bench.get("/templates").await.json);
    assert_answer(&document, "post", "/templates/{template_id}/create-migration", "201", &used.json);
    assert_eq!((&shown.json["template"]["source"]["passphrase"], &shown.json["template"]["source"]["password"]), (&json!("********"), &json!("{{password}}")));
    assert_eq!(shown.json["variables"][3]["default"], "********");
    for text in [&shown.text, &bench.get("/templates").await.text, &used.text] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_change_keeps_masked_secrets_and_minds_the_version() {
    let bench = Bench::new().await;
    let id = created(&bench, &every_type()).await;
    let path = format!("/templates/{id}");
    let shown = bench.get(&path).await.json;
    let mut body = json!({"name": "Renamed", "template": shown["template"], "variables": shown["variables"]});
    let put = |tag: &'static str, body: &Value| {
        let request = Request::builder().method(Method::PUT).uri(&path).header("content-type", "application/json").header("if-match", tag);
        bench.send(request.body(Body::from(body.to_string())).expect("a request"))
    };
    assert_eq!(put("\"2\"", &body).await.code(), "CHANGED_MEANWHILE");
    let changed = put("\"1\"", &body).await;
    assert_eq!(
        (changed.status, &changed.headers["etag"], &changed.json["name"]),
        (StatusCode::OK, &"\"2\"".parse().expect("a value"), &json!("Renamed")),
        "{}",
        changed.text
    );
    let used = bench.post(&format!("{path}/create-migration"), &json!({"variables": {"site": "shop", "password": "p"}})).await;
    let document = bench.document(used.json["session_id"].as_str().expect("an id")).await;
    assert_eq!((&document["source"]["passphrase"], &document["destination"]["secret_access_key"]), (&json!("canary-fixed"), &json!("canary-default")));
    assert_eq!(document["name"], "shop moves");
    body["template"]["destination"]["session_token"] = json!("********");
    assert_eq!(put("*", &body).await.fields(), ["template.destination.session_token"], "nothing is stored there");
    assert_eq!(bench.post("/templates", &body).await.fields(), ["variables[3].default", "template.destination.session_token", "template.source.passphrase"]);
}

#[tokio::test]
async fn what_is_wrong_with_a_template_is_told_when_it_is_written() {
    let bench = Bench::new().await;
    let with = |path: &str, value: Value| {
        let mut body = sample();
        *body.pointer_mut(path).expect("a place") = value;
        body
    };
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({}), vec!["name", "template"]),
        (json!([]), vec!["body"]),
        (with("/name", json!(" ")), vec!["name"]),
        (with("/template", json!("{{source_host}}")), vec!["template"]),
        (with("/template/source/host", json!("{{sorce_host}}")), vec!["template.source.host", "variables[0].name"]),
        (with("/template/source/host", json!("{{source_host|lower}}")), vec!["template.source.host", "variables[0].name"]),
        (with("/template/source/host", json!("{% if x %}{{source_host}}{% endif %}")), vec![]),
        (with("/template/source/host", json!("{{source_host")), vec!["template.source.host", "variables[0].name"]),
        (with("/template/source/host", json!("old.example")), vec!["variables[0].name"]),
        (
            with("/template/source", json!({"type": "wordpress", "hots": "{{source_host}}", "username": "{{source_username}}"})),
            vec!["template.source.host", "template.source.hots"],
        ),
        (
            with("/template/source", json!({"type": "wordpress", "port": "{{source_host}}", "username": "{{source_username}}"})),
            vec!["template.source.host", "template.source.port"],
        ),
        (with("/variables/0", json!({"name": "source_host", "type": "secret", "required": true})), vec!["template.source.host"]),
        (with("/variables/0", json!({"name": "source_host", "type": "integer", "required": true})), vec!["template.source.host"]),
        (with("/variables/2", json!({"name": "aws_region", "type": "string", "default": 5})), vec!["variables[2].default"]),
        (with("/variables/2", json!({"name": "aws_region", "type": "strng"})), vec!["variables[2].type"]),
        (with("/variables/2", json!({"name": "aws_region", "type": "enum", "values": []})), vec!["variables[2].values"]),
        (with("/variables/2", json!({"name": "source_host", "type": "string"})), vec!["variables[2].name"]),
        (with("/variables", json!({"source_host": "string"})), vec!["variables"]),
    ];
    for (body, fields) in cases {
        let answer = bench.post("/templates", &body).await;
        let found = answer.fields();
        if fields.is_empty() {
            assert_eq!(answer.status, StatusCode::CREATED, "text that only looks like code is text: {}", answer.text);
        } else {
            assert_eq!((answer.status, answer.code(), found), (StatusCode::BAD_REQUEST, "INVALID_REQUEST", fields), "{body:#}");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_values_is_told_at_once() {
    let bench = Bench::new().await;
    let id = created(&bench, &every_type()).await;
    let path = format!("/templates/{id}/create-migration");
    for (body, fields) in [
        (json!({}), vec!["variables.site", "variables.password"]),
        (json!({"variables": []}), vec!["variables"]),
        (
            json!({"variables": {"site": 5, "password": 77_777, "port": "22", "region": "mars", "threads": true, "backup": "yes", "other": 1}, "nam": "x"}),
            vec![
                "variables.other",
                "variables.site",
                "variables.port",
                "variables.password",
                "variables.region",
                "variables.threads",
                "variables.backup",
                "nam",
            ],
        ),
    ] {
        let answer = bench.post(&path, &body).await;
        assert_eq!((answer.status, answer.code(), answer.fields()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST", fields), "{}", answer.text);
        assert!(!answer.text.contains("77777"), "{}", answer.text);
    }
    let bad = bench.post(&path, &json!({"variables": {"site": "two words", "password": "p", "threads": 0}})).await;
    assert_eq!((bad.status, bad.code()), (StatusCode::BAD_REQUEST, "INVALID_CONFIGURATION"));
    assert_eq!(bad.fields(), ["source.host", "destination.bucket", "transfer.options.parallel_transfers"], "{}", bad.text);
    let never_twice = bench.post(&path, &json!({"variables": {"site": "shop", "password": "{{site}}", "extra": "{{password}}"}})).await;
    let document = bench.document(never_twice.json["session_id"].as_str().expect("an id")).await;
    assert_eq!((&document["source"]["password"], &document["transfer"]["options"]["exclude"][1]), (&json!("{{site}}"), &json!("{{password}}")));
    assert_eq!(bench.post("/templates/none/create-migration", &json!({})).await.status, StatusCode::NOT_FOUND);
}
