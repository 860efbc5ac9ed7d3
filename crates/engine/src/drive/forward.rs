//! Running the steps in order.

use super::stop::Stop;
use super::{Drive, End, attempt, spans};
use crate::journal::{Change, Level, NewEvent};
use crate::state::Outcome;
use crate::view::{StepState, StepView};
use crate::{EngineError, Presence, Step, StepError};
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::Instrument;

/// How one step ended.
enum Went {
    Done,
    Failed(StepError),
    Stopped(Stop),
}

impl Drive {
    pub(super) async fn forward(&mut self) -> Result<End, EngineError> {
        for index in 0..self.plan.steps.len() {
            if let Some(stop) = self.signal.reason() {
                return Ok(End::Stopped(stop));
            }
            if self.view.steps[index].state == StepState::Done {
                continue;
            }
            let step = self.plan.steps[index].clone();
            let span = spans::step("step", step.name());
            match self.one(index, &step).instrument(span).await? {
                Went::Done => {}
                Went::Stopped(stop) => return Ok(End::Stopped(stop)),
                Went::Failed(error) => return self.fail(index, error).await,
            }
        }
        self.settle(Outcome::Finished, Vec::new(), Vec::new(), None).await.map(End::Settled)
    }

    async fn fail(&mut self, index: usize, error: StepError) -> Result<End, EngineError> {
        self.stand_down().await;
        let name = self.view.steps[index].name.clone();
        let event = NewEvent::new("step.failed", Level::Error, name, error.message.clone()).details(about(&self.view.steps[index], Some(&error)));
        let outcome = if self.undoes_itself() { Outcome::FailedAndUndo } else { Outcome::Failed };
        self.settle(outcome, vec![Change::Failed { index: index as u32, error: error.clone() }], vec![event], Some(error)).await.map(End::Settled)
    }

    fn undoes_itself(&self) -> bool {
        let said = |place: &Value| place.get("auto_rollback").and_then(Value::as_bool);
        said(&self.context.options).or_else(|| said(&self.view.labels)).unwrap_or(false)
    }

    async fn one(&mut self, index: usize, step: &Arc<dyn Step>) -> Result<Went, EngineError> {
        let went = self.until_it_ends(index, step).await?;
        match &went {
            Went::Done => spans::ended("done", None),
            Went::Failed(error) => spans::ended("failed", Some(&error.kind)),
            Went::Stopped(_) => spans::ended("stopped", None),
        }
        Ok(went)
    }

    /// One step until it is done, has failed for good, or is to stop.
    async fn until_it_ends(&mut self, index: usize, step: &Arc<dyn Step>) -> Result<Went, EngineError> {
        self.recorder.telling().step(step.name());
        if self.view.steps[index].state == StepState::Begun {
            match self.look(index, step).await? {
                Looked::Present(output) => return self.done(index, output).await,
                Looked::Absent => {}
                Looked::Failed(error) => return Ok(Went::Failed(error)),
                Looked::Stopped(stop) => return Ok(Went::Stopped(stop)),
            }
        }
        let mut failed = 0;
        let mut progress = self.chunks_done().await;
        loop {
            self.begin(index).await?;
            let cx = self.context_for(step.as_ref(), self.view.steps[index].attempts);
            let what = format!("step '{}'", step.name());
            let runner = step.clone();
            let result = attempt::attempt(&what, &self.signal, self.shared.options.stop_grace, async move { runner.run(&cx).await }).await;
            let error = match result {
                Ok(output) => return self.done(index, output).await,
                Err(error) => error,
            };
            if let Some(stop) = self.stop_after(&error) {
                return Ok(Went::Stopped(stop));
            }
            if !error.temporary {
                return Ok(Went::Failed(error));
            }
            let reached = self.chunks_done().await;
            failed = if reached > progress { 1 } else { failed + 1 };
            progress = reached;
            if failed >= self.shared.options.attempts {
                return Ok(Went::Failed(exhausted(error, failed)));
            }
            self.falter(index, &error, failed).await?;
            if let Some(stop) = self.wait_after(failed).await {
                return Ok(Went::Stopped(stop));
            }
        }
    }

    /// After an error while the run is to stop, stopping wins: the step runs again, or is undone, later.
    fn stop_after(&self, error: &StepError) -> Option<Stop> {
        if error.stopped && self.recorder.fenced().is_cancelled() {
            return Some(Stop::LostLease);
        }
        let stop = self.signal.reason()?;
        if !error.stopped {
            self.recorder.log(Level::Warning, "engine", format!("while stopping: {error}"), error.details.clone());
        }
        Some(stop)
    }

    /// Intent: written before the step may do anything.
    async fn begin(&mut self, index: usize) -> Result<(), EngineError> {
        let view = &mut self.view.steps[index];
        view.state = StepState::Begun;
        view.attempts += 1;
        let message = if view.attempts == 1 { view.title.clone() } else { format!("{} (attempt {})", view.title, view.attempts) };
        let event = NewEvent::new("step.begun", Level::Info, view.name.clone(), message).details(about(view, None));
        self.persist(vec![Change::Begun { index: index as u32 }], vec![event]).await
    }

    async fn done(&mut self, index: usize, output: Value) -> Result<Went, EngineError> {
        let view = &mut self.view.steps[index];
        view.state = StepState::Done;
        let (name, title) = (view.name.clone(), view.title.clone());
        let event = NewEvent::new("step.done", Level::Info, name.clone(), format!("{title}: done")).details(about(view, None));
        self.output(&name, output.clone());
        self.persist(vec![Change::Done { index: index as u32, output }], vec![event]).await?;
        Ok(Went::Done)
    }

    async fn falter(&self, index: usize, error: &StepError, failed: u32) -> Result<(), EngineError> {
        let view = &self.view.steps[index];
        let message = format!("{} (attempt {failed} of {}; trying again)", error.message, self.shared.options.attempts);
        let event = NewEvent::new("step.faltered", Level::Warning, view.name.clone(), message).details(about(view, Some(error)));
        self.persist(vec![Change::Faltered { index: index as u32, error: error.clone() }], vec![event]).await
    }

    /// How far the ledgers are: an attempt that moved something was no vain one.
    async fn chunks_done(&self) -> u64 {
        let view = self.recorder.journal().own_view(self.recorder.token()).await;
        view.map(|v| v.ledgers.iter().map(|(_, totals)| totals.chunks_done).sum()).unwrap_or_default()
    }

    /// Probes a step whose outcome was never stored, until it can be told.
    pub(super) async fn look(&self, index: usize, step: &Arc<dyn Step>) -> Result<Looked, EngineError> {
        let mut failed = 0;
        loop {
            let cx = self.context_for(step.as_ref(), self.view.steps[index].attempts.max(1));
            let what = format!("looking after step '{}'", step.name());
            let prober = step.clone();
            let error = match attempt::attempt(&what, &self.signal, self.shared.options.stop_grace, async move { prober.probe(&cx).await }).await {
                Ok(Presence::Present(output)) => return Ok(Looked::Present(output)),
                Ok(Presence::Absent) => return Ok(Looked::Absent),
                Ok(Presence::Unknown) => StepError::temporary("in_doubt", format!("it cannot be told whether step '{}' had its effect", step.name())),
                Err(error) => error,
            };
            if let Some(stop) = self.stop_after(&error) {
                return Ok(Looked::Stopped(stop));
            }
            failed += 1;
            if !error.temporary || failed >= self.shared.options.attempts {
                return Ok(Looked::Failed(exhausted(error, failed)));
            }
            self.falter(index, &error, failed).await?;
            if let Some(stop) = self.wait_after(failed).await {
                return Ok(Looked::Stopped(stop));
            }
        }
    }
}

/// What looking after an interrupted step gave.
pub(super) enum Looked {
    Present(Value),
    Absent,
    Failed(StepError),
    Stopped(Stop),
}

/// A temporary error that came too often: it keeps its kind and says so.
pub(super) fn exhausted(mut error: StepError, failed: u32) -> StepError {
    if failed > 1 {
        error.message = format!("{} (gave up after {failed} attempts)", error.message);
    }
    error
}

/// The details of a step's event.
pub(super) fn about(step: &StepView, error: Option<&StepError>) -> Value {
    let mut details = json!({ "step": step.name, "index": step.index, "title": step.title, "attempt": step.attempts });
    if let Some(error) = error {
        details["error"] = json!(error);
    }
    details
}
