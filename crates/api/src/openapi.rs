//! The OpenAPI document, made from the table of endpoints, the answers' own types and `assets/schemas.json`.
//!
//! The file holds the shapes that are decoded or answered without a type of this crate's neighbours: the configuration of a
//! migration (strictly decoded by `domain`), validation, dry run and report. A scenario test holds all of them against real answers.

pub(crate) mod examples;
mod security;
mod strict;

use crate::http::status_of;
use crate::rest::{self, Access, Body, Endpoint, Param, reference};
use axum::http::{Method, StatusCode};
use control::error::Code;
use control::{
    backups, batches, deliveries, health, identity, limits, migrations, presets, resources, schedules, system, templates, tenants, webhooks, workloads,
};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The document as text; made once.
pub(crate) fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| build().to_string())
}

fn build() -> Value {
    let mut paths = Map::new();
    for endpoint in rest::table() {
        let item = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        item[endpoint.method.as_str().to_ascii_lowercase()] = operation(&endpoint);
    }
    paths.insert("/ws/migrations/{session_id}".to_owned(), json!({"get": web_socket()}));
    paths.insert("/openapi.json".to_owned(), json!({"get": own_address()}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Migration Assistant API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Moves sites, files and databases from one place to another: verified, resumable, undoable. Every path answers with and without its \
                trailing slash, every response carries X-Request-ID, every error has one envelope.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "Service", "description": "What this is and whether it works"},
            {"name": "Configuration", "description": "Checking before anything moves"},
            {"name": "Presets", "description": "Configurations to start from"},
            {"name": "Templates", "description": "Configurations with variables"},
            {"name": "Migrations", "description": "The life of a migration"},
            {"name": "Batches", "description": "Several migrations as one thing"},
            {"name": "Schedules", "description": "Migrations that start by themselves"},
            {"name": "Monitoring", "description": "Looking at a migration"},
            {"name": "Identity", "description": "Who may do what: tokens, users, keys, applications, tenants"},
            {"name": "Webhooks", "description": "Telling others what happens"},
            {"name": "Virtual machines", "description": "Machines on this service's nodes, and their lives"},
            {"name": "Workloads", "description": "Servers whose mount points move to a target VM"},
            {"name": "Resources", "description": "Credentials, mount points, workloads, targets and migrations of one user, by their ids"},
            {"name": "Backups", "description": "What migrations replaced"},
            {"name": "Analytics", "description": "What the migrations add up to"},
            {"name": "Audit", "description": "Who did what"},
        ],
        "paths": paths,
        "components": {"securitySchemes": security::schemes(), "schemas": schemas(), "headers": {"RequestId": {
            "description": "Names this request in the service's log. A caller's own X-Request-ID is kept when it is at most 128 letters, digits or -_.:",
            "schema": {"type": "string"}, "example": "req-abc123def456",
        }}},
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut out = json!({
        "operationId": endpoint.id,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": endpoint.description,
        "responses": responses(endpoint),
        "security": security::of(&endpoint.access),
    });
    if let Access::Scope(scope) = &endpoint.access {
        out["x-required-scope"] = json!(scope);
    }
    let parameters: Vec<Value> = path_parameters(endpoint).chain(query_parameters(endpoint)).chain(header_parameters(endpoint)).collect();
    if !parameters.is_empty() {
        out["parameters"] = Value::Array(parameters);
    }
    if let Some((schema, example)) = &endpoint.takes {
        let content = json!({"schema": {"$ref": format!("#/components/schemas/{schema}")}, "example": example});
        let mut kinds = json!({"application/json": content});
        if endpoint.body == Body::Form {
            kinds["application/x-www-form-urlencoded"] = json!({"schema": strict::form_of(&written()[*schema]), "example": example});
        }
        out["requestBody"] = json!({"required": endpoint.body != Body::Optional, "content": kinds});
    }
    out
}

fn path_parameters(endpoint: &Endpoint) -> impl Iterator<Item = Value> {
    endpoint.path_params().map(|name| {
        let example = match name {
            "backup_id" => "backup-20240826-143022",
            "preset_id" => "wordpress-mysql",
            _ => "0198e2b4c5d67f80a1b2c3d4e5f60718",
        };
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}, "example": example})
    })
}

fn query_parameters(endpoint: &Endpoint) -> impl Iterator<Item = Value> {
    // `?limit=` is what a form sends whose field was left empty: it counts as absent.
    let parameter = |p: &Param| json!({"name": p.name, "in": "query", "required": p.required, "allowEmptyValue": !p.required, "description": p.description, "schema": p.schema});
    endpoint.query.iter().map(parameter)
}

fn header_parameters(endpoint: &Endpoint) -> impl Iterator<Item = Value> {
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "Makes the request safe to repeat: for 24 hours the same request with the same key gets the same answer again, with \
            `Idempotency-Replayed: true`, and nothing is done twice. A random UUID is best.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    });
    let version = json!({
        "name": "If-Match", "in": "header", "required": false,
        "description": "The version that the caller has read, as an ETag header gave it: when it is another one now, nothing is changed.",
        "schema": {"type": "string", "pattern": "^(\\*|\"[0-9]{1,18}\")$"},
    });
    let has = |asked: bool, parameter: Value| asked.then_some(parameter);
    has(endpoint.method == Method::POST, key).into_iter().chain(has(endpoint.versioned, version))
}

fn responses(endpoint: &Endpoint) -> Value {
    let mut out = Map::new();
    for answer in &endpoint.answers {
        let mut response = json!({"description": answer.description, "headers": headers(answer.status)});
        if !answer.content.is_empty() {
            let content: Map<String, Value> = answer.content.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema}))).collect();
            response["content"] = Value::Object(content);
        }
        out.insert(answer.status.as_str().to_owned(), response);
    }
    for (status, cases) in errors(endpoint) {
        let mut failure = failure(&cases);
        if endpoint.body == Body::Form {
            failure["content"]["application/json"]["schema"] = json!({"anyOf": [reference("ErrorEnvelope"), reference("OAuthError")]});
        }
        match out.get_mut(status.as_str()) {
            Some(own) => add_case(own, &failure),
            None => drop(out.insert(status.as_str().to_owned(), failure)),
        }
    }
    Value::Object(out)
}

/// A status that is a page or another answer of the endpoint's own, and an error too.
fn add_case(own: &mut Value, failure: &Value) {
    own["description"] = json!(format!("{}\n\n{}", own["description"].as_str().unwrap_or_default(), failure["description"].as_str().unwrap_or_default()));
    if own["content"].get("application/json").is_none() {
        own["content"]["application/json"] = failure["content"]["application/json"].clone();
    }
}

fn headers(status: StatusCode) -> Value {
    let mut headers = json!({"X-Request-ID": {"$ref": "#/components/headers/RequestId"}});
    if status == StatusCode::CREATED || status.is_redirection() {
        headers["Location"] = json!({"description": "The address to go to", "schema": {"type": "string"}});
    }
    headers
}

type Case = (&'static str, String);

/// The errors that an endpoint names and those that every one can have, by status.
fn errors(endpoint: &Endpoint) -> Vec<(StatusCode, Vec<Case>)> {
    let mut all: Vec<(StatusCode, Case)> = endpoint.errors.iter().map(|(code, text)| (status_of(code.kind()), (code.word(), (*text).to_owned()))).collect();
    all.push((StatusCode::BAD_REQUEST, (Code::InvalidParameters.word(), "Unknown or bad query parameters, all named".to_owned())));
    if endpoint.body != Body::None {
        all.push((StatusCode::BAD_REQUEST, ("MALFORMED_JSON", "The body is not JSON; `details` has line and column".to_owned())));
        all.push((StatusCode::REQUEST_TIMEOUT, ("REQUEST_TIMEOUT", "The body took longer than a minute to arrive".to_owned())));
        all.push((StatusCode::PAYLOAD_TOO_LARGE, ("PAYLOAD_TOO_LARGE", "The body is larger than 1 MiB".to_owned())));
        all.push((StatusCode::UNSUPPORTED_MEDIA_TYPE, ("UNSUPPORTED_MEDIA_TYPE", "The body is not declared as JSON".to_owned())));
    }
    all.push((StatusCode::TOO_MANY_REQUESTS, (Code::RateLimited.word(), "Too many requests in a short time; Retry-After says how long to wait".to_owned())));
    if endpoint.method == Method::POST {
        all.push((StatusCode::CONFLICT, (Code::IdempotencyInFlight.word(), "The request with this Idempotency-Key is still at work".to_owned())));
        all.push((StatusCode::UNPROCESSABLE_ENTITY, (Code::IdempotencyKeyReused.word(), "Another request had this Idempotency-Key".to_owned())));
    }
    if let Access::LoggedIn | Access::Scope(_) = endpoint.access {
        all.push((StatusCode::UNAUTHORIZED, (Code::Unauthenticated.word(), "Nobody is logged in, or the credentials are not good (any more)".to_owned())));
        all.push((StatusCode::NOT_FOUND, (Code::TenantNotFound.word(), "The caller does not belong to the tenant in X-Tenant-ID".to_owned())));
    }
    if let Access::Scope(scope) = &endpoint.access {
        all.push((StatusCode::FORBIDDEN, (Code::Denied.word(), format!("The caller lacks the scope `{scope}`"))));
    }
    all.push((StatusCode::INTERNAL_SERVER_ERROR, (Code::Internal.word(), "A defect; `details.error_id` names it in the service's log".to_owned())));
    all.push((StatusCode::SERVICE_UNAVAILABLE, (Code::Unavailable.word(), "The journal does not answer now".to_owned())));
    let mut grouped: Vec<(StatusCode, Vec<Case>)> = Vec::new();
    for (status, case) in all {
        match grouped.iter_mut().find(|(known, _)| *known == status) {
            Some((_, cases)) => cases.push(case),
            None => grouped.push((status, vec![case])),
        }
    }
    grouped
}

fn failure(cases: &[Case]) -> Value {
    let description = cases.iter().map(|(code, text)| format!("`{code}`: {text}")).collect::<Vec<_>>().join("\n\n");
    let samples: Map<String, Value> = cases.iter().map(|(code, _)| ((*code).to_owned(), json!({"value": examples::error(code)}))).collect();
    let content = json!({"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}, "examples": samples});
    json!({"description": description, "headers": headers(StatusCode::OK), "content": {"application/json": content}})
}

fn web_socket() -> Value {
    json!({
        "operationId": "follow_migration",
        "tags": ["Monitoring"],
        "security": security::of(&Access::Scope("migrations:read".to_owned())),
        "x-required-scope": "migrations:read",
        "summary": "Follow a migration (WebSocket)",
        "description": "Sends the status at once and after every change, at most four times a second; the last message has the final status, then the connection closes. \
            Each message is a `StatusMessage`. Nothing is expected from the client.",
        "parameters": [
            {"name": "session_id", "in": "path", "required": true, "schema": {"type": "string"}, "example": "0198e2b4c5d67f80a1b2c3d4e5f60718"},
            {"name": "access_token", "in": "query", "required": false, "description": "The access token, for browsers, which can send no headers here", "schema": {"type": "string"}},
            {"name": "after", "in": "query", "required": false, "description": "Number of the last event that the client has seen: the stream goes on behind it", "allowEmptyValue": true, "schema": {"type": "integer", "minimum": 0, "maximum": u32::MAX}},
        ],
        "responses": {
            "101": {"description": "The connection is a WebSocket now; its messages:", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/StatusMessage"}}}},
            "400": failure(&[(Code::InvalidParameters.word(), "Unknown or bad query parameters, all named".to_owned())]),
            "401": failure(&[(Code::Unauthenticated.word(), "Nobody is logged in, or the credentials are not good (any more)".to_owned())]),
            "403": failure(&[(Code::Denied.word(), "The caller lacks the scope `migrations:read`".to_owned())]),
            "404": failure(&[(Code::MigrationNotFound.word(), "No such migration".to_owned())]),
            "426": failure(&[("UPGRADE_REQUIRED", "The request is no WebSocket handshake".to_owned())]),
        },
    })
}

fn own_address() -> Value {
    json!({
        "operationId": "openapi",
        "tags": ["Service"],
        "security": [],
        "summary": "This document",
        "description": "The OpenAPI document of this interface.",
        "responses": {"200": {"description": "An OpenAPI 3.1 document", "headers": headers(StatusCode::OK), "content": {"application/json": {"schema": {"type": "object"}}}}},
    })
}

fn schemas() -> Map<String, Value> {
    let mut found: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<system::About>(&mut found);
    add::<system::Types>(&mut found);
    add::<health::Health>(&mut found);
    add::<migrations::Created>(&mut found);
    add::<migrations::Acknowledged>(&mut found);
    add::<migrations::StartOptions>(&mut found);
    add::<migrations::RollbackOptions>(&mut found);
    add::<migrations::Release>(&mut found);
    add::<migrations::Summary>(&mut found);
    add::<migrations::Detail>(&mut found);
    add::<migrations::Status>(&mut found);
    add::<migrations::Logs>(&mut found);
    add::<migrations::Metrics>(&mut found);
    add::<migrations::Events>(&mut found);
    add::<migrations::Preview>(&mut found);
    add::<presets::Preset>(&mut found);
    add::<presets::PresetBody>(&mut found);
    add::<presets::PresetDetail>(&mut found);
    add::<presets::PresetDeleted>(&mut found);
    add::<presets::PresetOverrides>(&mut found);
    add::<presets::Exchange>(&mut found);
    add::<presets::PresetsImport>(&mut found);
    add::<presets::Imported>(&mut found);
    add::<templates::Template>(&mut found);
    add::<templates::TemplateBody>(&mut found);
    add::<templates::TemplateSummary>(&mut found);
    add::<templates::TemplateValues>(&mut found);
    add::<templates::TemplateDeleted>(&mut found);
    add::<webhooks::Only>(&mut found);
    add::<webhooks::WebhookConfiguration>(&mut found);
    add::<webhooks::WebhookView>(&mut found);
    add::<webhooks::WebhookCreated>(&mut found);
    add::<webhooks::WebhookDeleted>(&mut found);
    add::<webhooks::SecretRotation>(&mut found);
    add::<webhooks::SecretRotated>(&mut found);
    add::<deliveries::WebhookTest>(&mut found);
    add::<deliveries::DeliveryView>(&mut found);
    add::<deliveries::DeliveryDetail>(&mut found);
    add::<batches::Batch>(&mut found);
    add::<batches::BatchBody>(&mut found);
    add::<batches::BatchSummary>(&mut found);
    add::<batches::BatchDeleted>(&mut found);
    add::<schedules::Schedule>(&mut found);
    add::<schedules::ScheduleBody>(&mut found);
    add::<schedules::ScheduleDeleted>(&mut found);
    add::<schedules::FiringView>(&mut found);
    add::<workloads::WorkloadView>(&mut found);
    add::<workloads::Made>(&mut found);
    add::<workloads::Started>(&mut found);
    add::<resources::CredentialsResource>(&mut found);
    add::<resources::MountPointResource>(&mut found);
    add::<resources::WorkloadResource>(&mut found);
    add::<resources::TargetResource>(&mut found);
    add::<resources::MigrationResource>(&mut found);
    add::<identity::Registered>(&mut found);
    add::<identity::TokenPair>(&mut found);
    add::<backups::BackupView>(&mut found);
    add::<backups::BackupDeleted>(&mut found);
    add::<crate::ws::StatusMessage>(&mut found);
    add::<identity::Tokens>(&mut found);
    add::<identity::Me>(&mut found);
    add::<identity::UserView>(&mut found);
    add::<identity::setup::SetUp>(&mut found);
    add::<identity::api_keys::KeyView>(&mut found);
    add::<identity::api_keys::NewKey>(&mut found);
    add::<identity::clients::ClientView>(&mut found);
    add::<identity::clients::NewClient>(&mut found);
    add::<tenants::TenantView>(&mut found);
    add::<limits::Quotas>(&mut found);
    add::<limits::QuotasView>(&mut found);
    add::<control::vms::Vm>(&mut found);
    add::<control::vms::VmBody>(&mut found);
    add::<control::vms::VmDeleted>(&mut found);
    add::<control::vms::VmTask>(&mut found);
    add::<control::vms::VmSnapshot>(&mut found);
    add::<control::vms::SnapshotBody>(&mut found);
    add::<control::vms::StopBody>(&mut found);
    add::<control::vms::Console>(&mut found);
    add::<control::analytics::MigrationAnalytics>(&mut found);
    add::<control::audit_log::AuditEntryView>(&mut found);
    add::<control::operations::Readiness>(&mut found);
    let mut out: Map<String, Value> = found.into_iter().filter_map(|(name, schema)| Some((name, serde_json::to_value(schema).ok()?))).collect();
    strict::lay_over(&mut out, &read(include_str!("../assets/rules.json")));
    out.extend(written());
    strict::open_absent_parts(&mut out);
    strict::close(&mut out, rest::table().into_iter().filter_map(|endpoint| Some(endpoint.takes?.0)));
    out
}

/// The schemas that no type has.
fn written() -> Map<String, Value> {
    let mut out = read(include_str!("../assets/schemas.json"));
    out.extend(read(include_str!("../assets/auth/schemas.json")));
    out.extend(read(include_str!("../assets/workloads/schemas.json")));
    out
}

fn read(file: &str) -> Map<String, Value> {
    serde_json::from_str(file).unwrap_or_default()
}

/// The type's own schema and all that it mentions.
fn add<T: ToSchema>(found: &mut Vec<(String, RefOr<Schema>)>) {
    T::schemas(found);
    found.push((T::name().into_owned(), <T as PartialSchema>::schema()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `$ref` anywhere in `value`.
    fn references(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                out.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|v| references(v, out));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, out)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = build();
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(all.len() > 50);
        for reference in all {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference} is missing");
        }
    }

    #[test]
    fn every_operation_is_described_and_named_once() {
        let document = build();
        let mut ids = std::collections::BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path} has no summary");
                assert!(!operation["description"].as_str().unwrap().is_empty(), "{method} {path} has no description");
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path} repeats an id");
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|s| s.starts_with(['2', '3']) || s == "101"), "{method} {path} has no good answer");
                for placeholder in path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')) {
                    let named = operation["parameters"].as_array().unwrap().iter().any(|p| p["name"] == placeholder && p["in"] == "path");
                    assert!(named, "{method} {path} does not describe {placeholder}");
                }
            }
        }
        assert!(ids.len() >= 25);
    }

    #[test]
    fn the_examples_decode() {
        domain::spec::MigrationSpec::decode(&examples::migration()).expect("the documented example is a good configuration");
    }
}
