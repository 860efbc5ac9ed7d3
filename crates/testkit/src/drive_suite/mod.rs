//! What workers promise, as a suite over any journal: steps run, retry, fail, pause, are undone and survive crashes.

mod crashes;
mod cut;
mod ends;
mod stops;

use crate::scripted::{Diary, Scripted, registry};
use engine::{Engine, Event, EventFilter, Journal, NewRun, PlanRegistry, RunState, RunView, Worker, WorkerOptions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// All cases, several at a time.
pub async fn run(journal: Arc<dyn Journal>) {
    let stage = |name: &str| Stage::new(&journal, name);
    tokio::join!(
        ends::completes_in_order(stage("order")),
        ends::temporary_errors_are_tried_again(stage("retry")),
        ends::attempts_end(stage("attempts")),
        ends::progress_counts_attempts_anew(stage("progress")),
        ends::failure_and_retry(stage("failure")),
        ends::automatic_rollback(stage("automatic")),
        ends::panics(stage("panics")),
        ends::stuck_and_resolve(stage("stuck")),
        ends::samples(stage("samples")),
    );
    tokio::join!(
        stops::pause_and_resume(stage("pause")),
        stops::cancel_and_rollback(stage("cancel")),
        stops::an_error_while_stopping_is_no_failure(stage("stopping")),
        stops::shutdown_lets_another_go_on(stage("shutdown")),
        crashes::a_crash_is_probed(stage("probe")),
        crashes::abandoned_run_is_only_stood_down(stage("abandoned")),
        crashes::a_crash_in_an_undo(stage("undo")),
        crashes::a_cut_off_worker_stops_itself(stage("cut")),
        crashes::a_result_that_cannot_be_stored_fails_the_run(stage("refused")),
        crashes::foreign_versions_are_left_alone(stage("versions")),
        crashes::a_plan_that_changed_before_it_began(stage("pins")),
    );
    crashes::many_workers_many_runs(stage("many")).await;
}

/// One case's names and its diary.
struct Stage {
    journal: Arc<dyn Journal>,
    kind: String,
    diary: Diary,
}

/// A worker in the background. Dropping it is a crash.
struct Hand {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hand {
    /// Ends it in good order.
    async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("the worker ends in good order");
    }

    /// Ends it as SIGKILL would.
    async fn kill(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

fn options() -> WorkerOptions {
    WorkerOptions {
        poll: Duration::from_millis(20),
        sample: Duration::from_millis(30),
        attempts: 3,
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        stop_grace: Duration::from_secs(5),
        ..WorkerOptions::default()
    }
}

impl Stage {
    fn new(journal: &Arc<dyn Journal>, name: &str) -> Self {
        let kind = format!("{name}-{}", uuid::Uuid::now_v7().simple());
        Self { journal: journal.clone(), kind, diary: Diary::default() }
    }

    fn step(&self, name: &'static str) -> Scripted {
        Scripted::new(name, &self.diary)
    }

    fn plans(&self, steps: Vec<Scripted>) -> PlanRegistry {
        registry(&self.kind, steps)
    }

    fn engine(&self, plans: &PlanRegistry) -> Engine {
        Engine::new(self.journal.clone(), plans.clone())
    }

    fn hire(&self, plans: &PlanRegistry, options: WorkerOptions) -> Hand {
        Self::hire_on(self.journal.clone(), plans, options)
    }

    fn hire_on(journal: Arc<dyn Journal>, plans: &PlanRegistry, options: WorkerOptions) -> Hand {
        let stop = CancellationToken::new();
        let worker = Worker::new(journal, plans.clone(), options);
        let token = stop.clone();
        let task = tokio::spawn(async move { worker.run(token).await.expect("a worker never fails") });
        Hand { stop, task }
    }

    async fn start(&self, engine: &Engine, id: &str, options: Value) -> String {
        let id = format!("{}/{id}", self.kind);
        let run = NewRun {
            id: id.clone(),
            tenant: "t".to_owned(),
            kind: self.kind.clone(),
            input: json!({"in": 1}),
            labels: json!({"auto_rollback": true}),
            holds: None,
        };
        engine.create(run).await.expect("created");
        engine.start("t", &id, options).await.expect("started");
        id
    }

    /// Starts a run of these steps on a worker of its own, and waits for its end; labels ask for the automatic undo, options may differ.
    async fn play(&self, steps: Vec<Scripted>, run_options: Value) -> (Engine, Hand, RunView) {
        let plans = self.plans(steps);
        let engine = self.engine(&plans);
        let hand = self.hire(&plans, options());
        let id = self.start(&engine, "run", run_options).await;
        let view = until(&engine, &id, |v| v.state.is_end()).await;
        (engine, hand, view)
    }
}

/// No automatic undo.
fn manual() -> Value {
    json!({"auto_rollback": false})
}

/// Waits, by events, until the run is as expected.
async fn until(engine: &Engine, id: &str, is: impl Fn(&RunView) -> bool) -> RunView {
    let waiting = async {
        loop {
            let view = engine.get("t", id).await.expect("the run is there");
            if is(&view) {
                return view;
            }
            engine.wait_event("t", id, view.last_event, Duration::from_millis(200)).await.expect("events are there");
        }
    };
    let Ok(view) = tokio::time::timeout(PATIENCE, waiting).await else { panic!("waited in vain; the run is {:?}", engine.get("t", id).await) };
    view
}

async fn until_state(engine: &Engine, id: &str, state: RunState) -> RunView {
    until(engine, id, |v| v.state == state).await
}

async fn events(engine: &Engine, id: &str, kinds: &[&str]) -> Vec<Event> {
    let filter = EventFilter { kinds: kinds.iter().map(|k| (*k).to_owned()).collect(), ..EventFilter::default() };
    engine.events("t", id, &filter).await.expect("events are there")
}

async fn kinds(engine: &Engine, id: &str) -> Vec<String> {
    events(engine, id, &["run.*", "step.*"]).await.into_iter().map(|e| e.kind).collect()
}
