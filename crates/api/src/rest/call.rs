//! Reading a request and writing an answer, the same for every endpoint.

use super::Body;
use crate::http::Failure;
use axum::body::to_bytes;
use axum::extract::{Query, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use control::identity::Origin;
use control::{Caller, Control, Error, Filter};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The largest body that is read.
const BODY_LIMIT: usize = 1 << 20;

/// A request, decoded.
pub(crate) struct Call {
    pub control: Control,
    /// The caller's tenant.
    pub tenant: String,
    pub caller: Caller,
    pub query: Filter,
    pub headers: HeaderMap,
    /// Path and query, as they were sent.
    pub target: String,
    /// Where the request came from.
    pub origin: Origin,
    /// Whether the body was a form.
    pub is_form: bool,
    body: Option<Value>,
    path: Vec<String>,
}

/// What a use case answered, not yet encoded.
pub(crate) enum Reply {
    /// JSON text, with its fields in the order of the documentation.
    Json(StatusCode, String),
    /// 201 with the new thing's address.
    Created(String, String),
    Html(String),
    Redirect(&'static str),
    /// An answer that is like no other.
    Ready(Box<Response>),
}

impl Reply {
    pub fn ok<T: Serialize>(value: T) -> Result<Self, Error> {
        Self::with(StatusCode::OK, value)
    }

    pub fn with<T: Serialize>(status: StatusCode, value: T) -> Result<Self, Error> {
        Ok(Self::Json(status, encode(value)?))
    }

    /// 204: done, and nothing to say.
    pub fn gone() -> Self {
        Self::Ready(Box::new(StatusCode::NO_CONTENT.into_response()))
    }

    pub fn created<T: Serialize>(location: String, value: T) -> Result<Self, Error> {
        Ok(Self::Created(location, encode(value)?))
    }
}

fn encode<T: Serialize>(value: T) -> Result<String, Error> {
    serde_json::to_string(&value).map_err(|e| Error::internal(format!("an answer cannot be encoded: {e}")))
}

impl Call {
    /// The first parameter of the path.
    pub fn id(&self) -> &str {
        self.part(0)
    }

    /// A parameter of the path, by its position.
    pub fn part(&self, index: usize) -> &str {
        self.path.get(index).map_or("", String::as_str)
    }

    /// The body of an endpoint that requires one; `null` cannot happen there.
    pub fn body(&self) -> &Value {
        self.body.as_ref().unwrap_or(&Value::Null)
    }

    /// Hands the body of an endpoint that requires one over to a use case that keeps it.
    pub fn take_body(&mut self) -> Value {
        self.body.take().unwrap_or_default()
    }

    pub fn optional_body(&self) -> Option<&Value> {
        self.body.as_ref()
    }

    /// Hands the query over to a use case that reads it.
    pub fn take_query(&mut self) -> Filter {
        std::mem::replace(&mut self.query, Filter::new(Vec::new()))
    }

    /// Refuses every query parameter that was not read so far.
    pub fn no_query(&mut self) -> Result<(), Error> {
        self.take_query().done()
    }
}

pub(super) async fn read(control: Control, caller: Caller, params: &RawPathParams, parts: Parts, body: axum::body::Body, rule: Body) -> Result<Call, Failure> {
    let Query(query) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "INVALID_PARAMETERS", "The query string cannot be decoded"))?;
    let is_form = rule == Body::Form && is_form(&parts.headers);
    let body = match rule {
        Body::None => None,
        Body::Form if is_form => Some(form(&read_bytes(&parts.headers, body, control.body_time()).await?)?),
        _ => read_body(&parts.headers, body, rule, control.body_time()).await?,
    };
    let origin = super::gate::origin(&parts);
    let path = params.iter().map(|(_, value)| value.to_owned()).collect();
    Ok(Call {
        control,
        tenant: caller.tenant.clone(),
        caller,
        query: Filter::new(query),
        target: parts.uri.to_string(),
        headers: parts.headers,
        origin,
        is_form,
        body,
        path,
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form as an object of strings. OAuth2 forbids to give a parameter twice.
fn form(bytes: &[u8]) -> Result<Value, Failure> {
    let mut map = serde_json::Map::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if map.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
            return Err(malformed(&format!("The form has '{}' twice", name.escape_default()), 1, 1));
        }
    }
    Ok(Value::Object(map))
}

async fn read_bytes(headers: &HeaderMap, body: axum::body::Body, time: Duration) -> Result<axum::body::Bytes, Failure> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > BODY_LIMIT) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(time, to_bytes(body, BODY_LIMIT)).await.map_err(|_| too_slow(time))?;
    read.map_err(|error| {
        let limit = std::error::Error::source(&error).is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
        if limit { too_large() } else { malformed("The body ended before it was complete", 0, 0) }
    })
}

async fn read_body(headers: &HeaderMap, body: axum::body::Body, rule: Body, time: Duration) -> Result<Option<Value>, Failure> {
    let bytes = read_bytes(headers, body, time).await?;
    if bytes.is_empty() {
        return if rule != Body::Optional { Err(malformed("The body is empty; a JSON object is required", 1, 1)) } else { Ok(None) };
    }
    check_content_type(headers)?;
    let read: Result<domain::UniqueKeys, _> = serde_json::from_slice(&bytes);
    let value = read.map_err(|e| malformed(&format!("The body is not valid JSON: {e}"), e.line(), e.column()))?;
    Ok(Some(value.0))
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = given.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        return Ok(());
    }
    let shown = essence.escape_default().to_string();
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON: send it with Content-Type: application/json")
        .details(json!({"content_type": shown, "supported": ["application/json"]})))
}

fn too_large() -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", format!("The body is larger than {}", domain::units::size(BODY_LIMIT as u64)))
        .details(json!({"limit_bytes": BODY_LIMIT}))
}

fn too_slow(time: Duration) -> Failure {
    Failure::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", format!("The body did not arrive within {} s; send it again at once", time.as_secs_f64()))
}

fn malformed(message: &str, line: usize, column: usize) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "MALFORMED_JSON", message).details(json!({"line": line, "column": column}))
}

pub(super) fn answer(result: Result<Reply, Error>) -> Response {
    match result {
        Ok(Reply::Json(status, text)) => (status, JSON, text).into_response(),
        Ok(Reply::Created(location, text)) => (StatusCode::CREATED, [(header::LOCATION, location)], JSON, text).into_response(),
        Ok(Reply::Html(text)) => (page_headers("text/html; charset=utf-8", REPORT_POLICY), text).into_response(),
        Ok(Reply::Redirect(to)) => ([(header::VARY, "Accept")], Redirect::to(to)).into_response(),
        Ok(Reply::Ready(response)) => *response,
        Err(error) => refuse(error.into()),
    }
}

pub(super) fn refuse(failure: Failure) -> Response {
    failure.into_response()
}

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];

/// Reports are self-contained: nothing may be loaded or run.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

fn page_headers(content_type: &'static str, policy: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers
}

pub(super) fn page(content_type: &'static str, policy: &'static str, body: &'static [u8]) -> Response {
    (page_headers(content_type, policy), body).into_response()
}
