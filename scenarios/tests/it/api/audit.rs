//! The audit log as administrators read it.

use super::bench::{Bench, body};
use super::document::assert_timestamp;
use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

fn actions(list: &Value) -> Vec<String> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|e| format!("{} {}", e["action"].as_str().expect("an action"), e["result"].as_str().expect("a result")))
        .collect()
}

#[tokio::test]
async fn what_was_asked_is_there_with_its_result() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    bench.call(Method::POST, &format!("/migrations/{id}/pause"), None).await;
    bench.post("/migrations", &json!({"name": ""})).await;
    bench.get("/migrations").await;
    let log = bench.get("/audit").await;
    assert_eq!(log.status, StatusCode::OK, "{}", log.text);
    assert_eq!(actions(&log.json), ["create_migration INVALID_CONFIGURATION", "pause_migration INVALID_STATE", "create_migration done"]);
    let pause = &log.json[1];
    assert_timestamp(&pause["at"]);
    assert_eq!((&pause["actor"], &pause["proof"], &pause["source"]), (&json!("anonymous"), &json!("none"), &json!("local")));
    assert_eq!(pause["target"], json!(format!("migrations/{id}/pause")));
    assert!(pause["request_id"].as_str().is_some_and(|r| r.starts_with("req-")), "{pause}");
}

#[tokio::test]
async fn it_is_filtered_and_paged() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    bench.call(Method::POST, &format!("/migrations/{id}/pause"), None).await;
    bench.call(Method::POST, &format!("/migrations/{id}/cancel"), None).await;
    let get = async |query: &str| actions(&bench.get(&format!("/audit?{query}")).await.json);
    let all = ["cancel_migration done", "pause_migration INVALID_STATE", "create_migration done"];
    assert_eq!(get(&format!("target=migrations/{id}*")).await, all[..2]);
    assert_eq!(get("target=migrations*&actor=anonymous").await, all);
    assert_eq!(get("result=done").await, [all[0], all[2]]);
    assert_eq!(get("action=pause_migration").await, all[1..2]);
    assert!(get("actor=somebody").await.is_empty() && get("until=2024-01-01").await.is_empty());
    assert_eq!(get("since=2024-01-01").await, all);
    // Newest first, each page behind the last entry of the one before.
    let first = bench.get("/audit?limit=2").await.json;
    assert_eq!(actions(&first), all[..2]);
    let last = first[1]["id"].as_u64().expect("an id");
    assert_eq!(get(&format!("limit=2&before={last}")).await, all[2..]);
    let bad = bench.get("/audit?limit=0&before=x&who=me").await;
    assert_eq!((bad.status, bad.fields()), (StatusCode::BAD_REQUEST, vec!["limit", "before", "who"]), "{}", bad.text);
}

#[tokio::test]
async fn it_is_exported_whole() {
    let bench = Bench::new().await;
    // More than one page of the export.
    for _ in 0..520 {
        bench.post("/migrations", &json!({"name": ""})).await;
    }
    bench.post("/migrations", &body()).await;
    let lines = bench.get("/audit/export").await;
    assert_eq!(lines.headers[header::CONTENT_TYPE], "application/x-ndjson");
    let entries: Vec<Value> = lines.text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(entries.len(), 521);
    assert!(entries.windows(2).all(|w| w[0]["id"].as_u64() > w[1]["id"].as_u64()), "newest first, none twice");
    assert_eq!(entries[0]["result"], "done");
    let table = bench.get("/audit/export?format=csv&result=done").await;
    assert_eq!(table.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8");
    let rows: Vec<&str> = table.text.split("\r\n").filter(|l| !l.is_empty()).collect();
    assert_eq!(rows[0], "id,at,actor,proof,action,target,source,request_id,result,details");
    assert!(rows.len() == 2 && rows[1].contains(",anonymous,none,create_migration,migrations,local,"), "{}", table.text);
}

#[tokio::test]
async fn a_spreadsheet_finds_no_formula_in_it() {
    let bench = Bench::new().await;
    bench.call(Method::POST, "/migrations/=HYPERLINK(1)/pause", None).await;
    let entry = control::audit::AuditEntry { tenant: "default".to_owned(), actor: "=1+1".to_owned(), ..control::audit::AuditEntry::default() };
    bench.control.note_attempt(entry).await;
    let table = bench.get("/audit/export?format=csv").await.text;
    assert!(table.contains(",'=1+1,") && !table.contains(",=1+1"), "{table}");
}
