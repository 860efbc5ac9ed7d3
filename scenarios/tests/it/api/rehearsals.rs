//! Test clones and the end of the way back: what is refused, and what stands in the answers.

use super::bench::{Answer, Bench};
use axum::http::{Method, StatusCode};
use engine::{Hold, RunState};
use serde_json::{Value, json};

fn vm(ip: &str) -> Value {
    json!({"ip": ip, "credentials": {"username": "root", "password": "vm-canary"}, "storage": {"mount_points": []}})
}

fn migration(mode: &str) -> Value {
    let mut source = vm("10.0.0.1");
    let mount_points = json!([{"mount_point_name": "/data", "total_size": 1000}, {"mount_point_name": "/srv/shop", "total_size": 2000}]);
    source["storage"]["mount_points"] = mount_points.clone();
    json!({
        "selected_mount_points": mount_points,
        "source": source,
        "migration_target": {"cloud_type": "aws", "cloud_credentials": {"username": "AKIA", "password": "cloud-canary"}, "target_vm": vm("10.0.0.2")},
        "mode": mode,
    })
}

async fn made(bench: &Bench, mode: &str) -> String {
    let made = bench.post("/migrations", &migration(mode)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    format!("/migrations/{}", made.json["id"].as_str().expect("an id"))
}

async fn ask(bench: &Bench, path: &str, what: &str) -> Answer {
    bench.call(Method::POST, &format!("{path}/{what}"), None).await
}

async fn clone(bench: &Bench, path: &str, body: Value) -> Answer {
    bench.post(&format!("{path}/test-clone"), &body).await
}

/// 409, and words that say why.
fn refused(answer: &Answer, why: &str) {
    assert_eq!((answer.status, answer.code()), (StatusCode::CONFLICT, "INVALID_STATE"), "{}", answer.text);
    assert!(answer.text.contains(why), "'{why}' in {}", answer.text);
}

#[tokio::test]
async fn only_what_waits_between_two_passes_is_cloned() {
    let bench = Bench::new().await;
    let to = json!({"directory": "/srv/try"});
    let path = made(&bench, "warm").await;
    refused(&clone(&bench, &path, to.clone()).await, "it has not been started");
    ask(&bench, &path, "start").await;
    let hands = bench.take_up().await;
    refused(&clone(&bench, &path, to.clone()).await, "its first pass is not done yet");
    hands.stand_still(false).await;
    hands.stand_still(true).await;
    refused(&clone(&bench, &path, to.clone()).await, "its cutover was asked for");
    hands.state(RunState::Completed).await;
    refused(&clone(&bench, &path, to.clone()).await, "it is complete");
    refused(&clone(&bench, &made(&bench, "once").await, to.clone()).await, "only a warm one");
    let site = format!("/migrations/{}", bench.created().await);
    refused(&clone(&bench, &site, to.clone()).await, "only a workload's warm migration");
    assert_eq!(clone(&bench, "/migrations/none", to).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_bad_place_of_a_clone_is_named() {
    let bench = Bench::new().await;
    let path = made(&bench, "warm").await;
    ask(&bench, &path, "start").await;
    bench.take_up().await.stand_still(false).await;
    let mut source = vm("10.0.0.1");
    source["storage"] = Value::Null;
    let cases = [
        (json!({}), vec!["directory"]),
        (json!({"directory": 7, "colour": "red"}), vec!["directory", "colour"]),
        (json!({"directory": "srv/try"}), vec!["directory"]),
        (json!({"directory": "/srv/../data"}), vec!["directory"]),
        (json!({"directory": "/data/try"}), vec!["directory", "directory"]),
        (json!({"target_vm": vm("10.0.0.2")}), vec!["directory"]),
        (json!({"target_vm": source, "directory": "/srv/try"}), vec!["target_vm.ip"]),
        (json!({"target_vm": "10.0.0.9"}), vec!["target_vm.credentials"]),
        (json!({"target_vm": {"ip": "10.0.0.3", "credentials": {"username": "", "password": "x"}}}), vec!["target_vm.credentials.username"]),
    ];
    for (body, expected) in cases {
        let answer = clone(&bench, &path, body.clone()).await;
        assert_eq!((answer.status, answer.code(), answer.fields()), (StatusCode::BAD_REQUEST, "INVALID_REQUEST", expected), "{body}: {}", answer.text);
    }
    assert_eq!(bench.get(&path).await.json["test_clones"], json!([]), "nothing was made");
}

#[tokio::test]
async fn a_clone_is_a_migration_of_its_own_and_holds_the_first_still() {
    let bench = Bench::new().await;
    let path = made(&bench, "warm").await;
    ask(&bench, &path, "start").await;
    let hands = bench.take_up().await;
    assert!(!hands.stand_still(false).await);
    let answer = clone(&bench, &path, json!({"directory": "/srv/try"})).await;
    assert_eq!((answer.status, &answer.json["state"]), (StatusCode::CREATED, &json!("RUNNING")), "{}", answer.text);
    let id = answer.json["id"].as_str().expect("an id").to_owned();
    assert_eq!((answer.headers["location"].to_str().expect("text"), &answer.json["clone_of"]), (format!("/migrations/{id}").as_str(), &json!(hands.id)));
    assert_eq!(
        answer.json["selected_mount_points"],
        json!([
            {"mount_point_name": "/data", "total_size": 1000, "target_directory": "/srv/try/data"},
            {"mount_point_name": "/srv/shop", "total_size": 2000, "target_directory": "/srv/try/srv-shop"},
        ])
    );
    assert_eq!((&answer.json["source"]["ip"], &answer.json["migration_target"]["target_vm"]["ip"]), (&json!("10.0.0.2"), &json!("10.0.0.2")));
    assert!(!answer.text.contains("canary"), "{}", answer.text);
    assert_eq!(bench.document(&id).await["source"]["credentials"]["password"], "vm-canary");
    let listed = bench.get(&path).await.json["test_clones"].clone();
    assert_eq!((&listed[0]["id"], &listed[0]["status"], &listed[0]["destination"]), (&json!(id), &json!("running"), &json!("10.0.0.2")));

    assert!(!hands.stand_still(false).await, "nobody works on the clone yet");
    let cloning = bench.take_up().await;
    assert_eq!((&cloning.id, cloning.hold().await), (&id, Hold::Wait(RunState::Running)));
    refused(&ask(&bench, &path, "cutover").await, &id);
    assert!(hands.stand_still(false).await);
    assert_eq!(cloning.hold().await, Hold::Still);
    hands.state(RunState::Cancelled).await;
    refused(&ask(&bench, &path, "rollback").await, &id);
    refused(&bench.call(Method::DELETE, &path, None).await, &id);
    cloning.state(RunState::Completed).await;
    assert_eq!(ask(&bench, &path, "rollback").await.status, StatusCode::OK);
    let clone = bench.get(&format!("/migrations/{id}")).await.json;
    assert_eq!((&clone["state"], &clone["test_clones"]), (&json!("SUCCESS"), &json!([])));
}

/// A backup of that migration, as a worker leaves it.
fn back_up(bench: &Bench, migration: &str) -> std::path::PathBuf {
    let dir = bench.root().with_file_name("backups").join("backup-20240826-143022");
    std::fs::create_dir_all(&dir).expect("a backup");
    let manifest = json!({"id": "backup-20240826-143022", "tenant": "default", "run": migration, "name": "x", "state": "verified",
        "created": "2024-08-26T14:30:22Z", "expires": "2999-01-01T00:00:00Z", "bytes": 1, "parts": []});
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).expect("a manifest");
    dir
}

#[tokio::test]
async fn a_finalised_migration_has_no_way_back() {
    let bench = Bench::new().await;
    for body in [migration("once"), super::bench::body()] {
        let made = bench.post("/migrations", &body).await.json;
        let path = format!("/migrations/{}", made["id"].as_str().expect("an id"));
        refused(&ask(&bench, &path, "finalize").await, "Nothing has been done yet");
        bench.post(&format!("{path}/start?skip_validation=true"), &json!({})).await;
        let hands = bench.take_up().await;
        refused(&ask(&bench, &path, "finalize").await, "Only a completed one");
        hands.ledger("files", 3, 10, 3).await;
        hands.begin(1).await;
        hands.done(1, json!({"backup": {"id": "backup-20240826-143022"}})).await;
        let last = bench.get(&path).await.json["steps"].as_array().expect("steps").len() - 1;
        hands.begin(last as u32).await;
        hands.done(last as u32, json!({"backup": {"id": "backup-20240826-143022"}})).await;
        let backup = back_up(&bench, &hands.id);
        let id = hands.id.clone();
        hands.state(RunState::Completed).await;
        assert_eq!(bench.get(&path).await.json["finalized_at"], Value::Null);
        assert_eq!(bench.get(&format!("{path}/status")).await.json["backup_id"], "backup-20240826-143022");
        let done = ask(&bench, &path, "finalize").await;
        assert!(done.status == StatusCode::OK && done.json["finalized_at"].is_string(), "{}", done.text);
        assert!(!backup.exists());
        let again = ask(&bench, &path, "finalize").await;
        assert_eq!((again.status, again.json), (StatusCode::OK, done.json));
        refused(&ask(&bench, &path, "rollback").await, "It was finalised on");
        let status = bench.get(&format!("{path}/status")).await.json;
        assert_eq!((&status["status"], &status["performance_metrics"]["files_total"]), (&json!("completed"), &json!(30)), "what was moved is still known");
        assert_eq!(status["backup_id"], Value::Null);
        let report = bench.get(&format!("{path}/report")).await;
        assert_eq!((report.status, &report.json["backup"]), (StatusCode::OK, &Value::Null), "{}", report.text);

        // As if the server had died between the mark and the backups.
        let left = back_up(&bench, &id);
        assert_eq!(bench.control.remove_backups_given_up().await.expect("housekeeping"), ["backup-20240826-143022"]);
        assert!(!left.exists());
        assert_eq!(bench.call(Method::DELETE, &path, None).await.status, StatusCode::OK);
    }
    assert_eq!(ask(&bench, "/migrations/none", "finalize").await.status, StatusCode::NOT_FOUND);
}
