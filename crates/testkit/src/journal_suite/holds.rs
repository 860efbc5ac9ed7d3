//! Runs that hold others still, and runs that give up their way back.

use super::{Bench, null, pins};
use engine::journal::{Change, ChunkDone, NewChunk};
use engine::state::Request;
use engine::{EngineError, Hold, NewRun, RunFilter, RunState, Stance};
use serde_json::json;

/// A started run that holds another one; its id.
async fn holder(b: &Bench, name: &str, held: &str) -> String {
    let run = NewRun { holds: Some(held.to_owned()), ..b.new_run(name) };
    b.journal.create(&run, &pins(&["one"])).await.unwrap();
    b.options(&run.id, Request::Start { options: null() }).await.unwrap();
    run.id
}

pub async fn a_run_stands_still_while_it_is_held(b: Bench) {
    let (j, held) = (&b.journal, b.claimed("held", "w").await.token);
    let stance = async || j.view(&b.tenant, &held.run).await.unwrap().stance;
    assert_eq!((j.hold(&held).await.unwrap(), stance().await), (Hold::Free, None));
    let id = holder(&b, "reader", &held.run).await;
    assert!(!j.stand_still(&held, false).await.unwrap(), "nobody works on the reader yet");
    assert_eq!(stance().await, Some(Stance::Going));
    let reader = b.claim("w").await.unwrap().token;
    assert_eq!((&reader.run, j.hold(&reader).await.unwrap()), (&id, Hold::Wait(RunState::Running)));
    for for_good in [false, true] {
        assert!(j.stand_still(&held, for_good).await.unwrap());
        assert_eq!((j.hold(&reader).await.unwrap(), stance().await), (Hold::Still, Some(Stance::Still)));
    }
    let found = j.list(&b.tenant, &RunFilter { holds: Some(held.run.clone()), ..RunFilter::default() }).await.unwrap();
    assert_eq!(found.iter().map(|v| (&v.id, v.holds.as_ref())).collect::<Vec<_>>(), [(&id, Some(&held.run))]);

    b.options(&id, Request::Pause).await.unwrap();
    j.write(&reader, vec![Change::State { to: RunState::Paused, error: None }], vec![]).await.unwrap();
    assert!(matches!(j.hold(&reader).await, Err(EngineError::Fenced(_))));
    assert!(!j.stand_still(&held, false).await.unwrap(), "a reader that is at rest holds nothing");
    b.options(&id, Request::Resume).await.unwrap();
    let reader = b.claim("w").await.unwrap().token;
    assert_eq!(j.hold(&reader).await.unwrap(), Hold::Wait(RunState::Running));
    j.write(&reader, vec![Change::State { to: RunState::Failed, error: None }], vec![]).await.unwrap();
    assert!(!j.stand_still(&held, true).await.unwrap());
    let late = holder(&b, "late", &held.run).await;
    let reader = b.claim("w").await.unwrap().token;
    assert_eq!((&reader.run, j.hold(&reader).await.unwrap()), (&late, Hold::Lost(Some(RunState::Running))), "it went on for good");
    holder(&b, "orphan", "no such run").await;
    let orphan = b.claim("w").await.unwrap().token;
    assert_eq!(j.hold(&orphan).await.unwrap(), Hold::Lost(None));
}

pub async fn what_is_read_stays(b: Bench) {
    let (j, held) = (&b.journal, b.claimed("held", "w").await.token);
    j.write(&held, vec![Change::State { to: RunState::Cancelled, error: None }], vec![]).await.unwrap();
    let id = holder(&b, "reader", &held.run).await;
    let refused = |r: Result<(), EngineError>| match r {
        Err(EngineError::Conflict { state: RunState::Cancelled, message, .. }) => assert!(message.contains(&id), "{message}"),
        other => panic!("{other:?}"),
    };
    refused(b.options(&held.run, Request::Rollback { options: null() }).await.map(drop));
    refused(j.delete(&b.tenant, &held.run).await);
    b.options(&id, Request::Cancel).await.unwrap();
    assert_eq!(b.options(&held.run, Request::Rollback { options: null() }).await.unwrap(), RunState::RollingBack);
}

pub async fn the_way_back_is_given_up_once(b: Bench) {
    let (j, token) = (&b.journal, b.claimed("a", "w").await.token);
    let refused = b.options(&token.run, Request::Finalize { by: None }).await;
    assert!(matches!(refused, Err(EngineError::Conflict { state: RunState::Running, .. })), "{refused:?}");
    j.plan(&token, "files", vec![NewChunk { seq: 0, spec: vec![1], items: 1, bytes: 2 }]).await.unwrap();
    j.done(&token, "files", vec![ChunkDone { seq: 0, result: vec![2], items: 1, bytes: 2 }]).await.unwrap();
    let memo = Change::Memo { scope: String::new(), key: "k".to_owned(), value: Some(json!(1)) };
    j.write(&token, vec![memo, Change::Done { index: 0, output: json!({"kept": true}) }], vec![]).await.unwrap();
    j.write(&token, vec![Change::State { to: RunState::Completed, error: None }], vec![]).await.unwrap();
    let before = j.view(&b.tenant, &token.run).await.unwrap();

    let first = j.request(&b.tenant, &token.run, &Request::Finalize { by: Some("ann".to_owned()) }).await.unwrap();
    let finalized = first.finalized.clone().unwrap();
    assert_eq!((finalized.by.as_deref(), first.state, &first.ledgers), (Some("ann"), RunState::Completed, &before.ledgers));
    assert_eq!(first.steps[0].output, Some(json!({"kept": true})));
    assert!(j.all(&b.tenant, &token.run, "files", None, 9).await.unwrap().is_empty());
    assert_eq!(j.recall(&token, "", "k").await.unwrap(), None);
    let again = j.request(&b.tenant, &token.run, &Request::Finalize { by: Some("bob".to_owned()) }).await.unwrap();
    assert_eq!((again.finalized.as_ref(), again.last_event), (Some(&finalized), first.last_event));
    match b.options(&token.run, Request::Rollback { options: null() }).await {
        Err(EngineError::Conflict { state: RunState::Completed, message, .. }) => assert!(message.contains("by ann"), "{message}"),
        other => panic!("{other:?}"),
    }
    j.forget_secrets(&b.tenant, &token.run, &json!({"password": "********"})).await.unwrap();
    assert_eq!(j.input(&b.tenant, &token.run).await.unwrap(), json!({"password": "********"}));
    let running = b.claimed("b", "w").await.token;
    let input = j.input(&b.tenant, &running.run).await.unwrap();
    j.forget_secrets(&b.tenant, &running.run, &json!({})).await.unwrap();
    assert_eq!(j.input(&b.tenant, &running.run).await.unwrap(), input, "a run that may go back keeps what it needs");
    j.delete(&b.tenant, &token.run).await.unwrap();
}
