//! What a worker writes down: events, steps, memos.

use super::{Bench, pins};
use engine::journal::{Change, EventFilter, Level, NewEvent};
use engine::{RunState, StepError, StepState};
use serde_json::json;
use std::time::Duration;

fn line(kind: &str, level: Level, message: &str) -> NewEvent {
    NewEvent::new(kind, level, "suite", message)
}

pub async fn order_without_gaps(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let writes = (0..40).map(|n| {
        let events = (0..3).map(|m| line("log", Level::Info, &format!("{n}.{m}"))).collect();
        b.journal.write(&token, vec![], events)
    });
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    let many = (0..450).map(|n| line("log", Level::Info, &format!("many.{n}"))).collect();
    b.journal.write(&token, vec![], many).await.unwrap();
    let events = b.journal.events(&b.tenant, &token.run, &EventFilter::default()).await.unwrap();
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=2 + 120 + 450).collect::<Vec<u64>>());
    assert!(events.windows(2).all(|w| w[0].at <= w[1].at), "time does not run backwards");
    assert_eq!(events[..2].iter().map(|e| e.kind.as_str()).collect::<Vec<_>>(), ["run.created", "run.started"]);
    for group in events[2..122].chunks(3) {
        let first = group[0].message.split_once('.').unwrap().0;
        assert_eq!(group.iter().map(|e| e.message.clone()).collect::<Vec<_>>(), [0, 1, 2].map(|m| format!("{first}.{m}")), "a write stays together");
    }
    assert_eq!(events.last().unwrap().message, "many.449");
    assert_eq!(b.journal.own_view(&token).await.unwrap().last_event, 572);
}

pub async fn filters(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let events = vec![
        line("log", Level::Debug, "debug"),
        line("log", Level::Warning, "warning \u{0} with NUL").details(json!({"n": [1, null], "nul": "\u{0}"})),
        line("step.done", Level::Info, "done"),
        line("step_like", Level::Error, "error"),
    ];
    b.journal.write(&token, vec![], events).await.unwrap();
    let seqs = async |filter: EventFilter| {
        let count = b.journal.count_events(&b.tenant, &token.run, &EventFilter { limit: 1, ..filter.clone() }).await.unwrap();
        let found: Vec<u64> = b.journal.events(&b.tenant, &token.run, &filter).await.unwrap().iter().map(|e| e.seq).collect();
        (found, count)
    };
    let all = EventFilter::default();
    assert_eq!(seqs(all.clone()).await, (vec![1, 2, 3, 4, 5, 6], 6));
    assert_eq!(seqs(EventFilter { after: 4, ..all.clone() }).await, (vec![5, 6], 2));
    assert_eq!(seqs(EventFilter { newest_first: true, limit: 2, offset: 1, ..all.clone() }).await, (vec![5, 4], 6));
    let kinds = |kinds: &[&str]| EventFilter { kinds: kinds.iter().map(|k| (*k).to_owned()).collect(), ..all.clone() };
    assert_eq!(seqs(kinds(&["log"])).await, (vec![3, 4], 2));
    assert_eq!(seqs(kinds(&["run.*", "step.*"])).await, (vec![1, 2, 5], 3), "a prefix, and its characters stand for themselves");
    assert_eq!(seqs(kinds(&["%", "_og"])).await, (vec![], 0));
    assert_eq!(seqs(EventFilter { min_level: Some(Level::Warning), ..all.clone() }).await, (vec![4, 6], 2));
    assert_eq!(seqs(EventFilter { level: Some(Level::Info), ..kinds(&["step.*", "log"]) }).await, (vec![5], 1));
    let newest = &b.journal.events(&b.tenant, &token.run, &EventFilter { after: 3, limit: 1, ..all.clone() }).await.unwrap()[0];
    assert_eq!(newest.details, json!({"n": [1, null], "nul": "\u{0}"}));
    assert!(newest.message.starts_with("warning ") && newest.level == "WARNING" && newest.component == "suite");
    assert_eq!(seqs(EventFilter { since: Some(newest.at), after: 3, ..all.clone() }).await, (vec![4, 5, 6], 3));
    let later = newest.at.checked_add(Duration::from_hours(1)).unwrap();
    assert_eq!(seqs(EventFilter { since: Some(later), ..all }).await, (vec![], 0));
}

pub async fn writes_are_all_or_nothing(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let changes = vec![Change::Begun { index: 0 }, Change::Done { index: 77, output: json!(1) }];
    let refused = b.journal.write(&token, changes, vec![line("log", Level::Info, "never")]).await;
    assert!(refused.is_err());
    let view = b.journal.own_view(&token).await.unwrap();
    assert_eq!((view.steps[0].state, view.last_event), (StepState::Pending, 2));
    // Writes that share a transaction with a failing one stay.
    let good = || b.journal.write(&token, vec![], vec![line("log", Level::Info, "good")]);
    let bad = b.journal.write(&token, vec![Change::Begun { index: 99 }], vec![line("log", Level::Info, "bad")]);
    let (first, bad, second) = futures::join!(good(), bad, good());
    assert!(first.is_ok() && bad.is_err() && second.is_ok());
    let events = b.journal.events(&b.tenant, &token.run, &EventFilter { after: 2, ..EventFilter::default() }).await.unwrap();
    assert_eq!(events.iter().map(|e| (e.seq, e.message.as_str())).collect::<Vec<_>>(), [(3, "good"), (4, "good")]);
}

pub async fn steps_and_states(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let write = |changes| b.journal.write(&token, changes, vec![]);
    write(vec![Change::Pin(pins(&["x", "y", "z"]))]).await.unwrap();
    write(vec![Change::Begun { index: 0 }, Change::Done { index: 0, output: json!({"o": 1}) }]).await.unwrap();
    let faltered = StepError::temporary("net", "slow").details(json!({"host": "h"}));
    write(vec![Change::Begun { index: 1 }, Change::Faltered { index: 1, error: faltered.clone() }, Change::Begun { index: 1 }]).await.unwrap();
    let view = b.journal.own_view(&token).await.unwrap();
    let seen: Vec<_> = view.steps.iter().map(|s| (s.name.as_str(), s.state, s.attempts)).collect();
    assert_eq!(seen, [("x", StepState::Done, 1), ("y", StepState::Begun, 2), ("z", StepState::Pending, 0)]);
    assert_eq!((view.steps[0].output.clone(), view.steps[1].error.clone()), (Some(json!({"o": 1})), Some(faltered)));
    assert!(view.steps[0].ended_at.is_some() && view.steps[1].started_at.is_some() && view.steps[1].ended_at.is_none());
    assert_eq!(view.current_step().map(|s| s.name.as_str()), Some("y"));
    write(vec![Change::Failed { index: 1, error: StepError::permanent("x", "no") }, Change::State { to: RunState::RollingBack, error: None }]).await.unwrap();
    b.journal.renew(&token, Duration::from_mins(1)).await.expect("an active state keeps the lease");
    write(vec![Change::Undone { index: 0 }, Change::State { to: RunState::RolledBack, error: None }]).await.unwrap();
    let view = b.journal.view(&b.tenant, &token.run).await.unwrap();
    assert_eq!((view.state, view.steps[0].state, view.steps[1].state), (RunState::RolledBack, StepState::Undone, StepState::Failed));
    assert!(view.ended_at.is_some() && view.owner.is_none());
}

pub async fn memos(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let memo = |scope: &str, key: &str, value| Change::Memo { scope: scope.to_owned(), key: key.to_owned(), value };
    let changes = vec![memo("", "k", Some(json!(1))), memo("files", "k", Some(json!({"upload": "id"}))), memo("", "k", Some(json!([2])))];
    b.journal.write(&token, changes, vec![]).await.unwrap();
    assert_eq!(b.journal.recall(&token, "", "k").await.unwrap(), Some(json!([2])));
    assert_eq!(b.journal.recall(&token, "files", "k").await.unwrap(), Some(json!({"upload": "id"})));
    assert_eq!(b.journal.recall(&token, "tables", "k").await.unwrap(), None);
    b.journal.write(&token, vec![memo("", "k", None), memo("", "never", None)], vec![]).await.unwrap();
    assert_eq!(b.journal.recall(&token, "", "k").await.unwrap(), None);
    assert!(b.journal.recall(&token, "files", "k").await.unwrap().is_some());
}

pub async fn wakes_readers(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let mut changes = b.journal.changes();
    changes.mark_unchanged();
    let write = b.journal.write(&token, vec![], vec![line("log", Level::Info, "hello")]);
    let woken = tokio::time::timeout(Duration::from_secs(10), changes.changed());
    let (written, woken) = futures::join!(write, woken);
    written.unwrap();
    woken.expect("a reader is woken by an event").unwrap();
}
