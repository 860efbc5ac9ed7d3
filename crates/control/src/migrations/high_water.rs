//! Progress that was shown is not taken back: totals grow while a source is still being listed, and a percentage that falls says nothing to anybody.
//!
//! Kept by this process for migrations that are at work; after a restart the next number may be lower than the last one before.

use engine::RunState;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Migrations that are remembered at most; beyond that all are forgotten, and their numbers may fall once.
const MAX_RUNS: usize = 10_000;

static SHOWN: LazyLock<Mutex<HashMap<String, f64>>> = LazyLock::new(Mutex::default);

/// The highest number that was shown of the run on its way forward.
pub(super) fn of(id: &str, state: RunState, now: f64) -> f64 {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match state {
        RunState::Running | RunState::Paused => {
            if shown.len() >= MAX_RUNS && !shown.contains_key(id) {
                shown.clear();
            }
            let highest = shown.entry(id.to_owned()).or_insert(now);
            *highest = highest.max(now);
            *highest
        }
        RunState::Failed | RunState::Cancelled => shown.get(id).map_or(now, |highest| highest.max(now)),
        _ => {
            shown.remove(id);
            now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_progress_never_falls_on_the_way_forward() {
        let id = "high-water-test";
        let shown: Vec<f64> = [10.0, 40.0, 30.0, 41.0].into_iter().map(|now| of(id, RunState::Running, now)).collect();
        assert_eq!(shown, [10.0, 40.0, 40.0, 41.0]);
        let after: Vec<f64> =
            [(RunState::Failed, 39.0), (RunState::RollingBack, 20.0), (RunState::RolledBack, 0.0)].map(|(state, now)| of(id, state, now)).to_vec();
        assert_eq!(after, [41.0, 20.0, 0.0], "taking back is another way");
    }
}
