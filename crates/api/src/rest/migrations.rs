//! Migrations: create, list, steer, delete.

use super::paging::paged;
use super::{Body, Call, Endpoint, Reply};
use crate::openapi::examples;
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut all = collection();
    all.extend(single());
    all.extend(steering());
    all
}

fn collection() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/migrations", "create_migration", |call| Box::pin(create(call)))
            .says("Create a migration", "Stores a new migration; nothing moves before it is started. Secrets are sealed and never shown again.")
            .takes(Body::Required, "NewMigration", examples::migration())
            .answers(StatusCode::CREATED, "Made", "Created; the Location header has its address")
            .fails(Code::InvalidConfiguration, "Bad, missing or unknown fields, all named at once"),
        paged(Endpoint::get("/migrations", "list_migrations", |call| Box::pin(list(call))))
            .says("List migrations", "Newest first.")
            .query("status_filter", json!({"type": "string", "enum": ["pending", "created", "scheduled", "running", "paused", "completed", "failed", "cancelled", "rolling_back", "rolled_back", "stuck"]}), "Only migrations that show this status: `pending` are those not started yet, `failed` includes those that rolled themselves back, `rolled_back` are those that somebody had rolled back")
            .answers_list("Summary", "The migrations"),
        Endpoint::post("/migrations/dry-run", "dry_run", |call| Box::pin(dry_run(call)))
            .says("Dry run of a configuration", "Everything that only reads: what would be moved, overwritten and deleted, and how long it would take. Nothing is stored.")
            .takes(Body::Required, "NewMigration", examples::migration())
            .answers(StatusCode::OK, "DryRun", "The plan")
            .fails(Code::InvalidConfiguration, "Bad, missing or unknown fields, all named")
            .fails(Code::ValidationFailed, "A system could not be read"),
    ]
}

fn single() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/migrations/{session_id}", "get_migration", |call| Box::pin(get(call)))
            .says("Get a migration", "With its steps and its configuration, in which every secret reads `********`.")
            .answers(StatusCode::OK, "Detail", "The migration")
            .fails(Code::MigrationNotFound, "No such migration"),
        Endpoint::delete("/migrations/{session_id}", "delete_migration", |call| Box::pin(delete(call)))
            .says("Delete a migration", "Forgets a migration that is not at work, with its log. Its backups stay until they expire.")
            .answers(StatusCode::OK, "Acknowledged", "Deleted")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::InvalidState, "It is at work; cancel it first"),
        Endpoint::post("/migrations/{session_id}/dry-run", "dry_run_of_migration", |call| Box::pin(dry_run_of(call)))
            .says("Dry run of a migration", "The same for a stored migration.")
            .answers(StatusCode::OK, "DryRun", "The plan")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::ValidationFailed, "A system could not be read"),
    ]
}

fn steering() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/migrations/{session_id}/start", "start_migration", |call| Box::pin(start(call)))
            .says("Start a migration", "Checks both systems (within seconds), then starts the work in the background.")
            .query("skip_validation", json!({"type": "boolean", "default": false}), "Start without the checks; the migration's first step still makes its own")
            .takes(Body::Optional, "StartOptions", json!({"auto_rollback": true, "send_notifications": true}))
            .answers(StatusCode::OK, "Started", "Started; a workload's migration is shown whole")
            .fails(Code::QuotaExceeded, "The tenant may not have more migrations at work, or more backups")
            .fails(Code::InvalidRequest, "Bad or unknown fields")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::AlreadyRunning, "It is running already")
            .fails(Code::InvalidState, "It was started before")
            .fails(Code::ValidationFailed, "Checks failed: see `failed_checks`"),
        acknowledged("/migrations/{session_id}/pause", "pause_migration", |call| Box::pin(pause(call)))
            .says("Pause a migration", "The worker stops at its next safe point and keeps what it has done."),
        acknowledged("/migrations/{session_id}/resume", "resume_migration", |call| Box::pin(resume(call)))
            .says("Resume a migration", "Goes on with a paused migration, or tries a failed one again from the step that failed."),
        acknowledged("/migrations/{session_id}/cancel", "cancel_migration", |call| Box::pin(cancel(call)))
            .says("Cancel a migration", "The worker stops at its next safe point. Nothing is undone; a rollback can follow."),
        acknowledged("/migrations/{session_id}/resolve", "resolve_migration", |call| Box::pin(resolve(call)))
            .says("Resolve a stuck migration", "Tries its rollback again, after the cause was removed."),
        acknowledged("/migrations/{session_id}/rollback", "rollback_migration", |call| Box::pin(rollback(call)))
            .says(
                "Roll a migration back",
                "Takes a completed, failed, cancelled or paused migration back and proves it. Without a body: everything, from the migration's own backup.",
            )
            .takes(Body::Optional, "RollbackOptions", examples::rollback())
            .fails(Code::InvalidRequest, "Bad or unknown fields")
            .fails(Code::BackupNotFound, "No such backup")
            .fails(Code::BackupUnusable, "The backup is missing or damaged, belongs to another migration or was never completed")
            .fails(Code::LaterChanges, "People wrote into its tables since, and `discard_later_changes` is not true"),
        acknowledged("/migrations/{session_id}/release", "release_migration", |call| Box::pin(release(call)))
            .says(
                "Release a migration from its node",
                "Gives up the node that has the migration's backup, when that node is gone for good: any server may work on the migration then, but what it \
                 overwrote can never be restored. Needs `force`.",
            )
            .takes(Body::Required, "Release", json!({"force": true}))
            .fails(Code::InvalidRequest, "`force` is not true, or there are other fields"),
        Endpoint::post("/migrations/{session_id}/finalize", "finalize_migration", |call| Box::pin(finalize(call)))
            .says(
                "Finalise a migration",
                "Gives up the way back of a completed migration: its backups and what else only a rollback needs are removed now, and it can never be rolled back any more. \
                 Asked again, it answers the same.",
            )
            .answers(StatusCode::OK, "Detail", "The migration, with `finalized_at`")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::InvalidState, "It is not complete"),
    ]
}

fn acknowledged(path: &'static str, id: &'static str, call: super::endpoint::Handler) -> Endpoint {
    Endpoint::post(path, id, call)
        .answers(StatusCode::OK, "Acknowledged", "Taken; the work goes on in the background")
        .fails(Code::MigrationNotFound, "No such migration")
        .fails(Code::InvalidState, "The migration's status forbids it")
        .fails(Code::NodeUnavailable, "Only the node that has the migration's backup can do it, and no server of that node is running")
}

async fn create(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let body = call.take_body();
    let made = call.control.create_any(&call.tenant, body).await?;
    Reply::created(format!("/migrations/{}", made.id()), made)
}

async fn list(call: Call) -> Result<Reply, Error> {
    let pages = call.pages();
    let items = call.control.list(&call.tenant, call.query).await?;
    pages.reply(&items, |m| m.place())
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.get(&call.tenant, call.id()).await?)
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.delete(&call.tenant, call.id()).await?)
}

async fn dry_run(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.dry_run(&call.tenant, call.body()).await?)
}

async fn dry_run_of(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.dry_run_of(&call.tenant, call.id()).await?)
}

async fn start(mut call: Call) -> Result<Reply, Error> {
    let skip = call.query.flag("skip_validation");
    call.no_query()?;
    Reply::ok(call.control.start_any(&call.tenant, call.id(), call.optional_body(), skip).await?)
}

async fn pause(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.pause(&call.tenant, call.id()).await?)
}

async fn resume(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.resume(&call.tenant, call.id()).await?)
}

async fn cancel(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.cancel(&call.tenant, call.id()).await?)
}

async fn resolve(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.resolve(&call.tenant, call.id()).await?)
}

async fn rollback(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.rollback(&call.tenant, call.id(), call.optional_body()).await?)
}

async fn release(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.release(&call.tenant, call.id(), call.optional_body()).await?)
}

async fn finalize(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.finalize(&call.caller, call.id()).await?)
}
