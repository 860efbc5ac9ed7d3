//! What a step sees while it runs: its input, earlier outputs, its ledgers and memos, the stop signal, and ways to tell.
//!
//! A context belongs to one attempt of one step; clones share everything. Telling (`log`, `operation`, `meter`) never blocks and
//! never fails; what is durable (`remember`, the ledgers) is fenced: after the lease is lost it answers [`StepError::stopped`].

use crate::StepError;
use crate::hold::Hold;
use crate::journal::memory::MemoryJournal;
use crate::journal::{Journal, Level, Token};
use crate::ledger::Ledger;
use crate::recorder::Recorder;
use crate::telling::{Counters, Meter};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// See the module's comment. Cheap to clone.
#[derive(Clone)]
pub struct StepContext {
    run: Arc<RunContext>,
    step: Arc<str>,
    attempt: u32,
    stopping: CancellationToken,
}

/// What all steps of a claimed run share.
pub(crate) struct RunContext {
    pub recorder: Arc<Recorder>,
    pub input: Value,
    pub options: Value,
    /// Outputs of done steps.
    pub outputs: Mutex<BTreeMap<String, Value>>,
}

impl StepContext {
    pub(crate) fn new(run: Arc<RunContext>, step: &str, attempt: u32, stopping: CancellationToken) -> Self {
        Self { run, step: step.into(), attempt, stopping }
    }

    pub fn run_id(&self) -> &str {
        &self.run.recorder.token().run
    }

    pub fn tenant(&self) -> &str {
        &self.run.recorder.token().tenant
    }

    /// The name of the step that this context was made for.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// From 1; counts the attempts of all workers.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The run's input, unsealed.
    pub fn input(&self) -> &Value {
        &self.run.input
    }

    /// The output of an earlier step that is done.
    pub fn output_of(&self, step: &str) -> Option<Value> {
        self.run.outputs.lock().unwrap_or_else(PoisonError::into_inner).get(step).cloned()
    }

    /// Options given with start or rollback; `null` when none.
    pub fn options(&self) -> &Value {
        &self.run.options
    }

    /// Cancelled on cancel, pause, lost lease and shutdown. End soon then, with [`StepError::stopped`].
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// From now on only workers of `node` may go on with the run, or undo it. Written down, durably, before it returns; call it before anything is
    /// made that only this node can reach. Repeatable.
    pub async fn pin_to(&self, node: &str) -> Result<(), StepError> {
        self.run.recorder.pin_to(node).await
    }

    /// Keeps a small value with the run, durably, before it returns. `None` removes it.
    pub async fn remember(&self, key: &str, value: Option<Value>) -> Result<(), StepError> {
        self.run.recorder.remember("", key, value).await
    }

    pub async fn recall(&self, key: &str) -> Result<Option<Value>, StepError> {
        self.run.recorder.recall("", key).await
    }

    /// Whether a user has asked for `name` ([`crate::Engine::ask`]).
    pub async fn asked(&self, name: &str) -> Result<bool, StepError> {
        Ok(self.recall(&crate::journal::words::asked(name)).await?.is_some())
    }

    /// At a place where the run can stand still: whether another one holds it now. While the answer is `true` the step writes nothing and asks
    /// again; with `false` it goes on, and with `for_good` nobody can hold it from then on.
    pub async fn stand_still(&self, for_good: bool) -> Result<bool, StepError> {
        self.run.recorder.stand_still(for_good).await
    }

    /// Whether the run that this one holds stands still.
    pub async fn hold(&self) -> Result<Hold, StepError> {
        self.run.recorder.hold().await
    }

    /// The run's chunk ledger of that name; made by its first `plan`.
    pub fn ledger(&self, name: &str) -> Ledger {
        Ledger::new(self.run.recorder.clone(), name)
    }

    /// One line of the run's log, written with the next journal write, at the latest after about a second.
    pub fn log(&self, level: Level, component: &str, message: String, details: Value) {
        self.run.recorder.log(level, component, message, details);
    }

    /// What is being worked on right now; the samples carry it.
    pub fn operation(&self, operation: Value) {
        self.run.recorder.telling().operation(operation);
    }

    /// The run's live counters.
    pub fn meter(&self) -> Arc<Meter> {
        self.run.recorder.telling().meter()
    }

    /// Adds foreign counters to the samples (for a mover that has its own meter). What they show when this is called counts as old.
    pub fn count(&self, counters: Arc<dyn Counters>) {
        self.run.recorder.telling().count(counters);
    }

    /// A context on an in-memory journal, for tests of single steps. `outputs` are those of the steps before.
    pub async fn for_test(step: &str, input: Value, options: Value, outputs: BTreeMap<String, Value>) -> Self {
        let journal = MemoryJournal::new();
        let token = journal.running("test", input.clone(), step).await;
        Self::on_journal(Arc::new(journal), token, step, input, options, outputs)
    }

    /// A context for a run that is already claimed. For tests of steps and of suites; workers make their own.
    pub fn on_journal(journal: Arc<dyn Journal>, token: Token, step: &str, input: Value, options: Value, outputs: BTreeMap<String, Value>) -> Self {
        let recorder = Arc::new(Recorder::new(journal, token, None));
        let run = RunContext { recorder, input, options, outputs: Mutex::new(outputs) };
        Self::new(Arc::new(run), step, 1, CancellationToken::new())
    }
}
