//! What tasks tell the loop that owns them, and how the loop tells the observer.

use super::digest::printed;
use domain::units;
use ports::files::{Digest, FilePath};
use ports::observe::{Level, Operation};
use ports::{ConnectorError, Observer};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A file is worth its own line from this size on; smaller ones are summed up by batch.
const OWN_LINE: u64 = 1 << 20;

/// A message of a task.
#[derive(Debug)]
pub(super) enum Told {
    Retried { path: FilePath, size: u64, error: String, attempt: u32, of: u32 },
    Transferred { path: FilePath, size: u64, seconds: f64, digest: Option<Digest> },
}

impl Told {
    pub(super) fn retried(path: &FilePath, size: u64, error: &ConnectorError, attempt: u32, of: u32) -> Self {
        Self::Retried { path: path.clone(), size, error: error.to_string(), attempt, of }
    }

    /// `None` for small files.
    pub(super) fn transferred(path: &FilePath, size: u64, took: Duration, digest: Option<&Digest>) -> Option<Self> {
        (size >= OWN_LINE).then(|| Self::Transferred { path: path.clone(), size, seconds: took.as_secs_f64(), digest: digest.cloned() })
    }

    pub(super) fn tell(self, observer: &dyn Observer, component: &str) {
        match self {
            Self::Retried { path, size, error, attempt, of } => {
                observer.meter().retried();
                let message = format!("Retrying transfer for {path} (attempt {attempt}/{of})");
                observer.log(Level::Warning, component, message, json!({"file_size": size, "error": error, "retry_count": attempt}));
            }
            Self::Transferred { path, size, seconds, digest } => {
                let checksum = digest.map_or(Value::Null, |d| Value::String(printed(&d)));
                let message = format!("Transferred {path} ({})", units::size(size).replace(' ', ""));
                let seconds = (seconds * 1000.0).round() / 1000.0;
                observer.log(Level::Info, component, message, json!({"file_size": size, "transfer_time": seconds, "checksum": checksum}));
            }
        }
    }
}

/// Keeps the observer's current operation fresh, at most five times a second.
pub(super) struct Teller<'a> {
    observer: &'a dyn Observer,
    kind: &'static str,
    source: String,
    destination: String,
    pub(super) done: u64,
    pub(super) total: u64,
    last: Option<Instant>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(observer: &'a dyn Observer, kind: &'static str, source: String, destination: String) -> Self {
        Self { observer, kind, source, destination, done: 0, total: 0, last: None }
    }

    /// Says where the work is. `path` is a file; its directory is told.
    pub(super) fn at(&mut self, path: &FilePath) {
        if self.last.is_some_and(|last| last.elapsed() < Duration::from_millis(200)) {
            return;
        }
        self.last = Some(Instant::now());
        let folder = path.parent().unwrap_or_default();
        let below = |root: &str| if folder.as_bytes().is_empty() { root.to_owned() } else { format!("{}/{folder}", root.trim_end_matches('/')) };
        let progress = if self.total == 0 { 0.0 } else { (self.done as f64 * 100.0 / self.total as f64).min(100.0) };
        let (source, destination) = (below(&self.source), below(&self.destination));
        self.observer.operation(Operation { kind: self.kind.to_owned(), source, destination, progress });
    }
}

/// Bytes counted by tasks, carried over to the observer's meter by the loop.
#[derive(Debug, Default)]
pub(super) struct Flow {
    bytes: AtomicU64,
}

impl Flow {
    pub(super) fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn carry_over(&self, observer: &dyn Observer) {
        observer.meter().moved(self.bytes.swap(0, Ordering::Relaxed));
    }
}
