//! What this server would not do. Some servers (those in front of object stores, for example) refuse to set modes and times. Their files
//! get the mode with which they are made, and what is lost is named.

use ports::files::{Entry, FilePath};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server that refused so often and has never agreed is not asked any more.
const GIVE_UP_AFTER: usize = 3;

#[derive(Default)]
pub(super) struct Refusals {
    /// Paths whose mode and time could not be set.
    paths: Mutex<HashSet<FilePath>>,
    refused: AtomicUsize,
    agreed: AtomicBool,
}

impl Refusals {
    fn paths(&self) -> MutexGuard<'_, HashSet<FilePath>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether mode and time of `path` cannot be set, as far as is known.
    pub(super) fn expects(&self, path: &FilePath) -> bool {
        let never = !self.agreed.load(Ordering::Relaxed) && self.refused.load(Ordering::Relaxed) >= GIVE_UP_AFTER;
        never || self.paths().contains(path)
    }

    pub(super) fn refused(&self, path: &FilePath) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.paths().insert(path.clone());
    }

    pub(super) fn agreed(&self) {
        self.agreed.store(true, Ordering::Relaxed);
    }

    /// What was lost of a file, in words for the report.
    pub(super) fn lost(&self, entry: &Entry) -> Option<String> {
        self.expects(&entry.path).then(|| "mode and modification time, which the server refuses to set".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_never_agrees_is_not_asked_for_ever() {
        let refusals = Refusals::default();
        for path in ["a", "b"] {
            refusals.refused(&path.into());
        }
        assert!(refusals.expects(&"a".into()) && !refusals.expects(&"c".into()));
        refusals.refused(&"d".into());
        assert!(refusals.expects(&"c".into()));
        refusals.agreed();
        assert!(refusals.expects(&"a".into()) && !refusals.expects(&"c".into()));
    }
}
