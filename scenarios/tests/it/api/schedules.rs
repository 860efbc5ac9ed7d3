//! Schedules: what is asked and answered, and what a schedule leads to on a clock of our own.

use super::bench::{Answer, Bench, body};
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use engine::RunState;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

/// Document 3's own, at a time to come.
fn sample() -> Value {
    json!({"schedule_type": "datetime", "scheduled_time": "2034-08-27T02:00:00Z", "timezone": "UTC", "auto_start": true,
        "notifications": {"before_start": "1h", "on_completion": true}})
}

fn path(id: &str) -> String {
    format!("/migrations/{id}/schedule")
}

async fn turned(bench: &Bench, now: Timestamp) {
    while bench.control.turn_schedules(Some(now)).await.expect("a store") > 0 {}
    while bench.control.turn_firings(Some(now)).await.expect("a store") > 0 {}
}

async fn firings(bench: &Bench, id: &str) -> Vec<Value> {
    bench.get(&format!("/migrations/{id}/schedule/firings")).await.json.as_array().expect("a list").clone()
}

fn next(answer: &Answer) -> Timestamp {
    format!("{}Z", answer.json["next_run_at"].as_str().expect("a time")).parse().expect("a time")
}

#[tokio::test]
async fn the_documented_schedule_and_its_end() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    assert_eq!(bench.get(&path(&id)).await.code(), "NOT_FOUND");
    let made = bench.post(&path(&id), &sample()).await;
    assert_eq!((made.status, made.headers["location"].to_str().unwrap()), (StatusCode::CREATED, path(&id).as_str()), "{}", made.text);
    assert_eq!((made.headers["etag"].to_str().unwrap(), &made.json["status"]), ("\"1\"", &json!("scheduled")));
    let shown = |field: &str| made.json[field].clone();
    assert_eq!((shown("session_id"), shown("schedule_type"), shown("timezone")), (json!(id), json!("datetime"), json!("UTC")));
    assert_eq!((shown("next_run_at"), shown("scheduled_time")), (json!("2034-08-27T02:00:00.000000"), json!("2034-08-27T02:00:00.000000")));
    assert_eq!(shown("notifications"), json!({"before_start": "1h", "on_completion": true}));
    assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.json["status"], "scheduled");
    assert_eq!(bench.get("/schedules/").await.json, json!([made.json]));
    let stale = Request::delete(path(&id)).header("if-match", "\"9\"").body(Body::empty()).expect("a request");
    assert_eq!(bench.send(stale).await.code(), "CHANGED_MEANWHILE");
    let again = bench.post(&path(&id), &json!({"scheduled_time": "2035-01-01T00:00:00", "timezone": "Europe/Berlin"})).await;
    assert_eq!(
        (again.status, &again.json["next_run_at"], &again.json["version"]),
        (StatusCode::OK, &json!("2034-12-31T23:00:00.000000"), &json!(2)),
        "{}",
        again.text
    );
    let gone = bench.call(Method::DELETE, &path(&id), None).await;
    assert_eq!((gone.status, &gone.json), (StatusCode::OK, &json!({"session_id": id, "status": "deleted"})));
    assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.json["status"], "created");
    assert_eq!(bench.get("/schedules").await.json, json!([]));
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused() {
    let bench = Bench::new().await;
    let id = bench.created().await;
    assert_eq!(bench.post(&path("none"), &sample()).await.code(), "MIGRATION_NOT_FOUND");
    let bad = bench.post(&path(&id), &json!({"schedule_type": "cron", "cron": "61 * * * *", "timezone": "Mars/Base", "when": 1})).await;
    assert_eq!((bad.status, bad.fields()), (StatusCode::BAD_REQUEST, vec!["timezone", "cron", "when"]), "{}", bad.text);
    let past = bench.post(&path(&id), &json!({"scheduled_time": "2024-08-27T02:00:00Z"})).await;
    assert_eq!((past.status, past.fields()), (StatusCode::BAD_REQUEST, vec!["scheduled_time"]));
    let hands = bench.running().await;
    let refused = bench.post(&hands.path("schedule"), &sample()).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "INVALID_STATE"), "{}", refused.text);
}

#[tokio::test]
async fn a_cron_schedule_makes_migrations_and_tells_before() {
    let bench = Bench::new().await;
    let mut model = body();
    model["notifications"] = json!({"webhook": {"enabled": true, "url": "https://api.example.com/migration-webhook"}});
    let id = bench.post("/migrations", &model).await.json["id"].as_str().expect("an id").to_owned();
    let wanted =
        json!({"schedule_type": "cron", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "auto_start": false, "notifications": {"before_start": "30m"}});
    let made = bench.post(&path(&id), &wanted).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let at = next(&made);
    turned(&bench, at - 31.minutes()).await;
    let told = || async { bench.get(&format!("/migrations/{id}/notifications")).await.json.as_array().expect("a list").len() };
    assert_eq!(told().await, 0);
    for minutes in [30, 20, 0] {
        turned(&bench, at - minutes.minutes()).await;
        assert_eq!(told().await, 1, "told once, {minutes} minutes before");
    }
    turned(&bench, at + 1.second()).await;
    let came = firings(&bench, &id).await;
    assert_eq!((came.len(), &came[0]["status"]), (1, &json!("created")), "{came:?}");
    let new = bench.get(&format!("/migrations/{}", came[0]["session_id"].as_str().expect("an id"))).await;
    let local = at.to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").unwrap()).strftime("%Y-%m-%d %H:%M").to_string();
    assert_eq!((&new.json["name"], &new.json["status"]), (&json!(format!("Site {local}")), &json!("created")));
    assert_eq!(bench.get(&format!("/migrations/{id}/status")).await.json["status"], "created", "the model stays");
    assert!(next(&bench.get(&path(&id)).await) > at + 22.hours());
    // The migration goes, and its schedule with it.
    assert_eq!(bench.call(Method::DELETE, &format!("/migrations/{id}"), None).await.status, StatusCode::OK);
    assert_eq!(bench.get("/schedules").await.json, json!([]));
}

#[tokio::test]
async fn one_that_overlaps_is_skipped_queued_or_allowed() {
    for (overlap, second) in [("skip", "skipped"), ("queue", "pending"), ("allow", "started")] {
        let bench = Bench::new().await;
        let id = bench.created().await;
        let made = bench.post(&path(&id), &json!({"cron": "0 * * * *", "overlap": overlap})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let at = next(&made);
        turned(&bench, at).await;
        turned(&bench, at + 1.hour()).await;
        let came = firings(&bench, &id).await;
        assert_eq!((&came[1]["status"], &came[0]["status"]), (&json!("started"), &json!(second)), "{overlap}: {came:?}");
        bench.take_up().await.state(RunState::Completed).await;
        turned(&bench, at + 1.hour() + 1.minute()).await;
        turned(&bench, at + 2.hours()).await;
        let came = firings(&bench, &id).await;
        let states: Vec<&str> = came.iter().map(|f| f["status"].as_str().expect("a word")).collect();
        let expected = match overlap {
            "skip" => ["started", "skipped", "ended"],
            "queue" => ["pending", "started", "ended"],
            _ => ["started", "started", "started"],
        };
        assert_eq!(states, expected, "{overlap}");
    }
}

#[tokio::test]
async fn times_that_passed_are_made_up_for_as_wished() {
    for (catch_up, expected) in [("none", 0), ("latest", 1), ("all", 6)] {
        let bench = Bench::new().await;
        let id = bench.created().await;
        let made = bench.post(&path(&id), &json!({"cron": "*/10 * * * *", "overlap": "allow", "auto_start": false, "catch_up": catch_up})).await;
        let at = next(&made);
        // Nobody looked for 55 minutes; the last time was 5 minutes ago.
        turned(&bench, at + 55.minutes()).await;
        let came = firings(&bench, &id).await;
        assert_eq!(came.len(), expected, "{catch_up}: {came:?}");
        assert_eq!(next(&bench.get(&path(&id)).await), at + 60.minutes(), "{catch_up}");
        turned(&bench, at + 60.minutes()).await;
        assert_eq!(firings(&bench, &id).await.len(), expected + 1, "{catch_up}: on time again");
    }
}

#[tokio::test]
async fn lists_go_on_behind_the_last_item() {
    let bench = Bench::new().await;
    for _ in 0..5 {
        let id = bench.created().await;
        bench.post(&path(&id), &sample()).await;
    }
    for list in ["/schedules", "/migrations"] {
        let whole = bench.get(list).await;
        assert!(!whole.headers.contains_key("link"), "{list}: it is complete");
        let (mut seen, mut at) = (Vec::new(), Some(format!("{list}?limit=2")));
        while let Some(page) = at {
            let answer = bench.get(&page).await;
            seen.extend(answer.json.as_array().expect("a list").clone());
            at = answer.headers.get("link").map(|link| link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned());
            // One more at the front moves nothing.
            bench.created().await;
        }
        assert_eq!(&Value::Array(seen), &whole.json, "{list}");
        assert_eq!(bench.get(&format!("{list}?cursor=%25")).await.fields(), ["cursor"]);
    }
}
