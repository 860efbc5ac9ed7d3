//! An observer that remembers what it was told.

use ports::Observer;
use ports::observe::{Level, Meter, Operation};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Clone)]
pub struct Line {
    pub level: Level,
    pub component: String,
    pub message: String,
    pub details: Value,
}

#[derive(Default)]
pub struct MemoryObserver {
    lines: Mutex<Vec<Line>>,
    operations: Mutex<Vec<Operation>>,
    meter: Meter,
}

impl MemoryObserver {
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether some line contains the text.
    pub fn heard(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.message.contains(text))
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn bytes(&self) -> u64 {
        self.meter.bytes.load(Ordering::Relaxed)
    }
}

impl Observer for MemoryObserver {
    fn log(&self, level: Level, component: &str, message: String, details: Value) {
        let line = Line { level, component: component.to_owned(), message, details };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn operation(&self, operation: Operation) {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    fn meter(&self) -> &Meter {
        &self.meter
    }
}
