//! What the movers tell, passed on to the run's log, its samples and its counters.

use engine::{Counters, Reading, StepContext};
use ports::observe::{Level, Meter, Operation};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One per step attempt.
pub struct RunObserver {
    cx: StepContext,
    meter: Arc<Shared>,
}

struct Shared(Meter);

impl Counters for Shared {
    fn read(&self) -> Reading {
        Reading { bytes: self.0.bytes.load(Ordering::Relaxed), items: self.0.items.load(Ordering::Relaxed), retries: self.0.retries.load(Ordering::Relaxed) }
    }
}

impl RunObserver {
    pub fn new(cx: &StepContext) -> Self {
        let meter = Arc::new(Shared(Meter::default()));
        cx.count(meter.clone());
        Self { cx: cx.clone(), meter }
    }

    pub fn info(&self, component: &str, message: impl Into<String>) {
        ports::Observer::log(self, Level::Info, component, message.into(), Value::Null);
    }

    pub fn warning(&self, component: &str, message: impl Into<String>) {
        ports::Observer::log(self, Level::Warning, component, message.into(), Value::Null);
    }
}

impl ports::Observer for RunObserver {
    fn log(&self, level: Level, component: &str, message: String, details: Value) {
        let level = match level {
            Level::Debug => engine::Level::Debug,
            Level::Info => engine::Level::Info,
            Level::Warning => engine::Level::Warning,
            Level::Error => engine::Level::Error,
        };
        self.cx.log(level, component, message, details);
    }

    fn operation(&self, operation: Operation) {
        self.cx.operation(serde_json::to_value(operation).unwrap_or_default());
    }

    fn meter(&self) -> &Meter {
        &self.meter.0
    }
}
