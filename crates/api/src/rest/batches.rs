//! Batches: several migrations as one thing.

use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::{Value, json};

const TAG: &str = "Batches";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/migrations/batch", "create_batch", |call| Box::pin(create(call)))
            .tag(TAG)
            .says(
                "Create a batch",
                "Several migrations in one request, at most `parallel_limit` of them at work side by side. An entry may have a `wave` (the waves follow one \
                 another) and `depends_on` (names or indexes of entries that must complete before it). Nothing is stored when any entry has a bad field.",
            )
            .takes(Body::Required, "BatchBody", sample())
            .answers(StatusCode::CREATED, "Batch", "Created; the Location header has its address")
            .fails(Code::InvalidConfiguration, "Bad, missing or unknown fields of all entries, all named at once"),
        paged(Endpoint::get("/batches", "list_batches", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List batches", "Newest first, without their migrations.")
            .query(
                "status",
                json!({"type": "string", "enum": ["created", "running", "paused", "cancelling", "completed", "partial", "failed", "cancelled"]}),
                "Only batches with this status",
            )
            .answers_list("BatchSummary", "The batches"),
        Endpoint::get("/batches/{batch_id}", "get_batch", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a batch", "With the status of each of its migrations.")
            .answers(StatusCode::OK, "Batch", "The batch")
            .fails(Code::NotFound, "No such batch"),
        Endpoint::delete("/batches/{batch_id}", "delete_batch", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a batch", "Forgets a batch that has ended. Its migrations stay.")
            .answers(StatusCode::OK, "BatchDeleted", "Deleted")
            .fails(Code::NotFound, "No such batch")
            .fails(Code::InvalidState, "It has not ended; cancel it first"),
        wish("/batches/{batch_id}/start", "start_batch", |call| Box::pin(start(call)))
            .says("Start a batch", "Begins a batch that was created with `auto_start: false`, or goes on with a paused one."),
        wish("/batches/{batch_id}/pause", "pause_batch", |call| Box::pin(pause(call)))
            .says("Pause a batch", "Starts nothing more; migrations that run go on to their end."),
        wish("/batches/{batch_id}/cancel", "cancel_batch", |call| Box::pin(cancel(call)))
            .says("Cancel a batch", "Cancels every migration of it that has not ended. Nothing is undone; rollbacks can follow."),
    ]
}

fn wish(path: &'static str, id: &'static str, call: super::endpoint::Handler) -> Endpoint {
    Endpoint::post(path, id, call)
        .tag(TAG)
        .answers(StatusCode::OK, "Batch", "Taken; the work goes on in the background")
        .fails(Code::NotFound, "No such batch")
        .fails(Code::InvalidState, "The batch's status forbids it")
        .fails(Code::Changed, "The batch changed too often meanwhile; ask again")
}

/// Document 3's own.
fn sample() -> Value {
    let site = |n: u8| json!({"name": format!("Site {n} Migration"), "source": {"type": "wordpress", "host": format!("site{n}.com")}, "destination": {"type": "aws-s3", "bucket": format!("site{n}-new")}});
    json!({"migrations": [site(1), site(2)], "batch_options": {"parallel_limit": 2, "stop_on_failure": false}})
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let made = call.control.create_batch(&call.tenant, call.body()).await?;
    Reply::created(format!("/batches/{}", made.summary.id), made)
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    pages.reply(&call.control.batches(&call.tenant, query).await?, |i| i.id.clone())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.batch(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.delete_batch(&call.tenant, call.id()).await?)
}

async fn start(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.start_batch(&call.tenant, call.id()).await?)
}

async fn pause(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.pause_batch(&call.tenant, call.id()).await?)
}

async fn cancel(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.cancel_batch(&call.tenant, call.id()).await?)
}
