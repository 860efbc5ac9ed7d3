//! Timestamps as document 3 prints them: `2024-08-26T14:30:22.123456`, UTC, microseconds, no zone letter.

use jiff::{Timestamp, civil, tz::TimeZone};

/// `2024-08-26T14:30:22.123456`.
pub fn text(at: Timestamp) -> String {
    let mut text = format!("{at:.6}");
    text.truncate(text.trim_end_matches('Z').len());
    text
}

/// The same, for what may not have happened yet.
pub fn maybe(at: Option<Timestamp>) -> Option<String> {
    at.map(text)
}

/// Reads an ISO 8601 time; without a zone it is UTC, a bare date is its first moment. A `+` that a query turned into a blank is understood.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let repaired = text.replace(' ', "+");
    text.parse().or_else(|_| repaired.parse::<Timestamp>()).ok().or_else(|| {
        let local: civil::DateTime = text.parse().ok()?;
        local.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
    })
}

/// Seconds between two moments, never negative.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_as_the_document_shows() {
        let at: Timestamp = "2024-08-26T14:30:22.123456789Z".parse().unwrap();
        assert_eq!(text(at), "2024-08-26T14:30:22.123456");
        assert_eq!(text("2024-08-26T14:30:22Z".parse().unwrap()), "2024-08-26T14:30:22.000000");
    }

    #[test]
    fn read_with_and_without_a_zone() {
        let at: Timestamp = "2024-08-26T14:30:22Z".parse().unwrap();
        for text in ["2024-08-26T14:30:22", "2024-08-26T14:30:22Z", "2024-08-26T16:30:22+02:00", "2024-08-26T16:30:22 02:00", "2024-08-26 14:30:22"] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        assert_eq!(parse("2024-08-26"), Some("2024-08-26T00:00:00Z".parse().unwrap()));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("2024-13-26"), None);
    }
}
