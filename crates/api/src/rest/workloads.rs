//! Workloads: document 0's servers.

use super::etag::{created, expected, tagged};
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::{Value, json};

const TAG: &str = "Workloads";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/workloads", "create_workload", |call| Box::pin(create(call)))
            .tag(TAG)
            .says(
                "Create a workload",
                "A server with its mount points. Its address is taken once. Without `storage` the server is asked for its mount points over SSH, and nothing is created when it \
                 does not answer.",
            )
            .takes(Body::Required, "WorkloadConfiguration", sample())
            .answers(StatusCode::CREATED, "WorkloadView", "Created; the Location header has its address, the ETag header its version")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::Taken, "There is a workload with that address")
            .fails(Code::ValidationFailed, "It was asked for its mount points, and did not tell: see `failed_checks`"),
        paged(Endpoint::get("/workloads", "list_workloads", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List workloads", "Newest first. Passwords read `********`.")
            .answers_list("WorkloadView", "The workloads"),
        Endpoint::get("/workloads/{ip}", "get_workload", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a workload", "By any spelling of its address. The ETag header has its version.")
            .answers(StatusCode::OK, "WorkloadView", "The workload")
            .fails(Code::NotFound, "No such workload"),
        Endpoint::put("/workloads/{ip}", "update_workload", |call| Box::pin(update(call)))
            .tag(TAG)
            .says("Replace a workload", "Its address stays. Secrets that read `********` keep their value. With If-Match only if nobody has changed it since.")
            .takes(Body::Required, "WorkloadConfiguration", sample())
            .answers(StatusCode::OK, "WorkloadView", "As it is now")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, or another address, all named at once")
            .fails(Code::NotFound, "No such workload")
            .versioned("It was changed since it was read"),
        Endpoint::delete("/workloads/{ip}", "delete_workload", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a workload", "With the credentials and mount points that were made with it. Migrations that were made from it keep what they need.")
            .answers_with(StatusCode::NO_CONTENT, "Deleted", vec![])
            .fails(Code::NotFound, "No such workload")
            .fails(Code::InUse, "A migration target refers to it")
            .versioned("It was changed since it was read"),
        Endpoint::post("/workloads/{ip}/discover", "discover_workload", |call| Box::pin(discover(call)))
            .tag(TAG)
            .says(
                "Discover a workload",
                "Connects over SSH and stores what the server tells: its mount points with their real sizes, its operating system, what runs there. A host key that nobody has \
                 confirmed yet fails with its fingerprint; send it back as `host_key` to confirm it.",
            )
            .takes(Body::Optional, "Confirmation", json!({"host_key": "SHA256:2bWGmS9pE0kLUj4HlmnkDwQCYJdQW0ERB1mRkqXzZzo"}))
            .answers(StatusCode::OK, "WorkloadView", "As it is now")
            .fails(Code::InvalidRequest, "Bad or unknown fields")
            .fails(Code::NotFound, "No such workload")
            .fails(Code::Changed, "It was changed meanwhile; nothing was stored")
            .fails(Code::ValidationFailed, "It did not answer, or not as it should: see `failed_checks`"),
        Endpoint::post("/migrations/{session_id}/cutover", "cut_over", |call| Box::pin(cut_over(call)))
            .tag(TAG)
            .says(
                "Cut a warm migration over",
                "Ends its passes: the last one follows at once, then verification. Stop what writes to the source first. Asked before the bulk is there, it is remembered.",
            )
            .answers(StatusCode::OK, "Started", "The migration")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::InvalidState, "It moves no workload, has ended, or a test clone reads what was replicated (`details.test_clone`): wait for that, or cancel it"),
        Endpoint::post("/migrations/{session_id}/test-clone", "test_clone", |call| Box::pin(test_clone(call)))
            .tag(TAG)
            .says(
                "Make a test clone of a warm migration",
                "Copies what was replicated so far into a directory of the target VM or onto another VM, to be tried out before the cutover. The clone is a migration of its own \
                 that starts at once and is verified, rolled back and deleted as usual; the migration's passes stand still while it copies. The migration must be between two passes.",
            )
            .takes(Body::Required, "TestCloneConfiguration", json!({"directory": "/srv/rehearsal"}))
            .answers(StatusCode::CREATED, "Detail", "The clone, running; the Location header has its address")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, or a place inside of what is replicated, all named at once")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::InvalidState, "It is not a warm migration that waits between two passes")
            .fails(Code::QuotaExceeded, "The tenant may not have more migrations at work, or more backups"),
    ]
}

/// Document 0's own.
fn sample() -> Value {
    json!({
        "ip": "192.168.1.1",
        "credentials": {"username": "testuser", "password": "testpass", "domain": "testdomain.com"},
        "storage": {"mount_points": [{"mount_point_name": "C:\\", "total_size": 1000}]},
    })
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_workload(&call.tenant, call.body()).await?;
    created(format!("/workloads/{}", made.ip), &made, made.version)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.workloads(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let workload = call.control.workload(&call.tenant, call.id()).await?;
    tagged(&workload, Some(workload.version))
}

async fn update(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let workload = call.control.change_workload(&call.tenant, call.id(), call.body(), expected(&call.headers)?).await?;
    tagged(&workload, Some(workload.version))
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    call.control.delete_workload(&call.tenant, call.id(), expected(&call.headers)?).await?;
    Ok(Reply::gone())
}

async fn cut_over(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.cut_over(&call.tenant, call.id()).await?)
}

async fn test_clone(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let clone = call.control.test_clone(&call.tenant, call.id(), call.body()).await?;
    Reply::created(format!("/migrations/{}", clone.summary.id), clone)
}

async fn discover(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let workload = call.control.discover_workload(&call.tenant, call.id(), call.optional_body()).await?;
    tagged(&workload, Some(workload.version))
}
