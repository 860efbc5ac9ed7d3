//! Tenants, for the administrators of the tenant `default`.

use super::auth::TAG;
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/tenants", "create_tenant", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a tenant", "Only administrators of the tenant `default` may. Without `id` it is made from the name.")
            .takes(Body::Required, "NewTenant", json!({"id": "tenant-123", "name": "Customer 123"}))
            .answers(StatusCode::CREATED, "TenantView", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named")
            .fails(Code::Taken, "There is a tenant with that id"),
        paged(Endpoint::get("/tenants", "list_tenants", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List tenants", "All for administrators of the tenant `default`, their own one for others; in the order of their ids.")
            .answers_list("TenantView", "The tenants"),
        Endpoint::get("/tenants/{tenant_id}", "get_tenant", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a tenant", "Its name.")
            .answers(StatusCode::OK, "TenantView", "The tenant")
            .fails(Code::TenantNotFound, "No such tenant in reach"),
        Endpoint::delete("/tenants/{tenant_id}", "delete_tenant", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a tenant", "Only when nobody belongs to it and nothing is in it.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::TenantNotFound, "No such tenant")
            .fails(Code::TenantNotEmpty, "Users, migrations or other things are in it")
            .fails(Code::Changed, "Somebody else has changed it at the same time"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_tenant(&call.caller, call.body()).await?;
    Reply::created(format!("/tenants/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.tenants(&call.caller, query).await?, |t| t.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.tenant(&call.caller, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_tenant(&call.caller, call.id()).await?;
    Ok(Reply::gone())
}
