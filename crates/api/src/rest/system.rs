//! The service itself: what it is, whether it works, what it can move.

use super::{Body, Call, Endpoint, Reply};
use crate::openapi::examples;
use axum::http::{StatusCode, header};
use control::Error;
use control::error::Code;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let tag = "Service";
    vec![
        Endpoint::get("/", "about", |call| Box::pin(about(call)))
            .tag(tag)
            .says("API information", "What this is, where its documentation is, and what it can do. A browser (Accept: text/html) is sent to the console.")
            .answers(StatusCode::OK, "About", "API information")
            .answers_with(StatusCode::SEE_OTHER, "A browser is sent to /console", vec![]),
        Endpoint::get("/health", "health", |call| Box::pin(health(call)))
            .tag(tag)
            .says("Health check", "Asks every part of the service now. 503 with the same body when a part is down.")
            .answers(StatusCode::OK, "Health", "Everything works")
            .answers(StatusCode::SERVICE_UNAVAILABLE, "Health", "A part is down: see `components`"),
        Endpoint::get("/system/types", "system_types", |call| Box::pin(types(call)))
            .tag(tag)
            .says("System types", "The words that a configuration may use, and which of them this version moves.")
            .answers(StatusCode::OK, "Types", "The known words"),
        Endpoint::post("/validate", "validate", |call| Box::pin(validate(call)))
            .tag("Configuration")
            .says(
                "Validate a configuration",
                "Really connects to both systems: reachability, credentials, permissions, free space, versions, names, large files. Many checks run at once, each \
                 within 10 seconds. A configuration that connects to nothing is an answer with `valid: false`, not an error.",
            )
            .takes(Body::Required, "MigrationConfiguration", examples::migration())
            .answers(StatusCode::OK, "Validation", "What was found")
            .fails(Code::InvalidConfiguration, "Bad, missing or unknown fields, all named"),
    ]
}

async fn about(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    if prefers_html(&call) { Ok(Reply::Redirect("/console")) } else { Reply::ok(call.control.about()) }
}

/// A browser names `text/html`; programs send `*/*`, JSON or nothing.
fn prefers_html(call: &Call) -> bool {
    let mut accepted = call.headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    accepted.any(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html"))
}

async fn health(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let health = call.control.health().await;
    Reply::with(if health.is_healthy() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, health)
}

async fn types(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.types())
}

async fn validate(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.validate(&call.tenant, call.body()).await?)
}
