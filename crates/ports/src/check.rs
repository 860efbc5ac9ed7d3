//! Checking a system before anything moves. Every check really connects.

use futures::future::BoxFuture;

/// The part a system plays in the migration that is being checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Will be read.
    Source,
    /// Will be written.
    Destination,
}

/// What a check found, for a person: what is wrong and what to do. `field` is relative to the system (`host`,
/// `database.password`); the caller puts `source.` or `destination.` before it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    pub field: String,
    pub issue: String,
    pub suggestion: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// With a short statement of what was seen: `"MySQL 9.7.0"`.
    Passed(String),
    /// The migration may go on.
    Warning(Finding),
    /// The migration must not start. `kind` gives the exit code and the HTTP status.
    Failed { finding: Finding, kind: crate::ErrorKind },
}

/// One named check, ready to run. The names are stable: `connectivity`, `credentials`, `permissions`, `free_space`,
/// `version`, `character_set`, `names`, `large_files`, `clock`, …
pub struct Check<'a> {
    pub name: &'static str,
    pub run: BoxFuture<'a, CheckOutcome>,
}

/// A system that can be checked. The checks are independent: the caller runs them side by side, each within its own time
/// limit. A check leaves nothing behind (a trial write happens under a temporary name and is deleted).
pub trait Examine: Send + Sync {
    fn checks(&self, role: Role) -> Vec<Check<'_>>;
}
