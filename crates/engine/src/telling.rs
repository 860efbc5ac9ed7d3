//! Live counters of a claimed run and the samples made of them. In memory only; the ledgers hold the durable truth.

use crate::view::Sample;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counters that anybody may raise, without locks.
#[derive(Debug, Default)]
pub struct Meter {
    /// Payload bytes that left for the destination, re-sent ones included.
    pub bytes: AtomicU64,
    /// Files or rows done.
    pub items: AtomicU64,
    /// Calls that were tried again.
    pub retries: AtomicU64,
}

/// What counters show at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    pub bytes: u64,
    pub items: u64,
    pub retries: u64,
}

/// Counters that live elsewhere and only ever grow.
pub trait Counters: Send + Sync {
    fn read(&self) -> Reading;
}

impl Counters for Meter {
    fn read(&self) -> Reading {
        Reading { bytes: self.bytes.load(Ordering::Relaxed), items: self.items.load(Ordering::Relaxed), retries: self.retries.load(Ordering::Relaxed) }
    }
}

impl Reading {
    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, items: self.items + other.items, retries: self.retries + other.retries }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            items: self.items.saturating_sub(other.items),
            retries: self.retries.saturating_sub(other.retries),
        }
    }
}

/// Gathers what a run tells and turns it into samples.
pub struct Telling {
    meter: Arc<Meter>,
    state: Mutex<State>,
}

struct State {
    /// Foreign counters and what they showed when they came.
    sources: Vec<(Arc<dyn Counters>, Reading)>,
    /// What earlier workers had counted.
    base: Reading,
    step: String,
    operation: Value,
    last: Option<Sample>,
    last_at: std::time::Instant,
    /// Seconds of work, earlier workers included, at `began`.
    worked: f64,
    began: std::time::Instant,
    peak: f64,
    /// The operation changed since the last sample.
    changed: bool,
}

impl Telling {
    /// Goes on from the newest stored sample.
    pub fn new(newest: Option<&Sample>) -> Self {
        let now = std::time::Instant::now();
        let base = newest.map(|s| Reading { bytes: s.bytes, items: s.items, retries: s.retries }).unwrap_or_default();
        let worked = newest.filter(|s| s.rate_average > 0.0).map_or(0.0, |s| s.bytes as f64 / s.rate_average);
        let peak = newest.map_or(0.0, |s| s.rate_peak);
        let state = State {
            sources: Vec::new(),
            base,
            step: String::new(),
            operation: Value::Null,
            last: newest.cloned(),
            last_at: now,
            worked,
            began: now,
            peak,
            changed: false,
        };
        Self { meter: Arc::new(Meter::default()), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    pub fn count(&self, counters: Arc<dyn Counters>) {
        let start = counters.read();
        self.lock().sources.push((counters, start));
    }

    pub fn operation(&self, operation: Value) {
        let mut state = self.lock();
        state.changed |= state.operation != operation;
        state.operation = operation;
    }

    /// A new step: its operation is not known yet. Counters of the step before are settled.
    pub fn step(&self, name: &str) {
        let mut state = self.lock();
        for (source, start) in std::mem::take(&mut state.sources) {
            state.base = state.base.plus(source.read().minus(start));
        }
        name.clone_into(&mut state.step);
        state.operation = Value::Null;
    }

    /// The next sample, if anything changed since the last one. `at` is the time of the caller's clock.
    pub fn sample(&self, at: Timestamp) -> Option<Sample> {
        let mut state = self.lock();
        let live = state.sources.iter().fold(self.meter.read(), |sum, (source, start)| sum.plus(source.read().minus(*start)));
        let total = state.base.plus(live);
        let before = state.last.as_ref().map(|s| Reading { bytes: s.bytes, items: s.items, retries: s.retries }).unwrap_or_default();
        let idle_again = state.last.as_ref().is_some_and(|s| s.rate_current > 0.0);
        if total == before && !state.changed && !idle_again {
            state.last_at = std::time::Instant::now();
            return None;
        }
        let now = std::time::Instant::now();
        let seconds = now.duration_since(state.last_at).as_secs_f64().max(1e-3);
        let worked = state.worked + now.duration_since(state.began).as_secs_f64();
        let rate_current = total.bytes.saturating_sub(before.bytes) as f64 / seconds;
        // A very short interval would show a burst of buffers as a peak that no network has.
        if seconds >= 0.2 || state.peak == 0.0 {
            state.peak = state.peak.max(rate_current);
        }
        let sample = Sample {
            at,
            step: state.step.clone(),
            bytes: total.bytes,
            items: total.items,
            retries: total.retries,
            rate_current,
            rate_average: total.bytes as f64 / worked.max(1e-3),
            rate_peak: state.peak,
            operation: state.operation.clone(),
        };
        state.last = Some(sample.clone());
        state.last_at = now;
        state.changed = false;
        Some(sample)
    }
}
