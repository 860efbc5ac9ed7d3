//! Pause, cancel, shutdown.

use super::{Stage, kinds, manual, options, until_state};
use engine::{RunState, StepError, StepState, WorkerOptions};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub async fn pause_and_resume(s: Stage) {
    let paused = Arc::new(AtomicBool::new(false));
    let waits = s.step("waits").runs(move |cx| {
        let paused = paused.clone();
        async move {
            if paused.swap(true, Ordering::SeqCst) {
                return Ok(json!(cx.attempt()));
            }
            cx.stopping().cancelled().await;
            Err(StepError::stopped())
        }
    });
    let plans = s.plans(vec![s.step("one"), waits, s.step("three")]);
    let engine = s.engine(&plans);
    let _hand = s.hire(&plans, options());
    let id = s.start(&engine, "run", manual()).await;
    s.diary.until("run waits", 1).await;
    let asked = Instant::now();
    assert_eq!(engine.pause("t", &id).await.unwrap().state, RunState::Running);
    let view = until_state(&engine, &id, RunState::Paused).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "seen within a second");
    assert_eq!((view.steps[1].state, view.owner), (StepState::Begun, None));
    assert_eq!(s.diary.of("stand_down"), ["stand_down waits", "stand_down one"]);
    engine.resume("t", &id).await.unwrap();
    let view = until_state(&engine, &id, RunState::Completed).await;
    assert_eq!(view.steps[1].output, Some(json!(2)));
    assert_eq!(s.diary.of("run"), ["run one", "run waits", "run waits", "run three"]);
    let told = kinds(&engine, &id).await;
    let runs: Vec<_> = told.iter().filter(|k| k.starts_with("run.")).map(String::as_str).collect();
    assert_eq!(runs, ["run.created", "run.started", "run.pausing", "run.paused", "run.resumed", "run.completed"]);
}

pub async fn cancel_and_rollback(s: Stage) {
    let plans = s.plans(vec![s.step("one"), s.step("waits").runs_until_stopped(), s.step("three")]);
    let engine = s.engine(&plans);
    let _hand = s.hire(&plans, options());
    let id = s.start(&engine, "run", json!({})).await;
    s.diary.until("run waits", 1).await;
    engine.cancel("t", &id).await.unwrap();
    until_state(&engine, &id, RunState::Cancelled).await;
    assert!(s.diary.of("undo").is_empty(), "a cancel undoes nothing");
    assert!(engine.resume("t", &id).await.is_err());
    engine.rollback("t", &id, json!({"why": "test"})).await.unwrap();
    until_state(&engine, &id, RunState::RolledBack).await;
    assert_eq!(s.diary.of("undo"), ["undo waits None", "undo one Some"]);
}

pub async fn an_error_while_stopping_is_no_failure(s: Stage) {
    let breaks = s.step("breaks").runs(|cx| async move {
        cx.stopping().cancelled().await;
        Err(StepError::permanent("interrupted", "the connection was closed"))
    });
    let plans = s.plans(vec![breaks]);
    let engine = s.engine(&plans);
    let _hand = s.hire(&plans, options());
    let id = s.start(&engine, "run", json!({})).await;
    s.diary.until("run breaks", 1).await;
    engine.pause("t", &id).await.unwrap();
    let view = until_state(&engine, &id, RunState::Paused).await;
    assert!(view.error.is_none());
}

pub async fn shutdown_lets_another_go_on(s: Stage) {
    let stopped = Arc::new(AtomicBool::new(false));
    let waits = s.step("waits").runs(move |cx| {
        let stopped = stopped.clone();
        async move {
            if stopped.swap(true, Ordering::SeqCst) {
                return Ok(json!("second worker"));
            }
            cx.stopping().cancelled().await;
            Err(StepError::stopped())
        }
    });
    let plans = s.plans(vec![waits]);
    let engine = s.engine(&plans);
    let long = || WorkerOptions { lease: Duration::from_mins(10), ..options() };
    let first = s.hire(&plans, long());
    let id = s.start(&engine, "run", manual()).await;
    s.diary.until("run waits", 1).await;
    first.stop().await;
    let view = engine.get("t", &id).await.unwrap();
    assert_eq!((view.state, view.owner), (RunState::Running, None), "given back, not ended");
    assert_eq!(s.diary.of("stand_down"), ["stand_down waits"]);
    let _second = s.hire(&plans, long());
    let view = until_state(&engine, &id, RunState::Completed).await;
    assert_eq!(view.steps[0].output, Some(json!("second worker")));
}
