//! The life of a run as a pure function: state and request in, state or refusal out.

use std::fmt;

/// Stored with the run. Comment: who sets it, what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// By `create`. Next: running (start), scheduled, cancelled.
    Created,
    /// By `schedule`. Next: running when its time comes, cancelled.
    Scheduled,
    /// By `start` or `resume`; a worker claims it. Next: paused, completed, failed, cancelled, rolling back (automatic).
    Running,
    /// By `pause`, once the worker has stopped. Next: running (resume), cancelled, rolling back.
    Paused,
    /// By the worker after the last step. Next: rolling back.
    Completed,
    /// By the worker after a permanent error. Next: rolling back, running (retry).
    Failed,
    /// By `cancel`, once the worker has stopped. Next: rolling back.
    Cancelled,
    /// By `rollback` or automatically after a failure; a worker claims it. Next: rolled back, stuck.
    RollingBack,
    /// By the worker after the last undo. The end.
    RolledBack,
    /// By the worker when an undo fails for good. Next: rolling back (resolve).
    Stuck,
}

impl RunState {
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Scheduled,
        Self::Running,
        Self::Paused,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::RollingBack,
        Self::RolledBack,
        Self::Stuck,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Stuck => "stuck",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }

    /// A worker may claim it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::RollingBack)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
