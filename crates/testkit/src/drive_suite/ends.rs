//! How runs end.

use super::{Stage, events, kinds, manual, until_state};
use engine::{ChunkDone, NewChunk, RunState, StepError, StepState};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub async fn completes_in_order(s: Stage) {
    let two = s.step("two").runs(|cx| async move {
        assert_eq!((cx.input(), cx.options(), cx.attempt(), cx.step()), (&json!({"in": 1}), &json!({"o": 2}), 1, "two"));
        assert_eq!((cx.tenant(), cx.output_of("two"), cx.output_of("none")), ("t", None, None));
        cx.remember("k", Some(json!(7))).await?;
        cx.log(engine::Level::Warning, "copy", "a line".to_owned(), json!({"n": 1}));
        Ok(json!({"after": cx.output_of("one"), "memo": cx.recall("k").await?, "run": cx.run_id()}))
    });
    let (engine, _hand, view) = s.play(vec![s.step("one"), two, s.step("three")], json!({"o": 2})).await;
    assert_eq!(view.state, RunState::Completed, "{:?}", view.error);
    assert_eq!(s.diary.lines(), ["run one", "run two", "run three"]);
    assert_eq!(view.steps[1].output, Some(json!({"after": {"did": "one"}, "memo": 7, "run": view.id})));
    assert_eq!((view.steps_completed(), view.owner.clone()), (3, None));
    let step = ["step.begun", "step.done"];
    assert_eq!(kinds(&engine, &view.id).await, [&["run.created", "run.started"][..], &step, &step, &step, &["run.completed"]].concat());
    let all = events(&engine, &view.id, &[]).await;
    assert_eq!(all.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=all.len() as u64).collect::<Vec<_>>());
    let line = all.iter().position(|e| e.kind == "log" && e.message == "a line" && e.component == "copy").expect("the line is there");
    let done = all.iter().position(|e| e.kind == "step.done" && e.component == "two").expect("the step is done");
    assert!(line < done, "a line comes before the end of its step");
}

/// A step that fails that often, for a moment.
fn falters(s: &Stage, times: u32) -> crate::scripted::Scripted {
    let left = Arc::new(AtomicU32::new(times));
    s.step("falters").runs(move |_| {
        let left = left.clone();
        async move {
            match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
                Ok(_) => Err(StepError::temporary("net", "the line is down")),
                Err(_) => Ok(json!("through")),
            }
        }
    })
}

pub async fn temporary_errors_are_tried_again(s: Stage) {
    let (engine, _hand, view) = s.play(vec![s.step("one"), falters(&s, 2)], json!({})).await;
    assert_eq!((view.state, view.steps[1].attempts, view.steps[1].error.clone()), (RunState::Completed, 3, None));
    let faltered = events(&engine, &view.id, &["step.faltered"]).await;
    assert_eq!(faltered.len(), 2);
    assert!(faltered[0].message.contains("the line is down (attempt 1 of 3") && faltered[0].level == "WARNING", "{}", faltered[0].message);
    assert!(s.diary.of("stand_down").is_empty(), "an attempt is no end of the activity");
}

pub async fn attempts_end(s: Stage) {
    let (_engine, _hand, view) = s.play(vec![falters(&s, 99)], manual()).await;
    assert_eq!((view.state, view.steps[0].attempts, view.steps[0].state), (RunState::Failed, 3, StepState::Failed));
    let error = view.error.expect("an error is stored");
    assert_eq!((error.kind.as_str(), error.message.as_str()), ("net", "the line is down (gave up after 3 attempts)"));
}

pub async fn progress_counts_attempts_anew(s: Stage) {
    let crawls = s.step("crawls").runs(|cx| async move {
        let ledger = cx.ledger("files");
        ledger.plan((0..7).map(|seq| NewChunk { seq, spec: vec![], items: 1, bytes: 1 }).collect()).await?;
        let Some(chunk) = ledger.pending(None, 1).await?.pop() else { return Ok(json!(cx.attempt())) };
        ledger.done(vec![ChunkDone { seq: chunk.seq, result: vec![1], items: 1, bytes: 1 }]).await?;
        Err(StepError::temporary("net", "cut after every chunk"))
    });
    let (_engine, _hand, view) = s.play(vec![crawls], manual()).await;
    assert_eq!((view.state, view.steps[0].output.clone()), (RunState::Completed, Some(json!(8))), "{:?}", view.error);
}

pub async fn failure_and_retry(s: Stage) {
    let broken = Arc::new(AtomicU32::new(1));
    let fails = s.step("two").runs(move |_| {
        let broken = broken.clone();
        async move { if broken.swap(0, Ordering::SeqCst) == 1 { Err(StepError::permanent("disk", "the disk is full")) } else { Ok(json!(2)) } }
    });
    let (engine, _hand, view) = s.play(vec![s.step("one"), fails, s.step("three")], manual()).await;
    assert_eq!(view.state, RunState::Failed);
    assert_eq!(view.error.as_ref().map(|e| (e.kind.as_str(), e.message.as_str())), Some(("disk", "the disk is full")));
    assert_eq!(s.diary.lines(), ["run one", "run two", "stand_down two", "stand_down one"], "newest first, and nothing is undone");
    let told = kinds(&engine, &view.id).await;
    assert_eq!(told[told.len() - 2..], ["step.failed", "run.failed"]);
    engine.resume("t", &view.id).await.unwrap();
    let view = until_state(&engine, &view.id, RunState::Completed).await;
    assert!(view.error.is_none() && view.steps[1].error.is_none());
    assert_eq!(s.diary.of("run"), ["run one", "run two", "run two", "run three"], "what is done is not done again");
}

pub async fn automatic_rollback(s: Stage) {
    let fails = s.step("three").runs(|_| async { Err(StepError::permanent("verification_mismatch", "it differs")) });
    let (engine, _hand, view) = s.play(vec![s.step("one"), s.step("two"), fails, s.step("four")], json!({})).await;
    let view = until_state(&engine, &view.id, RunState::RolledBack).await;
    assert!(view.rolls_back_by_itself, "nobody asked for it");
    assert_eq!(view.error.map(|e| e.kind), Some("verification_mismatch".to_owned()), "the reason stays");
    assert_eq!(s.diary.of("undo"), ["undo three None", "undo two Some", "undo one Some"]);
    let lines = s.diary.lines();
    let at = |line: &str| lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no '{line}' in {lines:?}"));
    assert!(at("stand_down three") < at("undo three None") && at("stand_down one") < at("undo three None"), "{lines:?}");
    assert!(at("probe three") < at("undo three None"), "an outcome that was never stored is looked after first");
    assert_eq!(view.steps.iter().map(|s| s.state).collect::<Vec<_>>(), [StepState::Undone, StepState::Undone, StepState::Undone, StepState::Pending]);
}

pub async fn panics(s: Stage) {
    let bad = s.step("bad").runs(|_| async { panic!("index out of bounds") });
    let (_engine, _hand, view) = s.play(vec![bad], manual()).await;
    let error = view.error.expect("an error is stored");
    assert_eq!((view.state, error.kind.as_str()), (RunState::Failed, "internal"));
    assert!(error.message.contains("step 'bad' broke off: index out of bounds"), "{}", error.message);
}

pub async fn stuck_and_resolve(s: Stage) {
    let locked = Arc::new(AtomicU32::new(1));
    let two = s.step("two").undoes(move |cx, output| {
        let locked = locked.clone();
        async move {
            assert_eq!((cx.options(), output), (&json!({"restore_files": true}), Some(json!({"did": "two"}))));
            if locked.swap(0, Ordering::SeqCst) == 1 { Err(StepError::permanent("permission", "the directory is locked")) } else { Ok(()) }
        }
    });
    let (engine, _hand, view) = s.play(vec![s.step("one"), two, s.step("three")], json!({})).await;
    engine.rollback("t", &view.id, json!({"restore_files": true})).await.unwrap();
    let view = until_state(&engine, &view.id, RunState::Stuck).await;
    let error = view.error.expect("an error is stored");
    assert!(error.message.contains("the undo of step 'two' failed: the directory is locked") && error.message.contains("resolve"), "{}", error.message);
    assert_eq!(view.steps.iter().map(|s| s.state).collect::<Vec<_>>(), [StepState::Done, StepState::Done, StepState::Undone]);
    engine.resolve("t", &view.id).await.unwrap();
    let view = until_state(&engine, &view.id, RunState::RolledBack).await;
    assert_eq!(s.diary.of("undo"), ["undo three Some", "undo two Some", "undo two Some", "undo one Some"]);
    assert!(view.steps.iter().all(|s| s.state == StepState::Undone));
    assert!(!view.rolls_back_by_itself, "somebody asked for it");
}

pub async fn samples(s: Stage) {
    let (go, wait) = tokio::sync::watch::channel(0_u32);
    let moves = s.step("moves").runs(move |cx| {
        let mut wait = wait.clone();
        async move {
            cx.operation(json!({"type": "file_transfer"}));
            cx.meter().bytes.fetch_add(1_000, Ordering::Relaxed);
            wait.wait_for(|n| *n == 1).await.expect("the test goes on");
            cx.meter().bytes.fetch_add(2_000, Ordering::Relaxed);
            cx.meter().items.fetch_add(3, Ordering::Relaxed);
            Ok(json!(null))
        }
    });
    let plans = s.plans(vec![moves, s.step("idle")]);
    let engine = s.engine(&plans);
    let _hand = s.hire(&plans, super::options());
    let id = s.start(&engine, "run", json!({})).await;
    let view = super::until(&engine, &id, |v| v.sample.is_some()).await;
    let first = view.sample.expect("just seen");
    assert_eq!((first.step.as_str(), first.bytes, first.items, first.operation["type"].as_str()), ("moves", 1_000, 0, Some("file_transfer")));
    assert!(first.rate_current > 0.0 && first.rate_average > 0.0 && first.rate_peak >= first.rate_current);
    go.send_replace(1);
    let view = until_state(&engine, &id, RunState::Completed).await;
    let last = view.sample.expect("it stays");
    assert_eq!((last.bytes, last.items), (3_000, 3), "the last counts are never lost");
    let told = events(&engine, &id, &["progress"]).await;
    assert_eq!(told[0].details["bytes"], 1_000);
    assert!(told.len() >= 2);
}
