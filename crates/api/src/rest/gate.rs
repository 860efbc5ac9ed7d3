//! What stands before every endpoint: who asks, whether it may, and that the audit log knows of it.

use super::call::{self, Reply};
use super::idempotency::{self, Turn};
use super::limits;
use super::{Access, Endpoint};
use crate::http::{Failure, RequestId};
use crate::spans;
use axum::body::Body;
use axum::extract::{ConnectInfo, RawPathParams, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use control::audit::{AuditEntry, attempt};
use control::identity::Origin;
use control::{Caller, Control, Credentials, Error};
use std::net::SocketAddr;

/// One request, from the door to its answer.
pub(super) async fn pass(endpoint: &Endpoint, control: Control, params: &RawPathParams, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let caller = match admitted(endpoint, &control, &parts).await {
        Ok(caller) => caller,
        Err(error) => return call::refuse(error.into()),
    };
    spans::admitted(&caller);
    match limits::counted(endpoint, &control, &caller, &origin(&parts).address).await {
        Ok(standing) => limits::marked(admit(endpoint, control, caller, params, parts, body).await, standing),
        Err(refused) => refused,
    }
}

/// A request whose caller is known and has room.
async fn admit(endpoint: &Endpoint, control: Control, caller: Caller, params: &RawPathParams, parts: Parts, body: Body) -> Response {
    let entry = (!parts.method.is_safe() && !endpoint.own_audit).then(|| entry(endpoint, &caller, &parts));
    let asked = idempotency::asked(&parts);
    let read = match call::read(control.clone(), caller, params, parts, body, endpoint.body).await {
        Ok(read) => read,
        Err(failure) => return refused(&control, entry, failure).await,
    };
    match asked {
        Ok(None) => done(control, entry, handled(endpoint, read)).await,
        Ok(Some(asked)) => once(endpoint, control, entry, asked, read).await,
        Err(error) => refused(&control, entry, error.into()).await,
    }
}

/// The endpoint's own work, on behalf of its caller.
fn handled(endpoint: &Endpoint, read: call::Call) -> impl Future<Output = Result<Reply, Error>> + Send + 'static {
    let (caller, call) = (read.caller.clone(), endpoint.call);
    caller.acting(call(read))
}

async fn done(control: Control, entry: Option<AuditEntry>, work: impl Future<Output = Result<Reply, Error>>) -> Response {
    match entry {
        Some(entry) => call::answer(audited(&control, entry, work).await),
        None => call::answer(work.await),
    }
}

/// A request with an `Idempotency-Key`.
async fn once(endpoint: &Endpoint, control: Control, entry: Option<AuditEntry>, asked: idempotency::Asked, read: call::Call) -> Response {
    match asked.begin(&read).await {
        Ok(Turn::Ours(ticket, request_id)) => idempotency::finish(control.clone(), ticket, request_id, done(control, entry, handled(endpoint, read))).await,
        Ok(Turn::Before(answer)) => answered_again(&control, entry, answer).await,
        Ok(Turn::Interrupted(ticket, made)) => match idempotency::recalled(endpoint, &asked, ticket, made, read).await {
            Ok(answer) => answered_again(&control, entry, answer).await,
            Err(error) => refused(&control, entry, error.into()).await,
        },
        Err(error) => refused(&control, entry, error.into()).await,
    }
}

async fn answered_again(control: &Control, entry: Option<AuditEntry>, answer: Response) -> Response {
    if let Some(entry) = entry {
        control.note_attempt(AuditEntry { result: "answered_again".to_owned(), ..entry }).await;
    }
    answer
}

/// The caller, if it may call the endpoint. A refusal of somebody known is audited.
async fn admitted(endpoint: &Endpoint, control: &Control, parts: &Parts) -> Result<Caller, Error> {
    if endpoint.access == Access::Public {
        return Ok(Caller::anonymous());
    }
    let credentials = credentials(&parts.headers);
    let is_own = endpoint.path.starts_with(super::resources::ROOT);
    let caller = if is_own { control.authenticate_owner(&credentials).await? } else { control.authenticate(&credentials).await? };
    if let Access::Scope(scope) = &endpoint.access
        && let Err(error) = caller.require(scope)
    {
        control.note_attempt(AuditEntry { result: error.code.word().to_owned(), ..entry(endpoint, &caller, parts) }).await;
        return Err(error);
    }
    Ok(caller)
}

/// What the request's headers offer as proof.
pub(crate) fn credentials(headers: &HeaderMap) -> Credentials {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let bearer =
        text("authorization").and_then(|v| v.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, t)| t.trim().to_owned()));
    Credentials { api_key: text("x-api-key"), bearer, tenant: text("x-tenant-id") }
}

async fn audited(control: &Control, entry: AuditEntry, work: impl Future<Output = Result<Reply, Error>>) -> Result<Reply, Error> {
    let (result, written) = attempt(entry.clone(), work).await;
    if !written {
        let word = result.as_ref().map_or_else(|error| error.code.word(), |_| "done");
        control.note_attempt(AuditEntry { result: word.to_owned(), ..entry }).await;
    }
    result
}

async fn refused(control: &Control, entry: Option<AuditEntry>, failure: Failure) -> Response {
    if let Some(entry) = entry {
        control.note_attempt(AuditEntry { result: failure.code.to_owned(), ..entry }).await;
    }
    call::refuse(failure)
}

/// Where the request came from.
pub(super) fn origin(parts: &Parts) -> Origin {
    let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(|| "local".to_owned(), |info| info.0.ip().to_canonical().to_string());
    Origin { address, request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default() }
}

fn entry(endpoint: &Endpoint, caller: &Caller, parts: &Parts) -> AuditEntry {
    let origin = origin(parts);
    AuditEntry {
        tenant: caller.tenant.clone(),
        actor: caller.name.clone(),
        proof: caller.proof.word().to_owned(),
        action: endpoint.id.to_owned(),
        target: parts.uri.path().trim_matches('/').to_owned(),
        source: origin.address,
        request_id: origin.request_id,
        ..AuditEntry::default()
    }
}
