//! What is asked for now and done later: schedules and batches. Each is done with the rights of whoever asked, as they are when it is done.

use super::auth::Guarded;
use super::bench::body;
use axum::http::{Method, StatusCode};
use engine::journal::Runs;
use engine::{PlanRegistry, RunState, Worker, WorkerOptions};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const MOVER: [&str; 3] = ["migrations:read", "migrations:write", "vms:read"];
const KEEPER: [&str; 3] = ["migrations:read", "migrations:write", "vms:write"];

struct Desk {
    guarded: Guarded,
    keeper_id: String,
    mover: String,
    keeper: String,
}

impl Desk {
    /// Two users: one that may move disks of machines, and one that may not.
    async fn new() -> Self {
        let guarded = Guarded::new().await;
        guarded.user("mover", "default", &MOVER).await;
        let keeper_id = guarded.user("keeper", "default", &KEEPER).await;
        let (mover, keeper) = (guarded.log_in("mover").await, guarded.log_in("keeper").await);
        Self { guarded, keeper_id, mover, keeper }
    }

    /// A migration of a machine's disk. The bench keeps no disks, so it is put into the journal.
    async fn disk(&self, id: &str) {
        let input = json!({"name": id, "source": {"type": "vm", "vm": "x"}, "destination": {"type": "aws-s3", "bucket": "disks"}});
        let run = engine::NewRun { id: id.to_owned(), tenant: "default".to_owned(), kind: "disk@bench".to_owned(), input, labels: json!({}), holds: None };
        self.guarded.bench.journal.create(&run, &[]).await.expect("created");
    }

    /// From now on the keeper may do that much.
    async fn keeper_may(&self, change: Value) {
        let changed = self.guarded.as_admin(Method::PATCH, &format!("/auth/users/{}", self.keeper_id), Some(&change)).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    }

    /// Lets a cron schedule's next time come; what became of it.
    async fn fired(&self, id: &str, schedule: &Value) -> Value {
        let next: Timestamp = format!("{}Z", schedule["next_run_at"].as_str().expect("a time")).parse().expect("a time");
        let control = &self.guarded.bench.control;
        while control.turn_schedules(Some(next)).await.expect("a store") > 0 {}
        while control.turn_firings(Some(next)).await.expect("a store") > 0 {}
        self.guarded.as_admin(Method::GET, &format!("/migrations/{id}/schedule/firings"), None).await.json[0].clone()
    }

    /// A batch of one migration that waits for its start, turned into one of a machine's disk behind its back.
    async fn batch_of_disk(&self) -> (String, String) {
        let wanted = json!({"migrations": [body()], "batch_options": {"auto_start": false, "skip_validation": true}});
        let made = self.guarded.as_token(&self.keeper, Method::POST, "/migrations/batch", Some(&wanted)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let id = made.json["migrations"][0]["session_id"].as_str().expect("a member").to_owned();
        self.guarded.bench.journal.delete("default", &id).await.expect("deleted");
        self.disk(&id).await;
        (made.json["batch_id"].as_str().expect("an id").to_owned(), id)
    }
}

#[tokio::test]
async fn cron_of_a_disk_needs_the_scope_when_it_is_asked_for_and_when_it_fires() {
    let desk = Desk::new().await;
    desk.disk("disk").await;
    let cron = json!({"cron": "0 3 * * *"});
    let refused = desk.guarded.as_token(&desk.mover, Method::POST, "/migrations/disk/schedule", Some(&cron)).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS"), "{}", refused.text);
    let made = desk.guarded.as_token(&desk.keeper, Method::POST, "/migrations/disk/schedule", Some(&cron)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    // As long as it may, only the bench says no: it keeps no disks.
    let allowed = desk.fired("disk", &made.json).await;
    assert!(!allowed["error"].to_string().contains("permissions"), "{allowed}");
    desk.keeper_may(json!({"scopes": MOVER})).await;
    let later = desk.guarded.as_admin(Method::GET, "/migrations/disk/schedule", None).await.json;
    let fired = desk.fired("disk", &later).await;
    assert_eq!((&fired["status"], fired["error"].to_string().contains("Insufficient permissions")), (&json!("failed"), true), "{fired}");
    let off = desk.guarded.as_token(&desk.mover, Method::DELETE, "/migrations/disk/schedule", None).await;
    assert_eq!(off.status, StatusCode::FORBIDDEN, "{}", off.text);
}

#[tokio::test]
async fn cron_of_a_user_that_is_gone_starts_nothing() {
    let desk = Desk::new().await;
    let made = desk.guarded.as_token(&desk.keeper, Method::POST, "/migrations/", Some(&body())).await;
    let id = made.json["session_id"].as_str().expect("an id").to_owned();
    let schedule = desk.guarded.as_token(&desk.keeper, Method::POST, &format!("/migrations/{id}/schedule"), Some(&json!({"cron": "0 3 * * *"}))).await;
    desk.keeper_may(json!({"disabled": true})).await;
    let fired = desk.fired(&id, &schedule.json).await;
    assert_eq!((&fired["status"], &fired["session_id"]), (&json!("failed"), &Value::Null), "{fired}");
    assert!(fired["error"].as_str().is_some_and(|why| why.contains("keeper")), "{fired}");
}

#[tokio::test]
async fn timed_start_of_a_user_that_is_gone_fails_with_nothing_done() {
    let desk = Desk::new().await;
    let made = desk.guarded.as_token(&desk.keeper, Method::POST, "/migrations/", Some(&body())).await;
    let id = made.json["session_id"].as_str().expect("an id").to_owned();
    let soon = (Timestamp::now() + SignedDuration::from_millis(500)).to_string();
    let scheduled = desk.guarded.as_token(&desk.keeper, Method::POST, &format!("/migrations/{id}/schedule"), Some(&json!({"scheduled_time": soon}))).await;
    assert_eq!(scheduled.status, StatusCode::CREATED, "{}", scheduled.text);
    desk.keeper_may(json!({"disabled": true})).await;
    let (control, journal) = (desk.guarded.bench.control.clone(), desk.guarded.bench.journal.clone());
    let plans = control_plans(&desk);
    let stop = CancellationToken::new();
    let worker = Worker::new(journal.clone(), plans, WorkerOptions::default()).admitting(Arc::new(control));
    let work = tokio::spawn(worker.run(stop.clone()));
    let view = desk
        .guarded
        .bench
        .until(|| async {
            let view = journal.view("default", &id).await.expect("a run");
            view.state.is_end().then_some(view)
        })
        .await;
    stop.cancel();
    work.await.expect("it ends well").expect("no error");
    let error = view.error.expect("a reason");
    assert_eq!((view.state, error.kind.as_str()), (RunState::Failed, "permission"), "{error}");
    assert!(view.steps.iter().all(|s| s.state == engine::StepState::Pending), "nothing was done");
}

fn control_plans(desk: &Desk) -> PlanRegistry {
    let dir = desk.guarded.bench.root();
    plans::registry(plans::Settings {
        connectors: Arc::new(super::bench::Nowhere),
        backups_dir: dir.join("backups"),
        work_dir: dir.join("work"),
        machines: None,
        images: None,
    })
}

#[tokio::test]
async fn batch_of_a_disk_is_started_and_cancelled_with_the_rights_of_whoever_asks() {
    let desk = Desk::new().await;
    for (asks, is_allowed) in [(&desk.mover, false), (&desk.keeper, true)] {
        let (batch, member) = desk.batch_of_disk().await;
        let started = desk.guarded.as_token(asks, Method::POST, &format!("/batches/{batch}/start"), None).await;
        assert_eq!(started.status, StatusCode::OK, "{}", started.text);
        let stop = CancellationToken::new();
        let driver = tokio::spawn({
            let (control, stop) = (desk.guarded.bench.control.clone(), stop.clone());
            async move { control.drive_batches(stop).await }
        });
        let path = format!("/batches/{batch}");
        let ended = desk
            .guarded
            .bench
            .until(|| async {
                let now = desk.guarded.as_admin(Method::GET, &path, None).await.json;
                (now["status"] == "failed").then_some(now)
            })
            .await;
        stop.cancel();
        driver.await.expect("it ends well");
        let code = ended["migrations"][0]["error"]["code"].as_str().or(ended["migrations"][0]["reason"]["code"].as_str()).unwrap_or_default().to_owned();
        assert_eq!(code == "INSUFFICIENT_PERMISSIONS", !is_allowed, "{ended}");
        assert_eq!(desk.guarded.bench.journal.view("default", &member).await.expect("a run").started_at, None, "it was not started");
    }
}
