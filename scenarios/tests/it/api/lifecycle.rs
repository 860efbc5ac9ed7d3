//! Steering: which request is allowed when, and what is answered otherwise.

use super::bench::Bench;
use super::document::assert_timestamp;
use axum::http::{Method, StatusCode};
use engine::RunState;
use serde_json::json;

#[tokio::test]
async fn a_start_checks_first_and_says_what_failed() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    let refused = bench.post(&format!("/migrations/{id}/start"), &json!({"auto_rollback": true, "send_notifications": true})).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_FAILED"), "{}", refused.text);
    assert_eq!(refused.json["error"]["message"], "Pre-migration validation failed");
    let checks = refused.json["error"]["details"]["failed_checks"].as_array().expect("a list");
    let named: Vec<&str> = checks.iter().map(|c| c["check"].as_str().expect("a name")).collect();
    assert_eq!(named, ["source_connectivity", "destination_connectivity"]);
    assert!(checks.iter().all(|c| c["error"].is_string() && c["suggestion"] == "Check the host and the port"));
    assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.json["status"], "created", "nothing was started");
}

#[tokio::test]
async fn a_second_start_is_a_conflict() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    let again = bench.call(Method::POST, &hands.path("start"), None).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "MIGRATION_ALREADY_RUNNING"), "{}", again.text);
    let details = &again.json["error"]["details"];
    assert_eq!((&details["session_id"], &details["current_status"]), (&json!(hands.id), &json!("running")));
    assert_timestamp(&details["started_at"]);
    let deleted = bench.call(Method::DELETE, &hands.path("").replace("//", "/"), None).await;
    assert_eq!((deleted.status, deleted.code()), (StatusCode::CONFLICT, "INVALID_STATE"), "{}", deleted.text);
    let report = bench.get(&hands.path("report")).await;
    assert_eq!((report.status, report.code()), (StatusCode::CONFLICT, "REPORT_NOT_READY"));
}

#[tokio::test]
async fn pause_resume_cancel_and_rollback_answer_as_documented() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.begin(0).await;
    let bench = &bench;
    let post = |path: String| async move { bench.call(Method::POST, &path, None).await };
    let paused = post(hands.path("pause")).await;
    assert_eq!((paused.status, &paused.json["status"]), (StatusCode::OK, &json!("pausing")), "{}", paused.text);
    let id = hands.id.clone();
    let path = |what: &str| format!("/migrations/{id}/{what}");
    hands.state(RunState::Paused).await;
    assert_eq!(bench.get(&path("status")).await.json["status"], "paused");
    let resumed = post(path("resume")).await;
    assert_eq!((resumed.status, &resumed.json["status"]), (StatusCode::OK, &json!("started")), "{}", resumed.text);
    let hands = bench.take_up().await;
    let cancelled = post(path("cancel")).await;
    assert_eq!((&cancelled.json["status"], &cancelled.json["message"]), (&json!("cancelled"), &json!("Migration cancellation initiated")));
    hands.state(RunState::Cancelled).await;
    let again = post(path("cancel")).await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "INVALID_STATE"));
    let foreign = bench.post(&path("rollback"), &json!({"backup_id": "backup-20240826-143022"})).await;
    assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "BACKUP_NOT_FOUND"));
    let options = json!({"rollback_options": {"restore_files": true, "restore_database": true, "restore_configuration": true}});
    let rolled = bench.post(&path("rollback"), &options).await;
    assert_eq!(rolled.json, json!({"session_id": id, "id": id, "status": "rollback_started", "message": "Migration rollback started in background"}));
    let hands = bench.take_up().await;
    hands.state(RunState::RolledBack).await;
    let gone = bench.call(Method::DELETE, &format!("/migrations/{id}"), None).await;
    assert_eq!((gone.status, &gone.json["status"]), (StatusCode::OK, &json!("deleted")), "{}", gone.text);
    assert_eq!(bench.get(&path("status")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_verb_on_an_unknown_migration_is_not_found() {
    let bench = Bench::new().await;
    for verb in ["start", "pause", "resume", "cancel", "rollback", "resolve", "dry-run"] {
        let answer = bench.call(Method::POST, &format!("/migrations/invalid-session-id/{verb}"), None).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "MIGRATION_NOT_FOUND"), "{verb}: {}", answer.text);
        assert_eq!(answer.json["error"]["details"], json!({"session_id": "invalid-session-id"}), "{verb}");
    }
}

#[tokio::test]
async fn a_dry_run_of_what_cannot_be_read_names_the_system() {
    let bench = Bench::new().await;
    let answer = bench.post("/migrations/dry-run", &super::bench::body()).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_FAILED"), "{}", answer.text);
    assert!(answer.text.contains("old.example"), "{}", answer.text);
    assert_eq!(bench.get("/migrations").await.json, json!([]));
}

#[tokio::test]
async fn a_failure_is_told_with_its_step_and_its_words() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.begin(0).await;
    let id = hands.id.clone();
    let error = engine::StepError::temporary("no_space", "could not write /srv/a: the disk is full. Free some space").details(json!({"path": "/srv/a"}));
    hands
        .write(
            vec![
                engine::journal::Change::Failed { index: 0, error: error.clone() },
                engine::journal::Change::State { to: RunState::Failed, error: Some(error) },
            ],
            Vec::new(),
        )
        .await;
    let status = bench.get(&format!("/migrations/{id}/status")).await.json;
    let wanted = json!({"code": "no_space", "message": "could not write /srv/a: the disk is full. Free some space", "step": status["steps"][0]["name"], "retryable": true, "details": {"path": "/srv/a"}});
    assert_eq!((&status["status"], &status["error"]), (&json!("failed"), &wanted));
    assert_timestamp(&status["end_time"]);
}

#[tokio::test]
async fn a_failure_that_took_itself_back_has_failed_and_says_so() {
    let bench = Bench::new().await;
    let hands = bench.running().await;
    hands.begin(0).await;
    let id = hands.id.clone();
    let error = engine::StepError::permanent("no_space", "the disk is full");
    let to = |to, error| engine::journal::Change::State { to, error };
    let failed = engine::journal::Change::Failed { index: 0, error: error.clone() };
    hands.write(vec![failed, to(RunState::RollingBack, Some(error))], Vec::new()).await;
    let status = bench.get(&format!("/migrations/{id}/status")).await.json;
    assert_eq!((&status["status"], &status["rolled_back"]), (&json!("rolling_back"), &json!(false)));
    hands.write(vec![engine::journal::Change::Undone { index: 0 }, to(RunState::RolledBack, None)], Vec::new()).await;
    let status = bench.get(&format!("/migrations/{id}/status")).await.json;
    assert_eq!((&status["status"], &status["rolled_back"], &status["error"]["code"]), (&json!("failed"), &json!(true), &json!("no_space")));
    for (word, found) in [("failed", 1), ("rolled_back", 0), ("rolling_back", 0)] {
        let list = bench.get(&format!("/migrations/?status_filter={word}")).await.json;
        assert_eq!(list.as_array().map(Vec::len), Some(found), "{word}: {list}");
    }
    let refused = bench.call(Method::POST, &format!("/migrations/{id}/resume"), None).await;
    assert_eq!((refused.status, &refused.json["error"]["details"]["current_status"]), (StatusCode::CONFLICT, &json!("failed")), "{}", refused.text);
}
