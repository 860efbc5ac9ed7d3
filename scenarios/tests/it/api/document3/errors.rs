//! The printed errors: form, codes, messages, details.

use super::json;
use super::shape::{assert_alike, assert_told};
use crate::api::auth::{Guarded, PASSWORD};
use crate::api::bench::{Answer, Bench};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const SAME: [&str; 2] = ["/error/code", "/error/message"];

/// What every error has, whether its sample shows it or not.
fn assert_form(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.text);
    let mut printed = json("Error Response Format 1");
    printed["error"]["details"] = json!({});
    assert_alike(&printed, &answer.json);
}

/// The invalid body of the sample's answer.
fn invalid() -> Value {
    let mut body = json("Create Migration 2");
    body["source"]["type"] = json!("invalid_type");
    body["destination"]["bucket"] = json!("my_new website");
    body
}

#[tokio::test]
async fn every_error_has_the_printed_form() {
    let bench = Bench::new().await;
    let answer = bench.post("/migrations/", &invalid()).await;
    assert_form(&answer, StatusCode::BAD_REQUEST);
    assert_form(&bench.get("/nowhere").await, StatusCode::NOT_FOUND);
    assert_form(&bench.call(Method::DELETE, "/validate/", None).await, StatusCode::METHOD_NOT_ALLOWED);
    // The sample's own case: a host that does not answer. Which field, what is wrong with it, what to do about it.
    let id = bench.created().await;
    let refused = bench.post(&format!("/migrations/{id}/start"), &json!({})).await;
    assert_form(&refused, StatusCode::UNPROCESSABLE_ENTITY);
    assert_alike(&json("Error Response Format 1"), &refused.json);
    assert_eq!(refused.json["error"]["details"]["field"], "source.host");
}

#[tokio::test]
async fn a_bad_request() {
    let bench = Bench::new().await;
    let answer = bench.post("/migrations/", &invalid()).await;
    assert_form(&answer, StatusCode::BAD_REQUEST);
    assert_told(&json("400 Bad Request 1"), &answer.json, &SAME);
    assert_eq!(answer.fields(), ["source.type", "destination.bucket"]);
    let said = &answer.json["error"]["details"]["validation_errors"][0]["message"];
    assert!(said.as_str().expect("a text").starts_with("Invalid system type: 'invalid_type'"), "{said}");
}

#[tokio::test]
async fn nobody_and_not_enough() {
    let guarded = Guarded::new().await;
    let nobody = guarded.call(Method::GET, "/migrations/", &[], None).await;
    assert_form(&nobody, StatusCode::UNAUTHORIZED);
    assert_told(&json("401 Unauthorized 1"), &nobody.json, &["/error/code", "/error/message", "/error/details"]);
    guarded.user("reader", "default", &["migrations:read"]).await;
    let token = guarded.log_in("reader").await;
    let refused = guarded.as_token(&token, Method::POST, "/migrations/", Some(&json("Create Migration 2"))).await;
    assert_form(&refused, StatusCode::FORBIDDEN);
    assert_told(&json("403 Forbidden 1"), &refused.json, &["/error/code", "/error/message", "/error/details"]);
    assert!(!refused.text.contains(PASSWORD));
}

#[tokio::test]
async fn not_there_and_running_already() {
    let bench = Bench::new().await;
    let missing = bench.get("/migrations/invalid-session-id/status").await;
    assert_form(&missing, StatusCode::NOT_FOUND);
    assert_told(&json("404 Not Found 1"), &missing.json, &["/error/code", "/error/message", "/error/details"]);
    let hands = bench.running().await;
    let again = bench.post(&hands.path("start"), &json("Start Migration 2")).await;
    assert_form(&again, StatusCode::CONFLICT);
    assert_told(&json("409 Conflict 1"), &again.json, &["/error/code", "/error/message", "/error/details/current_status"]);
}

#[tokio::test]
async fn checks_that_failed() {
    let bench = Bench::new().await;
    let made = bench.post("/migrations/", &json("Create Migration 2")).await;
    let id = made.json["session_id"].as_str().expect("an id");
    let refused = bench.post(&format!("/migrations/{id}/start"), &json("Start Migration 2")).await;
    assert_form(&refused, StatusCode::UNPROCESSABLE_ENTITY);
    assert_told(&json("422 Unprocessable Entity 1"), &refused.json, &["/error/code", "/error/message", "/error/details/failed_checks/0/check"]);
}

#[tokio::test]
async fn a_defect_of_ours() {
    let bench = Bench::new().await;
    bench.spoil("template", "spoilt").await;
    let answer = bench.get("/templates/spoilt").await;
    assert_form(&answer, StatusCode::INTERNAL_SERVER_ERROR);
    assert_told(&json("500 Internal Server Error 1"), &answer.json, &["/error/code", "/error/message", "/error/details/support_contact"]);
}
