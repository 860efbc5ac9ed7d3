//! What the suites do to a plan's steps.

use engine::plan::PlanBuilder;
use engine::{EngineError, Plan, PlanRegistry, Presence, Step, StepContext, StepError};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the step does anything.
    Start,
    /// After its effect, before its outcome is stored.
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Once, with such an error.
    Fails {
        step: String,
        at: Moment,
        temporary: bool,
    },
    /// Once, the process vanishes there; another one goes on.
    Crash {
        step: String,
        at: Moment,
    },
    /// Every step and every undo runs twice.
    Twice,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |moment: &Moment| match moment {
            Moment::Start => "at its start",
            Moment::End => "at its end, after its effect",
        };
        match self {
            Self::None => write!(f, "nothing disturbed"),
            Self::Fails { step, at: moment, temporary: true } => write!(f, "step '{step}' fails for a moment {}", at(moment)),
            Self::Fails { step, at: moment, temporary: false } => write!(f, "step '{step}' fails for good {}", at(moment)),
            Self::Crash { step, at: moment } => write!(f, "the process is killed in step '{step}' {}", at(moment)),
            Self::Twice => write!(f, "every step and every undo runs twice"),
        }
    }
}

/// A fault on its way: shared between the test and the steps.
pub struct Trap {
    pub fault: Fault,
    sprung: AtomicBool,
    hits: AtomicUsize,
    /// Told when a step hangs at the place of a crash.
    pub crashed: Notify,
}

impl Trap {
    pub fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault, sprung: AtomicBool::new(false), hits: AtomicUsize::new(0), crashed: Notify::new() })
    }

    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    async fn pass(&self, step: &str, now: Moment) -> Result<(), StepError> {
        let (Fault::Fails { step: target, at, .. } | Fault::Crash { step: target, at }) = &self.fault else { return Ok(()) };
        if target != step || *at != now || self.sprung.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.hits.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Fails { temporary: true, .. } => Err(StepError::temporary("injected", format!("step '{step}' was made to fail for a moment"))),
            Fault::Fails { .. } => Err(StepError::permanent("injected", format!("step '{step}' was made to fail"))),
            Fault::None | Fault::Crash { .. } | Fault::Twice => {
                self.crashed.notify_one();
                std::future::pending().await
            }
        }
    }
}

/// Builds the plan of the case with the trap around every step.
pub struct Trapped {
    pub inner: PlanRegistry,
    pub kind: String,
    pub trap: Arc<Trap>,
}

impl PlanBuilder for Trapped {
    fn build(&self, input: &Value) -> Result<Plan, EngineError> {
        let plan = self.inner.build(&self.kind, input)?;
        let wrap = |inner| -> Arc<dyn Step> { Arc::new(TrappedStep { inner, trap: self.trap.clone() }) };
        Ok(Plan { steps: plan.steps.into_iter().map(wrap).collect() })
    }
}

struct TrappedStep {
    inner: Arc<dyn Step>,
    trap: Arc<Trap>,
}

#[async_trait::async_trait]
impl Step for TrappedStep {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn title(&self) -> &'static str {
        self.inner.title()
    }

    fn version(&self) -> u32 {
        self.inner.version()
    }

    async fn run(&self, cx: &StepContext) -> Result<Value, StepError> {
        self.trap.pass(self.name(), Moment::Start).await?;
        if self.trap.fault == Fault::Twice {
            self.trap.hits.fetch_add(1, Ordering::SeqCst);
            self.inner.run(cx).await?;
        }
        let output = self.inner.run(cx).await?;
        self.trap.pass(self.name(), Moment::End).await?;
        Ok(output)
    }

    async fn undo(&self, cx: &StepContext, output: Option<&Value>) -> Result<(), StepError> {
        if self.trap.fault == Fault::Twice {
            self.inner.undo(cx, output).await?;
        }
        self.inner.undo(cx, output).await
    }

    async fn probe(&self, cx: &StepContext) -> Result<Presence, StepError> {
        self.inner.probe(cx).await
    }

    async fn stand_down(&self, cx: &StepContext) -> Result<(), StepError> {
        self.inner.stand_down(cx).await
    }
}
