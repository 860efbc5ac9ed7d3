//! What the migrations add up to, in document 3's shape.

use super::bench::Bench;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use engine::RunState;
use serde_json::{Value, json};

/// One that went well, one that failed, one that was cancelled, one that runs.
async fn some() -> Bench {
    let bench = Bench::new().await;
    for to in [RunState::Completed, RunState::Failed, RunState::Cancelled] {
        let hands = bench.running().await;
        hands.ledger("files", 2, 1 << 20, 1).await;
        hands.ledger("tables", 1, 1 << 19, 1).await;
        hands.state(to).await;
    }
    bench.running().await;
    bench.created().await;
    bench
}

#[tokio::test]
async fn the_documented_answer_comes_from_what_ran() {
    let bench = some().await;
    let answer = bench.get("/analytics/migrations").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let json = &answer.json;
    let summary = &json["summary"];
    let count = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!([count("total_migrations"), count("successful_migrations"), count("failed_migrations")], [4, 1, 1]);
    assert_eq!([count("cancelled_migrations"), count("open_migrations"), count("rolled_back_migrations")], [1, 1, 0]);
    assert_eq!(summary["success_rate"], 50.0);
    assert_eq!((&summary["total_data_transferred"], &summary["total_data_transferred_bytes"]), (&json!("4.5 MB"), &json!(3 * (3 << 19))));
    assert!(summary["average_duration"].as_str().expect("a duration").ends_with('s') && summary["average_duration_seconds"].as_f64().expect("seconds") > 0.0);
    assert_eq!(json["by_type"], json!({"static": {"count": 4, "success_rate": 50.0}}));
    let trends = json["performance_trends"].as_array().expect("a list");
    assert_eq!(trends.iter().map(|t| t["migrations"].as_u64().expect("a number")).sum::<u64>(), 4);
    let rate = trends.last().expect("today")["avg_transfer_rate"].as_str().expect("a rate").to_owned();
    assert!(rate.ends_with("/s"), "{rate}");
    let date = trends[0]["date"].as_str().expect("a date");
    assert_eq!((date.len(), date.matches('-').count()), (10, 2), "{date}");
    let zulu = |name: &str| json["period"][name].as_str().is_some_and(|t| t.len() == 20 && t.ends_with('Z'));
    assert!(zulu("start") && zulu("end"), "{json}");
}

#[tokio::test]
async fn a_period_and_its_groups_are_chosen() {
    let bench = some().await;
    let before = bench.get("/analytics/migrations?start_date=2024-08-01&end_date=2024-08-31&group_by=week").await;
    assert_eq!(before.json["period"], json!({"start": "2024-08-01T00:00:00Z", "end": "2024-08-31T23:59:59Z"}));
    assert_eq!((&before.json["summary"]["total_migrations"], &before.json["summary"]["success_rate"]), (&json!(0), &Value::Null));
    assert_eq!((&before.json["by_type"], &before.json["performance_trends"]), (&json!({}), &json!([])));
    let month = bench.get("/analytics/migrations?group_by=month&start_date=2024-08-01").await;
    for point in month.json["performance_trends"].as_array().expect("a list") {
        assert!(point["date"].as_str().is_some_and(|d| d.ends_with("-01")), "{point}");
    }
    let bad = bench.get("/analytics/migrations?group_by=year&start_date=soon&end_date=2024-01-01&limit=3").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(["group_by", "start_date", "limit"].iter().all(|f| bad.fields().contains(f)), "{}", bad.text);
    let turned = bench.get("/analytics/migrations?start_date=2024-02-01&end_date=2024-01-01").await;
    assert_eq!((turned.status, turned.fields()), (StatusCode::BAD_REQUEST, vec!["end_date"]));
}

#[tokio::test]
async fn a_spreadsheet_gets_a_table() {
    let bench = some().await;
    let by_query = bench.get("/analytics/migrations?format=csv").await;
    let request = Request::get("/analytics/migrations").header(header::ACCEPT, "text/csv, application/json;q=0.5").body(Body::empty());
    let by_header = bench.send(request.expect("a request")).await;
    for answer in [by_query, by_header] {
        assert_eq!(answer.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
        let lines: Vec<&str> = answer.text.split("\r\n").collect();
        assert!(lines[0].starts_with("date,type,migrations,successful,failed,"), "{}", answer.text);
        let columns: Vec<&str> = lines[1].split(',').collect();
        assert_eq!((columns.len(), columns[1], columns[3]), (lines[0].split(',').count(), "static", "1"), "{}", answer.text);
    }
    let json = Request::get("/analytics/migrations").header(header::ACCEPT, "application/json, text/csv").body(Body::empty());
    assert_eq!(bench.send(json.expect("a request")).await.headers[header::CONTENT_TYPE], "application/json");
}
