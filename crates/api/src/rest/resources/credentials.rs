//! Credentials by their ids.

use super::super::paging::paged;
use super::super::{Body, Call, Endpoint, Reply};
use super::TAG;
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/api/v1/credentials", "create_credentials_resource", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create credentials", "A name and a password, and the domain they belong to. The password is sealed and never shown again.")
            .takes(Body::Required, "NewCredentials", json!({"username": "testuser", "password": "testpass", "domain": "testdomain.com"}))
            .answers(StatusCode::CREATED, "CredentialsResource", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
        paged(Endpoint::get("/api/v1/credentials", "list_credentials_resources", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List credentials", "Newest first.")
            .answers_list("CredentialsResource", "The credentials"),
        Endpoint::get("/api/v1/credentials/{resource_id}", "get_credentials_resource", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get credentials", "By its id.")
            .answers(StatusCode::OK, "CredentialsResource", "The credentials")
            .fails(Code::NotFound, "There is none with that id"),
        Endpoint::delete("/api/v1/credentials/{resource_id}", "delete_credentials_resource", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete credentials", "Unless a workload or a migration target refers to them.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "There is none with that id")
            .fails(Code::InUse, "Something else refers to it")
            .fails(Code::Changed, "It was changed meanwhile"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_credentials(&call.tenant, call.body()).await?;
    Reply::created(format!("/api/v1/credentials/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.all_credentials(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.credentials(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_credentials(&call.tenant, call.id()).await?;
    Ok(Reply::gone())
}
