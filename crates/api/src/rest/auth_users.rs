//! Users of a tenant, for its administrators.

use super::auth::TAG;
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/auth/users", "create_user", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a user", "In the caller's tenant, or (for administrators of the tenant `default`) in the one named by `tenant_id`.")
            .takes(Body::Required, "NewUser", json!({"username": "ann", "password": "a long password", "tenant_id": "default", "scopes": ["migrations:read"]}))
            .answers(StatusCode::CREATED, "UserView", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named")
            .fails(Code::Taken, "There is a user with that name"),
        paged(Endpoint::get("/auth/users", "list_users", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List users", "Those of the caller's tenant; for administrators of the tenant `default` all. Oldest first.")
            .answers_list("UserView", "The users"),
        Endpoint::get("/auth/users/{user_id}", "get_user", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a user", "Without anything secret.")
            .answers(StatusCode::OK, "UserView", "The user")
            .fails(Code::NotFound, "No such user in reach"),
        Endpoint::patch("/auth/users/{user_id}", "change_user", |call| Box::pin(change(call)))
            .tag(TAG)
            .says(
                "Change a user",
                "Any of `password` (ends all sessions), `disabled`, and `scopes` in `tenant_id` (the caller's without it; an empty list takes the user out). Counts within seconds.",
            )
            .takes(Body::Required, "UserChange", json!({"scopes": ["migrations:read", "migrations:write"]}))
            .answers(StatusCode::OK, "UserView", "Changed")
            .fails(Code::InvalidRequest, "Bad or unknown fields, all named")
            .fails(Code::NotFound, "No such user in reach")
            .fails(Code::LastAdministrator, "Nobody could look after the installation any more")
            .fails(Code::Changed, "Somebody else has changed it at the same time"),
        Endpoint::delete("/auth/users/{user_id}", "delete_user", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a user", "With all keys and sessions.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "No such user in reach")
            .fails(Code::LastAdministrator, "Nobody could look after the installation any more")
            .fails(Code::Changed, "Somebody else has changed it at the same time"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_user(&call.caller, call.body()).await?;
    Reply::created(format!("/auth/users/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.users(&call.caller, query).await?, |u| u.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.user(&call.caller, call.id()).await?)
}

async fn change(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.change_user(&call.caller, call.id(), call.body()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_user(&call.caller, call.id()).await?;
    Ok(Reply::gone())
}
