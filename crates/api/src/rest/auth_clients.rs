//! OAuth clients of a tenant, for its administrators.

use super::auth::{TAG, unstored};
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let example = json!({"name": "Deployment dashboard", "redirect_uris": ["https://dashboard.example.com/callback"], "confidential": true});
    let change = json!({"name": "Deployment dashboard", "redirect_uris": ["https://dashboard.example.com/callback"]});
    vec![
        Endpoint::post("/auth/clients", "create_client", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create an OAuth client", "An application that users of the tenant may let in. A confidential one gets a secret, which is in this answer and nowhere else; others must use PKCE.")
            .takes(Body::Required, "NewClientRequest", example)
            .answers(StatusCode::CREATED, "NewClient", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named"),
        paged(Endpoint::get("/auth/clients", "list_clients", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List OAuth clients", "Newest first.")
            .answers_list("ClientView", "The clients"),
        Endpoint::get("/auth/clients/{client_id}", "get_client", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get an OAuth client", "Without its secret.")
            .answers(StatusCode::OK, "ClientView", "The client")
            .fails(Code::NotFound, "No such client"),
        Endpoint::put("/auth/clients/{client_id}", "change_client", |call| Box::pin(replace(call)))
            .tag(TAG)
            .says("Change an OAuth client", "Its name and addresses; the secret stays.")
            .takes(Body::Required, "ClientChange", change)
            .answers(StatusCode::OK, "ClientView", "Changed")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named")
            .fails(Code::NotFound, "No such client")
            .fails(Code::Changed, "Somebody else has changed it at the same time"),
        Endpoint::delete("/auth/clients/{client_id}", "delete_client", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete an OAuth client", "With the sessions that it was given.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "No such client")
            .fails(Code::Changed, "Somebody else has changed it at the same time"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_client(&call.caller, call.body()).await?;
    let location = format!("/auth/clients/{}", made.client.id);
    Ok(Reply::Ready(Box::new(unstored((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(made)).into_response()))))
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.clients(&call.caller, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.client(&call.caller, call.id()).await?)
}

async fn replace(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.change_client(&call.caller, call.id(), call.body()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_client(&call.caller, call.id()).await?;
    Ok(Reply::gone())
}
