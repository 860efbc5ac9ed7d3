//! Document 0: workloads and their migrations, request by request.

use super::bench::{Answer, Bench};
use axum::http::{Method, StatusCode};
use engine::RunState;
use serde_json::{Value, json};

/// Document 0's body, word for word.
fn sample() -> Value {
    json!({
        "ip": "192.168.1.1",
        "credentials": {"username": "testuser", "password": "testpass", "domain": "testdomain.com"},
        "storage": {"mount_points": [{"mount_point_name": "C:\\", "total_size": 1000}]}
    })
}

fn at(ip: &str) -> Value {
    let mut body = sample();
    body["ip"] = json!(ip);
    body
}

fn migration() -> Value {
    json!({
        "selected_mount_points": [{"mount_point_name": "C:\\", "total_size": 1000}],
        "source": sample(),
        "migration_target": {
            "cloud_type": "aws",
            "cloud_credentials": {"username": "AKIA", "password": "cloud-canary", "domain": "eu-central-1"},
            "target_vm": {"ip": "192.168.1.2", "credentials": {"username": "root", "password": "vm-canary"}, "storage": {"mount_points": []}},
        },
    })
}

async fn put(bench: &Bench, path: &str, body: &Value) -> Answer {
    bench.call(Method::PUT, path, Some(body)).await
}

#[tokio::test]
async fn the_documents_workload() {
    let bench = Bench::new().await;
    let made = bench.post("/workloads", &sample()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.headers["location"], "/workloads/192.168.1.1");
    let mut expected = sample();
    expected["credentials"]["password"] = json!("********");
    for field in ["ip", "credentials", "storage"] {
        assert_eq!(made.json[field], expected[field], "{field}");
    }
    assert_eq!(bench.get("/workloads/192.168.1.1").await.json, made.json);
    assert_eq!(bench.get("/workloads/192.168.1.1/").await.json, made.json);
    assert_eq!(bench.get("/workloads").await.json, json!([made.json]));

    let mut change = sample();
    change["storage"]["mount_points"] = json!([{"mount_point_name": "C:\\", "total_size": 2000}, {"mount_point_name": "D:\\", "total_size": 1}]);
    let changed = put(&bench, "/workloads/192.168.1.1", &change).await;
    assert_eq!((changed.status, &changed.json["storage"]), (StatusCode::OK, &change["storage"]), "{}", changed.text);
    let gone = bench.call(Method::DELETE, "/workloads/192.168.1.1", None).await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(bench.get("/workloads/192.168.1.1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.get("/workloads").await.json, json!([]));
    let stored = bench.stored_bytes();
    assert!(!stored.windows(8).any(|w| w == b"testpass"), "sealed");
}

#[tokio::test]
async fn every_bad_field_of_a_workload_is_named() {
    let bench = Bench::new().await;
    let with = |pointer: &str, value: Value| {
        let mut body = sample();
        *body.pointer_mut(pointer).expect("a field") = value;
        body
    };
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({}), vec!["ip", "credentials"]),
        (json!([]), vec!["body"]),
        (with("/ip", json!("")), vec!["ip"]),
        (with("/ip", json!("300.1.1.1")), vec!["ip"]),
        (with("/ip", json!(7)), vec!["ip"]),
        (with("/credentials", json!("root")), vec!["credentials"]),
        (with("/credentials/username", json!("  ")), vec!["credentials.username"]),
        (with("/credentials/password", json!("")), vec!["credentials.password"]),
        (with("/credentials/password", json!("********")), vec!["credentials.password"]),
        (with("/credentials", json!({"user": "x"})), vec!["credentials.username", "credentials.password", "credentials.user"]),
        (with("/storage/mount_points", json!({})), vec!["storage.mount_points"]),
        (
            with("/storage/mount_points/0", json!({"mount_point_name": "data"})),
            vec!["storage.mount_points[0].mount_point_name", "storage.mount_points[0].total_size"],
        ),
        (with("/storage/mount_points/0/total_size", json!(-1)), vec!["storage.mount_points[0].total_size"]),
        (
            with("/storage/mount_points", json!([{"mount_point_name": "C:\\", "total_size": 1}, {"mount_point_name": "c:/", "total_size": 1}])),
            vec!["storage.mount_points[1].mount_point_name"],
        ),
    ];
    for (body, expected) in cases {
        let answer = bench.post("/workloads", &body).await;
        assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, expected), "{body}: {}", answer.text);
    }
    assert_eq!(bench.get("/workloads").await.json, json!([]), "nothing was made");
}

#[tokio::test]
async fn one_address_in_all_its_spellings() {
    let bench = Bench::new().await;
    for (given, path) in
        [("2001:DB8::0:1", "/workloads/2001:db8::1"), ("Web-01.Example.com", "/workloads/web-01.example.com"), ("10.0.0.7", "/workloads/10.0.0.7")]
    {
        let made = bench.post("/workloads", &at(given)).await;
        assert_eq!((made.status, made.headers["location"].to_str().expect("text")), (StatusCode::CREATED, path), "{}", made.text);
        let again = bench.post("/workloads", &at(given)).await;
        assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "ALREADY_EXISTS"), "{}", again.text);
    }
    for path in ["/workloads/[2001:db8::1]", "/workloads/2001:db8:0:0:0:0:0:1", "/workloads/WEB-01.example.com."] {
        assert_eq!(bench.get(&path.replace('[', "%5B").replace(']', "%5D")).await.status, StatusCode::OK, "{path}");
    }
    let moved = put(&bench, "/workloads/10.0.0.7", &at("10.0.0.8")).await;
    assert_eq!((moved.status, moved.fields()), (StatusCode::BAD_REQUEST, vec!["ip"]), "{}", moved.text);
    assert_eq!(put(&bench, "/workloads/10.0.0.9", &at("10.0.0.9")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn of_two_who_create_the_same_one_succeeds() {
    let bench = Bench::new().await;
    let body = sample();
    let answers = futures::future::join_all((0..8).map(|_| bench.post("/workloads", &body))).await;
    let count = |status| answers.iter().filter(|a| a.status == status).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::CONFLICT)), (1, 7));
}

#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let bench = Bench::new().await;
    let made = bench.post("/workloads", &sample()).await.json;
    let back = put(&bench, "/workloads/192.168.1.1", &made).await;
    assert_eq!((back.status, &back.json["credentials"]["password"]), (StatusCode::OK, &json!("********")), "{}", back.text);
    let mut body = migration();
    body["source"] = back.json;
    let migration = bench.post("/migrations", &body).await;
    assert_eq!(migration.status, StatusCode::CREATED, "{}", migration.text);
    body["migration_target"]["target_vm"]["credentials"]["password"] = json!("********");
    let unknown = bench.post("/migrations", &body).await;
    assert_eq!((unknown.status, unknown.fields()), (StatusCode::BAD_REQUEST, vec!["migration_target.target_vm.credentials.password"]), "{}", unknown.text);
    body["migration_target"]["target_vm"] = json!("192.168.1.1");
    assert_eq!(
        bench.post("/migrations", &body).await.fields(),
        ["migration_target.target_vm.ip"],
        "a workload by its address alone, but not the source itself"
    );
}

#[tokio::test]
async fn the_documents_migration_and_its_life() {
    let bench = Bench::new().await;
    let made = bench.post("/migrations", &migration()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let id = made.json["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (&made.json["session_id"], &made.json["status"], &made.json["state"], &made.json["migration_state"]),
        (&json!(id), &json!("created"), &json!("NOT_STARTED"), &json!("not_started"))
    );
    assert_eq!(made.json["selected_mount_points"], migration()["selected_mount_points"]);
    assert_eq!((&made.json["source"]["ip"], &made.json["source"]["credentials"]["password"]), (&json!("192.168.1.1"), &json!("********")));
    assert_eq!(made.json["migration_target"]["cloud_credentials"]["password"], "********");
    assert!(!made.text.contains("canary") && !made.text.contains("testpass"), "{}", made.text);
    let path = format!("/migrations/{id}");
    assert_eq!(bench.get(&path).await.json["migration_target"], made.json["migration_target"]);
    let started = bench.call(Method::POST, &format!("{path}/start"), None).await;
    assert_eq!(
        (started.status, &started.json["state"], &started.json["migration_state"]),
        (StatusCode::OK, &json!("RUNNING"), &json!("running")),
        "{}",
        started.text
    );
    assert_eq!(started.json["source"], made.json["source"], "the whole object");
    let twice = bench.call(Method::POST, &format!("{path}/start"), None).await;
    assert_eq!((twice.status, twice.code()), (StatusCode::CONFLICT, "MIGRATION_ALREADY_RUNNING"));
    assert_eq!(bench.call(Method::DELETE, &path, None).await.status, StatusCode::CONFLICT);
    let status = bench.get(&format!("{path}/status")).await.json;
    assert_eq!((&status["migration_id"], &status["state"], &status["finished"]), (&json!(id), &json!("RUNNING"), &json!(false)));
    bench.take_up().await.state(RunState::Completed).await;
    let done = bench.get(&path).await.json;
    assert_eq!((&done["state"], &done["migration_state"]), (&json!("SUCCESS"), &json!("success")));
    assert_eq!(done["migration_target"]["target_vm"]["storage"]["mount_points"], migration()["selected_mount_points"], "exactly what was copied");
    assert_eq!(bench.get(&format!("{path}/status")).await.json["finished"], true);
    let listed = bench.get("/migrations").await.json;
    assert_eq!((&listed[0]["kind"], &listed[0]["state"], &listed[0]["source"]["ip"]), (&json!("workload"), &json!("SUCCESS"), &json!("192.168.1.1")));
}

#[tokio::test]
async fn the_rules_between_the_parts_of_a_migration() {
    let bench = Bench::new().await;
    let with = |pointer: &str, value: Value| {
        let mut body = migration();
        *body.pointer_mut(pointer).expect("a field") = value;
        body
    };
    let two = json!({"mount_points": [{"mount_point_name": "c:", "total_size": 1000}, {"mount_point_name": "D:\\", "total_size": 5}]});
    let cases = [
        (json!({"selected_mount_points": []}), vec!["selected_mount_points", "source", "migration_target"]),
        (with("/selected_mount_points", json!([])), vec!["selected_mount_points"]),
        (with("/selected_mount_points/0/mount_point_name", json!("E:\\")), vec!["selected_mount_points[0].mount_point_name", "selected_mount_points"]),
        (with("/migration_target/cloud_type", json!("gcp")), vec!["migration_target.cloud_type"]),
        (with("/migration_target/target_vm/ip", json!("192.168.1.1")), vec!["migration_target.target_vm.ip"]),
        (with("/source/credentials/password", json!("")), vec!["source.credentials.password"]),
        (with("/source", json!("192.168.9.9")), vec!["source.credentials"]),
    ];
    for (body, expected) in cases {
        let answer = bench.post("/migrations", &body).await;
        assert_eq!((answer.status, answer.code(), answer.fields()), (StatusCode::BAD_REQUEST, "INVALID_CONFIGURATION", expected), "{body}: {}", answer.text);
    }
    let mut without = with("/source/storage", two);
    without["selected_mount_points"] = json!([{"mount_point_name": "D:\\", "total_size": 5}]);
    let answer = bench.post("/migrations", &without).await;
    assert_eq!((answer.status, answer.fields()), (StatusCode::BAD_REQUEST, vec!["selected_mount_points"]), "C:\\ must be among them");
    assert_eq!(bench.get("/migrations").await.json, json!([]), "nothing was made");
}
