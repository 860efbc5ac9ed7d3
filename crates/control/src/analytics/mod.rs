//! What a tenant's migrations add up to: how many, how many of them well, how long, how much.
//!
//! The store counts per day (UTC) and type of source; weeks and months are added up here. A migration belongs to the day on which it
//! was started. Times and rates are those of the migrations that have ended well or badly; cancelled ones and those that were taken back
//! on somebody's wish are counted, but say nothing about success.

mod csv;
mod sums;

use crate::{Control, Error, Filter};
pub(crate) use csv::field;
use domain::units;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use ports::records::analytics::{DayTotals, Period};
use serde::Serialize;
use std::collections::BTreeMap;
use sums::Sums;
use utoipa::ToSchema;

/// Days that are shown when no start is given.
const USUAL_DAYS: i64 = 30;

/// What is added up to one point of the trends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    Day,
    /// From Monday on.
    Week,
    Month,
}

impl Grouping {
    const WORDS: [(&str, Self); 3] = [("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];

    /// The first day of the group that `day` is in.
    fn first(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Week => day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days()),
            Self::Month => day.first_of_month(),
        }
    }
}

/// Answer of `GET /analytics/migrations`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MigrationAnalytics {
    pub period: AnalyticsPeriod,
    pub summary: AnalyticsSummary,
    /// By the source's type.
    pub by_type: BTreeMap<String, TypeAnalytics>,
    /// One point for each day, week or month in which migrations were started, earliest first.
    pub performance_trends: Vec<TrendPoint>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnalyticsPeriod {
    #[schema(example = "2024-08-01T00:00:00Z")]
    pub start: String,
    #[schema(example = "2024-08-31T23:59:59Z")]
    pub end: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnalyticsSummary {
    /// Started in the period.
    #[schema(example = 156)]
    pub total_migrations: u64,
    #[schema(example = 142)]
    pub successful_migrations: u64,
    /// Those that failed and took themselves back included.
    #[schema(example = 14)]
    pub failed_migrations: u64,
    pub cancelled_migrations: u64,
    /// Taken back because somebody asked.
    pub rolled_back_migrations: u64,
    /// Running, paused or being taken back.
    pub open_migrations: u64,
    /// Percent of those that ended well or badly; null when none has.
    #[schema(example = 91.0)]
    pub success_rate: Option<f64>,
    #[schema(example = "28m 45s")]
    pub average_duration: Option<String>,
    #[schema(example = 1725.0)]
    pub average_duration_seconds: Option<f64>,
    #[schema(example = "2.3 TB")]
    pub total_data_transferred: String,
    #[schema(example = 2_528_876_743_884_u64)]
    pub total_data_transferred_bytes: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TypeAnalytics {
    #[schema(example = 89)]
    pub count: u64,
    /// Percent of those that ended well or badly; null when none has.
    #[schema(example = 94.4)]
    pub success_rate: Option<f64>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TrendPoint {
    /// The day, or the first day of the week or month.
    #[schema(example = "2024-08-01")]
    pub date: String,
    #[schema(example = 5)]
    pub migrations: u64,
    #[schema(example = 91.0)]
    pub success_rate: Option<f64>,
    #[schema(example = "32m 15s")]
    pub avg_duration: Option<String>,
    pub avg_duration_seconds: Option<f64>,
    #[schema(example = "1.8 MB/s")]
    pub avg_transfer_rate: Option<String>,
    /// Bytes per second, over the whole time of the migrations.
    pub avg_transfer_rate_bytes: Option<f64>,
}

/// What was asked for.
struct Asked {
    from: Timestamp,
    until: Timestamp,
    grouping: Grouping,
}

impl Control {
    /// Takes `start_date` (30 days before the end), `end_date` (now; a bare date is its last moment) and `group_by` (`day`).
    pub async fn migration_analytics(&self, tenant: &str, filter: Filter) -> Result<MigrationAnalytics, Error> {
        let asked = Asked::read(filter)?;
        let days = self.days(tenant, &asked).await?;
        let mut all = Sums::default();
        let mut types: BTreeMap<String, Sums> = BTreeMap::new();
        let mut groups: BTreeMap<Date, Sums> = BTreeMap::new();
        for day in &days {
            all.add(day);
            types.entry(day.label.clone()).or_default().add(day);
            groups.entry(asked.grouping.first(day.day)).or_default().add(day);
        }
        Ok(MigrationAnalytics {
            period: AnalyticsPeriod { start: zulu(asked.from), end: zulu(asked.until) },
            summary: all.summary(),
            by_type: types.into_iter().map(|(kind, sums)| (kind, TypeAnalytics { count: sums.runs, success_rate: sums.success_rate() })).collect(),
            performance_trends: groups.into_iter().map(|(date, sums)| sums.point(date)).collect(),
        })
    }

    /// The same numbers as a table with a line for each group and type.
    pub async fn migration_analytics_csv(&self, tenant: &str, filter: Filter) -> Result<String, Error> {
        let asked = Asked::read(filter)?;
        let mut lines: BTreeMap<(Date, String), Sums> = BTreeMap::new();
        for day in &self.days(tenant, &asked).await? {
            lines.entry((asked.grouping.first(day.day), day.label.clone())).or_default().add(day);
        }
        Ok(csv::table(&lines))
    }

    async fn days(&self, tenant: &str, asked: &Asked) -> Result<Vec<DayTotals>, Error> {
        let period =
            Period { tenant: tenant.to_owned(), from: asked.from, until: asked.until, label: "source_type", ledgers: crate::migrations::MOVING_LEDGERS };
        Ok(self.records().days(&period).await?)
    }
}

impl Asked {
    fn read(mut filter: Filter) -> Result<Self, Error> {
        let from = filter.time("start_date");
        let until = filter.last_moment("end_date").unwrap_or_else(Timestamp::now);
        let grouping = filter.choice("group_by", &Grouping::WORDS).unwrap_or(Grouping::Day);
        let from = from.unwrap_or_else(|| until.checked_sub((USUAL_DAYS * 24).hours()).unwrap_or(Timestamp::MIN));
        if from > until {
            filter.refuse("end_date", "must not be before start_date");
        }
        filter.done()?;
        Ok(Self { from, until, grouping })
    }
}

/// `2024-08-31T23:59:59Z`, as document 3 prints periods.
fn zulu(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// One decimal, as the document prints percents.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn printed(seconds: Option<f64>) -> Option<String> {
    seconds.map(units::duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn weeks_begin_on_monday_and_months_on_their_first() {
        assert_eq!(Grouping::Week.first(date(2024, 9, 1)), date(2024, 8, 26));
        assert_eq!(Grouping::Week.first(date(2024, 8, 26)), date(2024, 8, 26));
        assert_eq!(Grouping::Month.first(date(2024, 8, 31)), date(2024, 8, 1));
        assert_eq!(Grouping::Day.first(date(2024, 8, 31)), date(2024, 8, 31));
    }

    #[test]
    fn a_bare_end_date_is_its_last_moment_and_times_are_printed_as_documented() {
        let given = [("start_date", "2024-08-01"), ("end_date", "2024-08-31")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let asked = Asked::read(Filter::new(given.to_vec())).unwrap();
        assert_eq!((zulu(asked.from), zulu(asked.until)), ("2024-08-01T00:00:00Z".to_owned(), "2024-08-31T23:59:59Z".to_owned()));
        let turned = [("start_date", "2024-08-31"), ("end_date", "2024-08-01")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert!(Asked::read(Filter::new(turned.to_vec())).is_err());
    }
}
