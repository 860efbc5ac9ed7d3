//! The life of a virtual machine, as a table without side effects: which operation is allowed when, and what an observation makes of a status.

use serde::{Deserialize, Serialize};

/// The public word for where a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmStatus {
    /// Defined, never started.
    Created,
    Starting,
    /// Its process is alive; it may be paused.
    Running,
    Stopping,
    Stopped,
    /// A start failed, or its process ended in a way that nobody asked for.
    Failed,
    /// On its way to another node.
    Migrating,
}

impl VmStatus {
    pub const ALL: [Self; 7] = [Self::Created, Self::Starting, Self::Running, Self::Stopping, Self::Stopped, Self::Failed, Self::Migrating];

    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Migrating => "migrating",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.word() == word)
    }
}

/// What somebody may ask of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Start,
    /// Asks the guest to switch itself off, and pulls the plug when it does not.
    Stop,
    /// Pulls the plug; also takes the place of a start or stop in progress.
    ForceStop,
    Reboot,
    Pause,
    Resume,
    CreateSnapshot,
    RestoreSnapshot,
    DeleteSnapshot,
    Delete,
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Start,
        Self::Stop,
        Self::ForceStop,
        Self::Reboot,
        Self::Pause,
        Self::Resume,
        Self::CreateSnapshot,
        Self::RestoreSnapshot,
        Self::DeleteSnapshot,
        Self::Delete,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::ForceStop => "force_stop",
            Self::Reboot => "reboot",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::CreateSnapshot => "create_snapshot",
            Self::RestoreSnapshot => "restore_snapshot",
            Self::DeleteSnapshot => "delete_snapshot",
            Self::Delete => "delete",
        }
    }
}

/// Why an operation is not allowed now, as the end of a sentence about the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is what the operation would make it.
    Already(&'static str),
    /// Another operation is at work.
    Busy,
    /// Something else has to be done first.
    First(&'static str),
}

impl Refusal {
    pub fn text(self) -> &'static str {
        match self {
            Self::Already(text) | Self::First(text) => text,
            Self::Busy => "another operation is at work on it; wait for it to end",
        }
    }
}

/// What decides about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmState {
    pub status: VmStatus,
    /// Only of a running machine.
    pub paused: bool,
    /// Whether an operation is at work on it.
    pub busy: bool,
}

/// What a look at the machine's process has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Alive,
    /// It ended in good order: the guest switched itself off, or it was asked to.
    Ended,
    /// It was killed or died of an error.
    Crashed,
}

impl VmState {
    /// The status while `operation` is at work, or why it may not begin.
    pub fn begin(self, operation: Operation) -> Result<VmStatus, Refusal> {
        use Operation as O;
        use VmStatus as S;
        match (operation, self.status) {
            (O::ForceStop, S::Running | S::Starting | S::Stopping) => return Ok(S::Stopping),
            (_, S::Starting | S::Stopping | S::Migrating) => return Err(Refusal::Busy),
            (O::Start, S::Running) => return Err(Refusal::Already("it is running already")),
            (O::Stop | O::ForceStop, S::Stopped | S::Created | S::Failed) => return Err(Refusal::Already("it is not running")),
            (O::Delete, S::Running) => return Err(Refusal::First("it is running; stop it first")),
            (O::Reboot | O::Pause | O::Resume, S::Stopped | S::Created | S::Failed) => return Err(Refusal::First("it is not running; start it first")),
            (O::CreateSnapshot | O::RestoreSnapshot | O::DeleteSnapshot, S::Created) => {
                return Err(Refusal::First("it has no disk before its first start; start it first"));
            }
            _ if self.busy => return Err(Refusal::Busy),
            (O::Pause, _) if self.paused => return Err(Refusal::Already("it is paused already")),
            (O::Resume, _) if !self.paused => return Err(Refusal::Already("it is not paused")),
            _ => {}
        }
        Ok(match operation {
            O::Start => S::Starting,
            O::Stop => S::Stopping,
            _ => self.status,
        })
    }
}

impl VmStatus {
    /// The status that fits what was seen, once no operation is at work any more.
    pub fn settled(self, seen: Seen) -> Self {
        match (seen, self) {
            (Seen::Alive, _) => Self::Running,
            (_, Self::Created | Self::Stopped | Self::Failed) => self,
            (Seen::Crashed, Self::Running | Self::Starting | Self::Migrating) => Self::Failed,
            (Seen::Ended | Seen::Crashed, _) => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests;
