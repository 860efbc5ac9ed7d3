//! Exit codes and letters for every way a migration can end.

use crate::canned::{ending, serve};
use crate::program::run;
use serde_json::{Value, json};

fn status(word: &str, error: &Value) -> Value {
    json!({"session_id": "m1", "status": word, "progress": 62.5, "current_step": "Transferring files", "steps_completed": 5, "steps_total": 8,
        "duration": 12.5, "error": error, "performance_metrics": {"files_transferred": 7, "files_total": 9, "data_transferred": "1.0 MB", "data_total": "2.0 MB"}})
}

fn failed(kind: &str, retryable: bool) -> Value {
    status("failed", &json!({"code": kind, "message": "could not write part 3 of /b/x: why", "step": "transfer_files", "retryable": retryable}))
}

/// As it is after an automatic rollback.
fn taken_back(mut status: Value) -> Value {
    status["rolled_back"] = json!(true);
    status
}

#[test]
fn every_ending_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    for (answer, code) in [
        (status("completed", &Value::Null), 0),
        (failed("no_space", false), 1),
        (failed("unreachable", true), 4),
        (failed("verification_mismatch", false), 5),
        (failed("authentication", false), 6),
        (failed("not_found", false), 7),
        (taken_back(failed("host_key", false)), 6),
        (status("rolled_back", &json!({"code": "host_key", "message": "m", "retryable": false})), 6),
        (status("cancelled", &Value::Null), 1),
        (status("stuck", &json!({"code": "permission", "message": "m", "retryable": false})), 1),
    ] {
        let plane = serve(ending(&answer));
        let ran = run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--server", &plane.url, "--json"]);
        assert_eq!(ran.code, code, "{answer}: {}", ran.stderr);
        assert_eq!(ran.json()["exit_code"], code);
    }
}

#[test]
fn a_result_with_leftovers_is_partial() {
    let dir = tempfile::tempdir().unwrap();
    let mut answer = status("completed", &Value::Null);
    answer["partial"] = json!(true);
    let plane = serve(ending(&answer));
    let ran = run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--server", &plane.url, "--json"]);
    assert_eq!((ran.code, &ran.json()["ok"]), (3, &true.into()), "{}", ran.stderr);
}

#[test]
fn refusals_of_the_api_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let envelope = |code: &str| json!({"error": {"code": code, "message": "words", "details": {"session_id": "m1"}, "request_id": "req-1"}});
    for (http, code) in [(400, 2), (401, 6), (403, 6), (404, 7), (409, 1), (500, 1), (503, 4)] {
        let plane = serve(vec![("GET /migrations/m1/status", http, envelope("X"))]);
        let ran = run(dir.path(), &["status", "m1", "--server", &plane.url]);
        assert_eq!(ran.code, code, "HTTP {http}: {}", ran.stderr);
    }
    let nobody = run(dir.path(), &["status", "m1", "--server", "http://127.0.0.1:9"]);
    assert_eq!(nobody.code, 4, "{}", nobody.stderr);
    assert_eq!(run(dir.path(), &["status", "--server", "localhost"]).code, 2);
}

#[test]
fn letters_say_what_to_do_next() {
    let dir = tempfile::tempdir().unwrap();
    let letter = |answers| {
        let plane = serve(answers);
        let ran = run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--server", &plane.url]);
        ran.stderr.replace(&plane.url, "URL")
    };
    let bad = json!({"error": {"code": "INVALID_CONFIGURATION", "message": "Invalid migration configuration",
        "details": {"validation_errors": [{"field": "source.type", "message": "is required"}, {"field": "name", "message": "must not be empty"}]}}});
    let checks = json!({"error": {"code": "VALIDATION_FAILED", "message": "Pre-migration validation failed",
        "details": {"failed_checks": [{"check": "source_connectivity", "error": "Cannot connect to source server", "suggestion": "Verify SSH credentials"}]}}});
    let mut not_started = ending(&failed("x", false));
    not_started[1] = ("POST /migrations/m1/start", 422, checks);
    not_started.push(("DELETE /migrations/m1", 204, Value::Null));
    let letters = [letter(ending(&failed("no_space", false))), letter(vec![("POST /migrations/", 400, bad)]), letter(not_started)];
    insta::assert_snapshot!(letters.join("\n"));
}

#[test]
fn a_migration_that_may_not_start_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut answers = ending(&failed("x", false));
    answers[1] = ("POST /migrations/m1/start", 422, json!({"error": {"code": "VALIDATION_FAILED", "message": "m", "details": {}}}));
    let plane = serve(answers);
    assert_eq!(run(dir.path(), &["migrate", "--from", "/a", "--to", "/b", "--server", &plane.url]).code, 1);
    assert!(plane.asked.lock().unwrap().contains(&"DELETE /migrations/m1".to_owned()));
}

#[test]
fn validation_tells_each_finding() {
    let dir = tempfile::tempdir().unwrap();
    let found = json!({"valid": false, "checks_performed": 3, "checks_passed": 1, "checks_failed": 1, "warnings": ["w"], "errors": ["e"], "can_proceed": false, "estimated_duration": null,
        "checks": [
            {"check": "source_connectivity", "outcome": "passed", "seen": "OpenSSH 9.2", "duration_ms": 12},
            {"check": "large_files", "outcome": "warning", "issue": "Large file detected: video.mp4 (500MB)", "suggestion": "consider compression"},
            {"check": "destination_credentials", "outcome": "failed", "kind": "authentication", "issue": "the password was refused", "suggestion": "check it"}]});
    let plane = serve(vec![("POST /validate/", 200, found)]);
    let ran = run(dir.path(), &["validate", "--from", "/a", "--to", "/b", "--server", &plane.url]);
    assert_eq!(ran.code, 6);
    insta::assert_snapshot!(ran.stdout);
}

#[test]
fn rollback_without_a_terminal_needs_yes() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["rollback", "m1"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("add --yes") && ran.stderr.contains("rollback m1 --dry-run"), "{}", ran.stderr);
}

/// What a control plane answers about taking `m1` back, whose table was changed since.
fn changed_since() -> Value {
    json!({"possible": true, "reasons": [], "backup_id": null,
        "tables": [{"table": "orders", "rows_written": 100, "rows_now": 101, "ranges_changed": 1}], "cutover_at": "2026-08-26T14:30:22"})
}

#[test]
fn rollback_over_later_changes_is_refused_before_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let answers = || {
        vec![
            ("GET /migrations/m1/status", 200, status("completed", &Value::Null)),
            ("GET /migrations/m1/status", 200, status("rolled_back", &Value::Null)),
            ("GET /migrations/m1/rollback-preview", 200, changed_since()),
            ("GET /migrations/m1/events", 200, json!({"events": []})),
            ("POST /migrations/m1/rollback", 200, json!({"status": "rollback_started"})),
        ]
    };
    let plane = serve(answers());
    let shown = run(dir.path(), &["rollback", "m1", "--dry-run", "--server", &plane.url, "--json"]);
    assert_eq!((shown.code, &shown.json()["preview"]), (1, &changed_since()), "{}", shown.stderr);

    let plane = serve(answers());
    let refused = run(dir.path(), &["rollback", "m1", "--yes", "--server", &plane.url]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("orders: 100 rows written, 101 now") && refused.stderr.contains("--discard-later-changes"), "{}", refused.stderr);
    assert!(!plane.asked.lock().unwrap().contains(&"POST /migrations/m1/rollback".to_owned()));

    let plane = serve(answers());
    let done = run(dir.path(), &["rollback", "m1", "--yes", "--discard-later-changes", "--server", &plane.url]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}
