//! Looking at a migration: status, logs, metrics, events, report.

use super::endpoint::{reference, time};
use super::{Call, Endpoint, Reply};
use axum::http::{StatusCode, header};
use control::Error;
use control::error::Code;
use control::migrations::{Format, Report};
use serde_json::json;

const TAG: &str = "Monitoring";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/migrations/{session_id}/status", "migration_status", |call| Box::pin(status(call)))
            .tag(TAG)
            .says("Status of a migration", "Progress from real totals; printed rates and sizes have their exact numbers beside them.")
            .answers(StatusCode::OK, "Status", "The status")
            .fails(Code::MigrationNotFound, "No such migration"),
        Endpoint::get("/migrations/{session_id}/logs", "migration_logs", |call| Box::pin(logs(call)))
            .tag(TAG)
            .says("Log of a migration", "Newest first.")
            .query("level", json!({"type": "string", "enum": ["DEBUG", "INFO", "WARNING", "ERROR"]}), "Only entries of this level")
            .query("min_level", json!({"type": "string", "enum": ["DEBUG", "INFO", "WARNING", "ERROR"]}), "Only entries of this level or a graver one")
            .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}), "Maximum entries")
            .query("since", time(), "ISO timestamp: only entries from then on; without a zone it is UTC")
            .query("offset", json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0}), "Entries to pass over")
            .answers(StatusCode::OK, "Logs", "The entries")
            .fails(Code::MigrationNotFound, "No such migration"),
        Endpoint::get("/migrations/{session_id}/metrics", "migration_metrics", |call| Box::pin(metrics(call)))
            .tag(TAG)
            .says("Performance metrics of a migration", "Measured numbers; what cannot be told yet is null.")
            .answers(StatusCode::OK, "Metrics", "The metrics")
            .fails(Code::MigrationNotFound, "No such migration"),
        Endpoint::get("/migrations/{session_id}/events", "migration_events", |call| Box::pin(events(call)))
            .tag(TAG)
            .says("Events of a migration", "Oldest first, without gaps. With `wait` the answer comes with the next event, or empty when the time is over.")
            .query("after", json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0}), "Only events after this number")
            .query("wait", json!({"type": "integer", "minimum": 0, "maximum": 30, "default": 0}), "Seconds to wait for the next event")
            .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}), "Maximum events")
            .answers(StatusCode::OK, "Events", "The events")
            .fails(Code::MigrationNotFound, "No such migration"),
        Endpoint::get("/migrations/{session_id}/rollback-preview", "preview_rollback", |call| Box::pin(rollback_preview(call)))
            .tag(TAG)
            .says("What a rollback would find", "Looks at the backup and compares the destination's tables with what was written. Changes nothing.")
            .answers(StatusCode::OK, "Preview", "What it found")
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::InvalidState, "The destination cannot be compared now"),
        Endpoint::get("/migrations/{session_id}/report", "migration_report", |call| Box::pin(report(call)))
            .tag(TAG)
            .says("Report of a migration", "What moved, how it was verified, what was left over, how to take it back. As JSON, or as a self-contained page.")
            .query("format", json!({"type": "string", "enum": ["json", "html"]}), "Without it the Accept header decides, JSON by default")
            .answers_with(StatusCode::OK, "The report", vec![("application/json", reference("Report")), ("text/html", json!({"type": "string"}))])
            .fails(Code::MigrationNotFound, "No such migration")
            .fails(Code::ReportNotReady, "The migration has not ended well yet"),
    ]
}

async fn status(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.status(&call.tenant, call.id()).await?)
}

async fn logs(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    Reply::ok(call.control.logs(&call.tenant, call.id(), query).await?)
}

async fn metrics(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.metrics(&call.tenant, call.id()).await?)
}

async fn events(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    Reply::ok(call.control.events(&call.tenant, call.id(), query).await?)
}

async fn rollback_preview(mut call: Call) -> Result<Reply, Error> {
    call.no_query()?;
    Reply::ok(call.control.rollback_preview(&call.tenant, call.id()).await?)
}

async fn report(mut call: Call) -> Result<Reply, Error> {
    let asked = call.query.choice("format", &[("json", Format::Json), ("html", Format::Html)]);
    call.no_query()?;
    let html = call.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"));
    let format = asked.unwrap_or(if html { Format::Html } else { Format::Json });
    match call.control.report(&call.tenant, call.id(), format).await? {
        Report::Json(report) => Reply::ok(report),
        Report::Html(page) => Ok(Reply::Html(page)),
    }
}
