//! Counting requests: per route, by status and by how long they took. A request costs a few additions, no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the classes of durations, in microseconds.
pub const BOUNDS: [u64; 11] = [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];
/// Statuses from 100 to 599.
const STATUSES: usize = 500;

/// All routes of a process. Whoever makes a router asks for a meter for each of its routes.
#[derive(Default)]
pub struct Traffic {
    routes: Mutex<Vec<Arc<RouteMeter>>>,
}

/// One route's numbers.
pub struct RouteMeter {
    pub method: String,
    /// As in the documentation: `/migrations/{session_id}`.
    pub path: &'static str,
    statuses: Box<[AtomicU64]>,
    /// How many took at most as long as each of [`BOUNDS`] and longer than the one before; the last: longer than all.
    classes: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Traffic {
    /// The meter of a route; the same one for the same route.
    pub fn route(&self, method: &str, path: &'static str) -> Arc<RouteMeter> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.iter().find(|r| r.method == method && r.path == path) {
            return known.clone();
        }
        let statuses = (0..STATUSES).map(|_| AtomicU64::new(0)).collect();
        let made = Arc::new(RouteMeter { method: method.to_owned(), path, statuses, classes: Default::default(), microseconds: AtomicU64::new(0) });
        routes.push(made.clone());
        made
    }

    pub(super) fn routes(&self) -> Vec<Arc<RouteMeter>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl RouteMeter {
    /// A request was answered.
    pub fn answered(&self, status: u16, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.statuses.get(usize::from(status).wrapping_sub(100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.classes[BOUNDS.iter().position(|b| took <= *b).unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(took, Ordering::Relaxed);
    }

    /// Statuses that were answered, with how often.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (usize, u64)> {
        self.statuses.iter().enumerate().map(|(i, n)| (i + 100, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0)
    }

    /// How many took at most as long as each bound, then all, then microseconds together.
    pub(super) fn durations(&self) -> (Vec<u64>, u64, u64) {
        let mut sum = 0;
        let within: Vec<u64> = self
            .classes
            .iter()
            .map(|c| {
                sum += c.load(Ordering::Relaxed);
                sum
            })
            .collect();
        (within[..BOUNDS.len()].to_vec(), sum, self.microseconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fall_into_their_classes() {
        let traffic = Traffic::default();
        let route = traffic.route("GET", "/x");
        assert!(Arc::ptr_eq(&route, &traffic.route("GET", "/x")));
        for (status, micros) in [(200, 500), (200, 501), (404, 10_000_000), (7, 1)] {
            route.answered(status, Duration::from_micros(micros));
        }
        assert_eq!(route.statuses().collect::<Vec<_>>(), [(200, 2), (404, 1)]);
        let (within, all, micros) = route.durations();
        assert_eq!((within[0], within[1], within[10], all, micros), (2, 3, 3, 4, 10_001_002));
    }
}
