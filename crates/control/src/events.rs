//! The engine's event kinds in the product's public words, as webhooks, the event stream and the WebSocket name them.

/// What webhooks may ask for.
pub const WORDS: [&str; 23] = [
    "migration.created",
    "migration.scheduled",
    "migration.asked",
    "migration.started",
    "migration.pausing",
    "migration.paused",
    "migration.resumed",
    "migration.cancelling",
    "migration.cancelled",
    "migration.completed",
    "migration.finalized",
    "migration.failed",
    "migration.rolling_back",
    "migration.rolled_back",
    "migration.stuck",
    "migration.progress",
    "migration.step_begun",
    "migration.step_completed",
    "migration.step_faltered",
    "migration.step_failed",
    "migration.step_undoing",
    "migration.step_undone",
    "migration.step_undo_failed",
];

/// `run.started` → `migration.started`. Every kind has one; the log is `migration.log`.
pub fn word(kind: &str) -> String {
    match kind {
        "progress" => "migration.progress".to_owned(),
        "log" => "migration.log".to_owned(),
        "step.done" => "migration.step_completed".to_owned(),
        _ => match kind.split_once('.') {
            Some(("run", what)) => format!("migration.{what}"),
            Some(("step", what)) => format!("migration.step_{what}"),
            _ => format!("migration.{kind}"),
        },
    }
}

/// Kinds that stand in the log: all but the samples of progress.
pub(crate) fn log_kinds() -> Vec<String> {
    ["log", "run.*", "step.*"].map(str::to_owned).to_vec()
}

/// What an event is to a listener who paints progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    Log,
    Progress,
    /// The state of the run or of a step changed.
    Status,
}

pub fn weight(kind: &str) -> Weight {
    match kind {
        "log" => Weight::Log,
        "progress" => Weight::Progress,
        _ => Weight::Status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_event_names() {
        for (kind, public) in [
            ("run.started", "migration.started"),
            ("run.completed", "migration.completed"),
            ("run.failed", "migration.failed"),
            ("progress", "migration.progress"),
            ("step.done", "migration.step_completed"),
        ] {
            assert_eq!(word(kind), public);
        }
    }
}
