//! A schedule as it is stored, and how it is shown.

use super::cron::Cron;
use crate::author::Author;
use crate::{Error, time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, Record};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be done when the run before has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Pass over this time.
    #[default]
    Skip,
    /// Wait for the end of the one before.
    Queue,
    /// Run side by side.
    Allow,
}

/// What is to be done about times that passed while no server was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    None,
    /// The last one only.
    #[default]
    Latest,
    All,
}

impl Overlap {
    pub const ALL: [(&'static str, Self); 3] = [("skip", Self::Skip), ("queue", Self::Queue), ("allow", Self::Allow)];
}

impl CatchUp {
    pub const ALL: [(&'static str, Self); 3] = [("none", Self::None), ("latest", Self::Latest), ("all", Self::All)];
}

/// When.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rule {
    /// Once.
    Datetime(Timestamp),
    /// Again and again, each time with a new migration made from this one.
    Cron(String),
}

/// The record's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub rule: Rule,
    pub timezone: String,
    pub auto_start: bool,
    /// How long before a start its receivers are told, in seconds.
    pub before_start: Option<u64>,
    pub on_completion: Option<bool>,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    /// The next time that nothing was done about yet.
    pub next: Option<Timestamp>,
    /// The time whose receivers were told before.
    pub told: Option<Timestamp>,
    /// The last time that something was done about.
    pub last: Option<Timestamp>,
    /// Who asked for it. `None`: it was asked for before this was stored.
    #[serde(default)]
    pub author: Option<Author>,
}

/// Words of a record's state.
pub(super) const ACTIVE: &str = "active";
pub(super) const DONE: &str = "done";
/// The time has come, and somebody has to start it.
pub(super) const DUE: &str = "due";

impl Stored {
    pub fn of(record: &Record) -> Result<Self, Error> {
        serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("schedule {} cannot be read: {e}", record.id)))
    }

    /// The record's fields in this state; an active one is due when the next thing has to be done.
    pub fn fields(&self, state: &str) -> Result<Fields, Error> {
        let body = serde_json::to_value(self).map_err(|e| Error::internal(format!("a schedule cannot be stored: {e}")))?;
        Ok(Fields::body(body).state(state).due(if state == ACTIVE { self.wake() } else { None }))
    }

    pub fn zone(&self) -> Result<TimeZone, Error> {
        TimeZone::get(&self.timezone).map_err(|e| Error::internal(format!("the time zone {} is not known here: {e}", self.timezone)))
    }

    /// The first time after `from`.
    pub fn after(&self, from: Timestamp) -> Result<Option<Timestamp>, Error> {
        match &self.rule {
            Rule::Datetime(at) => Ok(Some(*at).filter(|at| *at > from)),
            Rule::Cron(text) => {
                let cron = Cron::parse(text).map_err(|e| Error::internal(format!("a stored cron expression cannot be read: {e}")))?;
                Ok(cron.after(from, &self.zone()?))
            }
        }
    }

    /// When receivers are to be told of the next time.
    pub fn tell_at(&self) -> Option<Timestamp> {
        let (next, before) = (self.next?, self.before_start?);
        let at = next.checked_sub(SignedDuration::from_secs(before as i64)).ok()?;
        (self.told != Some(next)).then_some(at)
    }

    fn wake(&self) -> Option<Timestamp> {
        self.next.map(|next| self.tell_at().unwrap_or(next))
    }
}

/// What receivers are told beside the migration's own configuration.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleNotifications {
    /// How long before a start they are told: `30m`, `1h`, `1h 30m`, `2d`.
    #[schema(example = "1h")]
    pub before_start: Option<String>,
    /// Whether they are told of its completion; absent: as the configuration says.
    #[schema(example = true)]
    pub on_completion: Option<bool>,
}

/// A schedule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Schedule {
    /// The migration that is started, or the model of those that are made.
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// `scheduled`; `due` when its time has come and somebody has to start it; `done`.
    #[schema(example = "scheduled")]
    pub status: &'static str,
    /// `datetime` or `cron`.
    #[schema(example = "datetime")]
    pub schedule_type: &'static str,
    #[schema(example = "2024-08-27T02:00:00.000000")]
    pub scheduled_time: Option<String>,
    #[schema(example = "0 2 * * *")]
    pub cron: Option<String>,
    #[schema(example = "UTC")]
    pub timezone: String,
    #[schema(example = true)]
    pub auto_start: bool,
    pub notifications: ScheduleNotifications,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    /// UTC.
    #[schema(example = "2024-08-27T02:00:00.000000")]
    pub next_run_at: Option<String>,
    /// The last time that came, UTC.
    pub last_run_at: Option<String>,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub updated_at: String,
    /// Raised by every change; what `ETag` and `If-Match` compare.
    #[schema(example = 1)]
    pub version: u64,
}

pub(super) fn view(record: &Record) -> Result<Schedule, Error> {
    let stored = Stored::of(record)?;
    let (kind, at, cron) = match &stored.rule {
        Rule::Datetime(at) => ("datetime", Some(*at), None),
        Rule::Cron(text) => ("cron", None, Some(text.clone())),
    };
    Ok(Schedule {
        session_id: record.id.clone(),
        status: match record.state.as_deref() {
            Some(DONE) => "done",
            Some(DUE) => "due",
            _ => "scheduled",
        },
        schedule_type: kind,
        scheduled_time: time::maybe(at),
        cron,
        timezone: stored.timezone.clone(),
        auto_start: stored.auto_start,
        notifications: ScheduleNotifications { before_start: stored.before_start.map(super::request::spelled), on_completion: stored.on_completion },
        overlap: stored.overlap,
        catch_up: stored.catch_up,
        next_run_at: time::maybe(stored.next),
        last_run_at: time::maybe(stored.last),
        created_at: time::text(record.created_at),
        updated_at: time::text(record.updated_at),
        version: record.version,
    })
}
