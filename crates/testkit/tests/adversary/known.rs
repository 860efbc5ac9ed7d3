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
fn nodes(scenario: &Scenario) -> bool {
    scenario.any(|deed| matches!(deed, Deed::Kill { .. } | Deed::Shutdown { .. } | Deed::LeaseLost { .. } | Deed::PowerLoss { .. }))
}

/// Delete an entry when its fault is mended: then the suite watches that it stays so.
pub const KNOWN_FAULTS: [KnownFault; 2] = [
    KnownFault { class: Class::NotAsBefore, when: |_, words| words.contains("sqlite_stat"), reason: "the planner's statistics of a SQLite destination stay" },
    KnownFault {
        class: Class::NotAsBefore,
        when: |scenario, _| scenario.objects && nodes(scenario),
        reason: "an object store keeps no times: our own copy of a file that changed before its copying was written down counts as somebody else's",
    },
];

/// The known fault that explains a violation.
pub fn explained(scenario: &Scenario, violation: &Violation) -> Option<&'static KnownFault> {
    KNOWN_FAULTS.iter().find(|fault| fault.class == violation.class && (fault.when)(scenario, &violation.words))
}
