//! The body of `POST /migrations/{id}/schedule`.

use super::cron::Cron;
use super::stored::{CatchUp, Overlap, Rule, Stored};
use crate::Error;
use crate::author::Author;
use domain::decode::{Fields, Problems};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The longest time before a start that receivers can be told.
const LONGEST_BEFORE: u64 = 30 * 86_400;

/// When a migration is to be started, once or again and again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleBody {
    /// `datetime`: once; `cron`: again and again, each time a new migration that is made from this one. Default: what the other fields say.
    #[schema(example = "datetime")]
    pub schedule_type: Option<String>,
    /// For `datetime`: an ISO 8601 time; without an offset in `timezone`.
    #[schema(example = "2030-08-27T02:00:00Z")]
    pub scheduled_time: Option<String>,
    /// For `cron`: minute, hour, day, month, weekday, in `timezone`.
    #[schema(example = "0 2 * * *")]
    pub cron: Option<String>,
    /// Name of a time zone, such as `Europe/Berlin`. Default: `UTC`.
    #[schema(example = "UTC")]
    pub timezone: Option<String>,
    /// False: receivers are told, but somebody has to start it (`cron`: the new migration). Default: true.
    #[schema(example = true)]
    pub auto_start: Option<bool>,
    pub notifications: Option<super::stored::ScheduleNotifications>,
    /// For `cron`: what is done when the one before has not ended yet. Default: `skip`.
    pub overlap: Option<Overlap>,
    /// For `cron`: what is done about times that passed while no server was up. Default: `latest`.
    pub catch_up: Option<CatchUp>,
}

/// Decodes a body; every bad field is named. `now`: what must not have passed.
pub(super) fn decode(body: &Value, now: Timestamp) -> Result<Stored, Error> {
    let mut problems = Problems::default();
    let decoded = Fields::of("", body, &mut problems).and_then(|fields| read(fields, now, &mut problems));
    decoded.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
}

fn read(mut fields: Fields<'_>, now: Timestamp, problems: &mut Problems) -> Option<Stored> {
    let (at, cron) = (fields.text("scheduled_time", problems), fields.text("cron", problems));
    let kind = fields.choice("schedule_type", &[("datetime", false), ("cron", true)], problems);
    let is_cron = kind.unwrap_or(cron.is_some() && at.is_none());
    let timezone = fields.text("timezone", problems).unwrap_or_else(|| "UTC".to_owned());
    let zone = TimeZone::get(&timezone).ok();
    if zone.is_none() {
        problems.note("timezone", format!("'{}' is not the name of a time zone, such as Europe/Berlin or UTC", timezone.escape_default()));
    }
    let zone = zone.unwrap_or(TimeZone::UTC);
    let auto_start = fields.flag("auto_start", true, problems);
    let (before_start, on_completion) = notifications(&mut fields, problems);
    let (overlap, catch_up) = (fields.choice("overlap", &Overlap::ALL, problems), fields.choice("catch_up", &CatchUp::ALL, problems));
    let rule = if is_cron {
        refuse_other("scheduled_time", at.is_some(), "cron", problems);
        repeated(cron, problems)
    } else {
        for (name, given) in [("cron", cron.is_some()), ("overlap", overlap.is_some()), ("catch_up", catch_up.is_some())] {
            refuse_other(name, given, "datetime", problems);
        }
        once(at, &zone, now, problems)
    };
    fields.done(problems);
    let mut stored = Stored {
        rule: rule?,
        timezone,
        auto_start,
        before_start,
        on_completion,
        overlap: overlap.unwrap_or_default(),
        catch_up: catch_up.unwrap_or_default(),
        next: None,
        told: None,
        last: None,
        author: Some(Author::current()),
    };
    stored.next = stored.after(now).ok().flatten();
    if stored.next.is_none() && is_cron {
        problems.note("cron", "never comes");
    }
    Some(stored)
}

fn refuse_other(name: &'static str, given: bool, kind: &str, problems: &mut Problems) {
    if given {
        problems.note(name, format!("has no meaning for a schedule of the type {kind}"));
    }
}

fn repeated(cron: Option<String>, problems: &mut Problems) -> Option<Rule> {
    let Some(cron) = cron else {
        problems.note("cron", "is required for schedule_type cron, such as '0 2 * * *'");
        return None;
    };
    if let Err(why) = Cron::parse(&cron) {
        problems.note("cron", why);
        return None;
    }
    Some(Rule::Cron(cron))
}

fn once(at: Option<String>, zone: &TimeZone, now: Timestamp, problems: &mut Problems) -> Option<Rule> {
    let Some(text) = at else {
        problems.note("scheduled_time", "is required for schedule_type datetime, such as 2030-08-27T02:00:00Z");
        return None;
    };
    // A time that the clock skips is as much later; of one that comes twice it is the first.
    let local = || text.parse::<DateTime>().ok().and_then(|local| zone.to_ambiguous_timestamp(local).compatible().ok());
    let Some(at) = text.parse::<Timestamp>().ok().or_else(local) else {
        problems.note("scheduled_time", format!("must be an ISO 8601 time such as 2030-08-27T02:00:00Z, not '{}'", text.escape_default()));
        return None;
    };
    if at <= now {
        problems.note("scheduled_time", "has passed already");
        return None;
    }
    Some(Rule::Datetime(at))
}

fn notifications(fields: &mut Fields<'_>, problems: &mut Problems) -> (Option<u64>, Option<bool>) {
    let Some(mut told) = fields.object("notifications", problems) else { return (None, None) };
    let before = told.text("before_start", problems);
    let seconds = before.and_then(|text| {
        let seconds = seconds_of(&text).filter(|s| (1..=LONGEST_BEFORE).contains(s));
        if seconds.is_none() {
            problems.note("notifications.before_start", format!("must be a time such as 30m, 1h or 2d, up to 30 days, not '{}'", text.escape_default()));
        }
        seconds
    });
    let on_completion = told.maybe_flag("on_completion", problems);
    told.done(problems);
    (seconds, on_completion)
}

/// `90s`, `30m`, `1h 30m`, `2d`.
fn seconds_of(text: &str) -> Option<u64> {
    if let Some(days) = text.trim().strip_suffix('d').and_then(|n| n.trim().parse::<u64>().ok()) {
        return days.checked_mul(86_400);
    }
    let span: SignedDuration = text.parse().ok()?;
    u64::try_from(span.as_secs()).ok()
}

/// The same, from seconds. Days stand alone, as they are read.
pub(super) fn spelled(seconds: u64) -> String {
    if seconds.is_multiple_of(86_400) {
        return format!("{}d", seconds / 86_400);
    }
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bad(body: Value) -> Vec<String> {
        let error = decode(&body, "2026-11-22T00:00:00Z".parse().unwrap()).unwrap_err();
        error.details["validation_errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn times_before_a_start_are_read_and_spelled() {
        for (text, seconds, spelled_out) in [("1h", 3600, "1h"), ("30m", 1800, "30m"), ("1h 30m", 5400, "1h 30m"), ("2d", 172_800, "2d"), ("90s", 90, "1m 30s")]
        {
            assert_eq!((seconds_of(text), spelled(seconds).as_str()), (Some(seconds), spelled_out), "{text}");
        }
        assert_eq!((seconds_of("soon"), seconds_of("-1h")), (None, None));
    }

    #[test]
    fn a_local_time_is_in_its_zone() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |time: &str, zone: &str| decode(&json!({"scheduled_time": time, "timezone": zone}), now).unwrap().next.unwrap().to_string();
        assert_eq!(at("2026-07-01T02:00:00", "Europe/Berlin"), "2026-07-01T00:00:00Z");
        assert_eq!(at("2026-07-01T02:00:00Z", "Europe/Berlin"), "2026-07-01T02:00:00Z");
        assert_eq!(at("2026-03-29T02:30:00", "Europe/Berlin"), "2026-03-29T01:30:00Z", "skipped: as much later");
        assert_eq!(at("2026-10-25T02:30:00", "Europe/Berlin"), "2026-10-25T00:30:00Z", "twice: the first");
        assert_eq!(at("2026-11-01T01:30:00", "America/New_York"), "2026-11-01T05:30:00Z");
    }

    #[test]
    fn every_bad_field_is_named() {
        assert_eq!(bad(json!({})), ["scheduled_time"]);
        assert_eq!(bad(json!({"scheduled_time": "2020-01-01T00:00:00Z", "timezone": "Mars/Base", "x": 1})), ["timezone", "scheduled_time", "x"]);
        assert_eq!(bad(json!({"schedule_type": "cron", "cron": "0 0 30 2 *"})), ["cron"]);
        assert_eq!(bad(json!({"schedule_type": "cron", "cron": "@daily", "scheduled_time": "2030-01-01", "overlap": "maybe"})), ["overlap", "scheduled_time"]);
        assert_eq!(bad(json!({"scheduled_time": "2030-01-01T00:00:00Z", "catch_up": "all", "notifications": {"before_start": "99d", "z": 1}})).len(), 3);
        assert_eq!(bad(json!([])).len(), 1);
    }
}
