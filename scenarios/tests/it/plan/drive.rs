//! A run of the plan on a journal of its own, with a worker that can be killed.

use engine::plan::PlanBuilder;
use engine::{Engine, EngineError, NewRun, Plan, PlanRegistry, RunState, RunView, Step, StepContext, StepError, Worker, WorkerOptions};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TENANT: &str = "default";
const ID: &str = "run";
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Driven {
    store: Option<Arc<store::Store>>,
    pub engine: Engine,
    plans: PlanRegistry,
    worker: JoinHandle<()>,
}

impl Driven {
    /// Opens the journal below `dir` and starts a worker. The first time, makes the run.
    pub async fn open(dir: &Path, plans: PlanRegistry) -> Self {
        let store = Arc::new(store::Store::open("sqlite:", &dir.join("journal")).await.expect("the journal opens"));
        let engine = Engine::new(store.clone(), plans.clone());
        let options = WorkerOptions { poll: Duration::from_millis(20), backoff: Duration::from_millis(5), attempts: 2, ..WorkerOptions::default() };
        let work = Worker::new(store.clone(), plans.clone(), options).run(CancellationToken::new());
        let worker = tokio::spawn(async move {
            work.await.expect("the worker ends well");
        });
        Self { store: Some(store), engine, plans, worker }
    }

    pub async fn start(&self, input: Value, auto_rollback: bool) {
        let kind = if domain::workloads::is_workload_migration(&input) { plans::WORKLOAD } else { plans::APPLICATION };
        let run = NewRun { id: ID.to_owned(), tenant: TENANT.to_owned(), kind: kind.to_owned(), input, labels: Value::Null, holds: None };
        self.engine.create(run).await.expect("the run is created");
        self.engine.start(TENANT, ID, json!({"auto_rollback": auto_rollback})).await.expect("the run starts");
    }

    pub async fn cancel(&self) {
        self.engine.cancel(TENANT, ID).await.expect("the wish is taken");
    }

    pub async fn rollback(&self, options: Value) -> RunView {
        self.engine.rollback(TENANT, ID, options).await.expect("the rollback starts");
        self.ended().await
    }

    /// The run once it has ended.
    pub async fn ended(&self) -> RunView {
        let waiting = async {
            loop {
                let run = self.engine.get(TENANT, ID).await.expect("the run is there");
                if run.state.is_end() {
                    return run;
                }
                self.engine.wait_event(TENANT, ID, run.last_event, Duration::from_secs(5)).await.expect("events");
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the run ends in time")
    }

    pub async fn completed(&self) -> RunView {
        let run = self.ended().await;
        assert_eq!(run.state, RunState::Completed, "{:?}", run.error);
        run
    }

    /// The worker and its process are gone, from one moment to the next; the journal is given back.
    pub async fn crash(mut self) -> PlanRegistry {
        self.worker.abort();
        let _aborted = (&mut self.worker).await;
        let mut store = self.store.take().expect("an open journal");
        drop(self.engine);
        let closed = async {
            loop {
                match Arc::try_unwrap(store) {
                    Ok(only) => return only.close().await,
                    Err(shared) => store = shared,
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("the journal is given back");
        self.plans
    }
}

/// The output of a step.
pub fn output<'r>(run: &'r RunView, step: &str) -> &'r Value {
    run.steps.iter().find(|s| s.name == step).and_then(|s| s.output.as_ref()).unwrap_or_else(|| panic!("step {step} has no output"))
}

/// What somebody else does at some moment.
pub type Deed = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// The plan with a deed of somebody else before one of its steps.
pub fn disturbed(plans: PlanRegistry, before: &'static str, deed: Deed) -> PlanRegistry {
    let node = plans.node().map(str::to_owned);
    PlanRegistry::default().on_node(node).with(plans::APPLICATION, Arc::new(Disturbed { plans, before, deed }))
}

struct Disturbed {
    plans: PlanRegistry,
    before: &'static str,
    deed: Deed,
}

impl PlanBuilder for Disturbed {
    fn build(&self, input: &Value) -> Result<Plan, EngineError> {
        let mut plan = self.plans.build(plans::APPLICATION, input)?;
        let at = plan.steps.iter().position(|s| s.name() == self.before).expect("such a step");
        plan.steps.insert(at, Arc::new(Disturbance(self.deed.clone())));
        Ok(plan)
    }
}

struct Disturbance(Deed);

#[async_trait::async_trait]
impl Step for Disturbance {
    fn name(&self) -> &'static str {
        "disturbance"
    }

    fn title(&self) -> &'static str {
        "Somebody else"
    }

    async fn run(&self, _cx: &StepContext) -> Result<Value, StepError> {
        (self.0)().await;
        Ok(Value::Null)
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}
