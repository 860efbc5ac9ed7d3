//! The life of a run as a pure function: state and request in, state or refusal out.

use crate::StepError;
use crate::journal::Wanted;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt;

/// Stored with the run. Comment: who sets it, what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// By `create`. Next: running (start), scheduled, cancelled.
    Created,
    /// By `schedule`. Next: running when its time comes, cancelled.
    Scheduled,
    /// By `start` or `resume`; a worker claims it. Next: paused, completed, failed, cancelled, rolling back (automatic).
    Running,
    /// By `pause`, once the worker has stopped. Next: running (resume), cancelled, rolling back.
    Paused,
    /// By the worker after the last step. Next: rolling back.
    Completed,
    /// By the worker after a permanent error. Next: rolling back, running (retry).
    Failed,
    /// By `cancel`, once the worker has stopped. Next: rolling back.
    Cancelled,
    /// By `rollback` or automatically after a failure; a worker claims it. Next: rolled back, stuck.
    RollingBack,
    /// By the worker after the last undo. The end.
    RolledBack,
    /// By the worker when an undo fails for good. Next: rolling back (resolve).
    Stuck,
}

impl RunState {
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Scheduled,
        Self::Running,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::RollingBack,
        Self::RolledBack,
        Self::Stuck,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Stuck => "stuck",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }

    /// Nothing happens any more unless a user asks for it.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::RolledBack | Self::Stuck)
    }

    /// A worker may claim it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::RollingBack)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a user asks of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Start {
        options: Value,
    },
    Schedule {
        at: Timestamp,
        options: Value,
    },
    Unschedule,
    Pause,
    Resume,
    Cancel,
    Rollback {
        options: Value,
    },
    Resolve,
    /// Tells the steps something that one of them waits for.
    Ask {
        name: String,
    },
    /// Ends a run that was not begun, because what its start asks for was refused for good.
    Refuse {
        error: StepError,
    },
    /// Gives up the way back. `by`: who, if known.
    Finalize {
        by: Option<String>,
    },
}

/// What becomes of a request that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The run is in that state now.
    Enter(RunState),
    /// Its worker is told, and enters the state when it has stopped.
    Want(Wanted),
    /// The state stays; it is written down for the steps.
    Note,
}

/// What a worker says about the run it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The last step is done.
    Finished,
    /// A step ended for good.
    Failed,
    /// A step ended for good, and the run is to be undone by itself.
    FailedAndUndo,
    /// Stopped because a user wanted it.
    Stopped(Wanted),
    /// The last undo is done.
    Undone,
    /// An undo failed for good.
    UndoFailed,
}

/// Why a request is refused, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

fn refuse(reason: &str) -> Result<Next, Refusal> {
    Err(Refusal(reason.to_owned()))
}

/// The one place that says which request is allowed in which state. `begun`: a step has begun or a worker holds the run; before that
/// a running run stops at once, because there is nothing to stand down.
pub fn request(state: RunState, request: &Request, begun: bool) -> Result<Next, Refusal> {
    match request {
        Request::Start { .. } => start(state),
        Request::Schedule { .. } => schedule(state),
        Request::Unschedule => unschedule(state),
        Request::Pause => pause(state, begun),
        Request::Resume => resume(state),
        Request::Cancel => cancel(state, begun),
        Request::Rollback { .. } => rollback(state),
        Request::Resolve => resolve(state),
        Request::Ask { .. } => ask(state),
        Request::Finalize { .. } => finalize(state),
        Request::Refuse { .. } => refuse_start(state),
    }
}

fn start(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Created | RunState::Scheduled => Ok(Next::Enter(RunState::Running)),
        RunState::Running => refuse("it has been started already"),
        RunState::Paused => refuse("it has been started already; resume it instead"),
        RunState::Failed => refuse("it has been started already; resume it to try again, or roll it back"),
        RunState::Completed => refuse("it is complete"),
        RunState::Cancelled => refuse("it was cancelled; create a new one"),
        RunState::RollingBack => refuse("it is being rolled back"),
        RunState::RolledBack => refuse("it was rolled back; create a new one"),
        RunState::Stuck => refuse("its rollback is stuck; resolve that first"),
    }
}

fn schedule(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Created | RunState::Scheduled => Ok(Next::Enter(RunState::Scheduled)),
        RunState::Running | RunState::Paused | RunState::Completed | RunState::Failed | RunState::Cancelled => refuse("it has been started already"),
        RunState::RollingBack | RunState::RolledBack | RunState::Stuck => refuse("it has been rolled back, or is about to be"),
    }
}

fn unschedule(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Scheduled => Ok(Next::Enter(RunState::Created)),
        RunState::Created => refuse("it is not scheduled"),
        RunState::Running | RunState::Paused | RunState::Completed | RunState::Failed | RunState::Cancelled => refuse("it has been started already"),
        RunState::RollingBack | RunState::RolledBack | RunState::Stuck => refuse("it has been rolled back, or is about to be"),
    }
}

fn pause(state: RunState, begun: bool) -> Result<Next, Refusal> {
    match state {
        RunState::Running if begun => Ok(Next::Want(Wanted::Pause)),
        RunState::Running => Ok(Next::Enter(RunState::Paused)),
        RunState::Paused => refuse("it is paused already"),
        RunState::Created | RunState::Scheduled => refuse("it has not been started"),
        RunState::Completed | RunState::Failed | RunState::Cancelled | RunState::RolledBack => refuse("it is not running any more"),
        RunState::RollingBack => refuse("a rollback cannot be paused"),
        RunState::Stuck => refuse("its rollback is stuck; resolve that first"),
    }
}

fn resume(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Paused | RunState::Failed => Ok(Next::Enter(RunState::Running)),
        RunState::Running => refuse("it is running"),
        RunState::Created | RunState::Scheduled => refuse("it has not been started; start it instead"),
        RunState::Completed => refuse("it is complete"),
        RunState::Cancelled => refuse("it was cancelled; create a new one"),
        RunState::RollingBack => refuse("it is being rolled back"),
        RunState::RolledBack => refuse("it was rolled back; create a new one"),
        RunState::Stuck => refuse("its rollback is stuck; resolve that first"),
    }
}

fn cancel(state: RunState, begun: bool) -> Result<Next, Refusal> {
    match state {
        RunState::Running if begun => Ok(Next::Want(Wanted::Cancel)),
        RunState::Running | RunState::Created | RunState::Scheduled | RunState::Paused => Ok(Next::Enter(RunState::Cancelled)),
        RunState::Completed | RunState::Failed | RunState::RolledBack => refuse("it has ended already"),
        RunState::Cancelled => refuse("it is cancelled already"),
        RunState::RollingBack => refuse("a rollback cannot be cancelled"),
        RunState::Stuck => refuse("its rollback is stuck; resolve that first"),
    }
}

fn rollback(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Completed | RunState::Failed | RunState::Cancelled | RunState::Paused => Ok(Next::Enter(RunState::RollingBack)),
        RunState::Running => refuse("it is running; cancel it first"),
        RunState::Created | RunState::Scheduled => refuse("nothing has been done yet"),
        RunState::RollingBack => refuse("it is being rolled back already"),
        RunState::RolledBack => refuse("it was rolled back already"),
        RunState::Stuck => refuse("its rollback is stuck; resolve that instead"),
    }
}

fn ask(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Created | RunState::Scheduled | RunState::Running | RunState::Paused | RunState::Failed => Ok(Next::Note),
        RunState::Completed => refuse("it is complete"),
        RunState::Cancelled => refuse("it was cancelled"),
        RunState::RollingBack | RunState::RolledBack | RunState::Stuck => refuse("it has been rolled back, or is about to be"),
    }
}

fn refuse_start(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Created | RunState::Scheduled => Ok(Next::Enter(RunState::Failed)),
        _ => refuse("it has been started already"),
    }
}

fn finalize(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Completed => Ok(Next::Note),
        RunState::Created | RunState::Scheduled => refuse("nothing has been done yet"),
        RunState::Running | RunState::Paused => refuse("only a completed one can give up its way back"),
        RunState::Failed | RunState::Cancelled => refuse("only a completed one can give up its way back; roll it back, or resume it"),
        RunState::RollingBack | RunState::RolledBack | RunState::Stuck => refuse("it has been rolled back, or is about to be"),
    }
}

fn resolve(state: RunState) -> Result<Next, Refusal> {
    match state {
        RunState::Stuck => Ok(Next::Enter(RunState::RollingBack)),
        RunState::Created
        | RunState::Scheduled
        | RunState::Running
        | RunState::Paused
        | RunState::Completed
        | RunState::Failed
        | RunState::Cancelled
        | RunState::RollingBack
        | RunState::RolledBack => refuse("only a stuck rollback can be resolved"),
    }
}

/// What a worker's word makes of the state; `None` if that word makes no sense there.
pub fn outcome(state: RunState, outcome: Outcome) -> Option<RunState> {
    match (state, outcome) {
        (RunState::Running, Outcome::Finished) => Some(RunState::Completed),
        (RunState::Running, Outcome::Failed) => Some(RunState::Failed),
        (RunState::Running, Outcome::FailedAndUndo) => Some(RunState::RollingBack),
        (RunState::Running, Outcome::Stopped(Wanted::Pause)) => Some(RunState::Paused),
        (RunState::Running, Outcome::Stopped(Wanted::Cancel)) => Some(RunState::Cancelled),
        (RunState::Running, Outcome::Undone | Outcome::UndoFailed) => None,
        (RunState::RollingBack, Outcome::Undone) => Some(RunState::RolledBack),
        (RunState::RollingBack, Outcome::UndoFailed) => Some(RunState::Stuck),
        (RunState::RollingBack, Outcome::Finished | Outcome::Failed | Outcome::FailedAndUndo | Outcome::Stopped(Wanted::Pause | Wanted::Cancel)) => None,
        (
            RunState::Created
            | RunState::Scheduled
            | RunState::Paused
            | RunState::Completed
            | RunState::Failed
            | RunState::Cancelled
            | RunState::RolledBack
            | RunState::Stuck,
            Outcome::Finished
            | Outcome::Failed
            | Outcome::FailedAndUndo
            | Outcome::Stopped(Wanted::Pause | Wanted::Cancel)
            | Outcome::Undone
            | Outcome::UndoFailed,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RunState::{Cancelled, Completed, Created, Failed, Paused, RolledBack, RollingBack, Running, Scheduled, Stuck};

    /// Every state with what a request makes of it; states that are not named refuse it.
    fn allows(asked: &Request, begun: bool, allowed: &[(RunState, Next)]) {
        for state in RunState::ALL {
            let expected = allowed.iter().find(|(from, _)| *from == state).map(|(_, next)| *next);
            match request(state, asked, begun) {
                Ok(next) => assert_eq!(Some(next), expected, "{asked:?} in {state}"),
                Err(Refusal(reason)) => {
                    assert_eq!(expected, None, "{asked:?} in {state} was refused: {reason}");
                    assert!(!reason.is_empty());
                }
            }
        }
    }

    #[test]
    fn every_request_in_every_state() {
        let enter = Next::Enter;
        let options = Value::Null;
        for begun in [false, true] {
            allows(&Request::Start { options: options.clone() }, begun, &[(Created, enter(Running)), (Scheduled, enter(Running))]);
            let at = Timestamp::UNIX_EPOCH;
            allows(&Request::Schedule { at, options: options.clone() }, begun, &[(Created, enter(Scheduled)), (Scheduled, enter(Scheduled))]);
            allows(&Request::Unschedule, begun, &[(Scheduled, enter(Created))]);
            allows(&Request::Resume, begun, &[(Paused, enter(Running)), (Failed, enter(Running))]);
            let back = enter(RollingBack);
            allows(&Request::Rollback { options: options.clone() }, begun, &[(Completed, back), (Failed, back), (Cancelled, back), (Paused, back)]);
            allows(&Request::Resolve, begun, &[(Stuck, back)]);
            let noted = [Created, Scheduled, Running, Paused, Failed].map(|state| (state, Next::Note));
            allows(&Request::Ask { name: "cutover".to_owned() }, begun, &noted);
            allows(&Request::Finalize { by: None }, begun, &[(Completed, Next::Note)]);
        }
        allows(&Request::Pause, false, &[(Running, enter(Paused))]);
        allows(&Request::Pause, true, &[(Running, Next::Want(Wanted::Pause))]);
        let cancelled = enter(Cancelled);
        allows(&Request::Cancel, false, &[(Running, cancelled), (Created, cancelled), (Scheduled, cancelled), (Paused, cancelled)]);
        allows(&Request::Cancel, true, &[(Running, Next::Want(Wanted::Cancel)), (Created, cancelled), (Scheduled, cancelled), (Paused, cancelled)]);
    }

    #[test]
    fn every_outcome_in_every_state() {
        let stopped = Outcome::Stopped;
        let table = [
            (Running, Outcome::Finished, Completed),
            (Running, Outcome::Failed, Failed),
            (Running, Outcome::FailedAndUndo, RollingBack),
            (Running, stopped(Wanted::Pause), Paused),
            (Running, stopped(Wanted::Cancel), Cancelled),
            (RollingBack, Outcome::Undone, RolledBack),
            (RollingBack, Outcome::UndoFailed, Stuck),
        ];
        let outcomes =
            [Outcome::Finished, Outcome::Failed, Outcome::FailedAndUndo, stopped(Wanted::Pause), stopped(Wanted::Cancel), Outcome::Undone, Outcome::UndoFailed];
        for state in RunState::ALL {
            for word in outcomes {
                let expected = table.iter().find(|(from, by, _)| *from == state && *by == word).map(|(_, _, to)| *to);
                assert_eq!(outcome(state, word), expected, "{word:?} in {state}");
            }
        }
    }

    #[test]
    fn words_are_read_back_and_stored_as_they_are_shown() {
        for state in RunState::ALL {
            assert_eq!(RunState::parse(state.word()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
            assert!(!(state.is_active() && state.is_end()), "{state}");
        }
        assert_eq!(RunState::parse("nonsense"), None);
    }
}
