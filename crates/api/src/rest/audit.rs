//! The audit log, for the administrators of a tenant.

use super::endpoint::time;
use super::{Call, Endpoint, Reply};
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use control::audit_log::{AuditExport, ExportFormat};
use futures::stream;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let tag = "Audit";
    let list = Endpoint::get("/audit", "list_audit", |call| Box::pin(list(call)))
        .tag(tag)
        .says(
            "List the audit log",
            "Newest first: who asked for what, from where, with which result. Entries are written in the transaction of the change and never changed. The next page: \
             `before` with the id of the last entry.",
        )
        .query("limit", json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}), "Maximum results")
        .answers_list("AuditEntryView", "The entries");
    let export = Endpoint::get("/audit/export", "export_audit", |call| Box::pin(export(call)))
        .tag(tag)
        .says("Export the audit log", "All entries that match, newest first, as JSON lines or as a table, sent while they are read.")
        .query("format", json!({"type": "string", "enum": ["jsonl", "csv"], "default": "jsonl"}), "The form")
        .answers_with(
            StatusCode::OK,
            "The entries: each line an AuditEntryView, or a line of the table",
            vec![("application/x-ndjson", json!({"type": "string"})), ("text/csv", json!({"type": "string"}))],
        );
    vec![filtered(list), filtered(export)]
}

fn filtered(endpoint: Endpoint) -> Endpoint {
    let text = || json!({"type": "string"});
    endpoint
        .query("actor", text(), "Only what this user or API key did")
        .query("action", text(), "Only this operation, such as `start_migration`")
        .query("target", text(), "Only on this path; with `*` at its end on all paths that begin so, such as `migrations/0198e2b4*`")
        .query("result", text(), "`done`, or an error's code")
        .query("since", time(), "From this time on (ISO 8601)")
        .query("until", time(), "Before this time (ISO 8601)")
        .query("before", json!({"type": "integer", "minimum": 1, "maximum": i64::MAX}), "Only entries older than the one with this id")
}

async fn list(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    Reply::ok(call.control.audit_entries(&call.tenant, query).await?)
}

async fn export(mut call: Call) -> Result<Reply, Error> {
    let query = call.take_query();
    let mut export = call.control.audit_export(&call.tenant, query)?;
    let (kind, name) = match export.format {
        ExportFormat::JsonLines => ("application/x-ndjson", "attachment; filename=\"audit.jsonl\""),
        ExportFormat::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"audit.csv\""),
    };
    // A store that does not answer at all is told as an error; only what fails later breaks the stream off.
    let first = export.next().await?;
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok(Reply::Ready(Box::new((headers, streamed(first, export)).into_response())))
}

fn streamed(first: Option<String>, export: AuditExport) -> Body {
    Body::from_stream(stream::try_unfold((first, export), |(ready, mut export)| async move {
        let next = match ready {
            Some(text) => Some(text),
            None => export.next().await.map_err(|error| std::io::Error::other(error.message))?,
        };
        Ok::<_, std::io::Error>(next.map(|text| (Bytes::from(text), (None, export))))
    }))
}
