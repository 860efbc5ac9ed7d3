//! API keys: everybody's own, and all of a tenant for its administrators.

use super::auth::{TAG, unstored};
use super::paging::paged;
use super::{Access, Body, Call, Endpoint, Reply};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/auth/api-keys", "create_api_key", |call| Box::pin(create(call)))
            .tag(TAG)
            .access(Access::LoggedIn)
            .says("Create an API key", "For the caller, in its tenant. The key is in this answer and nowhere else; send it as `X-API-Key`.")
            .takes(Body::Required, "NewApiKey", json!({"name": "backup job", "scopes": ["migrations:read"], "expires_at": "2030-01-31T12:00:00Z"}))
            .answers(StatusCode::CREATED, "NewKey", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named")
            .fails(Code::Denied, "The key would allow more than the caller may")
            .fails(Code::AuthenticationDisabled, "Nobody has to log in here"),
        paged(Endpoint::get("/auth/api-keys", "list_api_keys", |call| Box::pin(list(call))))
            .tag(TAG)
            .access(Access::LoggedIn)
            .says("List API keys", "The caller's, or all of the tenant for its administrators. Newest first; the keys themselves are never shown again.")
            .answers_list("KeyView", "The keys"),
        Endpoint::get("/auth/api-keys/{key_id}", "get_api_key", |call| Box::pin(get(call)))
            .tag(TAG)
            .access(Access::LoggedIn)
            .says("Get an API key", "How it begins, what it allows, when it was used.")
            .answers(StatusCode::OK, "KeyView", "The key's description")
            .fails(Code::NotFound, "No such key in reach"),
        Endpoint::delete("/auth/api-keys/{key_id}", "delete_api_key", |call| Box::pin(delete(call)))
            .tag(TAG)
            .access(Access::LoggedIn)
            .says("Delete an API key", "It stops working within seconds.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "No such key in reach"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_api_key(&call.caller, call.body()).await?;
    let location = format!("/auth/api-keys/{}", made.key.id);
    Ok(Reply::Ready(Box::new(unstored((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(made)).into_response()))))
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.api_keys(&call.caller, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.api_key(&call.caller, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_api_key(&call.caller, call.id()).await?;
    Ok(Reply::gone())
}
