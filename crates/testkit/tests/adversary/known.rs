//! Faults that are known and not mended yet: what the oracle says of them is counted and does not fail the suite.

use super::oracle::{Class, Violation};
use super::scenario::{Deed, Scenario};

/// A kind of broken promise, in the days in which it is known to be broken.
pub struct KnownFault {
    class: Class,
    /// Whether it explains this violation.
    when: fn(&Scenario, &str) -> bool,
    pub reason: &'static str,
}

/// Processes came and went, or two of them worked at once.
fn nodes(scenario: &Scenario, _words: &str) -> bool {
    scenario.any(|deed| matches!(deed, Deed::Kill { .. } | Deed::Shutdown { .. } | Deed::LeaseLost { .. }))
}

fn at_destination(scenario: &Scenario, _words: &str) -> bool {
    scenario.any(Deed::is_at_destination)
}

/// Delete an entry when its fault is mended: then the suite watches that it stays so.
pub const KNOWN_FAULTS: [KnownFault; 9] = [
    KnownFault {
        class: Class::FileLost,
        when: at_destination,
        reason: "files that people change at the destination are not compared before they are overwritten, deleted or taken back",
    },
    KnownFault { class: Class::RowLost, when: at_destination, reason: "rows that people write at the destination between two passes are overwritten unsaved" },
    KnownFault { class: Class::RowLost, when: nodes, reason: "a backup lies on one node, and another one does not look for it there" },
    KnownFault { class: Class::FileLost, when: nodes, reason: "a backup lies on one node, and another one does not look for it there" },
    KnownFault { class: Class::NotAsBefore, when: nodes, reason: "a backup lies on one node, and another one does not look for it there" },
    KnownFault { class: Class::Stuck, when: nodes, reason: "a backup lies on one node, and another one does not look for it there" },
    KnownFault { class: Class::Stuck, when: |scenario, _| scenario.parts, reason: "a file that was replaced and written in parts cannot be taken back" },
    KnownFault { class: Class::NoStandstill, when: |scenario, _| scenario.coarse, reason: "an edit of the same size in the same second is not seen" },
    KnownFault { class: Class::NotAsBefore, when: |_, words| words.contains("sqlite_stat"), reason: "the statistics of a SQLite destination stay" },
];

/// The known fault that explains a violation.
pub fn explained(scenario: &Scenario, violation: &Violation) -> Option<&'static KnownFault> {
    KNOWN_FAULTS.iter().find(|fault| fault.class == violation.class && (fault.when)(scenario, &violation.words))
}
