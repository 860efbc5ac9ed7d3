//! One cause, one error: a door that cannot be entered makes all its checks fail, and only the first of them says something.

use super::pair::TWO_PLACES;
use super::report::{CheckReport, Outcome};
use ports::ErrorKind;

/// Failures of these kinds repeat themselves in every further check of the same door.
fn repeats(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unreachable
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::Authentication
            | ErrorKind::HostKey
            | ErrorKind::NotFound
            | ErrorKind::Protocol
            | ErrorKind::Throttled
    )
}

/// Turns failures that only repeat another one of the same door into skipped checks.
pub(super) fn settle(reports: &mut [CheckReport]) {
    skip_two_places(reports);
    for side in ["source", "destination"] {
        for database in [false, true] {
            let of_door = |report: &CheckReport| report.system == side && report.check.contains("database") == database;
            skip_same(reports, &of_door);
            while let Some((cause, kind)) = next_cause(reports, &of_door) {
                let words = because(&cause);
                for report in reports.iter_mut().filter(|r| of_door(r) && r.check != cause) {
                    if report.failed().is_some_and(|(_, other)| other == kind) {
                        report.outcome = Outcome::Skipped(words.clone());
                    }
                }
            }
        }
    }
}

/// Asking whether both systems are one place meets the trouble that either of them has.
fn skip_two_places(reports: &mut [CheckReport]) {
    let cause = reports.iter().find(|r| r.check != TWO_PLACES && r.failed().is_some()).map(|r| r.check.clone());
    let Some(cause) = cause else { return };
    for report in reports.iter_mut().filter(|r| r.check == TWO_PLACES) {
        if report.failed().is_some_and(|(_, kind)| repeats(kind) || kind == ErrorKind::Permission) {
            report.outcome = Outcome::Skipped(because(&cause));
        }
    }
}

fn because(cause: &str) -> String {
    format!("not done, because {cause} failed")
}

/// A failure told in the very words of an earlier one of the door is no other failure.
fn skip_same(reports: &mut [CheckReport], of_door: &impl Fn(&CheckReport) -> bool) {
    for at in 1..reports.len() {
        let (before, rest) = reports.split_at_mut(at);
        let Some((finding, kind)) = rest[0].failed().filter(|_| of_door(&rest[0])) else { continue };
        let same = |r: &&CheckReport| of_door(r) && r.failed().is_some_and(|(f, k)| k == kind && f.issue == finding.issue);
        if let Some(cause) = before.iter().find(same) {
            rest[0].outcome = Outcome::Skipped(because(&cause.check));
        }
    }
}

/// The check that tells best why a door is closed, while others still repeat it.
fn next_cause(reports: &[CheckReport], of_door: &impl Fn(&CheckReport) -> bool) -> Option<(String, ErrorKind)> {
    let failed: Vec<(&CheckReport, ErrorKind)> =
        reports.iter().filter(|r| of_door(r)).filter_map(|r| Some((r, r.failed()?.1))).filter(|(_, kind)| repeats(*kind)).collect();
    let repeated = |kind: ErrorKind| failed.iter().filter(|(_, other)| *other == kind).count() > 1;
    let weight = |check: &str| ["connectivity", "credentials", "host_key"].iter().position(|end| check.ends_with(end)).unwrap_or(9);
    failed.iter().filter(|(_, kind)| repeated(*kind)).min_by_key(|(report, _)| weight(&report.check)).map(|(report, kind)| (report.check.clone(), *kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::Finding;

    fn failed(check: &str, system: &str, kind: ErrorKind) -> CheckReport {
        let finding = Finding { field: format!("{system}.host"), issue: format!("{check} broke"), suggestion: String::new() };
        CheckReport { check: check.to_owned(), system: system.to_owned(), outcome: Outcome::Failed(finding, kind), duration_ms: 1 }
    }

    #[test]
    fn only_the_cause_stays_a_failure() {
        let mut reports = vec![
            failed("wordpress", "source", ErrorKind::Unreachable),
            failed("source_connectivity", "source", ErrorKind::Unreachable),
            failed("source_permissions", "source", ErrorKind::Unreachable),
            failed("source_database_credentials", "source", ErrorKind::Authentication),
            failed("source_database_version", "source", ErrorKind::Authentication),
            failed("destination_permissions", "destination", ErrorKind::Permission),
            failed("destination_names", "destination", ErrorKind::Permission),
        ];
        settle(&mut reports);
        let left: Vec<&str> = reports.iter().filter(|r| r.failed().is_some()).map(|r| r.check.as_str()).collect();
        assert_eq!(left, ["source_connectivity", "source_database_credentials", "destination_permissions", "destination_names"]);
        let mut again = failed("destination_clock", "destination", ErrorKind::Permission);
        again.outcome = reports[5].outcome.clone();
        reports.push(again);
        settle(&mut reports);
        assert_eq!(reports[7].outcome, Outcome::Skipped("not done, because destination_permissions failed".to_owned()));
        assert_eq!(reports[0].outcome, Outcome::Skipped("not done, because source_connectivity failed".to_owned()));
    }
}
