//! Cron expressions in a time zone: five fields, names, lists, ranges, steps, and `@daily` and its like.
//!
//! A local time that the clock skips (spring) comes at the moment of the change. One that comes twice (autumn) counts once, the first time;
//! only where every hour is meant do the repeated hours count as well, so that "every 15 minutes" stays every 15 minutes.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, ToSpan};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const EVERY_HOUR: u64 = (1 << 24) - 1;
/// The longest that clocks are put back.
const FOLD: i32 = 4;
/// How far is looked ahead: the 29th of February, also over a century without one.
const YEARS: i32 = 9;

/// A cron expression, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of day are restricted: either one suffices.
    either_day: bool,
}

impl Cron {
    /// Fails with what is wrong, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = spelled_out(text.trim());
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("must have five fields (minute, hour, day, month, weekday) such as '0 2 * * *', not {}", fields.len()));
        };
        let mut weekdays = field(weekday, "weekday", 0, 7, &DAYS)?;
        if weekdays & (1 << 7) != 0 {
            weekdays = (weekdays | 1) & !(1 << 7);
        }
        Ok(Self {
            minutes: field(minute, "minute", 0, 59, &[])?,
            hours: field(hour, "hour", 0, 23, &[])?,
            days: field(day, "day", 1, 31, &[])?,
            months: field(month, "month", 1, 12, &MONTHS)?,
            weekdays,
            either_day: !day.starts_with(['*', '?']) && !weekday.starts_with(['*', '?']),
        })
    }

    /// The first time after `from`; `None` when there is none for years (30 February).
    pub fn after(&self, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let from_local = zone.to_datetime(from);
        let begin = from_local.checked_sub(Span::new().hours(FOLD)).ok()?;
        let mut found: Option<(Timestamp, DateTime)> = None;
        let mut date = begin.date();
        let last = date.checked_add(YEARS.years()).ok()?;
        while date <= last {
            if found.is_some_and(|(_, end)| date > end.date()) {
                break;
            }
            if self.has_day(date) {
                self.look_into(date, begin, from, zone, &mut found)?;
            }
            date = date.tomorrow().ok()?;
        }
        found.map(|(at, _)| at)
    }

    /// Looks through a day for the earliest moment after `from`. What was found is looked behind for a few hours: moments of a repeated hour do
    /// not come in the order of the clock.
    fn look_into(&self, date: Date, begin: DateTime, from: Timestamp, zone: &TimeZone, found: &mut Option<(Timestamp, DateTime)>) -> Option<()> {
        for hour in bits(self.hours) {
            for minute in bits(self.minutes) {
                let local = date.at(hour, minute, 0, 0);
                if local < begin {
                    continue;
                }
                if found.is_some_and(|(_, end)| local > end) {
                    return Some(());
                }
                for at in self.moments(local, zone).into_iter().flatten().filter(|at| *at > from) {
                    let end = found.map_or(local.checked_add(Span::new().hours(FOLD)).ok()?, |(_, end)| end);
                    *found = Some((found.map_or(at, |(best, _)| best.min(at)), end));
                }
            }
        }
        Some(())
    }

    /// When the clock shows this.
    fn moments(&self, local: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let ambiguous = zone.to_ambiguous_timestamp(local);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(local).ok(), None],
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(local).ok();
                [before_change.and_then(|at| zone.following(at).next()).map(|change| change.timestamp()), None]
            }
            AmbiguousOffset::Fold { before, after } => {
                let second = (self.hours == EVERY_HOUR).then(|| after.to_timestamp(local).ok()).flatten();
                [before.to_timestamp(local).ok(), second]
            }
        }
    }

    fn has_day(&self, date: Date) -> bool {
        let month = self.months & (1 << date.month()) != 0;
        let day = self.days & (1 << date.day()) != 0;
        let weekday = self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) != 0;
        month && if self.either_day { day || weekday } else { day && weekday }
    }
}

fn spelled_out(text: &str) -> String {
    match text.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *".to_owned(),
        "@daily" | "@midnight" => "0 0 * * *".to_owned(),
        "@weekly" => "0 0 * * 0".to_owned(),
        "@monthly" => "0 0 1 * *".to_owned(),
        "@yearly" | "@annually" => "0 0 1 1 *".to_owned(),
        other => other.to_owned(),
    }
}

fn bits(set: u64) -> impl Iterator<Item = i8> {
    (0..60_i8).filter(move |n| set & (1 << n) != 0)
}

/// One field as a set of numbers.
fn field(text: &str, name: &str, low: u64, high: u64, words: &[&str]) -> Result<u64, String> {
    text.split(',').try_fold(0, |set, part| Ok(set | part_of(part, low, high, words).map_err(|why| format!("{name} '{}': {why}", text.escape_default()))?))
}

fn part_of(part: &str, low: u64, high: u64, words: &[&str]) -> Result<u64, String> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(step.parse::<u64>().ok().filter(|s| (1..=high).contains(s)).ok_or("the step behind / must be a number above 0")?)),
        None => (part, None),
    };
    let number = |text: &str| -> Result<u64, String> {
        let word = words.iter().position(|w| *w == text).map(|i| i as u64 + low);
        let value = word.or_else(|| text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())));
        value.filter(|n| (low..=high).contains(n)).ok_or_else(|| format!("must be * or from {low} to {high}"))
    };
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (number(from)?, number(to)?),
        None if range == "*" || range == "?" => (low, high),
        None if step.is_some() => (number(range)?, high),
        None => (number(range)?, number(range)?),
    };
    if from > to {
        return Err("a range must not run backwards".to_owned());
    }
    Ok((from..=to).step_by(step.unwrap_or(1) as usize).fold(0, |set, n| set | (1 << n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (Cron::parse(cron).unwrap(), TimeZone::get(zone).unwrap());
        let mut at: Timestamp = from.parse().unwrap();
        let mut out = Vec::new();
        while out.len() < count {
            at = cron.after(at, &zone).expect("another time");
            out.push(at.to_string());
        }
        out
    }

    #[test]
    fn fields_mean_what_they_say() {
        assert_eq!(times("30 2 * * *", "UTC", "2026-11-22T02:30:00Z", 2), ["2026-11-23T02:30:00Z", "2026-11-24T02:30:00Z"]);
        assert_eq!(times("*/20 8-9 * * mon-fri", "UTC", "2026-11-20T09:30:00Z", 2), ["2026-11-20T09:40:00Z", "2026-11-23T08:00:00Z"]);
        assert_eq!(times("0 0 29 feb *", "UTC", "2026-01-01T00:00:00Z", 2), ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        assert_eq!(times("0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", 3), ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"]);
        assert_eq!(times("@weekly", "UTC", "2026-11-20T00:00:00Z", 1), ["2026-11-22T00:00:00Z"]);
        assert_eq!(times("5/30 * * * 7", "UTC", "2026-11-22T00:05:00Z", 1), ["2026-11-22T00:35:00Z"]);
        assert_eq!(times("0 9 * * *", "Asia/Tokyo", "2026-11-22T00:00:00Z", 1), ["2026-11-23T00:00:00Z"]);
    }

    #[test]
    fn a_skipped_hour_comes_at_the_change_and_once() {
        // Berlin, 29 March 2026: 02:00 is followed by 03:00 (01:00 UTC).
        assert_eq!(times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2), ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        assert_eq!(times("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:00Z", 3), ["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
        // New York, 8 March 2026: 02:00 is followed by 03:00 (07:00 UTC).
        assert_eq!(times("15 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2), ["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"]);
    }

    #[test]
    fn a_repeated_hour_counts_once_unless_every_hour_is_meant() {
        // Berlin, 25 October 2026: 03:00 is followed by 02:00 (01:00 UTC).
        assert_eq!(times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2), ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let quarters = times("*/15 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 12);
        let steady: Vec<String> = (0..12).map(|n| ("2026-10-25T00:00:00Z".parse::<Timestamp>().unwrap() + (15 * n).minutes()).to_string()).collect();
        assert_eq!(quarters, steady);
        // New York, 1 November 2026: 02:00 is followed by 01:00 (06:00 UTC).
        assert_eq!(times("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 2), ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
        assert_eq!(times("0 * * * *", "America/New_York", "2026-11-01T04:30:00Z", 3), ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]);
    }

    #[test]
    fn a_day_that_a_country_skipped_comes_at_its_change() {
        // Samoa crossed the date line: 30 December 2011 did not exist there.
        assert_eq!(times("0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z", 2), ["2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"]);
    }

    #[test]
    fn what_is_no_cron_is_refused_with_the_field_and_the_reason() {
        for (bad, word) in [
            ("", "five"),
            ("* * * *", "five"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "weekday"),
        ] {
            assert!(Cron::parse(bad).unwrap_err().contains(word), "{bad}");
        }
        for bad in ["*/0 * * * *", "5-1 * * * *", "a * * * *", "+5 * * * *", "1, * * * *", "@often", "* * * foo *"] {
            assert!(Cron::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Cron::parse("0 0 30 2 *").unwrap().after("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }
}
