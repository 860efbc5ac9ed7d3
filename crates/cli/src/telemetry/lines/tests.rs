use super::*;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::SubscriberExt;

/// The lines of a request, and of a step of a run, without their times.
fn logged(json: bool) -> Vec<String> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = lines.clone();
    let write = Box::new(move |line: &[u8]| kept.lock().expect("lines").push(String::from_utf8_lossy(line).into_owned()));
    let subscriber = tracing_subscriber::registry().with(Lines { json, write });
    tracing::subscriber::with_default(subscriber, || {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = tracing::error_span!(
            "request",
            otel.kind = "server",
            traceparent,
            request_id = "req-1",
            method = "GET",
            route = "/",
            tenant = tracing::field::Empty,
            status = tracing::field::Empty
        );
        request.record("tenant", "default");
        request.in_scope(|| tracing::warn!(code = "X", "a \"quoted\"\nline"));
        request.record("status", 200_u16);
        request.in_scope(|| tracing::info!(target: "access", duration_ms = 1.5, "answered"));
        let run = tracing::error_span!("run", traceparent, parent_id = "a", run = "m1", tenant = "default");
        let step = run.in_scope(|| tracing::error_span!("step", traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01", step = "copy"));
        step.in_scope(|| tracing::info!(target: "run", kind = "step.done", component = "copy", "Copying: done"));
    });
    let lines = lines.lock().expect("lines").clone();
    lines.iter().map(|line| line.trim_end_matches('\n').to_owned()).collect()
}

#[test]
fn every_json_line_is_one_object_with_all_that_is_known() {
    let lines: Vec<Value> = logged(true).iter().map(|line| serde_json::from_str(line).expect("one JSON object")).collect();
    let timeless = lines.into_iter().map(|mut line| {
        let at = line.as_object_mut().and_then(|l| l.remove("timestamp")).expect("a time");
        assert!(at.as_str().is_some_and(|t| t.len() == "2026-01-02T03:04:05.678901Z".len() && t.ends_with('Z')), "{at}");
        line
    });
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let expected = [
        json!({"level": "WARN", "message": "a \"quoted\"\nline", "target": "migration_assistant::telemetry::lines::tests", "code": "X",
            "trace_id": trace, "span_id": "00f067aa0ba902b7", "request_id": "req-1", "method": "GET", "route": "/", "tenant": "default"}),
        json!({"level": "INFO", "message": "answered", "target": "access", "duration_ms": 1.5, "trace_id": trace, "span_id": "00f067aa0ba902b7",
            "request_id": "req-1", "method": "GET", "route": "/", "tenant": "default", "status": 200}),
        json!({"level": "INFO", "message": "Copying: done", "target": "run", "kind": "step.done", "component": "copy", "trace_id": trace,
            "span_id": "00f067aa0ba902b8", "step": "copy", "migration_id": "m1", "tenant": "default"}),
    ];
    assert_eq!(timeless.collect::<Vec<_>>(), expected);
}

#[test]
fn a_text_line_stays_one_line() {
    let lines = logged(false);
    assert!(lines.iter().all(|l| !l.contains('\n')), "{lines:?}");
    let (time, rest) = lines[1].split_once(' ').expect("a time");
    assert!(time.ends_with('Z'));
    let shown = " INFO access: answered duration_ms=1.5 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 request_id=req-1 method=GET \
                 route=/ tenant=default status=200";
    assert_eq!(rest, shown);
}
