//! Why a claimed run is to stop, and the signal its steps see.

use crate::journal::Wanted;
use std::sync::{Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Who wants the run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A user: the run enters another state.
    Wanted(Wanted),
    /// This worker ends: another one goes on.
    Shutdown,
    /// Another worker may hold the run: nothing may be written any more.
    LostLease,
}

/// The first reason stays, but a lost lease outranks all.
#[derive(Default)]
pub(crate) struct StopSignal {
    reason: Mutex<Option<Stop>>,
    stopping: CancellationToken,
    lost: CancellationToken,
}

impl StopSignal {
    pub fn raise(&self, stop: Stop) {
        {
            let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            if reason.is_none() || stop == Stop::LostLease {
                *reason = Some(stop);
            }
        }
        if stop == Stop::LostLease {
            self.lost.cancel();
        }
        self.stopping.cancel();
    }

    pub fn reason(&self) -> Option<Stop> {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancelled with the first reason.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Cancelled only when the lease is lost.
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_but_a_lost_lease_outranks_it() {
        let signal = StopSignal::default();
        assert_eq!(signal.reason(), None);
        signal.raise(Stop::Wanted(Wanted::Pause));
        signal.raise(Stop::Shutdown);
        assert_eq!(signal.reason(), Some(Stop::Wanted(Wanted::Pause)));
        assert!(signal.stopping().is_cancelled() && !signal.lost().is_cancelled());
        signal.raise(Stop::LostLease);
        signal.raise(Stop::Shutdown);
        assert_eq!(signal.reason(), Some(Stop::LostLease));
        assert!(signal.lost().is_cancelled());
    }
}
