//! One scenario's world: the case, a journal of its own, and workers that may vanish.

use super::Case;
use super::fault::{Fault, Trap, Trapped};
use engine::{Engine, EngineError, Journal, NewRun, PlanRegistry, RunState, RunView, Worker, WorkerOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A scenario that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);
const TENANT: &str = "suite";
const ID: &str = "run";

/// See the module's comment.
pub struct World {
    case: Case,
    trap: Arc<Trap>,
    plans: PlanRegistry,
    data: TempDir,
}

impl World {
    pub async fn make(case: Case, fault: Fault) -> Self {
        let trap = Trap::new(fault);
        let trapped = Trapped { inner: case.registry.clone(), kind: case.kind.clone(), trap: trap.clone() };
        let plans = PlanRegistry::default().on_node(case.registry.node().map(str::to_owned)).with(&case.kind, Arc::new(trapped));
        let data = tempfile::tempdir().expect("a temporary directory for the journal");
        let world = Self { case, trap, plans, data };
        let store = world.open().await;
        let engine = Engine::new(store.clone(), world.plans.clone());
        let run = NewRun {
            id: ID.to_owned(),
            tenant: TENANT.to_owned(),
            kind: world.case.kind.clone(),
            input: world.case.input.clone(),
            labels: Value::Null,
            holds: None,
        };
        engine.create(run).await.expect("the run of the case is created");
        drop(engine);
        shut(store).await;
        world
    }

    /// A program that a step of another scenario starts in this very moment holds copies of our open files, the journal's lock among them.
    async fn open(&self) -> Arc<store::Store> {
        let opening = async {
            loop {
                match store::Store::open("sqlite:", self.data.path()).await {
                    Err(EngineError::Unavailable(_)) => tokio::task::yield_now().await,
                    opened => return Arc::new(opened.expect("the journal opens")),
                }
            }
        };
        tokio::time::timeout(PATIENCE, opening).await.expect("the journal is free again")
    }

    pub async fn fingerprint(&self) -> String {
        (self.case.fingerprint)().await
    }

    /// Starts the run and works on it until it ends; through a crash, if that is the fault.
    pub async fn drive(&self, auto_rollback: bool) -> RunView {
        let mut options = self.case.options.clone();
        if options.is_null() {
            options = json!({});
        }
        options["auto_rollback"] = json!(auto_rollback);
        self.work(async |engine: &Engine| {
            engine.start(TENANT, ID, options.clone()).await.expect("the run starts");
        })
        .await
    }

    /// Rolls the ended run back.
    pub async fn roll_back(&self) -> RunView {
        self.work(async |engine: &Engine| {
            engine.rollback(TENANT, ID, self.case.rollback_options.clone()).await.expect("the rollback starts");
        })
        .await
    }

    async fn work(&self, ask: impl AsyncFn(&Engine)) -> RunView {
        let mut store = self.open().await;
        ask(&Engine::new(store.clone(), self.plans.clone())).await;
        loop {
            let worker = tokio::spawn(self.worker(store.clone()).run(CancellationToken::new()));
            let ended = tokio::select! {
                run = until_end(store.clone(), &self.plans) => Some(run),
                () = self.trap.crashed.notified() => None,
            };
            worker.abort();
            let _aborted = worker.await;
            shut(store).await;
            match ended {
                Some(run) => return run,
                // The process is gone; a new one opens the journal and goes on.
                None => store = self.open().await,
            }
        }
    }

    fn worker(&self, journal: Arc<dyn Journal>) -> Worker {
        let options = WorkerOptions {
            name: "suite".to_owned(),
            poll: Duration::from_millis(50),
            sample: Duration::from_millis(100),
            backoff: Duration::from_millis(5),
            backoff_max: Duration::from_millis(50),
            attempts: 4,
            ..WorkerOptions::default()
        };
        Worker::new(journal, self.plans.clone(), options)
    }

    /// A scenario whose fault never came about proves nothing.
    pub fn was_hit(&self, name: &str) -> Result<(), String> {
        if self.trap.fault != Fault::None && self.trap.hits() == 0 { Err(format!("{name}: the step never ran")) } else { Ok(()) }
    }

    /// Removes the world.
    pub async fn end(self) {
        drop(self.case.keep);
    }
}

async fn until_end(store: Arc<store::Store>, plans: &PlanRegistry) -> RunView {
    let engine = Engine::new(store, plans.clone());
    let waiting = async {
        let mut seen = 0;
        loop {
            let run = engine.get(TENANT, ID).await.expect("the run is there");
            if run.state.is_end() || run.state == RunState::Paused {
                return run;
            }
            let events = engine.wait_event(TENANT, ID, seen.max(run.last_event), Duration::from_secs(5)).await.expect("events are there");
            seen = events.last().map_or(seen, |e| e.seq);
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("the run did not end within {} s", PATIENCE.as_secs()))
}

/// Closes the journal, so that the next process may open it.
async fn shut(mut store: Arc<store::Store>) {
    // Tasks of an aborted worker may hold it for a moment.
    let closed = async {
        loop {
            match Arc::try_unwrap(store) {
                Ok(only) => return only.close().await,
                Err(shared) => store = shared,
            }
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, closed).await.is_ok(), "the journal was never given back");
}
