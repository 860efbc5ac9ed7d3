//! Errors of steps and of the engine.

use serde_json::Value;

/// Why a step did not end well. The engine retries temporary ones with jittered back-off, then fails the run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StepError {
    /// Stable word: the connector's error kind, or `verification_mismatch`, `partial`, …
    pub kind: String,
    /// A whole sentence: what was tried, on what, why it failed, what to do.
    pub message: String,
    pub temporary: bool,
    /// Our own stop signal: neither failure nor success.
    pub stopped: bool,
    pub details: Value,
}

impl StepError {
    pub fn permanent(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), temporary: false, stopped: false, details: Value::Null }
    }

    pub fn temporary(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { temporary: true, ..Self::permanent(kind, message) }
    }

    /// The step saw the stop signal.
    pub fn stopped() -> Self {
        Self { stopped: true, ..Self::temporary("stopped", "the run was asked to stop") }
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StepError {}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("run {0} does not exist")]
    NotFound(String),
    /// The run's state forbids it. Holds the state.
    #[error("run {id} is {state}: {message}")]
    Conflict { id: String, state: crate::RunState, message: String },
    #[error("{0}")]
    Invalid(String),
    /// The tenant has as many active runs as it may; later there may be room.
    #[error("run {id} cannot be active now: {used} of at most {limit} runs of its tenant are")]
    Full { id: String, limit: u64, used: u64 },
    /// A write came too late: another worker holds the run now.
    #[error("the lease on run {0} was lost")]
    Fenced(String),
    #[error("the journal is unavailable: {0}")]
    Unavailable(String),
    #[error("{0}")]
    Internal(String),
}
