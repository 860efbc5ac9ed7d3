//! What must not pass unseen: a key that is there twice, a backup that somebody needs, a start that was refused.

use super::bench::{Bench, body};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use engine::RunState;
use engine::journal::{Level, Runs};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn key_that_is_there_twice_is_refused_at_every_depth() {
    let bench = Bench::new().await;
    let good = body().to_string();
    for (bad, key) in [(good.replacen('{', r#"{"name":"other","#, 1), "name"), (good.replace(r#""bucket":"#, r#""bucket":"x","bucket":"#), "bucket")] {
        let request = Request::post("/migrations/").header("content-type", "application/json").body(Body::from(bad.clone()));
        let answer = bench.send(request.expect("a request")).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "MALFORMED_JSON"), "{bad}");
        assert!(answer.text.contains(&format!("'{key}'")), "{}", answer.text);
    }
}

#[tokio::test]
async fn log_is_filtered_before_it_is_limited() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.log(Level::Error, "the one that matters", json!({})).await;
    for n in 0..5 {
        hands.log(Level::Info, &format!("noise {n}"), json!({})).await;
    }
    let found = bench.get(&hands.path("logs?limit=1&min_level=WARNING")).await;
    assert_eq!((&found.json["logs"][0]["message"], &found.json["total_logs"]), (&json!("the one that matters"), &json!(1)), "{}", found.text);
}

#[tokio::test]
async fn backup_of_a_failed_migration_outlives_its_retention_and_is_not_deleted() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    let (id, run) = ("backup-20240826-143022-00000000", hands.id.clone());
    let dir = bench.root().parent().expect("a directory").join("backups").join(id);
    std::fs::create_dir_all(&dir).expect("a directory");
    let manifest = json!({"id": id, "tenant": "default", "run": run, "name": "n", "state": "verified", "created": "2024-08-26T14:30:22Z",
        "expires": "2024-09-02T14:30:22Z", "bytes": 0, "parts": []});
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).expect("a manifest");
    hands.state(RunState::Failed).await;
    let listed = bench.get("/backups/").await;
    assert_eq!(listed.json[0]["backup_id"], id, "{}", listed.text);
    let kept = bench.call(Method::DELETE, &format!("/backups/{id}"), None).await;
    assert_eq!((kept.status, kept.code()), (StatusCode::CONFLICT, "BACKUP_UNUSABLE"), "{}", kept.text);
    // Whoever gives the migration up gives the backup up.
    assert_eq!(bench.call(Method::DELETE, &format!("/migrations/{run}"), None).await.status, StatusCode::OK);
    assert_eq!(bench.get("/backups/").await.json, json!([]), "its time is over");
}

#[tokio::test]
async fn batch_member_that_fails_its_checks_is_a_failed_migration_for_everybody() {
    let bench = Bench::new().await;
    let made = bench.post("/migrations/batch", &json!({"migrations": [body()]})).await;
    let id = made.json["migrations"][0]["session_id"].as_str().expect("a member").to_owned();
    let stop = CancellationToken::new();
    let driver = tokio::spawn({
        let (control, stop) = (bench.control.clone(), stop.clone());
        async move { control.drive_batches(stop).await }
    });
    let run = bench
        .until(|| async {
            let run = bench.journal.view("default", &id).await.expect("a run");
            run.state.is_end().then_some(run)
        })
        .await;
    stop.cancel();
    driver.await.expect("it ends well");
    assert_eq!((run.state, run.error.map(|e| e.kind).as_deref()), (RunState::Failed, Some("validation_failed")));
    let status = bench.get(&format!("/migrations/{id}/status")).await;
    assert_eq!(status.json["status"], "failed", "{}", status.text);
    let events = bench.get(&format!("/migrations/{id}/events")).await;
    assert!(events.text.contains("migration.failed"), "{}", events.text);
}
