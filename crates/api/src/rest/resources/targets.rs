//! Migration targets by the ids of their parts.

use super::super::paging::paged;
use super::super::{Body, Call, Endpoint, Reply};
use super::TAG;
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/api/v1/migration-targets", "create_migration_target_resource", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a migration target", "A cloud, the credentials for it, and the VM there, which is a workload.")
            .takes(
                Body::Required,
                "NewMigrationTarget",
                json!({"cloud_type": "aws", "cloud_credentials": "0198e2b4c5d67f80a1b2c3d4e5f60718", "target_vm": "0198e2b4c5d67f80a1b2c3d4e5f60719"}),
            )
            .answers(StatusCode::CREATED, "TargetResource", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
        paged(Endpoint::get("/api/v1/migration-targets", "list_migration_target_resources", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List migration targets", "Newest first.")
            .answers_list("TargetResource", "The migration targets"),
        Endpoint::get("/api/v1/migration-targets/{resource_id}", "get_migration_target_resource", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a migration target", "By its id.")
            .answers(StatusCode::OK, "TargetResource", "The migration target")
            .fails(Code::NotFound, "There is none with that id"),
        Endpoint::delete("/api/v1/migration-targets/{resource_id}", "delete_migration_target_resource", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a migration target", "Migrations that were made with it keep what they need.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "There is none with that id")
            .fails(Code::InUse, "Something else refers to it")
            .fails(Code::Changed, "It was changed meanwhile"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_target(&call.tenant, call.body()).await?;
    Reply::created(format!("/api/v1/migration-targets/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.targets(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.target(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_target(&call.tenant, call.id()).await?;
    Ok(Reply::gone())
}
