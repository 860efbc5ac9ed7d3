//! Schedules: a migration that starts by itself.

use super::etag::{expected, tagged};
use super::paging::paged;
use super::{Body, Call, Endpoint, Reply, etag};
use axum::http::StatusCode;
use control::Error;
use control::error::Code;
use serde_json::{Value, json};

const TAG: &str = "Schedules";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/migrations/{session_id}/schedule", "schedule_migration", |call| Box::pin(schedule(call)))
            .tag(TAG)
            .says(
                "Schedule a migration",
                "Once at a time (`datetime`), or again and again (`cron`): then every time makes a new migration from this one, which stays as the model. In the place \
                 of the schedule that it had, if any. Times are in `timezone`: a time that the clock skips comes at the change, one that comes twice counts once unless \
                 the expression means every hour.",
            )
            .takes(Body::Required, "ScheduleBody", sample())
            .answers(StatusCode::CREATED, "Schedule", "Scheduled; the Location header has the schedule's address, the ETag header its version")
            .answers(StatusCode::OK, "Schedule", "Scheduled, in the place of the schedule that it had")
            .fails(Code::InvalidRequest, "Bad, missing or unknown fields, all named at once")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::InvalidState, "It was started already")
            .versioned( "Its schedule was changed since it was read"),
        Endpoint::get("/migrations/{session_id}/schedule", "get_schedule", |call| Box::pin(get(call)))
            .tag(TAG)
            .says("Get a migration's schedule", "With the next time. The ETag header has its version.")
            .answers(StatusCode::OK, "Schedule", "The schedule")
            .fails(Code::NotFound, "No such migration, or it has no schedule"),
        Endpoint::delete("/migrations/{session_id}/schedule", "delete_schedule", |call| Box::pin(delete(call)))
            .tag(TAG)
            .says("Delete a migration's schedule", "The migration stays, and so do those that were made from it. With If-Match only if nobody has changed it since.")
            .answers(StatusCode::OK, "ScheduleDeleted", "Deleted")
            .fails(Code::NotFound, "No such migration, or it has no schedule")
            .versioned( "It was changed since it was read"),
        paged(Endpoint::get("/migrations/{session_id}/schedule/firings", "list_firings", |call| Box::pin(firings(call))))
            .tag(TAG)
            .says("List what a schedule has led to", "The times of a cron schedule, newest first, with the migrations that were made. Kept for 30 days.")
            .answers_list("FiringView", "The times that came")
            .fails(Code::NotFound, "No such migration, or it has no schedule"),
        paged(Endpoint::get("/schedules", "list_schedules", |call| Box::pin(list(call))))
            .tag(TAG)
            .says("List schedules", "Of all migrations, newest migration first.")
            .answers_list("Schedule", "The schedules"),
    ]
}

/// Document 3's own, at a time to come.
fn sample() -> Value {
    json!({
        "schedule_type": "datetime",
        "scheduled_time": "2034-08-27T02:00:00Z",
        "timezone": "UTC",
        "auto_start": true,
        "notifications": {"before_start": "1h", "on_completion": true},
    })
}

async fn schedule(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let (made, is_new) = call.control.schedule(&call.tenant, call.id(), call.body(), expected(&call.headers)?).await?;
    if is_new { etag::created(format!("/migrations/{}/schedule", made.session_id), &made, made.version) } else { tagged(&made, Some(made.version)) }
}

async fn get(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    let schedule = call.control.schedule_of(&call.tenant, call.id()).await?;
    tagged(&schedule, Some(schedule.version))
}

async fn delete(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.unschedule(&call.tenant, call.id(), expected(&call.headers)?).await?)
}

async fn firings(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    let items = call.control.firings(&call.tenant, call.id(), query).await?;
    pages.reply(&items, |f| f.id.clone())
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let (pages, query) = (call.pages(), call.take_query());
    let items = call.control.schedules(&call.tenant, query).await?;
    pages.reply(&items, |s| s.session_id.clone())
}
