//! One run holding another still: a run that reads what another one goes on writing.
//!
//! ```text
//! holder: claimed ─► each step asks cx.hold(): Wait … Still ─► reads
//! held:   between two writes cx.stand_still(false): held? ─► still, asks again … not held ─► going, writes
//!         before it writes for good: cx.stand_still(true), and can be held no more
//! ```
//! Both sides are rows of the journal, each written before the other one is read: of two who meet, at least one sees the other. Nothing is left
//! to release: a run holds as long as it is running in a worker's hands, so that one that failed, was stopped or lost its process lets go.

use crate::RunState;

/// Whether a run that can be held goes on or stands still. Stored with the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stance {
    /// It writes, or may begin to any moment. It stands still at its next safe place when it is held.
    Going,
    /// It writes nothing until nobody holds it.
    Still,
}

impl Stance {
    pub fn word(self) -> &'static str {
        match self {
            Self::Going => "going",
            Self::Still => "still",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Going, Self::Still].into_iter().find(|s| s.word() == word)
    }
}

/// How things stand for a run that wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It holds no other run.
    Free,
    /// What it holds stands still.
    Still,
    /// What it holds will stand still; now it is in this state.
    Wait(RunState),
    /// What it holds will never stand still again, or is gone (`None`).
    Lost(Option<RunState>),
}

/// What a holder is told of the run it holds; `None` when there is none any more.
pub fn judge(held: Option<(RunState, Option<Stance>)>) -> Hold {
    let Some((state, stance)) = held else { return Hold::Lost(None) };
    match (state, stance) {
        (RunState::RollingBack | RunState::RolledBack | RunState::Stuck, _) | (_, None) => Hold::Lost(Some(state)),
        (_, Some(Stance::Still)) => Hold::Still,
        (RunState::Running | RunState::Paused, Some(Stance::Going)) => Hold::Wait(state),
        (RunState::Created | RunState::Scheduled | RunState::Completed | RunState::Failed | RunState::Cancelled, Some(Stance::Going)) => {
            Hold::Lost(Some(state))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_waits_only_for_what_can_come() {
        for state in RunState::ALL {
            let taken_back = matches!(state, RunState::RollingBack | RunState::RolledBack | RunState::Stuck);
            let still = if taken_back { Hold::Lost(Some(state)) } else { Hold::Still };
            let going = if matches!(state, RunState::Running | RunState::Paused) { Hold::Wait(state) } else { Hold::Lost(Some(state)) };
            assert_eq!(judge(Some((state, Some(Stance::Still)))), still, "{state}");
            assert_eq!(judge(Some((state, Some(Stance::Going)))), going, "{state}");
            assert_eq!(judge(Some((state, None))), Hold::Lost(Some(state)), "{state}");
        }
        assert_eq!(judge(None), Hold::Lost(None));
    }
}
