//! The OpenAPI document against the router and its real answers.

use super::bench::{Bench, body};
use super::document::sample;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A path with something in the place of each parameter.
fn concrete(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "none" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn paths_and_methods_are_the_routers() {
    let bench = Bench::new().await;
    let document = bench.get("/openapi.json").await.json;
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 20);
    for (path, item) in paths {
        let real = concrete(path);
        for slash in ["", "/"] {
            if path == "/" && !slash.is_empty() {
                continue;
            }
            let allowed: BTreeSet<&str> = METHODS.into_iter().filter(|m| item.get(*m).is_some()).collect();
            for method in METHODS {
                let verb = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
                let answer = bench.call(verb, &format!("{real}{slash}"), None).await;
                assert!(!answer.text.contains("There is nothing at"), "{path}{slash} is documented, but not there");
                assert_eq!(answer.status == StatusCode::METHOD_NOT_ALLOWED, !allowed.contains(method), "{method} {path}{slash}: {}", answer.text);
            }
        }
    }
}

/// Every error status that the tests provoke is documented at its operation.
#[tokio::test]
async fn errors_are_documented_where_they_happen() {
    let bench = Bench::new().await;
    let document = bench.get("/openapi.json").await.json;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let real = concrete(path);
            for (suffix, sent) in [("", None), ("", Some(json!({}))), ("?no-such=1", None), ("", Some(json!([])))] {
                let answer = bench.call(verb.clone(), &format!("{real}{suffix}"), sent.as_ref()).await;
                let known = operation["responses"].get(answer.status.as_str()).is_some();
                assert!(known, "{method} {path}{suffix} answers {}, which is not documented: {}", answer.status, answer.text);
                if answer.status.is_client_error() {
                    conforms(&document, &json!({"$ref": "#/components/schemas/ErrorEnvelope"}), &answer.json, &format!("{method} {path}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn real_answers_conform_to_their_schemas() {
    let bench = Bench::new().await;
    let document = bench.get("/openapi.json").await.json;
    let hands = bench.running().await;
    hands.begin(0).await;
    hands.sample("validate", 10.0, 10).await;
    let created = bench.post("/migrations", &body()).await;
    assert_answer(&document, "post", "/migrations", "201", &created.json);
    for (path, shown) in [("/", "/"), ("/health", "/health"), ("/system/types", "/system/types"), ("/migrations", "/migrations"), ("/backups", "/backups")] {
        assert_answer(&document, "get", shown, "200", &bench.get(path).await.json);
    }
    for what in ["", "/status", "/logs", "/metrics", "/events"] {
        let answer = bench.get(&format!("/migrations/{}{what}", hands.id)).await;
        assert_answer(&document, "get", &format!("/migrations/{{session_id}}{what}"), "200", &answer.json);
    }
    assert_answer(&document, "post", "/validate", "200", &bench.post("/validate", &body()).await.json);
    let paused = bench.call(Method::POST, &hands.path("pause"), None).await;
    assert_answer(&document, "post", "/migrations/{session_id}/pause", "200", &paused.json);
}

/// What is accepted is documented: the samples conform to the schema of the configuration, and so does every known field.
#[tokio::test]
async fn the_configuration_schema_takes_what_the_product_takes() {
    let document = Bench::new().await.get("/openapi.json").await.json;
    let schema = json!({"$ref": "#/components/schemas/MigrationConfiguration"});
    conforms(&document, &schema, &sample(), "sample");
    conforms(&document, &schema, &body(), "body");
    let jump = json!({"name": "n", "source": {"type": "server", "host": "h", "username": "u", "private_key": "k", "passphrase": "p", "host_key": "SHA256:x",
        "jump": {"host": "j", "username": "u", "password": "p", "known_hosts": "/k"}}, "destination": {"type": "static", "paths": {"web_root": "/srv"}}});
    conforms(&document, &schema, &jump, "jump");
    let databases = json!({"name": "n", "source": {"type": "postgresql", "host": "h", "port": 5432, "username": "u", "password": "p", "database": "d", "tls": "require", "ca": "/ca"},
        "destination": {"type": "postgresql", "database": {"type": "postgresql", "host": "h", "username": "u", "database": "d"}}});
    conforms(&document, &schema, &databases, "databases");
}

/// That a real answer is as the document says.
pub fn assert_answer(document: &Value, method: &str, path: &str, status: &str, answer: &Value) {
    let schema = &document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} {status} has no schema");
    conforms(document, schema, answer, &format!("{method} {path}"));
}

/// A small strict validator: types, required and unknown properties, references, alternatives, closed words.
fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Err(problem) = check(document, schema, value, at) {
        panic!("{problem}");
    }
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target = document.pointer(&reference[1..]).ok_or_else(|| format!("{at}: {reference} is missing"))?;
        return check(document, target, value, at);
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(options) = schema.get(word).and_then(Value::as_array) {
            let failures: Vec<String> = options.iter().filter_map(|o| check(document, &chosen(schema, word, o), value, at).err()).collect();
            return if failures.len() < options.len() { Ok(()) } else { Err(format!("{at}: no alternative fits: {failures:?}")) };
        }
    }
    if schema.get("const").is_some_and(|fixed| fixed != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    if let Some(types) = schema.get("type") {
        let names: Vec<&str> = types.as_array().map_or_else(|| types.as_str().into_iter().collect(), |list| list.iter().filter_map(Value::as_str).collect());
        if !names.iter().any(|name| has_type(name, value)) {
            return Err(format!("{at}: {value} is not {names:?}"));
        }
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is not among {words:?}"));
    }
    let (properties, required) = gathered(document, schema);
    if let Value::Object(map) = value
        && !properties.is_empty()
    {
        for name in required {
            if !map.contains_key(&name) {
                return Err(format!("{at}: {name} is missing"));
            }
        }
        for (name, inner) in map {
            let (_, property) = properties.iter().find(|(n, _)| n == name).ok_or_else(|| format!("{at}: {name} is not documented"))?;
            check(document, property, inner, &format!("{at}.{name}"))?;
        }
    }
    if let (Some(items), Value::Array(list)) = (schema.get("items"), value) {
        for (i, item) in list.iter().enumerate() {
            check(document, items, item, &format!("{at}[{i}]"))?;
        }
    }
    Ok(())
}

/// The alternative, with what stands beside the word.
fn chosen(schema: &Value, word: &str, alternative: &Value) -> Value {
    let (Some(own), None) = (schema.as_object().filter(|s| s.contains_key("properties")), alternative.get("$ref")) else { return alternative.clone() };
    let mut out = Value::Object(own.clone());
    out.as_object_mut().expect("an object").remove(word);
    for (name, property) in alternative["properties"].as_object().into_iter().flatten() {
        out["properties"][name] = property.clone();
    }
    let required = [&schema["required"], &alternative["required"]].into_iter().filter_map(Value::as_array).flatten().cloned();
    out["required"] = required.collect();
    out
}

/// Properties and required names, those of `allOf` parts included.
fn gathered(document: &Value, schema: &Value) -> (Vec<(String, Value)>, Vec<String>) {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| document.pointer(&r[1..])).unwrap_or(schema);
    let mut properties: Vec<(String, Value)> = target["properties"].as_object().into_iter().flatten().map(|(n, s)| (n.clone(), s.clone())).collect();
    let mut required: Vec<String> = target["required"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
    for part in target["allOf"].as_array().into_iter().flatten() {
        let (more, needed) = gathered(document, part);
        properties.extend(more);
        required.extend(needed);
    }
    (properties, required)
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    }
}
