//! Mount points by their ids.

use super::super::paging::paged;
use super::super::{Body, Call, Endpoint, Reply};
use super::TAG;
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/api/v1/mount-points", "create_mount_point_resource", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a mount point", "A path or a drive, and the size of the file system in bytes.")
            .takes(Body::Required, "NewMountPoint", json!({"mount_point_name": "C:\\", "total_size": 1000}))
            .answers(StatusCode::CREATED, "MountPointResource", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
        paged(Endpoint::get("/api/v1/mount-points", "list_mount_point_resources", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List mount points", "Newest first.")
            .answers_list("MountPointResource", "The mount points"),
        Endpoint::get("/api/v1/mount-points/{resource_id}", "get_mount_point_resource", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a mount point", "By its id.")
            .answers(StatusCode::OK, "MountPointResource", "The mount point")
            .fails(Code::NotFound, "There is none with that id"),
        Endpoint::delete("/api/v1/mount-points/{resource_id}", "delete_mount_point_resource", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a mount point", "Unless a workload has it.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "There is none with that id")
            .fails(Code::InUse, "Something else refers to it")
            .fails(Code::Changed, "It was changed meanwhile"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_mount_point(&call.tenant, call.body()).await?;
    Reply::created(format!("/api/v1/mount-points/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.mount_points(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.mount_point(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_mount_point(&call.tenant, call.id()).await?;
    Ok(Reply::gone())
}
