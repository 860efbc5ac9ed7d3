//! For whoever operates the service: probes and metrics.

use super::{Call, Endpoint, Reply, call};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use control::operations::Readiness;
use control::operations::metrics::CONTENT_TYPE;
use control::{Control, Error};
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let tag = "Service";
    vec![
        Endpoint::get("/livez", "livez", |call| Box::pin(livez(call)))
            .tag(tag)
            .says("Is the process alive?", "Answers without asking anybody. When it does not answer, the process should be started anew.")
            .answers(StatusCode::OK, "Readiness", "It is"),
        Endpoint::get("/readyz", "readyz", |call| Box::pin(readyz(call)))
            .tag(tag)
            .says("Should it get requests?", "The database answers and has this program's schema, and the process is not shutting down.")
            .answers(StatusCode::OK, "Readiness", "It should")
            .answers(StatusCode::SERVICE_UNAVAILABLE, "Readiness", "Not now; `reason` says why"),
        Endpoint::get("/metrics", "service_metrics", |call| Box::pin(metrics(call)))
            .tag(tag)
            .says(
                "Metrics of the service",
                "In Prometheus's text format, of all tenants together; only administrators of the tenant `default` may read them. A server that was started with \
                 `--metrics` offers them on that address too, to everybody who can reach it.",
            )
            .answers_with(StatusCode::OK, "The metrics", vec![("text/plain", json!({"type": "string"}))]),
    ]
}

/// The same for an address where everybody may read.
pub(super) fn probes() -> Router<Control> {
    let answer = |good: bool, readiness: Readiness| (if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(readiness));
    Router::new()
        .route("/livez", get(async |State(control): State<Control>| Json(control.liveness())))
        .route(
            "/readyz",
            get(async move |State(control): State<Control>| {
                let readiness = control.readiness().await;
                answer(readiness.is_good(), readiness)
            }),
        )
        .route("/metrics", get(async |State(control): State<Control>| call::answer(text(&control).await)))
}

async fn livez(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.liveness())
}

async fn readyz(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let readiness = call.control.readiness().await;
    Reply::with(if readiness.is_good() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, readiness)
}

async fn metrics(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.caller.require_operator()?;
    text(&call.control).await
}

async fn text(control: &Control) -> Result<Reply, Error> {
    let text = control.service_metrics().await?;
    Ok(Reply::Ready(Box::new(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())))
}
