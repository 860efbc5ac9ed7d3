//! Migrations by the ids of their parts; the same ones that `/migrations` shows.

use super::super::{Body, Call, Endpoint, Reply};
use super::TAG;
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/api/v1/migrations", "create_migration_resource", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a migration", "The selected mount points of a workload to a target. Nothing moves before it is started.")
            .takes(Body::Required, "NewMigrationResource", json!({"selected_mount_points": ["0198e2b4c5d67f80a1b2c3d4e5f60717"], "source": "0198e2b4c5d67f80a1b2c3d4e5f60718", "migration_target": "0198e2b4c5d67f80a1b2c3d4e5f60719"}))
            .answers(StatusCode::CREATED, "MigrationResource", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
        Endpoint::get("/api/v1/migrations", "list_migration_resources", |call| Box::pin(list(call)))
            .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}), "Maximum results")
            .query("offset", json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0}), "Results to pass over")
            .tag(TAG)
            .says("List migrations", "Newest first.")
            .answers_list("MigrationResource", "The migrations"),
        Endpoint::get("/api/v1/migrations/{resource_id}", "get_migration_resource", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a migration", "By its id.")
            .answers(StatusCode::OK, "MigrationResource", "The migration")
            .fails(Code::MigrationNotFound, "There is none with that id"),
        Endpoint::delete("/api/v1/migrations/{resource_id}", "delete_migration_resource", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a migration", "Unless it is at work.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::MigrationNotFound, "There is none with that id")
            .fails(Code::InvalidState, "It is at work; cancel it first"),
        Endpoint::post("/api/v1/migrations/{resource_id}/start", "start_migration_resource", |call| Box::pin(start(call)))
            .tag(TAG)
            .says("Start a migration", "Hands it to a worker.")
            .answers(StatusCode::OK, "MigrationResource", "It runs")
            .fails(Code::MigrationNotFound, "There is none with that id")
            .fails(Code::AlreadyRunning, "It is running already")
            .fails(Code::InvalidState, "It was started before")
            .fails(Code::QuotaExceeded, "The tenant may not have more migrations at work, or more backups"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_migration_resource(&call.tenant, call.body()).await?;
    Reply::created(format!("/api/v1/migrations/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    Reply::ok(call.control.migration_resources(&call.tenant, query).await?)
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.migration_resource(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_migration_resource(&call.tenant, call.id()).await?;
    Ok(Reply::gone())
}

async fn start(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.start_migration_resource(&call.tenant, call.id()).await?)
}
