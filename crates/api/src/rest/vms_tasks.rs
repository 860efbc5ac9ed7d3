//! Operations on virtual machines that take a while: answered when they are done, or with a task to follow.

use super::paging::paged;
use super::vms::TAG;
use super::{Body, Call, Endpoint, Reply};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use control::error::Code;
use control::vms::{Outcome, Patience};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

pub(super) const WAIT: &str = "Seconds to wait for the end of the operation; the answer is a task (202) when it takes longer. `Prefer: respond-async` means 0";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        paged(Endpoint::get("/vms/{vm_id}/tasks", "list_vm_tasks", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List a machine's tasks", "What was asked of it, newest first.")
            .answers_list("VmTask", "The tasks")
            .fails(Code::NotFound, "No such machine"),
        Endpoint::get("/vms/{vm_id}/tasks/{task_id}", "get_vm_task", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a task", "What has become of an operation that was answered with 202. A task goes with its machine.")
            .answers(StatusCode::OK, "VmTask", "The task")
            .fails(Code::NotFound, "No such task of this machine"),
        paged(Endpoint::get("/vms/{vm_id}/snapshots", "list_vm_snapshots", |call| Box::pin(snapshots(call))))
            .tag(TAG)
            .says("List a machine's snapshots", "Moments to come back to.")
            .answers_list("VmSnapshot", "The snapshots")
            .fails(Code::NotFound, "No such machine"),
        waiting(Endpoint::post("/vms/{vm_id}/snapshots", "create_vm_snapshot", |call| Box::pin(create_snapshot(call))))
            .says("Make a snapshot", "Of the disk, and of the memory when the machine runs.")
            .takes(Body::Optional, "SnapshotBody", json!({"name": "before-upgrade"}))
            .answers(StatusCode::CREATED, "VmSnapshot", "Made; the Location header has its address")
            .fails(Code::InvalidRequest, "A bad name, or unknown fields")
            .fails(Code::Taken, "The machine has one of this name"),
        waiting(Endpoint {
            body: Body::Optional,
            ..Endpoint::post("/vms/{vm_id}/snapshots/{name}/restore", "restore_vm_snapshot", |call| Box::pin(restore_snapshot(call)))
        })
        .says("Go back to a snapshot", "A running machine goes on from that moment, with its memory; one that is off gets its disk back.")
        .answers(StatusCode::OK, "Vm", "Done; the machine as it is now")
        .fails(Code::InvalidRequest, "The body takes no fields"),
        waiting(Endpoint::delete("/vms/{vm_id}/snapshots/{name}", "delete_vm_snapshot", |call| Box::pin(delete_snapshot(call))))
            .says("Delete a snapshot", "The machine stays as it is.")
            .answers(StatusCode::OK, "Vm", "Deleted; the machine as it is now"),
    ]
}

/// What every operation on a machine has in common.
pub(super) fn waiting(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tag(TAG)
        .query("wait", json!({"type": "integer", "minimum": 0, "maximum": 300, "default": 60}), WAIT)
        .answers(StatusCode::ACCEPTED, "VmTask", "Taken; the Location header has the address of the task, which goes on")
        .fails(Code::NotFound, "No such machine, or no such snapshot of it")
        .fails(Code::InvalidState, "The machine's status forbids it, or another operation is at work on it")
        .fails(Code::Changed, "The machine changed too often meanwhile; ask again")
        .fails(Code::VmOperationFailed, "Its node tried and could not; the message says why and what to do")
}

/// How long the caller wants to wait; reads the whole query.
pub(super) fn patience(call: &mut Call) -> Result<Patience, Error> {
    let usual = Patience::default().0.as_secs();
    let wait = call.query.number("wait", 0..=300, usual);
    call.no_query()?;
    let preferences = call.headers.get_all("prefer").iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split([',', ';']));
    let at_once = preferences.into_iter().any(|p| p.trim().eq_ignore_ascii_case("respond-async"));
    Ok(Patience(Duration::from_secs(if at_once { 0 } else { wait })))
}

/// 200 with what was asked for, or 202 with the task.
pub(super) fn done<T: Serialize>(outcome: Outcome<T>) -> Result<Reply, Error> {
    match outcome {
        Outcome::Now(value) => Reply::ok(value),
        Outcome::Later(task) => {
            let address = format!("/vms/{}/tasks/{}", task.vm_id, task.id);
            let text = serde_json::to_string(&task).map_err(|e| Error::internal(format!("a task cannot be encoded: {e}")))?;
            let headers = [(header::LOCATION, address), (header::CONTENT_TYPE, "application/json".to_owned())];
            Ok(Reply::Ready(Box::new((StatusCode::ACCEPTED, headers, text).into_response())))
        }
    }
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.vm_tasks(&call.tenant, call.id(), query).await?, |task| task.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.vm_task(&call.tenant, call.id(), call.part(1)).await?)
}

async fn snapshots(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.vm_snapshots(&call.tenant, call.id(), query).await?, |s| format!("{}.{}", s.vm_id, s.name))
}

async fn create_snapshot(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    match call.control.create_vm_snapshot(&call.tenant, call.id(), call.optional_body(), patience).await? {
        Outcome::Now(made) => Reply::created(format!("/vms/{}/snapshots/{}", made.vm_id, made.name), made),
        later @ Outcome::Later(_) => done(later),
    }
}

async fn restore_snapshot(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.restore_vm_snapshot(&call.tenant, call.id(), call.part(1), call.optional_body(), patience).await?)
}

async fn delete_snapshot(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.delete_vm_snapshot(&call.tenant, call.id(), call.part(1), patience).await?)
}
