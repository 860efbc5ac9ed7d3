//! Requests that are counted, and the quotas of tenants.

use super::auth::TAG;
use super::call;
use super::etag::{expected, tagged};
use super::{Body, Call, Endpoint, Reply};
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use control::error::Code;
use control::limits::Standing;
use control::{Caller, Control, Error};
use serde_json::json;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/tenants/{tenant_id}/quotas", "get_quotas", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a tenant's quotas", "Null: as much as it likes. The ETag header has the version.")
            .answers(StatusCode::OK, "QuotasView", "The quotas")
            .fails(Code::TenantNotFound, "No such tenant in reach"),
        Endpoint::put("/tenants/{tenant_id}/quotas", "set_quotas", |call| Box::pin(set(call)))
            .tag(TAG)
            .says("Set a tenant's quotas", "All of them: what is absent or null is unlimited. Only administrators of the tenant `default` may.")
            .takes(Body::Required, "Quotas", json!({"running_migrations": 10, "stored_backups": 100, "requests_per_second": 50}))
            .answers(StatusCode::OK, "QuotasView", "As they are now; other servers follow within seconds")
            .fails(Code::InvalidRequest, "Bad or unknown fields, all named at once")
            .fails(Code::TenantNotFound, "No such tenant")
            .versioned("They were changed since they were read"),
    ]
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let quotas = call.control.quotas(&call.caller, call.id()).await?;
    tagged(&quotas, Some(quotas.version))
}

async fn set(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let quotas = call.control.set_quotas(&call.caller, call.id(), call.body(), expected(&call.headers)?).await?;
    tagged(&quotas, Some(quotas.version))
}

/// Counts a request; answers with how the caller stands, or with the refusal. Whoever watches over the service is never refused.
pub(super) async fn counted(endpoint: &Endpoint, control: &Control, caller: &Caller, address: &str) -> Result<Option<Standing>, Response> {
    if matches!(endpoint.path, "/livez" | "/readyz" | "/health" | "/metrics") {
        return Ok(None);
    }
    let standing = control.count_request(caller, address).await.map_err(|error| call::refuse(error.into()))?;
    match standing.as_ref().and_then(Standing::refusal) {
        Some(error) => Err(marked(call::refuse(error.into()), standing)),
        None => Ok(standing),
    }
}

/// The answer with how the caller stands.
pub(super) fn marked(mut response: Response, standing: Option<Standing>) -> Response {
    let Some(Standing { rate, taken }) = standing else { return response };
    let headers = response.headers_mut();
    headers.insert(LIMIT, rate.burst().into());
    headers.insert(REMAINING, taken.remaining.min(rate.burst()).into());
    headers.insert(RESET, taken.reset.into());
    if let Ok(policy) = format!("{};w=2", rate.burst()).try_into() {
        headers.insert(POLICY, policy);
    }
    response
}
