//! How a mover tells what it is doing. Nothing here may fail or block: telling is never a reason to stop moving.

use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

/// Live counters of one step, in memory only; the ledger holds the durable truth.
#[derive(Debug, Default)]
pub struct Meter {
    /// Payload bytes that left for the destination, re-sent ones included.
    pub bytes: AtomicU64,
    /// Files or rows done.
    pub items: AtomicU64,
    /// Calls that were tried again.
    pub retries: AtomicU64,
}

impl Meter {
    pub fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn finished(&self, items: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
    }

    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is being worked on right now. Document 3's `current_operation`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Operation {
    /// `file_transfer`, `database_copy`, `verification`, `planning`, `backup`, …
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    pub destination: String,
    /// Percent of this operation, 0 to 100.
    pub progress: f64,
}

/// The listener that a plan hands to a mover.
pub trait Observer: Send + Sync {
    /// One line of the migration's log. `component` is the operation's type. No secret may enter.
    fn log(&self, level: Level, component: &str, message: String, details: Value);

    fn operation(&self, operation: Operation);

    fn meter(&self) -> &Meter;
}
