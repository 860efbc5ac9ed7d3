//! Runs as users see them.

use super::{Bench, null, pins};
use engine::journal::{Change, EventFilter};
use engine::state::Request;
use engine::{EngineError, NewRun, RunFilter, RunState, StepState};
use serde_json::json;

pub async fn create_and_read(b: Bench) {
    let mut run = b.new_run("a");
    run.input = json!({"text": "ümlaut \u{0} \u{1f600}", "large": "x".repeat(200_000)});
    b.journal.create(&run, &pins(&["one", "two"])).await.unwrap();
    let view = b.journal.view(&b.tenant, &run.id).await.unwrap();
    assert_eq!((view.state, view.kind.as_str(), &view.labels, view.epoch), (RunState::Created, b.kind.as_str(), &json!({"name": "a"}), 0));
    assert_eq!(
        view.steps.iter().map(|s| (s.index, s.name.as_str(), s.title.as_str(), s.state)).collect::<Vec<_>>(),
        [(0, "one", "Title of one", StepState::Pending), (1, "two", "Title of two", StepState::Pending)]
    );
    assert!(view.started_at.is_none() && view.ended_at.is_none() && view.owner.is_none() && view.created_at <= view.now);
    assert_eq!(view.last_event, 1);
    assert_eq!(b.journal.input(&b.tenant, &run.id).await.unwrap(), run.input);
    let again = b.journal.create(&run, &pins(&["other"])).await.unwrap_err();
    assert!(matches!(again, EngineError::Invalid(_)), "{again:?}");
    assert_eq!(b.journal.view(&b.tenant, &run.id).await.unwrap().steps.len(), 2, "a refused creation changes nothing");
}

pub async fn tenants_are_apart(b: Bench) {
    let id = b.created("a").await;
    let not_found = |r: Result<(), EngineError>| assert!(matches!(r, Err(EngineError::NotFound(_))), "{r:?}");
    not_found(b.journal.view("other", &id).await.map(|_| ()));
    not_found(b.journal.input("other", &id).await.map(|_| ()));
    not_found(b.journal.request("other", &id, &Request::Start { options: null() }).await.map(|_| ()));
    not_found(b.journal.delete("other", &id).await);
    not_found(b.journal.events("other", &id, &EventFilter::default()).await.map(|_| ()));
    not_found(b.journal.count_events("other", &id, &EventFilter::default()).await.map(|_| ()));
    assert!(b.journal.list("other", &RunFilter::default()).await.unwrap().iter().all(|r| r.id != id));
    assert_eq!(b.journal.view(&b.tenant, &id).await.unwrap().state, RunState::Created);
}

pub async fn lists(b: Bench) {
    for name in ["a", "b", "c"] {
        b.created(name).await;
    }
    let claim = b.claimed("d", "w").await;
    let change = Change::Done { index: 0, output: json!({"large": true}) };
    b.journal.write(&claim.token, vec![change], vec![]).await.unwrap();
    let names = |runs: Vec<engine::RunView>| runs.into_iter().map(|r| r.labels["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let filter = RunFilter::default();
    let all = b.journal.list(&b.tenant, &filter).await.unwrap();
    assert_eq!(all[0].steps.iter().map(|s| (s.state, s.output.clone())).collect::<Vec<_>>(), [(StepState::Done, None), (StepState::Pending, None)]);
    assert_eq!(names(all), ["d", "c", "b", "a"], "newest first");
    assert_eq!(names(b.journal.list(&b.tenant, &RunFilter { limit: 2, offset: 1, ..filter.clone() }).await.unwrap()), ["c", "b"]);
    let created = RunFilter { states: vec![RunState::Created, RunState::Paused], limit: 1, ..filter.clone() };
    assert_eq!(names(b.journal.list(&b.tenant, &created).await.unwrap()), ["c"]);
    assert_eq!(b.journal.count(&b.tenant, &created).await.unwrap(), 3, "limit aside");
    let kind = RunFilter { kind: Some("no such kind".to_owned()), ..filter.clone() };
    assert_eq!(b.journal.count(&b.tenant, &kind).await.unwrap(), 0);
    let kind = RunFilter { kind: Some(b.kind.clone()), ..filter };
    assert_eq!(b.journal.count(&b.tenant, &kind).await.unwrap(), 4);
    for (id, kind) in [("e", format!("{}@node", b.kind)), ("f", format!("{}s", b.kind))] {
        b.journal.create(&NewRun { kind, ..b.new_run(id) }, &pins(&["one"])).await.unwrap();
    }
    assert_eq!(b.journal.count(&b.tenant, &kind).await.unwrap(), 5, "those of one node are of the kind, others that begin like it are not");
}

pub async fn requests_and_their_refusals(b: Bench) {
    let id = b.created("a").await;
    let refused = b.options(&id, Request::Pause).await.unwrap_err();
    assert!(matches!(&refused, EngineError::Conflict { state: RunState::Created, .. }), "{refused:?}");
    assert_eq!(b.journal.view(&b.tenant, &id).await.unwrap().last_event, 1, "a refusal leaves no event");
    assert_eq!(b.options(&id, Request::Start { options: json!({"auto_rollback": true}) }).await.unwrap(), RunState::Running);
    let view = b.journal.view(&b.tenant, &id).await.unwrap();
    assert!(view.started_at.is_some());
    // Nothing has begun: it stops at once.
    assert_eq!(b.options(&id, Request::Pause).await.unwrap(), RunState::Paused);
    assert_eq!(b.options(&id, Request::Resume).await.unwrap(), RunState::Running);
    let claim = b.claim("w").await.unwrap();
    assert_eq!(claim.options, json!({"auto_rollback": true}), "options outlive a pause");
    for _ in 0..2 {
        assert_eq!(b.options(&id, Request::Ask { name: "cutover".to_owned() }).await.unwrap(), RunState::Running);
    }
    assert_eq!(b.journal.recall(&claim.token, "", "asked.cutover").await.unwrap(), Some(json!(true)));
    assert_eq!(b.journal.recall(&claim.token, "", "asked.tea").await.unwrap(), None);
    let failed = Change::State { to: RunState::Failed, error: Some(engine::StepError::permanent("disk", "it is full")) };
    b.journal.write(&claim.token, vec![failed], vec![]).await.unwrap();
    let view = b.journal.view(&b.tenant, &id).await.unwrap();
    assert_eq!((view.state, view.error.map(|e| e.kind), view.owner), (RunState::Failed, Some("disk".to_owned()), None));
    assert!(view.ended_at.is_some());
    assert_eq!(b.options(&id, Request::Resume).await.unwrap(), RunState::Running);
    let view = b.journal.view(&b.tenant, &id).await.unwrap();
    assert!(view.error.is_none() && view.ended_at.is_none(), "a retry has no error and no end");
    let claim = b.claim("w").await.unwrap();
    b.journal.write(&claim.token, vec![Change::State { to: RunState::Completed, error: None }], vec![]).await.unwrap();
    assert_eq!(b.options(&id, Request::Rollback { options: null() }).await.unwrap(), RunState::RollingBack);
    let claim = b.claim("w").await.unwrap();
    assert_eq!(claim.options, json!({"auto_rollback": true}), "a rollback without options keeps those of the start");
    b.journal.write(&claim.token, vec![Change::State { to: RunState::Stuck, error: None }], vec![]).await.unwrap();
    assert_eq!(b.options(&id, Request::Resolve).await.unwrap(), RunState::RollingBack);
    let claim = b.claim("w").await.unwrap();
    b.journal.write(&claim.token, vec![Change::State { to: RunState::RolledBack, error: None }], vec![]).await.unwrap();
    assert!(b.options(&id, Request::Resolve).await.is_err());
}

pub async fn who_wanted_the_rollback(b: Bench) {
    let to = |to| vec![Change::State { to, error: None }];
    let itself = b.claimed("a", "w").await;
    b.journal.write(&itself.token, to(RunState::RollingBack), vec![]).await.unwrap();
    b.journal.write(&itself.token, to(RunState::RolledBack), vec![]).await.unwrap();
    let asked = b.claimed("b", "w").await;
    b.journal.write(&asked.token, to(RunState::Failed), vec![]).await.unwrap();
    let failed = b.claimed("c", "w").await;
    b.journal.write(&failed.token, to(RunState::Failed), vec![]).await.unwrap();
    b.options(&asked.token.run, Request::Rollback { options: null() }).await.unwrap();
    let claim = b.claim("w").await.unwrap();
    b.journal.write(&claim.token, to(RunState::RolledBack), vec![]).await.unwrap();
    let said = [b.journal.view(&b.tenant, &itself.token.run).await.unwrap(), b.journal.view(&b.tenant, &asked.token.run).await.unwrap()];
    assert_eq!(said.map(|v| v.rolls_back_by_itself), [true, false]);
    let of = async |states: &[RunState], by_itself| {
        let filter = RunFilter { states: states.to_vec(), rolled_back_by_itself: by_itself, ..RunFilter::default() };
        let mut found: Vec<String> = b.journal.list(&b.tenant, &filter).await.unwrap().into_iter().map(|v| v.id).collect();
        assert_eq!(b.journal.count(&b.tenant, &filter).await.unwrap(), found.len() as u64);
        found.sort();
        found
    };
    let mut wanted = vec![itself.token.run.clone(), failed.token.run.clone()];
    wanted.sort();
    assert_eq!(of(&[RunState::Failed, RunState::RolledBack], Some(true)).await, wanted);
    assert_eq!(of(&[RunState::RolledBack], Some(false)).await, std::slice::from_ref(&asked.token.run));
    assert_eq!(of(&[RunState::RolledBack], None).await.len(), 2);
}

pub async fn deletes(b: Bench) {
    let claim = b.claimed("a", "w").await;
    let (token, id) = (&claim.token, &claim.token.run);
    let chunk = engine::NewChunk { seq: 1, spec: vec![1], items: 1, bytes: 1 };
    b.journal.plan(token, "files", vec![chunk]).await.unwrap();
    let memo = Change::Memo { scope: String::new(), key: "k".to_owned(), value: Some(json!(1)) };
    b.journal.write(token, vec![memo], vec![]).await.unwrap();
    let active = b.journal.delete(&b.tenant, id).await.unwrap_err();
    assert!(matches!(active, EngineError::Conflict { state: RunState::Running, .. }), "{active:?}");
    b.journal.write(token, vec![Change::State { to: RunState::Cancelled, error: None }], vec![]).await.unwrap();
    b.journal.delete(&b.tenant, id).await.unwrap();
    assert!(matches!(b.journal.view(&b.tenant, id).await, Err(EngineError::NotFound(_))));
    assert!(matches!(b.journal.delete(&b.tenant, id).await, Err(EngineError::NotFound(_))));
    // The id may be used again, and nothing of the old run shows through.
    let claim = b.claimed("a", "w").await;
    assert_eq!(claim.view.last_event, 2);
    assert_eq!(b.journal.recall(&claim.token, "", "k").await.unwrap(), None);
    assert!(b.journal.all(&b.tenant, &claim.token.run, "files", None, 10).await.unwrap().is_empty());
}
