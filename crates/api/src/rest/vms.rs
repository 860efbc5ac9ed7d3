//! Virtual machines: what they are, and their lives.

use super::paging::paged;
use super::vms_tasks::{done, patience, waiting};
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) const TAG: &str = "Virtual machines";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = definitions();
    all.extend(operations());
    all.extend(super::vms_tasks::endpoints());
    all
}

fn definitions() -> Vec<Endpoint> {
    let status = json!({"type": "string", "enum": ["created", "starting", "running", "stopping", "stopped", "failed", "migrating"]});
    vec![
        Endpoint::post("/vms", "create_vm", |call| Box::pin(create(call)))
            .tag(TAG)
            .says(
                "Create a virtual machine",
                "A name alone is enough: one processor, 512 MiB of memory, a small empty disk. Nothing runs yet, and no image is fetched before the first start.",
            )
            .takes(Body::Required, "VmBody", json!({"name": "vm1"}))
            .answers(StatusCode::CREATED, "Vm", "Created; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once"),
        paged(Endpoint::get("/vms", "list_vms", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List virtual machines", "Newest first.")
            .query("status", status, "Only machines with this status")
            .query("name", json!({"type": "string"}), "Only machines with exactly this name")
            .answers_list("Vm", "The machines"),
        Endpoint::get("/vms/{vm_id}", "get_vm", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a virtual machine", "With its status, and why it is not running when that is not plain.")
            .answers(StatusCode::OK, "Vm", "The machine")
            .fails(Code::NotFound, "No such machine"),
        waiting(Endpoint::delete("/vms/{vm_id}", "delete_vm", |call| Box::pin(delete(call))))
            .says("Delete a virtual machine", "With its disk, its snapshots, its console log and its tasks. A running machine has to be stopped first.")
            .answers(StatusCode::OK, "VmDeleted", "Deleted"),
        Endpoint::get("/vms/{vm_id}/console", "vm_console", |call| Box::pin(console(call)))
            .tag(TAG)
            .says("Read a machine's console", "What it wrote on its first serial port, over all its starts. The last megabytes are kept.")
            .query("tail", json!({"type": "integer", "minimum": 0, "maximum": 1_048_576}), "The last so many bytes, in place of offset")
            .query("offset", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX, "default": 0}), "From this byte on: `next_offset` of the answer before")
            .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 1_048_576, "default": 65_536}), "Bytes of the answer at most")
            .query("wait", json!({"type": "integer", "minimum": 0, "maximum": 60, "default": 0}), "Seconds to wait for something new when there is nothing yet")
            .answers(StatusCode::OK, "Console", "That part of the log")
            .fails(Code::NotFound, "No such machine")
            .fails(Code::VmOperationFailed, "The console cannot be read, or is kept on another node"),
    ]
}

fn operations() -> Vec<Endpoint> {
    vec![
        operation("/vms/{vm_id}/start", "start_vm", |call| Box::pin(start(call)))
            .says("Start a virtual machine", "Makes its disk the first time, then its process. `running` means that the machine is on; what boots shows on its console."),
        operation("/vms/{vm_id}/stop", "stop_vm", |call| Box::pin(stop(call)))
            .takes(Body::Optional, "StopBody", json!({"timeout_seconds": 30}))
            .says(
                "Stop a virtual machine",
                "Presses the power button (ACPI) and gives the guest `timeout_seconds` to switch itself off; then, or at once with `force`, the plug is pulled. A machine \
                 without image and kernel has nobody to press the button for. `force` also ends a start or stop that is at work.",
            ),
        operation("/vms/{vm_id}/reboot", "reboot_vm", |call| Box::pin(reboot(call))).says("Reboot a virtual machine", "The reset button."),
        operation("/vms/{vm_id}/pause", "pause_vm", |call| Box::pin(pause(call)))
            .says("Pause a virtual machine", "Its processors stand still, its memory stays. Its status stays `running`, with `paused: true`."),
        operation("/vms/{vm_id}/resume", "resume_vm", |call| Box::pin(resume(call))).says("Resume a virtual machine", "It goes on where it was paused."),
    ]
}

fn operation(path: &'static str, id: &'static str, call: super::endpoint::Handler) -> Endpoint {
    let endpoint = Endpoint { body: Body::Optional, ..Endpoint::post(path, id, call) };
    waiting(endpoint).answers(StatusCode::OK, "Vm", "Done; the machine as it is now").fails(Code::InvalidRequest, "Bad or unknown fields, all named at once")
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_vm(&call.tenant, call.body()).await?;
    Reply::created(format!("/vms/{}", made.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.vms(&call.tenant, query).await?, |vm| vm.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.vm(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.delete_vm(&call.tenant, call.id(), patience).await?)
}

async fn console(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    Reply::ok(call.control.vm_console(&call.tenant, call.id(), query).await?)
}

async fn start(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.start_vm(&call.tenant, call.id(), call.optional_body(), patience).await?)
}

async fn stop(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.stop_vm(&call.tenant, call.id(), call.optional_body(), patience).await?)
}

async fn reboot(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.reboot_vm(&call.tenant, call.id(), call.optional_body(), patience).await?)
}

async fn pause(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.pause_vm(&call.tenant, call.id(), call.optional_body(), patience).await?)
}

async fn resume(mut call: Call) -> Result<Reply, Error> {
    let patience = patience(&mut call)?;
    done(call.control.resume_vm(&call.tenant, call.id(), call.optional_body(), patience).await?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_operation_says_how_long_it_is_waited_for() {
        let waits = |e: &&super::Endpoint| e.query.iter().any(|p| p.name == "wait" && p.description == super::super::vms_tasks::WAIT);
        assert_eq!(super::endpoints().iter().filter(waits).count(), 9);
    }
}
