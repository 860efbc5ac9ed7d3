//! Drives one claimed run to its end, or to where it has to stop.
//!
//! ```text
//! claim ─► steps known? ─► stand down what a crash left ─► forward (running) ─► backward (rolling back) ─► state written
//!                 └─ no: leave it to another worker           └─ stop: stand down, then paused | cancelled | lease given back
//! ```
//! Beside it beats the pulse: lease, wishes of users, samples.

mod attempt;
mod backward;
mod forward;
mod pulse;
pub(crate) mod spans;
mod stop;

use crate::context::{RunContext, StepContext};
use crate::handle::pins;
use crate::journal::{Change, Claim, Level, NewEvent, Wanted};
use crate::recorder::Recorder;
use crate::state::{self, Outcome};
use crate::view::{RunView, StepState};
use crate::worker::Shared;
use crate::{EngineError, Plan, RunState, Step, StepError, admission};
use pulse::{Pulse, StoreClock};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use stop::{Stop, StopSignal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// A claimed run with all that driving it needs.
struct Drive {
    shared: Arc<Shared>,
    recorder: Arc<Recorder>,
    context: Arc<RunContext>,
    signal: Arc<StopSignal>,
    clock: Arc<StoreClock>,
    plan: Plan,
    view: RunView,
}

/// How driving ended.
enum End {
    /// The run's new state is written, and the lease with it given back, unless the run is to be undone now.
    Settled(RunState),
    /// Stopped for this reason, nothing written yet.
    Stopped(Stop),
}

/// What is done with a claimed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// On to its end, or to where it has to stop.
    Drive,
    /// Only what its dead worker left standing is taken back; then it is free again.
    StandDown,
}

/// Drives the run. `asked` is when the claim was asked for: the lease is at least that old.
pub(crate) async fn drive(shared: Arc<Shared>, claim: Claim, asked: Instant, task: Task) -> Result<(), EngineError> {
    if task == Task::StandDown && !knows_steps(&shared, &claim) {
        return shared.journal.release(&claim.token).await;
    }
    let recorder = Arc::new(Recorder::new(shared.journal.clone(), claim.token.clone(), claim.view.sample.as_ref()));
    let signal = Arc::new(StopSignal::default());
    let clock = Arc::new(StoreClock::new(claim.view.now, Instant::now()));
    let pulse =
        Pulse { shared: shared.clone(), recorder: recorder.clone(), signal: signal.clone(), clock: clock.clone(), renewed: asked, sampled: Instant::now() };
    let ended = CancellationToken::new();
    let _stop_pulse = ended.clone().drop_guard();
    let beating = tokio::spawn(pulse.beat(ended.clone()).in_current_span());
    let result = match Drive::prepare(shared, claim, recorder, signal, clock).await {
        Ok(Some(drive)) if task == Task::StandDown => drive.only_stand_down().await,
        Ok(Some(mut drive)) => match drive.go().await {
            Err(EngineError::Internal(reason) | EngineError::Invalid(reason)) => drive.give_up(reason).await,
            other => other,
        },
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    ended.cancel();
    let _ended = beating.await;
    result
}

/// Whether the run's plan can be made and has the steps that the run was begun with.
fn knows_steps(shared: &Shared, claim: &Claim) -> bool {
    let built = shared.plans.build(&claim.view.kind, &claim.input);
    built.is_ok_and(|plan| same_steps(&claim.view, &pins(&plan)))
}

fn same_steps(view: &RunView, pinned: &[crate::journal::StepPin]) -> bool {
    view.steps.len() == pinned.len() && view.steps.iter().zip(pinned).all(|(s, p)| s.name == p.name && s.version == p.version)
}

impl Drive {
    /// `None`: this worker does not know the run's steps, and has given it back.
    async fn prepare(
        shared: Arc<Shared>,
        claim: Claim,
        recorder: Arc<Recorder>,
        signal: Arc<StopSignal>,
        clock: Arc<StoreClock>,
    ) -> Result<Option<Self>, EngineError> {
        let Claim { mut view, input, options, wanted, token: _ } = claim;
        let built = shared.plans.build(&view.kind, &input);
        let outputs = view.steps.iter().filter(|s| s.state == StepState::Done).filter_map(|s| Some((s.name.clone(), s.output.clone()?))).collect();
        let context = Arc::new(RunContext { recorder: recorder.clone(), input, options, outputs: Mutex::new(outputs) });
        if let Some(wanted) = wanted {
            signal.raise(Stop::Wanted(wanted));
        }
        let plan = match built {
            Ok(plan) => plan,
            Err(error) => {
                let drive = Self { shared, recorder, context, signal, clock, plan: Plan { steps: Vec::new() }, view };
                let error = StepError::permanent("plan", format!("no plan can be made for the run any more: {error}"));
                drive.settle(drive.failure(), Vec::new(), Vec::new(), Some(error)).await?;
                return Ok(None);
            }
        };
        let pinned = pins(&plan);
        if !same_steps(&view, &pinned) {
            if view.steps.iter().any(|s| s.state != StepState::Pending) {
                Self::leave(&shared, &recorder).await?;
                return Ok(None);
            }
            recorder.write(vec![Change::Pin(pinned)], Vec::new()).await?;
            view = recorder.journal().own_view(recorder.token()).await?;
        }
        Ok(Some(Self { shared, recorder, context, signal, clock, plan, view }))
    }

    /// Another version of the program has begun the run: only that one may go on.
    async fn leave(shared: &Shared, recorder: &Recorder) -> Result<(), EngineError> {
        let run = &recorder.token().run;
        shared.leave(run);
        let message = "this worker does not know the steps that the run was begun with; it waits for a worker of the version that began it";
        tracing::warn!(message);
        recorder.log(Level::Warning, "engine", message.to_owned(), Value::Null);
        recorder.flush(None).await?;
        recorder.journal().release(recorder.token()).await
    }

    async fn go(&mut self) -> Result<(), EngineError> {
        self.stand_down().await;
        let end = match self.view.state {
            RunState::RollingBack => self.backward().await?,
            _ => match self.admitted().await? {
                Some(end) => end,
                None => self.forward().await?,
            },
        };
        match end {
            // To be undone by itself: claimed anew, so that no wish of the time before is left in the signal.
            End::Settled(RunState::RollingBack) => {
                self.view.state = RunState::RollingBack;
                self.recorder.journal().release(self.recorder.token()).await
            }
            End::Settled(_) => Ok(()),
            End::Stopped(Stop::LostLease) => Err(EngineError::Fenced(self.view.id.clone())),
            End::Stopped(Stop::Wanted(wanted)) => {
                self.stand_down().await;
                // A cancel may have come after the pause.
                let newest = self.recorder.noted(self.recorder.journal().wanted(self.recorder.token()).await)?.unwrap_or(wanted);
                self.settle(Outcome::Stopped(newest), Vec::new(), Vec::new(), None).await.map(|_| ())
            }
            End::Stopped(Stop::Shutdown) => {
                self.stand_down().await;
                self.recorder.flush(self.recorder.telling().sample(self.clock.now())).await?;
                self.recorder.journal().release(self.recorder.token()).await
            }
        }
    }

    /// Whether a start that was asked for before its time may begin; `Some` when the run ends here.
    async fn admitted(&self) -> Result<Option<End>, EngineError> {
        if !admission::is_deferred(&self.context.options) || self.view.steps.iter().any(|s| s.state != StepState::Pending) {
            return Ok(None);
        }
        let mut failed = 0;
        loop {
            let judged = match &self.shared.admission {
                Some(admission) => admission.admit(&self.view, &self.context.options).await,
                None => Err(StepError::permanent("permission", "nobody here can tell whether its author may still start it")),
            };
            let Err(error) = judged else { return Ok(None) };
            failed += 1;
            if !error.temporary || failed >= self.shared.options.attempts {
                return self.settle(Outcome::Failed, Vec::new(), Vec::new(), Some(error)).await.map(|state| Some(End::Settled(state)));
            }
            if let Some(stop) = self.wait_after(failed).await {
                return Ok(Some(End::Stopped(stop)));
            }
        }
    }

    async fn only_stand_down(&self) -> Result<(), EngineError> {
        self.stand_down().await;
        self.recorder.flush(None).await?;
        self.recorder.journal().release(self.recorder.token()).await
    }

    /// The journal refuses what would have to be written: trying again for ever helps nobody, so the run ends with the reason.
    async fn give_up(&self, reason: String) -> Result<(), EngineError> {
        let error = StepError::permanent(
            "internal",
            format!("the run cannot be written down: {reason}. This is a defect of the program; please report it with the run's log"),
        );
        self.settle(self.failure(), Vec::new(), Vec::new(), Some(error)).await.map(|_| ())
    }

    fn failure(&self) -> Outcome {
        if self.view.state == RunState::RollingBack { Outcome::UndoFailed } else { Outcome::Failed }
    }

    /// Takes back, newest first, what must not outlive the run's activity. An error is logged and stops nothing.
    async fn stand_down(&self) {
        let begun = self.view.steps.iter().zip(&self.plan.steps).filter(|(s, _)| matches!(s.state, StepState::Begun | StepState::Done | StepState::Failed));
        for (view, step) in begun.rev() {
            let mut failed = 0;
            while let Err(error) = self.stand_down_once(step, view.attempts).await {
                failed += 1;
                if self.signal.lost().is_cancelled() {
                    return;
                }
                if !error.temporary || failed >= self.shared.options.attempts {
                    let message = format!("step '{}' could not be stood down: {error}. Look whether it left something behind", view.name);
                    self.recorder.log(Level::Error, "engine", message, error.details);
                    break;
                }
                tokio::select! {
                    () = self.signal.lost().cancelled() => return,
                    () = tokio::time::sleep(self.pause_after(failed)) => {}
                }
            }
        }
    }

    /// Not bound to the stop signal: standing down is what the signal asks for. Only a lost lease ends it.
    async fn stand_down_once(&self, step: &Arc<dyn Step>, attempts: u32) -> Result<(), StepError> {
        let cx = StepContext::new(self.context.clone(), step.name(), attempts.max(1), self.signal.lost().child_token());
        let what = format!("standing down step '{}'", step.name());
        let step = step.clone();
        let only_lost = StopSignal::default();
        let call = attempt::attempt(&what, &only_lost, self.shared.options.stop_grace, async move { step.stand_down(&cx).await });
        tokio::select! {
            ended = call => ended,
            () = self.signal.lost().cancelled() => Err(StepError::stopped()),
        }
    }

    /// Writes changes with their events and the newest sample; waits out an unavailable journal until the lease is lost.
    async fn persist(&self, mut changes: Vec<Change>, mut events: Vec<NewEvent>) -> Result<(), EngineError> {
        if let Some(sample) = self.recorder.telling().sample(self.clock.now()) {
            events.insert(0, crate::recorder::progress(&sample));
            changes.insert(0, Change::Sample(sample));
        }
        let mut failed = 0;
        loop {
            match self.recorder.write(changes.clone(), events.clone()).await {
                Err(EngineError::Unavailable(reason)) => {
                    failed += 1;
                    tracing::warn!(reason, "could not write to the journal; trying again until the lease ends");
                    tokio::select! {
                        () = self.signal.lost().cancelled() => return Err(EngineError::Fenced(self.view.id.clone())),
                        () = tokio::time::sleep(self.pause_after(failed)) => {}
                    }
                }
                other => return other,
            }
        }
    }

    /// Writes the state that follows from the outcome, after the given changes and events.
    async fn settle(&self, outcome: Outcome, mut changes: Vec<Change>, mut events: Vec<NewEvent>, error: Option<StepError>) -> Result<RunState, EngineError> {
        let from = if outcome == Outcome::Undone || outcome == Outcome::UndoFailed { RunState::RollingBack } else { RunState::Running };
        let to = state::outcome(from, outcome).ok_or_else(|| EngineError::Internal(format!("a {from} run cannot end as {outcome:?}")))?;
        events.extend(settled(outcome, to, error.as_ref()));
        let error_kind = error.as_ref().map(|e| e.kind.clone());
        changes.push(Change::State { to, error });
        spans::ended(to.word(), error_kind.as_deref());
        self.persist(changes, events).await?;
        Ok(to)
    }

    fn pause_after(&self, failed: u32) -> std::time::Duration {
        attempt::backoff(self.shared.options.backoff, self.shared.options.backoff_max, failed)
    }

    fn context_for(&self, step: &dyn Step, attempt: u32) -> StepContext {
        StepContext::new(self.context.clone(), step.name(), attempt, self.signal.stopping().clone())
    }

    /// Waits before the next attempt; `Some` when the run is to stop instead.
    async fn wait_after(&self, failed: u32) -> Option<Stop> {
        tokio::select! {
            () = self.signal.stopping().cancelled() => {}
            () = tokio::time::sleep(self.pause_after(failed)) => {}
        }
        self.signal.reason()
    }

    /// Keeps the output for later steps.
    fn output(&self, step: &str, output: Value) {
        self.context.outputs.lock().unwrap_or_else(PoisonError::into_inner).insert(step.to_owned(), output);
    }
}

/// The events of a run's new state.
fn settled(outcome: Outcome, to: RunState, error: Option<&StepError>) -> Vec<NewEvent> {
    let details = json!({ "state": to.word(), "error": error });
    let event = |kind: &str, level, message: String| NewEvent::new(kind, level, "engine", message).details(details.clone());
    let reason = error.map(ToString::to_string).unwrap_or_default();
    match outcome {
        Outcome::Finished => vec![event("run.completed", Level::Info, "completed".to_owned())],
        Outcome::Failed => vec![event("run.failed", Level::Error, format!("failed: {reason}"))],
        Outcome::FailedAndUndo => vec![
            event("run.failed", Level::Error, format!("failed: {reason}")),
            event("run.rolling_back", Level::Warning, "undoing what was done, because the run failed".to_owned()),
        ],
        Outcome::Stopped(Wanted::Pause) => vec![event("run.paused", Level::Info, "paused".to_owned())],
        Outcome::Stopped(Wanted::Cancel) => vec![event("run.cancelled", Level::Warning, "cancelled".to_owned())],
        Outcome::Undone => vec![event("run.rolled_back", Level::Info, "rolled back".to_owned())],
        Outcome::UndoFailed => vec![event("run.stuck", Level::Error, format!("the rollback is stuck: {reason}"))],
    }
}
