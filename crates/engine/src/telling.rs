//! Live counters of a claimed run and the samples made of them. In memory only; the ledgers hold the durable truth.

use crate::view::Sample;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time over which a rate means something.
const SPAN: Duration = Duration::from_millis(200);

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
    /// Bytes and time that the current rate is measured from: at least [`SPAN`] ago, once there is such a moment.
    anchor: (u64, Instant),
    /// Seconds of work, earlier workers included, at `began`.
    worked: f64,
    began: Instant,
    peak: f64,
    /// The operation changed since the last sample.
    changed: bool,
}

impl Telling {
    /// Goes on from the newest stored sample.
    pub fn new(newest: Option<&Sample>) -> Self {
        let now = Instant::now();
        let base = newest.map(|s| Reading { bytes: s.bytes, items: s.items, retries: s.retries }).unwrap_or_default();
        let worked = newest.filter(|s| s.rate_average > 0.0).map_or(0.0, |s| s.bytes as f64 / s.rate_average);
        let peak = newest.map_or(0.0, |s| s.rate_peak);
        let state = State {
            sources: Vec::new(),
            base,
            step: String::new(),
            operation: Value::Null,
            last: newest.cloned(),
            anchor: (base.bytes, now),
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
        let now = Instant::now();
        if total == before && !state.changed && !idle_again {
            state.anchor = (total.bytes, now);
            return None;
        }
        let span = now.duration_since(state.anchor.1);
        let rate_current = total.bytes.saturating_sub(state.anchor.0) as f64 / span.as_secs_f64().max(1e-3);
        if span >= SPAN {
            state.anchor = (total.bytes, now);
        }
        // Less than a span would show a burst of buffers as a peak that no network has.
        if span >= SPAN || state.peak == 0.0 {
            state.peak = state.peak.max(rate_current);
        }
        let worked = state.worked + now.duration_since(state.began).as_secs_f64();
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
        state.changed = false;
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_new_gives_no_sample_and_the_end_of_movement_gives_one() {
        let telling = Telling::new(None);
        assert_eq!(telling.sample(Timestamp::UNIX_EPOCH), None);
        telling.step("copy");
        telling.meter().bytes.fetch_add(500, Ordering::Relaxed);
        let moving = telling.sample(Timestamp::UNIX_EPOCH).expect("it moved");
        assert_eq!((moving.bytes, moving.step.as_str()), (500, "copy"));
        assert!(moving.rate_current > 0.0 && moving.rate_peak >= moving.rate_current);
        telling.operation(Value::from("verifying"));
        assert_eq!(telling.sample(Timestamp::UNIX_EPOCH).expect("the operation changed").operation, "verifying");
    }

    #[test]
    fn counters_of_earlier_workers_and_steps_are_kept() {
        let before = Sample {
            at: Timestamp::UNIX_EPOCH,
            step: "copy".to_owned(),
            bytes: 1000,
            items: 10,
            retries: 1,
            rate_current: 0.0,
            rate_average: 100.0,
            rate_peak: 900.0,
            operation: Value::Null,
        };
        let telling = Telling::new(Some(&before));
        let foreign = Arc::new(Meter::default());
        foreign.bytes.store(7, Ordering::Relaxed);
        telling.count(foreign.clone());
        foreign.bytes.fetch_add(50, Ordering::Relaxed);
        telling.step("verify");
        foreign.bytes.fetch_add(9999, Ordering::Relaxed);
        telling.meter().items.fetch_add(2, Ordering::Relaxed);
        let sample = telling.sample(Timestamp::UNIX_EPOCH).expect("it moved");
        assert_eq!((sample.bytes, sample.items, sample.retries), (1050, 12, 1), "what a finished step's counters show later is not its work");
        assert!((90.0..=105.0).contains(&sample.rate_average), "ten seconds of earlier work count: {}", sample.rate_average);
        assert!(sample.rate_peak >= 900.0);
    }
}
