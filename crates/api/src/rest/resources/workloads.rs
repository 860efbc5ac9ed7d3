//! Workloads by the ids of their parts.

use super::super::paging::paged;
use super::super::{Body, Call, Endpoint, Reply};
use super::TAG;
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/api/v1/workloads", "create_workload_resource", |call| Box::pin(create(call)))
            .tag(TAG)
            .says("Create a workload", "A server: its address, its credentials and its mount points. An address is taken once.")
            .takes(
                Body::Required,
                "NewWorkload",
                json!({"ip": "192.168.1.1", "credentials": "0198e2b4c5d67f80a1b2c3d4e5f60718", "mount_points": ["0198e2b4c5d67f80a1b2c3d4e5f60719"]}),
            )
            .answers(StatusCode::CREATED, "WorkloadResource", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::Taken, "There is a workload with that address"),
        paged(Endpoint::get("/api/v1/workloads", "list_workload_resources", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List workloads", "Newest first.")
            .answers_list("WorkloadResource", "The workloads"),
        Endpoint::get("/api/v1/workloads/{resource_id}", "get_workload_resource", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a workload", "By its id.")
            .answers(StatusCode::OK, "WorkloadResource", "The workload")
            .fails(Code::NotFound, "There is none with that id"),
        Endpoint::delete("/api/v1/workloads/{resource_id}", "delete_workload_resource", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a workload", "Unless a migration target refers to it.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "There is none with that id")
            .fails(Code::InUse, "Something else refers to it")
            .fails(Code::Changed, "It was changed meanwhile"),
    ]
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_workload_resource(&call.tenant, call.body()).await?;
    Reply::created(format!("/api/v1/workloads/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.workload_resources(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.workload_resource(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_workload_resource(&call.tenant, call.id()).await?;
    Ok(Reply::gone())
}
