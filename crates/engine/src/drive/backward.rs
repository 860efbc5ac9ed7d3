//! Undoing the steps in reverse.

use super::forward::{Looked, about, exhausted};
use super::{Drive, End, attempt, spans};
use crate::journal::{Change, Level, NewEvent};
use crate::state::Outcome;
use crate::view::StepState;
use crate::{EngineError, Step, StepError};
use serde_json::Value;
use std::sync::Arc;
use tracing::Instrument;

use super::stop::Stop;

/// How one undo ended.
enum Went {
    Undone,
    Stuck(StepError),
    Stopped(Stop),
}

impl Drive {
    pub(super) async fn backward(&mut self) -> Result<End, EngineError> {
        for index in (0..self.plan.steps.len()).rev() {
            if let Some(stop) = self.signal.reason() {
                return Ok(End::Stopped(stop));
            }
            let step = self.plan.steps[index].clone();
            if matches!(self.view.steps[index].state, StepState::Pending | StepState::Undone) {
                continue;
            }
            let span = spans::step("undo", step.name());
            match self.one_back(index, &step).instrument(span).await? {
                Went::Undone => {}
                Went::Stopped(stop) => return Ok(End::Stopped(stop)),
                Went::Stuck(error) => return self.stuck(index, error).await,
            }
        }
        self.settle(Outcome::Undone, Vec::new(), Vec::new(), None).await.map(End::Settled)
    }

    async fn one_back(&mut self, index: usize, step: &Arc<dyn Step>) -> Result<Went, EngineError> {
        let went = match self.view.steps[index].state {
            StepState::Begun | StepState::Failed => match self.look(index, step).await? {
                Looked::Present(output) => self.take_back(index, step, Some(output)).await?,
                Looked::Absent => self.take_back(index, step, None).await?,
                Looked::Failed(error) => Went::Stuck(error),
                Looked::Stopped(stop) => Went::Stopped(stop),
            },
            _ => {
                let output = self.view.steps[index].output.clone();
                self.take_back(index, step, output).await?
            }
        };
        match &went {
            Went::Undone => {
                self.undone(index).await?;
                spans::ended("undone", None);
            }
            Went::Stuck(error) => spans::ended("stuck", Some(&error.kind)),
            Went::Stopped(_) => spans::ended("stopped", None),
        }
        Ok(went)
    }

    /// One undo until it is done, has failed for good, or is to stop.
    async fn take_back(&mut self, index: usize, step: &Arc<dyn Step>, output: Option<Value>) -> Result<Went, EngineError> {
        self.recorder.telling().step(step.name());
        let view = &self.view.steps[index];
        let event = NewEvent::new("step.undoing", Level::Info, view.name.clone(), format!("{}: undoing", view.title)).details(about(view, None));
        self.persist(Vec::new(), vec![event]).await?;
        let mut failed = 0;
        loop {
            let cx = self.context_for(step.as_ref(), failed + 1);
            let what = format!("the undo of step '{}'", step.name());
            let (undoer, stored) = (step.clone(), output.clone());
            let call = async move { undoer.undo(&cx, stored.as_ref()).await };
            let error = match attempt::attempt(&what, &self.signal, self.shared.options.stop_grace, call).await {
                Ok(()) => return Ok(Went::Undone),
                Err(error) => error,
            };
            if let Some(stop) = self.undo_stopped(&error) {
                return Ok(Went::Stopped(stop));
            }
            failed += 1;
            if !error.temporary || failed >= self.shared.options.attempts {
                return Ok(Went::Stuck(exhausted(error, failed)));
            }
            self.undo_faltered(index, &error, failed).await?;
            if let Some(stop) = self.wait_after(failed).await {
                return Ok(Went::Stopped(stop));
            }
        }
    }

    fn undo_stopped(&self, error: &StepError) -> Option<Stop> {
        if error.stopped && self.recorder.fenced().is_cancelled() { Some(Stop::LostLease) } else { self.signal.reason() }
    }

    async fn undo_faltered(&self, index: usize, error: &StepError, failed: u32) -> Result<(), EngineError> {
        let view = &self.view.steps[index];
        let message = format!("{} (undo, attempt {failed} of {}; trying again)", error.message, self.shared.options.attempts);
        let event = NewEvent::new("step.faltered", Level::Warning, view.name.clone(), message).details(about(view, Some(error)));
        self.persist(Vec::new(), vec![event]).await
    }

    async fn undone(&mut self, index: usize) -> Result<(), EngineError> {
        let view = &mut self.view.steps[index];
        view.state = StepState::Undone;
        let event = NewEvent::new("step.undone", Level::Info, view.name.clone(), format!("{}: undone", view.title)).details(about(view, None));
        self.persist(vec![Change::Undone { index: index as u32 }], vec![event]).await
    }

    async fn stuck(&self, index: usize, error: StepError) -> Result<End, EngineError> {
        let view = &self.view.steps[index];
        let message = format!(
            "the undo of step '{}' failed: {}. Everything after that step is undone, it and the steps before are not. Put the cause right, then resolve the run",
            view.name, error.message
        );
        let error = StepError { message, ..error };
        let event = NewEvent::new("step.undo_failed", Level::Error, view.name.clone(), error.message.clone()).details(about(view, Some(&error)));
        let changes = vec![Change::Faltered { index: index as u32, error: error.clone() }];
        self.settle(Outcome::UndoFailed, changes, vec![event], Some(error)).await.map(End::Settled)
    }
}
