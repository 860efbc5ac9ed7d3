//! A plan as data: the steps in order. Built anew from the run's input whenever a worker claims the run.

use crate::{EngineError, StepContext, StepError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a probe saw of a step whose outcome is unknown after a crash.
#[derive(Debug, Clone, PartialEq)]
pub enum Presence {
    /// The effect is not there (or running again is harmless): the step runs again.
    Absent,
    /// The effect is there, whole; the value is the step's output.
    Present(Value),
    /// Cannot be told now. Asked again with back-off; never taken for failure or success.
    Unknown,
}

/// One thing that is done, can be done twice with the effect of once, and can be undone.
#[async_trait::async_trait]
pub trait Step: Send + Sync {
    /// Stable identifier, unique in its plan: `transfer_files`.
    fn name(&self) -> &'static str;

    /// For people: `Transferring files`.
    fn title(&self) -> &'static str;

    /// Raised when input or output change incompatibly. A worker claims only runs whose versions it supports.
    fn version(&self) -> u32 {
        1
    }

    /// Does it. The output (small, versioned by `version`) is stored and is what `undo` gets. Must be repeatable: after a crash or
    /// a temporary error it runs again, and finds its own traces in the ledger and the memos.
    /// When `cx.stopping()` is cancelled it ends soon with [`StepError::stopped`].
    async fn run(&self, cx: &StepContext) -> Result<Value, StepError>;

    /// Takes it back, wholly. `output` is `None` when the step had begun but its outcome was never stored: then undo what may
    /// have been done, from ledger and memos. Must be repeatable.
    async fn undo(&self, cx: &StepContext, output: Option<&Value>) -> Result<(), StepError>;

    /// Looks whether the effect of an interrupted `run` is there. Only steps that are not repeatable by themselves need it.
    async fn probe(&self, _cx: &StepContext) -> Result<Presence, StepError> {
        Ok(Presence::Absent)
    }

    /// Called instead of a plain stop when the run pauses, is cancelled, or fails for good at this or a later step, before any undo, and once after a
    /// crash when the run is claimed again: what must never outlive the run's activity is taken back (maintenance mode). Repeatable.
    async fn stand_down(&self, _cx: &StepContext) -> Result<(), StepError> {
        Ok(())
    }
}

/// The steps of one run, in order.
#[derive(Clone)]
pub struct Plan {
    pub steps: Vec<Arc<dyn Step>>,
}

/// Makes a plan from a run's input.
pub trait PlanBuilder: Send + Sync {
    fn build(&self, input: &Value) -> Result<Plan, EngineError>;
}

/// The kinds of run that this process can work on.
#[derive(Clone, Default)]
pub struct PlanRegistry {
    builders: BTreeMap<String, Arc<dyn PlanBuilder>>,
    node: Option<String>,
}

impl PlanRegistry {
    #[must_use]
    pub fn with(mut self, kind: &str, builder: Arc<dyn PlanBuilder>) -> Self {
        self.builders.insert(kind.to_owned(), builder);
        self
    }

    /// Names the node that this process works on: the place of state that only it can reach, such as backups on its disk.
    /// Workers with these plans claim runs that are pinned to that node, and runs that are pinned to none.
    #[must_use]
    pub fn on_node(mut self, node: Option<String>) -> Self {
        self.node = node;
        self
    }

    /// See [`PlanRegistry::on_node`].
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub fn kinds(&self) -> Vec<String> {
        self.builders.keys().cloned().collect()
    }

    pub fn build(&self, kind: &str, input: &Value) -> Result<Plan, EngineError> {
        let builder = self.builders.get(kind).ok_or_else(|| EngineError::Invalid(format!("no plan for runs of kind '{kind}'")))?;
        builder.build(input)
    }
}
