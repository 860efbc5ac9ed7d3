//! Workers that vanish, are cut off, or are of another version.

use super::cut::Cut;
use super::{Stage, manual, options, until, until_state};
use engine::{Presence, RunState, StepError, StepState, Worker, WorkerOptions};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Long enough to be renewed by a live worker, short enough to wait for.
fn short() -> WorkerOptions {
    WorkerOptions { lease: Duration::from_millis(600), ..options() }
}

pub async fn a_crash_is_probed(s: Stage) {
    let looks = Arc::new(AtomicU32::new(0));
    let hangs = |name| s.step(name).runs(|cx| async move { if cx.attempt() == 1 { std::future::pending().await } else { Ok(json!("again")) } });
    let absent = hangs("absent");
    let present = hangs("present").probes(move |_| {
        let look = looks.fetch_add(1, Ordering::SeqCst);
        async move { if look < 2 { Ok(Presence::Unknown) } else { Ok(Presence::Present(json!("was there"))) } }
    });
    let plans = s.plans(vec![s.step("one"), absent, present]);
    let engine = s.engine(&plans);
    let first = s.hire(&plans, short());
    let id = s.start(&engine, "run", manual()).await;
    s.diary.until("run absent", 1).await;
    first.kill().await;
    let second = s.hire(&plans, short());
    s.diary.until("run present", 1).await;
    second.kill().await;
    let _third = s.hire(&plans, short());
    let view = until_state(&engine, &id, RunState::Completed).await;
    assert_eq!((view.steps[1].output.clone(), view.steps[2].output.clone()), (Some(json!("again")), Some(json!("was there"))));
    assert_eq!(s.diary.of("run"), ["run one", "run absent", "run absent", "run present"], "what is present is not done again");
    assert_eq!(s.diary.of("probe"), ["probe absent", "probe present", "probe present", "probe present"], "unknown is neither failure nor success");
    assert_eq!(s.diary.of("stand_down").len(), 2 + 3, "once after each crash, for all that had begun");
    assert_eq!(view.epoch, 3);
}

/// Before anything else is done, and without going on: what a dead worker left standing is taken back, once for each who looks.
pub async fn abandoned_run_is_only_stood_down(s: Stage) {
    let hangs = s.step("hangs").runs(|cx| async move { if cx.attempt() == 1 { std::future::pending().await } else { Ok(json!("again")) } });
    let plans = s.plans(vec![s.step("one"), hangs, s.step("three")]);
    let engine = s.engine(&plans);
    let worker = || Worker::new(s.journal.clone(), plans.clone(), short());
    let waiting = s.start(&engine, "waiting", manual()).await;
    assert_eq!(worker().stand_down_abandoned().await.unwrap(), 0, "nobody has worked on it yet");
    let first = s.hire(&plans, short());
    s.diary.until("run hangs", 1).await;
    assert_eq!(worker().stand_down_abandoned().await.unwrap(), 0, "somebody works on it");
    first.kill().await;
    // Its lease has to end first.
    while worker().stand_down_abandoned().await.unwrap() == 0 {
        engine.wait_event("t", &waiting, u64::MAX, Duration::from_millis(100)).await.unwrap();
    }
    assert_eq!(s.diary.of("stand_down"), ["stand_down hangs", "stand_down one"]);
    let view = engine.get("t", &waiting).await.unwrap();
    assert_eq!((view.state, view.owner.is_none()), (RunState::Running, true), "free at once for whoever goes on");
    let _second = s.hire(&plans, short());
    until_state(&engine, &waiting, RunState::Completed).await;
}

pub async fn a_crash_in_an_undo(s: Stage) {
    let tries = Arc::new(AtomicU32::new(0));
    let two = s.step("two").undoes(move |_, _| {
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if first { std::future::pending().await } else { Ok(()) } }
    });
    let plans = s.plans(vec![s.step("one"), two]);
    let engine = s.engine(&plans);
    let first = s.hire(&plans, short());
    let id = s.start(&engine, "run", manual()).await;
    until_state(&engine, &id, RunState::Completed).await;
    engine.rollback("t", &id, json!({})).await.unwrap();
    s.diary.until("undo two Some", 1).await;
    first.kill().await;
    let _second = s.hire(&plans, short());
    until_state(&engine, &id, RunState::RolledBack).await;
    assert_eq!(s.diary.of("undo"), ["undo two Some", "undo two Some", "undo one Some"]);
}

pub async fn a_cut_off_worker_stops_itself(s: Stage) {
    let line = Arc::new(Cut::new(s.journal.clone()));
    let (diary, held) = (s.diary.clone(), line.clone());
    let works = s.step("works").runs(move |cx| {
        let (diary, line) = (diary.clone(), held.clone());
        async move {
            if cx.attempt() > 1 {
                return Ok(json!("the other one"));
            }
            line.cut();
            cx.stopping().cancelled().await;
            diary.note("stopped by itself");
            match cx.remember("late", Some(json!(1))).await {
                Err(error) if error.temporary => Err(StepError::stopped()),
                other => panic!("a cut-off worker wrote: {other:?}"),
            }
        }
    });
    let plans = s.plans(vec![works]);
    let engine = s.engine(&plans);
    let _cut_off = Stage::hire_on(line, &plans, short());
    let id = s.start(&engine, "run", manual()).await;
    s.diary.until("stopped by itself", 1).await;
    let _other = s.hire(&plans, short());
    let view = until_state(&engine, &id, RunState::Completed).await;
    assert_eq!((view.steps[0].output.clone(), view.epoch), (Some(json!("the other one")), 2));
}

pub async fn a_result_that_cannot_be_stored_fails_the_run(s: Stage) {
    let line = Arc::new(Cut::new(s.journal.clone()));
    line.refuse_outputs();
    let plans = s.plans(vec![s.step("one")]);
    let engine = s.engine(&plans);
    let _hand = Stage::hire_on(line, &plans, options());
    let id = s.start(&engine, "run", manual()).await;
    let view = until_state(&engine, &id, RunState::Failed).await;
    let error = view.error.expect("an error is stored");
    assert!(error.message.contains("cannot be written down: the value is too large"), "{}", error.message);
}

pub async fn foreign_versions_are_left_alone(s: Stage) {
    let old = s.plans(vec![s.step("one"), s.step("waits").runs_until_stopped()]);
    let new = s.plans(vec![s.step("one").version(2), s.step("waits")]);
    let engine = s.engine(&old);
    let first = s.hire(&old, options());
    let id = s.start(&engine, "run", manual()).await;
    s.diary.until("run waits", 1).await;
    first.stop().await;
    let newer = s.hire(&new, options());
    let filter = engine::EventFilter { kinds: vec!["log".to_owned()], ..engine::EventFilter::default() };
    loop {
        let told = engine.events("t", &id, &filter).await.unwrap();
        if told.iter().any(|e| e.message.contains("does not know the steps")) {
            break;
        }
        engine.wait_event("t", &id, engine.get("t", &id).await.unwrap().last_event, Duration::from_millis(100)).await.unwrap();
    }
    let finishing = s.plans(vec![s.step("one"), s.step("waits")]);
    let _older = s.hire(&finishing, options());
    let view = until_state(&engine, &id, RunState::Completed).await;
    assert_eq!((view.steps[0].version, view.steps[0].attempts), (1, 1));
    newer.stop().await;
}

pub async fn a_plan_that_changed_before_it_began(s: Stage) {
    let old = s.plans(vec![s.step("one")]);
    let engine = s.engine(&old);
    let id = s.start(&engine, "run", manual()).await;
    let new = s.plans(vec![s.step("zero"), s.step("one").version(2)]);
    let _hand = s.hire(&new, options());
    let view = until_state(&engine, &id, RunState::Completed).await;
    assert_eq!(
        view.steps.iter().map(|s| (s.name.as_str(), s.version, s.state)).collect::<Vec<_>>(),
        [("zero", 1, StepState::Done), ("one", 2, StepState::Done)]
    );
}

pub async fn many_workers_many_runs(s: Stage) {
    let plans = s.plans(vec![s.step("one"), s.step("two")]);
    let engine = s.engine(&plans);
    let hands: Vec<_> = (0..3).map(|_| s.hire(&plans, options())).collect();
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(s.start(&engine, &n.to_string(), manual()).await);
    }
    for id in &ids {
        let view = until(&engine, id, |v| v.state.is_end()).await;
        assert_eq!((view.state, view.epoch), (RunState::Completed, 1), "{:?}", view.error);
    }
    assert_eq!((s.diary.of("run one").len(), s.diary.of("run two").len()), (12, 12));
    for hand in hands {
        hand.stop().await;
    }
}
