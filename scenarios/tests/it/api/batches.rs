//! Batches: document 3's sample, the limit, waves, dependencies, failures and wishes. The real driver works; the tests play the workers.

use super::bench::{Answer, Bench};
use super::document::assert_timestamp;
use super::openapi::assert_answer;
use axum::http::{Method, StatusCode};
use engine::RunState;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Document 3's body, word for word.
fn sample() -> Value {
    json!({
        "migrations": [
            {"name": "Site 1 Migration", "source": {"type": "wordpress", "host": "site1.com"}, "destination": {"type": "aws-s3", "bucket": "site1-new"}},
            {"name": "Site 2 Migration", "source": {"type": "wordpress", "host": "site2.com"}, "destination": {"type": "aws-s3", "bucket": "site2-new"}}
        ],
        "batch_options": {"parallel_limit": 2, "stop_on_failure": false}
    })
}

/// An entry with a secret, and what else is wanted of it.
fn entry(name: &str, more: Value) -> Value {
    let mut entry = json!({"name": name, "source": {"type": "static", "host": "old.example", "username": "u", "password": "canary-of-batch"},
        "destination": {"type": "aws-s3", "bucket": "new-site"}});
    more.as_object().expect("fields").iter().for_each(|(field, value)| entry[field] = value.clone());
    entry
}

/// A bench whose batches are carried on until it goes.
struct Driven {
    bench: Bench,
    _stop: DropGuard,
}

impl Driven {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let stop = CancellationToken::new();
        let control = bench.control.clone();
        let stopped = stop.clone();
        tokio::spawn(async move { control.drive_batches(stopped).await });
        Self { bench, _stop: stop.drop_guard() }
    }

    /// Creates a batch without checks before its starts; gives its id.
    async fn batch(&self, migrations: Value, mut options: Value) -> String {
        options["skip_validation"] = json!(true);
        let made = self.bench.post("/migrations/batch", &json!({"migrations": migrations, "batch_options": options})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json["batch_id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the batch shows `status`.
    async fn shows(&self, id: &str, status: &str) -> Value {
        self.when(id, |batch| batch["status"] == status).await
    }

    async fn when(&self, id: &str, so: impl Fn(&Value) -> bool) -> Value {
        let look = async || {
            let batch = self.bench.get(&format!("/batches/{id}")).await.json;
            so(&batch).then_some(batch)
        };
        self.bench.until(look).await
    }

    async fn ask(&self, id: &str, what: &str) -> Answer {
        self.bench.call(Method::POST, &format!("/batches/{id}/{what}"), None).await
    }

    /// Takes up the migration that is started next; gives its name and the hands on it.
    async fn next(&self) -> (String, super::bench::Hands) {
        let hands = self.bench.next_started().await;
        let status = self.bench.get(&hands.path("status")).await.json;
        (status["name"].as_str().expect("a name").to_owned(), hands)
    }
}

fn statuses(batch: &Value) -> Vec<&str> {
    batch["migrations"].as_array().expect("a list").iter().map(|m| m["status"].as_str().expect("a word")).collect()
}

#[tokio::test]
async fn the_documents_sample() {
    let driven = Driven::new().await;
    let bench = &driven.bench;
    let made = bench.post("/migrations/batch", &sample()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["batch_id"].as_str().expect("an id").to_owned();
    assert_eq!(made.headers["location"], format!("/batches/{id}"));
    assert_eq!((&made.json["status"], &made.json["message"], &made.json["id"]), (&json!("created"), &json!("Batch of 2 migrations created"), &json!(id)));
    assert_timestamp(&made.json["created_at"]);
    assert_eq!((&made.json["batch_options"]["parallel_limit"], &made.json["batch_options"]["stop_on_failure"]), (&json!(2), &json!(false)));
    for (n, member) in made.json["migrations"].as_array().expect("a list").iter().enumerate() {
        assert_eq!((&member["name"], &member["status"]), (&json!(format!("Site {} Migration", n + 1)), &json!("created")));
        let session = member["session_id"].as_str().expect("an id");
        assert_eq!(bench.get(&format!("/migrations/{session}")).await.status, StatusCode::OK, "the migrations are there at once");
    }
    // Nobody answers at site1.com: the checks before a start say so, and the batch has failed.
    let ended = driven.shows(&id, "failed").await;
    assert_eq!(statuses(&ended), ["failed", "failed"]);
    let document = bench.get("/openapi.json").await.json;
    assert_answer(&document, "post", "/migrations/batch", "201", &made.json);
    assert_answer(&document, "get", "/batches/{batch_id}", "200", &ended);
    assert_answer(&document, "get", "/batches", "200", &bench.get("/batches").await.json);
    assert_eq!((&ended["counts"]["failed"], &ended["counts"]["total"]), (&json!(2), &json!(2)));
    let error = &ended["migrations"][0]["error"];
    assert_eq!(error["code"], "VALIDATION_FAILED");
    assert!(error["message"].as_str().expect("words").contains("connection refused"), "{error}");
    let listed = bench.get("/batches/?status=failed").await.json;
    assert_eq!((&listed[0]["id"], listed[0].get("migrations")), (&json!(id), None));
    assert_eq!(bench.get("/batches?status=running").await.json, json!([]));
}

#[tokio::test]
async fn the_limit_holds_and_waves_follow_one_another() {
    let driven = Driven::new().await;
    let entries = json!([entry("c", json!({"wave": 2})), entry("a", json!({})), entry("b", json!({})), entry("d", json!({}))]);
    let id = driven.batch(entries, json!({"parallel_limit": 2})).await;
    let ((first, a), (second, b)) = (driven.next().await, driven.next().await);
    assert_eq!((first.as_str(), second.as_str()), ("a", "b"));
    let two = driven.when(&id, |batch| batch["counts"]["running"] == 2).await;
    assert_eq!((&two["status"], &two["counts"]["waiting"], statuses(&two)), (&json!("running"), &json!(2), vec!["created", "running", "running", "created"]));
    a.state(RunState::Completed).await;
    let (third, d) = driven.next().await;
    assert_eq!(third, "d");
    b.state(RunState::Completed).await;
    let waits = driven.when(&id, |batch| batch["counts"]["completed"] == 2).await;
    assert_eq!(statuses(&waits)[0], "created", "the second wave waits for the whole first one");
    d.state(RunState::Completed).await;
    let (last, c) = driven.next().await;
    assert_eq!(last, "c");
    c.state(RunState::Completed).await;
    let done = driven.shows(&id, "completed").await;
    assert_timestamp(&done["ended_at"]);
    assert_eq!(done["counts"]["completed"], 4);
    let audited = driven.bench.get("/audit?action=start_migration").await.json;
    let starts: Vec<_> = audited.as_array().expect("a list").iter().map(|e| (&e["actor"], &e["result"], &e["details"]["batch_id"])).collect();
    assert_eq!(starts, vec![(&json!("system"), &json!("done"), &json!(id)); 4], "each start has its entry in the audit log");
    let again = driven.ask(&id, "cancel").await;
    assert_eq!((again.status, again.code(), &again.json["error"]["details"]["current_status"]), (StatusCode::CONFLICT, "INVALID_STATE", &json!("completed")));
    let gone = driven.bench.call(Method::DELETE, &format!("/batches/{id}"), None).await;
    assert_eq!((gone.status, &gone.json["status"]), (StatusCode::OK, &json!("deleted")));
    assert_eq!(driven.bench.get("/migrations").await.json.as_array().expect("a list").len(), 4, "the migrations stay");
}

#[tokio::test]
async fn a_failure_stops_the_batch_if_so_asked() {
    let driven = Driven::new().await;
    let id =
        driven.batch(json!([entry("a", json!({})), entry("b", json!({})), entry("c", json!({}))]), json!({"parallel_limit": 2, "stop_on_failure": true})).await;
    let ((_, a), (_, b)) = (driven.next().await, driven.next().await);
    a.state(RunState::Failed).await;
    let stopped = driven.when(&id, |batch| batch["counts"]["skipped"] == 1).await;
    assert_eq!((&stopped["status"], statuses(&stopped)), (&json!("running"), vec!["failed", "running", "skipped"]), "what runs goes on");
    assert_eq!(stopped["migrations"][2]["error"], json!({"code": "STOPPED", "message": "'a' failed, and the batch stops on a failure"}));
    b.state(RunState::Completed).await;
    driven.shows(&id, "failed").await;
}

#[tokio::test]
async fn what_depends_on_a_failure_is_skipped_and_the_rest_goes_on() {
    let driven = Driven::new().await;
    let entries = json!([
        entry("a", json!({})),
        entry("b", json!({"depends_on": ["a"]})),
        entry("c", json!({"depends_on": [1]})),
        entry("d", json!({"depends_on": "e"})),
        entry("e", json!({}))
    ]);
    let id = driven.batch(entries, json!({})).await;
    let ((_, a), (second, e)) = (driven.next().await, driven.next().await);
    assert_eq!(second, "e");
    a.state(RunState::Failed).await;
    let skipped = driven.when(&id, |batch| batch["counts"]["skipped"] == 2).await;
    assert_eq!(statuses(&skipped), ["failed", "skipped", "skipped", "created", "running"]);
    assert_eq!(skipped["migrations"][2]["error"]["message"], "It depends on 'b', which did not complete");
    e.state(RunState::Completed).await;
    let (last, d) = driven.next().await;
    assert_eq!(last, "d");
    d.state(RunState::Completed).await;
    let ended = driven.shows(&id, "partial").await;
    assert_eq!((&ended["counts"]["completed"], &ended["counts"]["failed"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn pause_start_and_cancel() {
    let driven = Driven::new().await;
    let id =
        driven.batch(json!([entry("a", json!({})), entry("b", json!({})), entry("c", json!({}))]), json!({"parallel_limit": 1, "auto_start": false})).await;
    assert_eq!(driven.bench.get(&format!("/batches/{id}")).await.json["status"], "created");
    for (what, words) in [("pause", "It has not been started."), ("resume", "")] {
        let refused = driven.ask(&id, what).await;
        assert!(refused.status.is_client_error() && refused.text.contains(words), "{}", refused.text);
    }
    let started = driven.ask(&id, "start").await;
    assert_eq!(started.status, StatusCode::OK, "{}", started.text);
    assert_eq!(
        (driven.ask(&id, "start").await.code(), driven.bench.call(Method::DELETE, &format!("/batches/{id}"), None).await.code()),
        ("INVALID_STATE", "INVALID_STATE")
    );
    let (_, a) = driven.next().await;
    driven.shows(&id, "running").await;
    assert_eq!(driven.ask(&id, "pause").await.json["status"], "paused");
    a.state(RunState::Completed).await;
    let paused = driven.when(&id, |batch| batch["counts"]["completed"] == 1).await;
    assert_eq!((&paused["status"], statuses(&paused)), (&json!("paused"), vec!["completed", "created", "created"]));
    driven.ask(&id, "start").await;
    let (second, b) = driven.next().await;
    assert_eq!(second, "b");
    b.begin(0).await;
    driven.when(&id, |batch| batch["counts"]["running"] == 1).await;
    let cancelled = driven.ask(&id, "cancel").await;
    assert_eq!((cancelled.status, &cancelled.json["status"]), (StatusCode::OK, &json!("cancelling")), "{}", cancelled.text);
    driven.when(&id, |batch| statuses(batch)[2] == "cancelled").await;
    b.state(RunState::Cancelled).await;
    let ended = driven.shows(&id, "cancelled").await;
    assert_eq!(statuses(&ended), ["completed", "cancelled", "cancelled"]);
}

#[tokio::test]
async fn what_people_do_to_its_migrations_is_respected() {
    let driven = Driven::new().await;
    let id =
        driven.batch(json!([entry("a", json!({})), entry("b", json!({})), entry("c", json!({}))]), json!({"parallel_limit": 1, "auto_start": false})).await;
    let members = driven.bench.get(&format!("/batches/{id}")).await.json["migrations"].clone();
    let session = |n: usize| members[n]["session_id"].as_str().expect("an id").to_owned();
    driven.bench.call(Method::DELETE, &format!("/migrations/{}", session(0)), None).await;
    driven.bench.call(Method::POST, &format!("/migrations/{}/cancel", session(1)), None).await;
    driven.ask(&id, "start").await;
    let (only, c) = driven.next().await;
    assert_eq!(only, "c");
    c.state(RunState::Completed).await;
    let ended = driven.shows(&id, "partial").await;
    assert_eq!(statuses(&ended), ["deleted", "cancelled", "completed"], "a deleted migration does not come back");
}

#[tokio::test]
async fn nothing_is_stored_when_anything_is_wrong() {
    let bench = Bench::new().await;
    for (body, fields) in [
        (json!({}), vec!["migrations"]),
        (json!([]), vec!["body"]),
        (json!({"migrations": []}), vec!["migrations"]),
        (
            json!({"migrations": [entry("a", json!({})), {"name": "b", "source": {"type": "static", "host": 5}, "destination": {"type": "aws-s3"}}, entry("", json!({"x": 1}))]}),
            vec!["migrations[1].source.host", "migrations[1].destination.bucket", "migrations[2].name", "migrations[2].x"],
        ),
        (
            json!({"migrations": [entry("a", json!({"source": {"type": "static", "paths": {"web_root": "/etc"}}}))]}),
            vec!["migrations[0].source.paths.web_root"],
        ),
        (json!({"migrations": [entry("a", json!({"depends_on": ["b"]})), entry("b", json!({"depends_on": ["a"]}))]}), vec!["migrations[0].depends_on"]),
        (json!({"migrations": [entry("a", json!({"depends_on": ["z"], "wave": "1"}))]}), vec!["migrations[0].wave", "migrations[0].depends_on[0]"]),
        (
            json!({"migrations": [entry("a", json!({}))], "batch_options": {"parallel_limit": 0, "limit": 3}}),
            vec!["batch_options.parallel_limit", "batch_options.limit"],
        ),
        (json!({"migrations": [entry("a", json!({}))], "waves": [[0], [0]]}), vec!["waves[1][0]"]),
    ] {
        let answer = bench.post("/migrations/batch", &body).await;
        assert_eq!((answer.status, answer.code(), answer.fields()), (StatusCode::BAD_REQUEST, "INVALID_CONFIGURATION", fields), "{body}");
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    assert_eq!((bench.get("/migrations").await.json, bench.get("/batches").await.json), (json!([]), json!([])));
    for (path, method) in [("/batches/none", Method::GET), ("/batches/none", Method::DELETE), ("/batches/none/cancel", Method::POST)] {
        let answer = bench.call(method, path, None).await;
        assert_eq!((answer.status, answer.code(), &answer.json["error"]["details"]["batch_id"]), (StatusCode::NOT_FOUND, "NOT_FOUND", &json!("none")));
    }
}

#[tokio::test]
async fn secrets_are_in_the_migrations_and_nowhere_else() {
    let driven = Driven::new().await;
    let made = driven.bench.post("/migrations/batch", &json!({"migrations": [entry("a", json!({}))], "batch_options": {"auto_start": false}})).await;
    let (id, session) = (made.json["id"].as_str().expect("an id"), made.json["migrations"][0]["id"].as_str().expect("an id"));
    assert_eq!(driven.bench.document(session).await["source"]["password"], "canary-of-batch");
    for path in [format!("/batches/{id}"), "/batches".to_owned(), format!("/migrations/{session}")] {
        let text = driven.bench.get(&path).await.text;
        assert!(!text.contains("canary") && !made.text.contains("canary"), "{text}");
    }
}
