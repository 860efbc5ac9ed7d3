//! A plan whose steps do what a test tells them, and remember that they did.

use engine::plan::PlanBuilder;
use engine::{EngineError, Plan, PlanRegistry, Presence, Step, StepContext, StepError};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type Run = Arc<dyn Fn(StepContext) -> BoxFuture<'static, Result<Value, StepError>> + Send + Sync>;
type Undo = Arc<dyn Fn(StepContext, Option<Value>) -> BoxFuture<'static, Result<(), StepError>> + Send + Sync>;
type Probe = Arc<dyn Fn(StepContext) -> BoxFuture<'static, Result<Presence, StepError>> + Send + Sync>;

/// What happened, in order: `run copy`, `undo copy Some`, `probe copy`, `stand_down copy`.
#[derive(Clone)]
pub struct Diary {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Sender<usize>,
}

impl Default for Diary {
    fn default() -> Self {
        Self { lines: Arc::default(), count: watch::Sender::new(0) }
    }
}

impl Diary {
    pub fn note(&self, line: impl Into<String>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.into());
        self.count.send_replace(lines.len());
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Only lines that begin so.
    pub fn of(&self, prefix: &str) -> Vec<String> {
        self.lines().into_iter().filter(|l| l.starts_with(prefix)).collect()
    }

    /// Waits until a line is there so many times.
    pub async fn until(&self, line: &str, times: usize) {
        let mut changed = self.count.subscribe();
        while self.lines().iter().filter(|l| *l == line).count() < times {
            changed.changed().await.expect("the diary lives as long as its steps");
        }
    }
}

/// A step made of closures; without any it does nothing and can be undone.
#[derive(Clone)]
pub struct Scripted {
    name: &'static str,
    version: u32,
    diary: Diary,
    run: Option<Run>,
    undo: Option<Undo>,
    probe: Option<Probe>,
}

impl Scripted {
    pub fn new(name: &'static str, diary: &Diary) -> Self {
        Self { name, version: 1, diary: diary.clone(), run: None, undo: None, probe: None }
    }

    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    #[must_use]
    pub fn runs<F: Future<Output = Result<Value, StepError>> + Send + 'static>(mut self, run: impl Fn(StepContext) -> F + Send + Sync + 'static) -> Self {
        self.run = Some(Arc::new(move |cx| Box::pin(run(cx))));
        self
    }

    #[must_use]
    pub fn undoes<F: Future<Output = Result<(), StepError>> + Send + 'static>(
        mut self,
        undo: impl Fn(StepContext, Option<Value>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.undo = Some(Arc::new(move |cx, output| Box::pin(undo(cx, output))));
        self
    }

    #[must_use]
    pub fn probes<F: Future<Output = Result<Presence, StepError>> + Send + 'static>(
        mut self,
        probe: impl Fn(StepContext) -> F + Send + Sync + 'static,
    ) -> Self {
        self.probe = Some(Arc::new(move |cx| Box::pin(probe(cx))));
        self
    }

    /// Runs until it is told to stop.
    #[must_use]
    pub fn runs_until_stopped(self) -> Self {
        self.runs(|cx| async move {
            cx.stopping().cancelled().await;
            Err(StepError::stopped())
        })
    }
}

#[async_trait::async_trait]
impl Step for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    async fn run(&self, cx: &StepContext) -> Result<Value, StepError> {
        self.diary.note(format!("run {}", self.name));
        match &self.run {
            Some(run) => run(cx.clone()).await,
            None => Ok(json!({ "did": self.name })),
        }
    }

    async fn undo(&self, cx: &StepContext, output: Option<&Value>) -> Result<(), StepError> {
        self.diary.note(format!("undo {} {}", self.name, if output.is_some() { "Some" } else { "None" }));
        match &self.undo {
            Some(undo) => undo(cx.clone(), output.cloned()).await,
            None => Ok(()),
        }
    }

    async fn probe(&self, cx: &StepContext) -> Result<Presence, StepError> {
        self.diary.note(format!("probe {}", self.name));
        match &self.probe {
            Some(probe) => probe(cx.clone()).await,
            None => Ok(Presence::Absent),
        }
    }

    async fn stand_down(&self, _cx: &StepContext) -> Result<(), StepError> {
        self.diary.note(format!("stand_down {}", self.name));
        Ok(())
    }
}

struct Fixed(Plan);

impl PlanBuilder for Fixed {
    fn build(&self, input: &Value) -> Result<Plan, EngineError> {
        if input.get("refuse").is_some() {
            return Err(EngineError::Invalid("the input asks to be refused".to_owned()));
        }
        Ok(self.0.clone())
    }
}

/// A registry with one kind of run, of these steps.
pub fn registry(kind: &str, steps: Vec<Scripted>) -> PlanRegistry {
    let steps = steps.into_iter().map(|s| -> Arc<dyn Step> { Arc::new(s) }).collect();
    PlanRegistry::default().with(kind, Arc::new(Fixed(Plan { steps })))
}
