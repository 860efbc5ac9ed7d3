//! The span of a request, and its one line in the log.
//!
//! It is of the highest level because it is the context of log lines of every level. Never in it: the query and headers, which may hold
//! secrets.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use control::operations::Sampling;
use control::{Caller, Trace};
use std::fmt;
use std::time::Duration;
use tracing::field::Empty;
use tracing::{Span, error_span};

/// Asked all the time by whoever watches over the service: of no interest to anybody else.
const PROBES: [&str; 4] = ["/livez", "/readyz", "/health", "/metrics"];

/// The place of a request among traces, below that of its caller, and its span.
pub(crate) fn begun(sampling: Sampling, request: &Request, id: &str) -> (Trace, Span) {
    let caller = request.headers().get("traceparent").and_then(|v| Trace::parse(v.to_str().ok()?));
    let route = request.extensions().get::<MatchedPath>().map(|p| plain(p.as_str()));
    let mut own = sampling.place(caller);
    if caller.is_none() && is_probe(request) {
        own = own.sampled(false);
    }
    let span = error_span!(
        "request",
        otel.name = %Named { method: request.method(), route },
        otel.kind = "server",
        traceparent = %own,
        parent_id = caller.map(|t| tracing::field::display(t.span_id())),
        request_id = id,
        method = request.method().as_str(),
        route,
        path = request.uri().path(),
        tenant = Empty,
        user = Empty,
        status = Empty,
        error.type = Empty,
    );
    (own, span)
}

/// `GET /migrations/{session_id}`, or the method alone where nothing is.
struct Named<'a> {
    method: &'a Method,
    route: Option<&'a str>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.route {
            Some(route) => write!(f, "{} {route}", self.method),
            None => write!(f, "{}", self.method),
        }
    }
}

/// Every path is there with and without a trailing slash.
fn plain(route: &str) -> &str {
    if route.len() > 1 { route.trim_end_matches('/') } else { route }
}

/// Whose request the current one is.
pub(crate) fn admitted(caller: &Caller) {
    let span = Span::current();
    span.record("tenant", caller.tenant.as_str());
    if let Some(user) = &caller.user {
        span.record("user", user.as_str());
    }
}

/// The answer of the current request: on its span, and in the log.
pub(crate) fn answered(status: StatusCode, route_is_probe: bool, took: Duration) {
    let number = status.as_u16();
    let span = Span::current();
    span.record("status", number);
    if status.is_server_error() {
        span.record("error.type", status.as_str());
    }
    let duration_ms = took.as_micros() as f64 / 1000.0;
    if route_is_probe {
        tracing::debug!(target: "access", duration_ms, "answered");
    } else {
        tracing::info!(target: "access", duration_ms, "answered");
    }
}

/// Whether the request is one of those that are made all the time.
pub(crate) fn is_probe(request: &Request) -> bool {
    PROBES.contains(&plain(request.uri().path()))
}
