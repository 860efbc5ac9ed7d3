//! Webhooks: the resource, what is sent, in which order, how often, and to whom not.

mod resource;
mod tellers;
mod telling;

use super::bench::Bench;
use crate::receiver::{Receiver, Seen};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use couriers::Policy;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use serde_json::{Value, json};

async fn bench() -> Bench {
    Bench::telling(Policy { allow_private: true }, None).await
}

/// A webhook at the receiver: its address in the API, and its secret.
async fn webhook(bench: &Bench, receiver: &Receiver, events: &[&str]) -> (String, String) {
    let body = json!({"name": "n", "url": receiver.url, "events": events, "headers": {"Authorization": "Bearer canary-token"}, "retry_policy": {"max_retries": 2, "retry_delay": 5}});
    let made = bench.post("/webhooks/", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    (made.headers["location"].to_str().expect("text").to_owned(), made.json["secret"].as_str().expect("a secret").to_owned())
}

/// Everything that is due at `now` is tried, until nothing is.
async fn tell(bench: &Bench, now: Option<Timestamp>) {
    while bench.control.tell_once(now).await.expect("a round") > 0 {}
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// Whether one of the signatures is made with `secret`.
fn signed(seen: &Seen, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").expect("the form of a secret")).expect("base64");
    let text = format!("{}.{}.{}", seen.header("webhook-id"), seen.header("webhook-timestamp"), seen.text);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes())));
    seen.header("webhook-signature").split(' ').any(|s| s == expected)
}

async fn deliveries(bench: &Bench, at: &str, filter: &str) -> Vec<Value> {
    let answer = bench.get(&format!("{at}/deliveries{filter}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json.as_array().expect("a list").clone()
}
