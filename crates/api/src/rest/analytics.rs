//! What the migrations add up to.

use super::endpoint::{reference, time};
use super::{Call, Endpoint, Reply};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use control::Error;
use serde_json::json;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/analytics/migrations", "migration_analytics", |call| Box::pin(migrations(call)))
            .tag("Analytics")
            .says(
                "Migration analytics",
                "The migrations that were started in the period: how many, how well, how long, how much; by type of their source and over time. Everything is \
                 counted from what really ran. As CSV (`format=csv` or `Accept: text/csv`) it is one table with a line for each group and type.",
            )
            .query("start_date", time(), "First moment (ISO 8601; a bare date is its first moment); 30 days before the end by default")
            .query("end_date", time(), "Last moment (ISO 8601; a bare date is its last moment); now by default")
            .query(
                "group_by",
                json!({"type": "string", "enum": ["day", "week", "month"], "default": "day"}),
                "What becomes one point of the trends (UTC; weeks begin on Monday)",
            )
            .query("format", json!({"type": "string", "enum": ["json", "csv"]}), "In place of the Accept header")
            .answers_with(StatusCode::OK, "The numbers", vec![("application/json", reference("MigrationAnalytics")), ("text/csv", json!({"type": "string"}))]),
    ]
}

async fn migrations(mut call: Call) -> Result<Reply, Error> {
    let mut query = call.take_query();
    let csv = query.choice("format", &[("json", false), ("csv", true)]).unwrap_or_else(|| prefers_csv(&call.headers));
    if !csv {
        return Reply::ok(call.control.migration_analytics(&call.tenant, query).await?);
    }
    let table = call.control.migration_analytics_csv(&call.tenant, query).await?;
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, "attachment; filename=\"migrations.csv\"")];
    Ok(Reply::Ready(Box::new((headers, table).into_response())))
}

/// The first of the two that is named; programs that name neither get JSON.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let mut kinds = accepted.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    kinds.find_map(|kind| match kind.as_str() {
        "text/csv" => Some(true),
        "application/json" => Some(false),
        _ => None,
    }) == Some(true)
}
