//! How many runs of a tenant may be active at once.

use super::Bench;
use engine::journal::{Change, ClaimRequest, StepPin, Token};
use engine::state::Request;
use engine::{EngineError, Journal, NewRun, RunState};
use futures::future::join_all;
use jiff::{Timestamp, ToSpan};
use ports::records::{Records, Write};
use serde_json::{Value, json};
use std::time::Duration;

impl<S: Records + Journal> Bench<S> {
    async fn limit(&self, active: Option<u32>) {
        let limit = Write::Limit { tenant: self.tenant.clone(), active };
        assert!(self.store.apply(vec![limit]).await.expect("set").is_empty());
    }

    async fn runs(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..count {
            let run = NewRun {
                id: format!("{}/{n}", self.tenant),
                tenant: self.tenant.clone(),
                kind: self.kind.clone(),
                input: Value::Null,
                labels: json!({}),
                holds: None,
            };
            self.store.create(&run, &[StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 }]).await.expect("created");
            ids.push(run.id);
        }
        ids
    }

    async fn wish(&self, id: &str, request: Request) -> Result<RunState, EngineError> {
        self.store.request(&self.tenant, id, &request).await.map(|view| view.state)
    }

    async fn claim(&self) -> Option<Token> {
        let request = ClaimRequest { owner: "w".to_owned(), kinds: vec![self.kind.clone()], except: Vec::new(), lease: Duration::from_mins(1), node: None };
        self.store.claim(&request).await.expect("the store answers").map(|c| c.token)
    }

    async fn enters(&self, token: &Token, to: RunState) {
        engine::journal::Record::write(&*self.store, token, vec![Change::State { to, error: None }], Vec::new()).await.expect("written");
    }
}

fn start() -> Request {
    Request::Start { options: Value::Null }
}

fn full(result: &Result<RunState, EngineError>) -> bool {
    matches!(result, Err(EngineError::Full { limit, used, .. }) if used >= limit)
}

pub(super) async fn of_many_starts_as_many_succeed_as_may<S: Records + Journal>(bench: Bench<S>) {
    let ids = bench.runs(20).await;
    bench.limit(Some(3)).await;
    let started = join_all(ids.iter().map(|id| bench.wish(id, start()))).await;
    assert_eq!(started.iter().filter(|s| matches!(s, Ok(RunState::Running))).count(), 3, "{started:?}");
    assert_eq!(started.iter().filter(|s| full(s)).count(), 17, "{started:?}");
    bench.limit(None).await;
    let rest = ids.iter().zip(&started).filter(|(_, s)| s.is_err());
    assert!(join_all(rest.map(|(id, _)| bench.wish(id, start()))).await.iter().all(Result::is_ok), "without a limit there is always room");
}

pub(super) async fn whatever_makes_a_run_active_asks<S: Records + Journal>(bench: Bench<S>) {
    let ids = bench.runs(2).await;
    bench.wish(&ids[0], start()).await.expect("started");
    let token = bench.claim().await.expect("a run");
    bench.enters(&token, RunState::Paused).await;
    bench.limit(Some(1)).await;
    bench.wish(&ids[1], start()).await.expect("there is room");
    let refused = [bench.wish(&ids[0], Request::Resume).await, bench.wish(&ids[0], Request::Rollback { options: Value::Null }).await];
    assert!(refused.iter().all(full), "{refused:?}");
    assert_eq!(bench.store.view(&bench.tenant, &ids[0]).await.expect("a run").state, RunState::Paused, "a refusal changes nothing");
    let token = bench.claim().await.expect("the second");
    bench.enters(&token, RunState::Completed).await;
    assert_eq!(bench.wish(&ids[0], Request::Resume).await.expect("room again"), RunState::Running);
}

pub(super) async fn a_timed_start_waits_for_room<S: Records + Journal>(bench: Bench<S>) {
    let ids = bench.runs(3).await;
    bench.limit(Some(1)).await;
    for id in &ids {
        bench.wish(id, Request::Schedule { at: Timestamp::now() - 1.hour(), options: Value::Null }).await.expect("scheduled");
    }
    for id in &ids {
        let token = bench.claim().await.expect("one has room");
        assert_eq!(&token.run, id, "the oldest first");
        assert!(bench.claim().await.is_none(), "the others wait");
        bench.enters(&token, RunState::Completed).await;
    }
}
