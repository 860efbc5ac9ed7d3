//! Who works on a run.

use super::{Bench, null};
use engine::journal::{Change, ChunkDone, Level, NewEvent, Wanted};
use engine::state::Request;
use engine::{EngineError, NewChunk, RunState};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

pub async fn one_claim_among_many_workers(b: Bench) {
    for n in 0..5 {
        b.started(&n.to_string()).await;
    }
    let workers = (0..12).map(|n| {
        let b = &b;
        async move { b.claim(&format!("worker-{n}")).await }
    });
    let claims: Vec<_> = futures::future::join_all(workers).await.into_iter().flatten().collect();
    let runs: BTreeSet<_> = claims.iter().map(|c| c.token.run.clone()).collect();
    assert_eq!(claims.len(), runs.len(), "no run is claimed twice");
    let mut left = Vec::new();
    while let Some(claim) = b.claim("last").await {
        left.push(claim);
    }
    assert_eq!(claims.len() + left.len(), 5, "every run is claimed");
    let claim = &claims[0];
    assert_eq!((claim.token.epoch, claim.view.epoch, claim.view.owner.as_ref()), (1, 1, Some(&claim.token.owner)));
    assert_eq!(claim.input["password"], "hunter2");
    assert_eq!((claim.options.clone(), claim.wanted), (json!({"n": 1}), None));
}

pub async fn claims_only_what_fits(b: Bench) {
    b.created("created").await;
    let id = b.started("started").await;
    let mut request = b.request("w", Duration::from_mins(1));
    request.kinds = vec!["another kind".to_owned()];
    assert!(b.journal.claim(&request).await.unwrap().is_none());
    request.kinds = Vec::new();
    assert!(b.journal.claim(&request).await.unwrap().is_none());
    request.kinds = vec!["another kind".to_owned(), b.kind.clone()];
    request.except = vec!["x".to_owned(), id.clone()];
    assert!(b.journal.claim(&request).await.unwrap().is_none());
    request.except.pop();
    assert_eq!(b.journal.claim(&request).await.unwrap().unwrap().token.run, id);
    assert!(b.journal.claim(&request).await.unwrap().is_none(), "a created run is not claimed, nor a held one");
}

pub async fn a_pinned_run_is_claimed_by_its_node_only(b: Bench) {
    let claim = b.claimed("pinned", "a").await;
    let ask = |owner: &str, node: Option<&str>| engine::journal::ClaimRequest { node: node.map(str::to_owned), ..b.request(owner, Duration::from_mins(1)) };
    assert_eq!((claim.view.pinned_to.clone(), claim.view.held), (None, true));
    b.journal.write(&claim.token, vec![Change::PinTo { node: "a".to_owned() }], Vec::new()).await.unwrap();
    let refused = b.journal.unpin(&b.tenant, &claim.token.run).await.unwrap_err();
    assert!(matches!(refused, EngineError::Conflict { .. }), "a worker holds it: {refused}");
    b.journal.release(&claim.token).await.unwrap();
    for elsewhere in [None, Some("b")] {
        assert!(b.journal.claim(&ask("w", elsewhere)).await.unwrap().is_none(), "{elsewhere:?} cannot reach what it needs");
    }
    let view = b.journal.view(&b.tenant, &claim.token.run).await.unwrap();
    assert_eq!((view.pinned_to.as_deref(), view.held), (Some("a"), false));
    let again = b.journal.claim(&ask("w", Some("a"))).await.unwrap().expect("its own node goes on");
    b.journal.release(&again.token).await.unwrap();
    assert_eq!(b.journal.unpin(&b.tenant, &claim.token.run).await.unwrap().pinned_to, None);
    assert!(b.journal.unpin(&b.tenant, &claim.token.run).await.is_err(), "there is no pin any more");
    assert!(b.journal.claim(&ask("w", Some("b"))).await.unwrap().is_some(), "anybody may have it now");
}

pub async fn schedules(b: Bench) {
    let id = b.created("a").await;
    let now = b.journal.view(&b.tenant, &id).await.unwrap().now;
    let at = |seconds| now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    assert_eq!(b.options(&id, Request::Schedule { at: at(3600), options: json!({"s": 1}) }).await.unwrap(), RunState::Scheduled);
    assert!(b.claim("w").await.is_none(), "its time has not come");
    assert_eq!(b.options(&id, Request::Unschedule).await.unwrap(), RunState::Created);
    assert!(b.options(&id, Request::Unschedule).await.is_err(), "it is not scheduled any more");
    assert_eq!(b.options(&id, Request::Schedule { at: at(-1), options: json!({"s": 2}) }).await.unwrap(), RunState::Scheduled);
    let claim = b.claim("w").await.expect("its time has come");
    assert_eq!((claim.view.state, claim.options), (RunState::Running, json!({"s": 2})));
    assert!(claim.view.started_at.is_some());
}

pub async fn expiry_fences_the_late_writer(b: Bench) {
    b.started("a").await;
    let late = b.journal.claim(&b.request("late", Duration::ZERO)).await.unwrap().unwrap().token;
    let chunk = || vec![NewChunk { seq: 1, spec: vec![1], items: 1, bytes: 1 }];
    // Nobody else has it yet: the late one may still write, and renew.
    b.journal.plan(&late, "files", chunk()).await.unwrap();
    b.journal.renew(&late, Duration::ZERO).await.unwrap();
    let next = b.claim("next").await.expect("the lease is over").token;
    assert_eq!((next.run.as_str(), next.epoch), (late.run.as_str(), late.epoch + 1));
    let before = b.journal.own_view(&next).await.unwrap();
    let fenced = |r: Result<(), EngineError>| assert!(matches!(r, Err(EngineError::Fenced(_))), "{r:?}");
    let event = NewEvent::new("log", Level::Info, "t", "too late");
    fenced(b.journal.write(&late, vec![Change::State { to: RunState::Completed, error: None }], vec![event]).await);
    fenced(b.journal.renew(&late, Duration::from_mins(1)).await);
    fenced(b.journal.wanted(&late).await.map(|_| ()));
    fenced(b.journal.release(&late).await);
    fenced(b.journal.plan(&late, "files", vec![NewChunk { seq: 2, spec: vec![], items: 1, bytes: 1 }]).await);
    fenced(b.journal.seal(&late, "files").await);
    fenced(b.journal.pending(&late, "files", None, 10).await.map(|_| ()));
    fenced(b.journal.done(&late, "files", vec![ChunkDone { seq: 1, result: vec![], items: 1, bytes: 1 }]).await);
    let after = b.journal.own_view(&next).await.unwrap();
    assert_eq!((after.state, after.last_event, after.owner.as_deref(), after.epoch), (RunState::Running, before.last_event, Some("next"), before.epoch));
    assert_eq!(after.ledgers, before.ledgers);
    assert_eq!(b.journal.pending(&next, "files", None, 10).await.unwrap()[0].attempts, 1, "the late one was handed nothing");
    // The same owner under an old epoch is late, too.
    let old = engine::journal::Token { epoch: next.epoch - 1, ..next.clone() };
    fenced(b.journal.renew(&old, Duration::from_mins(1)).await);
    b.journal.renew(&next, Duration::from_mins(1)).await.unwrap();
    assert!(b.claim("third").await.is_none());
}

pub async fn release_lets_another_go_on(b: Bench) {
    let first = b.claimed("a", "first").await.token;
    b.journal.write(&first, vec![Change::Begun { index: 0 }], vec![]).await.unwrap();
    b.journal.release(&first).await.unwrap();
    let second = b.claim("second").await.expect("free at once");
    assert_eq!(second.token.epoch, 2);
    assert_eq!(second.view.steps[0].state, engine::StepState::Begun, "the intent is there for the next one");
    assert!(matches!(b.journal.release(&first).await, Err(EngineError::Fenced(_))));
    b.journal.write(&second.token, vec![Change::State { to: RunState::Completed, error: None }], vec![]).await.unwrap();
    assert!(matches!(b.journal.wanted(&second.token).await, Err(EngineError::Fenced(_))), "the end of the run ends the lease");
    assert!(b.claim("third").await.is_none());
}

pub async fn wishes(b: Bench) {
    let token = b.claimed("a", "w").await.token;
    let id = token.run.clone();
    assert_eq!(b.journal.wanted(&token).await.unwrap(), None);
    assert_eq!(b.options(&id, Request::Pause).await.unwrap(), RunState::Running, "the worker has to stop first");
    assert_eq!(b.journal.wanted(&token).await.unwrap(), Some(Wanted::Pause));
    b.options(&id, Request::Cancel).await.unwrap();
    b.options(&id, Request::Pause).await.unwrap();
    assert_eq!(b.journal.wanted(&token).await.unwrap(), Some(Wanted::Cancel), "a later pause takes no cancel back");
    b.journal.release(&token).await.unwrap();
    let claim = b.claim("w").await.unwrap();
    assert_eq!(claim.wanted, Some(Wanted::Cancel), "wishes outlive the worker");
    b.journal.write(&claim.token, vec![Change::State { to: RunState::Paused, error: None }], vec![]).await.unwrap();
    b.options(&id, Request::Resume).await.unwrap();
    assert_eq!(b.claim("w").await.unwrap().wanted, None, "a new state has no old wishes");
    assert!(b.journal.request(&b.tenant, "no such run", &Request::Start { options: null() }).await.is_err());
}

pub async fn a_run_that_nobody_has_is_interrupted(b: Bench) {
    let is = async |id: &str| b.journal.view(&b.tenant, id).await.unwrap().is_interrupted;
    let waiting = b.started("waiting").await;
    assert!(!is(&waiting).await, "it waits for its first worker");
    let claim = b.claim("w").await.expect("a run");
    assert!(!is(&claim.token.run).await, "a worker has it");
    b.journal.release(&claim.token).await.unwrap();
    assert!(!is(&claim.token.run).await, "another one may come in a moment");
}
