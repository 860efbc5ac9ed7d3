//! What every answer has in common: request ids, the error envelope, panics, unknown paths and methods.
//!
//! A failing handler answers with a [`Failure`] in the response's extensions; [`finish`] renders it as document 3's envelope at
//! the very outside, where the request id is known. This is the one place that turns errors into HTTP.

use crate::spans;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use control::error::Kind;
use control::operations::{RouteMeter, Sampling, Traffic};
use serde_json::{Value, json};
use std::any::Any;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An error on its way out. `private` goes to the log only.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub details: Value,
    pub private: Option<String>,
}

impl Failure {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: json!({}), private: None }
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

impl From<control::Error> for Failure {
    fn from(error: control::Error) -> Self {
        Self { status: status_of(error.kind), code: error.code.word(), message: error.message, details: error.details, private: error.private }
    }
}

/// The status that a family of errors has.
pub(crate) fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What every request needs.
#[derive(Clone)]
pub(crate) struct Around {
    sampling: Sampling,
    /// Counts what belongs to no endpoint of the table: pages, unknown paths, panics.
    others: Arc<RouteMeter>,
}

impl Around {
    pub fn new(traffic: &Traffic, sampling: Sampling) -> Self {
        Self { sampling, others: traffic.route("*", "other") }
    }
}

/// Puts the common parts around a router.
pub(crate) fn finish(router: Router, around: Around) -> Router {
    let envelope = middleware::from_fn_with_state(around, envelope);
    router.fallback(unknown_path).method_not_allowed_fallback(wrong_method).layer(CatchPanicLayer::custom(panicked)).layer(envelope)
}

async fn unknown_path(request: Request) -> Failure {
    let path = request.uri().path();
    Failure::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("There is nothing at {path}"))
        .details(json!({"path": path, "suggestion": "See /docs for all paths"}))
}

async fn wrong_method(request: Request) -> Failure {
    let (method, path) = (request.method(), request.uri().path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", format!("{method} is not allowed at {path}; the Allow header names what is"))
        .details(json!({"method": method.as_str(), "path": path}))
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    let private = format!("panic: {}", text.unwrap_or_else(|| "without words".to_owned()));
    Failure::from(control::Error::internal(private)).into_response()
}

/// The request's id, for whoever handles it.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub String);

async fn envelope(State(around): State<Around>, mut request: Request, next: Next) -> Response {
    let id = incoming_id(request.headers()).unwrap_or_else(|| format!("req-{}", short_id()));
    request.extensions_mut().insert(RequestId(id.clone()));
    let (trace, span) = spans::begun(around.sampling, &request, &id);
    let is_probe = spans::is_probe(&request);
    let work = async {
        let began = std::time::Instant::now();
        let mut response = settled(next.run(request).await, &id);
        let meter = response.extensions_mut().remove::<Arc<RouteMeter>>().unwrap_or(around.others);
        meter.answered(response.status().as_u16(), began.elapsed());
        spans::answered(response.status(), is_probe, began.elapsed());
        response
    };
    let mut response = trace.around(work.instrument(span)).await;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The response with its failure, if it is one, rendered for the request with this id.
pub(crate) fn settled(mut response: Response, id: &str) -> Response {
    match response.extensions_mut().remove::<Failure>() {
        Some(failure) => render(failure, response, id),
        None => response,
    }
}

/// Document 3's envelope.
#[derive(serde::Serialize)]
struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(serde::Serialize)]
struct Body<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a Value,
    timestamp: String,
    request_id: &'a str,
}

/// The envelope, on the headers that the handler had set.
fn render(mut failure: Failure, response: Response, id: &str) -> Response {
    if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
        let error_id = format!("err-{}", short_id());
        tracing::error!(%error_id, cause = failure.private.as_deref().unwrap_or("unknown"), "internal error");
        failure.details = json!({"error_id": error_id, "support_contact": "support@migration-assistant.com"});
    } else if let Some(private) = &failure.private {
        tracing::warn!(code = failure.code, cause = %private, "request failed");
    }
    let timestamp = control::time::text(jiff::Timestamp::now());
    let (mut parts, _) = response.into_parts();
    if let Some(seconds) = failure.details["retry_after"].as_u64() {
        parts.headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        parts.headers.entry(header::WWW_AUTHENTICATE).or_insert(HeaderValue::from_static("Bearer realm=\"migration-assistant\""));
    }
    let error = Body { code: failure.code, message: &failure.message, details: &failure.details, timestamp, request_id: id };
    let body = serde_json::to_string(&Envelope { error }).unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, body.into())
}

/// A caller's own id is kept when it is short and plain; anything else could forge log lines.
fn incoming_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    ((1..=128).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}

/// Twelve random hexadecimal digits, as document 3's examples have.
fn short_id() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    id[id.len() - 12..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_panic_is_a_500_that_tells_nothing_of_it() {
        async fn defect() {
            panic!("a detail of the inside");
        }
        let router = finish(Router::new().route("/", get(defect)), Around::new(&Traffic::default(), Sampling::OFF));
        let request = Request::get("/").header("x-request-id", "mine").body(axum::body::Body::empty()).expect("a request");
        let answer = router.oneshot(request).await.expect("an answer");
        assert_eq!((answer.status(), &answer.headers()[REQUEST_ID]), (StatusCode::INTERNAL_SERVER_ERROR, &HeaderValue::from_static("mine")));
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["error"]["code"], "INTERNAL_ERROR");
        assert!(body["error"]["details"]["error_id"].as_str().expect("an id").starts_with("err-"));
        assert!(!body.to_string().contains("inside"));
    }

    #[test]
    fn only_sane_request_ids_are_kept() {
        let kept = |id: &'static str| incoming_id(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))]));
        assert_eq!(kept("req-abc.1:2_3").as_deref(), Some("req-abc.1:2_3"));
        for bad in ["", "a b", "a\tb", "<script>", "a;b"] {
            assert_eq!(kept(bad), None, "{bad:?}");
        }
    }
}
