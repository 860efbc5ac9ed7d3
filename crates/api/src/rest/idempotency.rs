//! `Idempotency-Key` on every POST: the header, what makes a request the same, and how an answer is kept and given again.

use super::{Call, Endpoint, recall};
use crate::http::{Failure, settled};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::idempotency::{Begun, KeptAnswer, Ticket, not_again};
use control::{Control, Error};
use domain::decode::Problems;
use std::future::Future;
use tracing::Instrument;

pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request that is to be done once.
pub(super) struct Asked {
    key: String,
    /// Method, path and query.
    target: String,
    request_id: String,
}

/// What its key leads to.
pub(super) enum Turn {
    /// It is ours to do.
    Ours(Box<Ticket>, String),
    /// It was done before; this was the answer.
    Before(Response),
    /// It was begun before, and what has this id was written.
    Interrupted(Box<Ticket>, String),
}

/// The key that a POST carries. Other methods may carry one too; they can be repeated as they are.
pub(super) fn asked(parts: &Parts) -> Result<Option<Asked>, Error> {
    if parts.method != Method::POST {
        return Ok(None);
    }
    let mut given = parts.headers.get_all(KEY).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let key = first.to_str().unwrap_or_default().to_owned();
    if given.next().is_some() {
        let mut problems = Problems::default();
        problems.note("Idempotency-Key", "is given more than once");
        return Err(Error::parameters(problems));
    }
    let path = parts.uri.path().trim_end_matches('/');
    let target = format!("{} {path}?{}", parts.method, parts.uri.query().unwrap_or_default());
    Ok(Some(Asked { key, target, request_id: super::gate::origin(parts).request_id }))
}

impl Asked {
    pub async fn begin(&self, call: &Call) -> Result<Turn, Error> {
        let body = call.optional_body().map(ToString::to_string).unwrap_or_default();
        match call.control.begin_once(&call.caller, &self.key, &format!("{}\n{body}", self.target)).await? {
            Begun::New(ticket) => Ok(Turn::Ours(ticket, self.request_id.clone())),
            Begun::Known(answer) => Ok(Turn::Before(again(answer))),
            Begun::Interrupted(ticket, made) => Ok(Turn::Interrupted(ticket, made)),
        }
    }
}

/// Answers a request that was interrupted after it had written `made`: from what is there, where somebody knows how to, and that is kept.
pub(super) async fn recalled(endpoint: &Endpoint, asked: &Asked, ticket: Box<Ticket>, made: String, call: Call) -> Result<Response, Error> {
    let control = call.control.clone();
    let found = match recall::of(endpoint.id) {
        Some(find) => find(call, made.clone()).await,
        None => return Err(not_again(&asked.key, &made)),
    };
    let answer = kept(settled(super::call::answer(Ok(found.map_err(|_| not_again(&asked.key, &made))?)), &asked.request_id)).await;
    control.keep_found(*ticket, &answer).await?;
    Ok(again(answer))
}

/// Does the work to its end even when the caller goes away meanwhile: it will ask again.
pub(super) async fn finish(control: Control, ticket: Box<Ticket>, request_id: String, work: impl Future<Output = Response> + Send + 'static) -> Response {
    let once = async move { control.finish_once(*ticket, async move { kept(settled(work.await, &request_id)).await }).await }.in_current_span();
    let done = match control::Trace::current() {
        Some(trace) => tokio::spawn(trace.around(once)),
        None => tokio::spawn(once),
    };
    match done.await {
        Ok(answer) => response(answer),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Failure::from(Error::internal(format!("a request was not done: {error}"))).into_response(),
        },
    }
}

async fn kept(response: Response) -> KeptAnswer {
    let (parts, body) = response.into_parts();
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let named = parts.headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH);
    let headers = named.filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect();
    // Our own answers, which are in memory already.
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    KeptAnswer { status: parts.status.as_u16(), headers, body: String::from_utf8_lossy(&bytes).into_owned() }
}

fn again(answer: KeptAnswer) -> Response {
    let mut response = response(answer);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn response(answer: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let mut response = Response::new(Body::from(answer.body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}
