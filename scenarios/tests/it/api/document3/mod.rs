//! Every sample of document 3, sent as it is printed: only hosts, ids, credentials and a date that has passed are put in their places. `samples.md`
//! is our copy of the document's headings and fenced blocks; the table here names the test of each, and none may be missing.

mod answers;
mod errors;
mod features;
mod journey;
mod lists;
mod programs;
mod shape;

use super::bench::{Answer, Bench};
use axum::http::Method;
use serde_json::Value;

/// The SDKs have their own tests.
const SDK: &str = "the SDK's own tests";

/// Each fenced block: its headings, its place below the last one, the function that sends or compares it.
const TESTS: [(&str, &str); 67] = [
    ("Authentication/Authentication Methods/1. API Key Authentication 1", "keys_and_tokens_with_curl"),
    ("Authentication/Authentication Methods/2. JWT Token Authentication 1", "keys_and_tokens_with_curl"),
    ("Authentication/Authentication Methods/3. OAuth2 Authentication 1", "the_sample_of_document_3_runs_with_the_real_library"),
    ("Authentication/Multi-tenant Support 1", "a_tenant_is_chosen_with_requests"),
    ("Getting Started/Start the API Server 1", "the_server_starts_as_printed"),
    ("Getting Started/Health Check 1", "the_health_check_with_requests"),
    ("Getting Started/Basic API Usage 1", "the_basic_program_moves_a_wordpress"),
    ("Core Endpoints/Root Endpoint 1", "who_answers_here"),
    ("Core Endpoints/Root Endpoint 2", "who_answers_here"),
    ("Core Endpoints/Health Check 1", "who_answers_here"),
    ("Core Endpoints/Health Check 2", "who_answers_here"),
    ("Core Endpoints/System Information 1", "who_answers_here"),
    ("Core Endpoints/System Information 2", "who_answers_here"),
    ("Configuration Management/List Presets 1", "presets"),
    ("Configuration Management/List Presets 2", "presets"),
    ("Configuration Management/Get Specific Preset 1", "presets"),
    ("Configuration Management/Get Specific Preset 2", "presets"),
    ("Configuration Management/Get Specific Preset 3", "presets"),
    ("Configuration Management/Create Migration from Preset 1", "presets"),
    ("Configuration Management/Create Migration from Preset 2", "presets"),
    ("Configuration Management/Create Migration from Preset 3", "presets"),
    ("Configuration Management/Validate Configuration 1", "the_basic_program_moves_a_wordpress"),
    ("Configuration Management/Validate Configuration 2", "the_basic_program_moves_a_wordpress"),
    ("Configuration Management/Validate Configuration 3", "the_basic_program_moves_a_wordpress"),
    ("Migration Lifecycle/Create Migration 1", "create_and_start"),
    ("Migration Lifecycle/Create Migration 2", "create_and_start"),
    ("Migration Lifecycle/Create Migration 3", "create_and_start"),
    ("Migration Lifecycle/Start Migration 1", "create_and_start"),
    ("Migration Lifecycle/Start Migration 2", "create_and_start"),
    ("Migration Lifecycle/Start Migration 3", "create_and_start"),
    ("Migration Lifecycle/Get Migration Status 1", "status_while_files_are_transferred"),
    ("Migration Lifecycle/Get Migration Status 2", "status_while_files_are_transferred"),
    ("Migration Lifecycle/List Migrations 1", "lists_of_migrations"),
    ("Migration Lifecycle/List Migrations 2", "lists_of_migrations"),
    ("Migration Lifecycle/List Migrations 3", "lists_of_migrations"),
    ("Migration Lifecycle/Cancel Migration 1", "cancel"),
    ("Migration Lifecycle/Cancel Migration 2", "cancel"),
    ("Migration Lifecycle/Rollback Migration 1", "the_basic_program_moves_a_wordpress"),
    ("Migration Lifecycle/Rollback Migration 2", "the_basic_program_moves_a_wordpress"),
    ("Migration Lifecycle/Rollback Migration 3", "the_basic_program_moves_a_wordpress"),
    ("Monitoring and Status/Real-time Progress with WebSockets 1", "the_web_socket_tells_what_the_page_shows"),
    ("Monitoring and Status/Migration Logs 1", "the_basic_program_moves_a_wordpress"),
    ("Monitoring and Status/Migration Logs 2", "the_basic_program_moves_a_wordpress"),
    ("Monitoring and Status/Performance Metrics 1", "metrics_while_files_are_transferred"),
    ("Monitoring and Status/Performance Metrics 2", "metrics_while_files_are_transferred"),
    ("Error Handling/Error Response Format 1", "every_error_has_the_printed_form"),
    ("Error Handling/Common Error Codes/400 Bad Request 1", "a_bad_request"),
    ("Error Handling/Common Error Codes/401 Unauthorized 1", "nobody_and_not_enough"),
    ("Error Handling/Common Error Codes/403 Forbidden 1", "nobody_and_not_enough"),
    ("Error Handling/Common Error Codes/404 Not Found 1", "not_there_and_running_already"),
    ("Error Handling/Common Error Codes/409 Conflict 1", "not_there_and_running_already"),
    ("Error Handling/Common Error Codes/422 Unprocessable Entity 1", "checks_that_failed"),
    ("Error Handling/Common Error Codes/500 Internal Server Error 1", "a_defect_of_ours"),
    ("Error Handling/Error Recovery 1", "error_recovery_with_requests"),
    ("SDK and Client Libraries/Python SDK 1", SDK),
    ("SDK and Client Libraries/JavaScript/Node.js SDK 1", SDK),
    ("SDK and Client Libraries/Go SDK 1", SDK),
    ("Advanced Features/Batch Operations 1", "a_batch"),
    ("Advanced Features/Batch Operations 2", "a_batch"),
    ("Advanced Features/Scheduled Migrations 1", "a_schedule"),
    ("Advanced Features/Scheduled Migrations 2", "a_schedule"),
    ("Advanced Features/Migration Templates 1", "a_template"),
    ("Advanced Features/Migration Templates 2", "a_template"),
    ("Advanced Features/Webhooks and Notifications 1", "a_webhook"),
    ("Advanced Features/Webhooks and Notifications 2", "a_webhook"),
    ("Advanced Features/Migration Analytics 1", "analytics"),
    ("Advanced Features/Migration Analytics 2", "analytics"),
];

/// A fenced block of the document.
struct Sample {
    key: String,
    text: String,
}

fn all() -> Vec<Sample> {
    let (mut found, mut headings, mut open): (Vec<Sample>, Vec<(usize, &str)>, Option<Sample>) = (Vec::new(), Vec::new(), None);
    let mut place = 0;
    for line in include_str!("samples.md").lines() {
        let level = line.bytes().take_while(|b| *b == b'#').count();
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some(sample) => sample.text += &format!("{line}\n"),
            None if line.starts_with("```") => {
                place += 1;
                let path: Vec<&str> = headings.iter().map(|(_, name)| *name).collect();
                open = Some(Sample { key: format!("{} {place}", path.join("/")), text: String::new() });
            }
            None if level > 1 => {
                headings.retain(|(l, _)| *l < level);
                headings.push((level, line[level..].trim()));
                place = 0;
            }
            None => {}
        }
    }
    found
}

/// The block whose key ends so.
fn text(key: &str) -> String {
    let mut fitting = all().into_iter().filter(|s| s.key == key || s.key.ends_with(&format!("/{key}")));
    let found = fitting.next().unwrap_or_else(|| panic!("the document has no sample '{key}'"));
    assert!(fitting.next().is_none(), "'{key}' is the name of several samples");
    found.text
}

fn json(key: &str) -> Value {
    serde_json::from_str(&text(key)).unwrap_or_else(|e| panic!("{key}: {e}"))
}

/// Sends the printed request line, with `put` in the place of what it has in braces.
async fn ask(bench: &Bench, key: &str, put: &[(&str, &str)], body: Option<&Value>) -> Answer {
    let (method, path) = line(key, put);
    bench.call(method, &path, body).await
}

fn line(key: &str, put: &[(&str, &str)]) -> (Method, String) {
    let printed = put.iter().fold(text(key), |line, (name, value)| line.replace(&format!("{{{name}}}"), value));
    let (method, path) = printed.trim().split_once(' ').expect("a method and a path");
    (method.parse().expect("a method"), path.to_owned())
}

#[test]
fn no_sample_is_forgotten() {
    let printed: Vec<String> = all().into_iter().map(|s| s.key).collect();
    let told: Vec<&str> = TESTS.iter().map(|(key, _)| *key).collect();
    assert_eq!(told, printed, "the table and the document's samples, in their order");
    let tests = [
        include_str!("answers.rs"),
        include_str!("errors.rs"),
        include_str!("features.rs"),
        include_str!("journey.rs"),
        include_str!("lists.rs"),
        include_str!("programs.rs"),
        include_str!("../../oauth/mod.rs"),
    ];
    for (key, test) in TESTS.iter().filter(|(_, test)| *test != SDK) {
        let written = format!("]\nasync fn {test}() {{");
        assert!(tests.iter().any(|text| text.contains(&written)), "{key}: there is no test '{test}'");
    }
}
