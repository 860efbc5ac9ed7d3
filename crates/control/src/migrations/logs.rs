//! The log of a migration (newest first, as document 3 shows it) and its event stream (oldest first, resumable).

use super::status;
use crate::{Control, Error, Filter, events, time};
use engine::{Event, EventFilter, Level};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use utoipa::ToSchema;

/// Answer of `GET /migrations/{id}/logs`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Logs {
    pub session_id: String,
    /// Newest first.
    pub logs: Vec<LogEntry>,
    /// How many entries match the filter in all.
    #[schema(example = 1247)]
    pub total_logs: u64,
    /// There are older ones than these.
    pub has_more: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LogEntry {
    #[schema(example = "2024-08-26T14:45:23.123456")]
    pub timestamp: String,
    /// `DEBUG`, `INFO`, `WARNING` or `ERROR`.
    #[schema(example = "INFO")]
    pub level: String,
    #[schema(example = "Transferred wp-content/uploads/2024/08/image.jpg (2.1MB)")]
    pub message: String,
    #[schema(example = "file_transfer")]
    pub component: String,
    /// What belongs to this message; never a secret.
    #[schema(value_type = Object)]
    pub details: Value,
    /// Number of the event in the migration's stream.
    pub seq: u64,
}

/// Answer of `GET /migrations/{id}/events`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Events {
    pub session_id: String,
    /// The migration's status after these events.
    #[schema(example = "running")]
    pub status: &'static str,
    /// Oldest first, without gaps.
    pub events: Vec<StreamEvent>,
    /// Give it as `after` to get what comes next.
    pub last_event: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StreamEvent {
    /// Ascends without gaps within a migration, from 1.
    pub seq: u64,
    #[schema(example = "2024-08-26T14:45:23.123456")]
    pub timestamp: String,
    /// `migration.started`, `migration.progress`, `migration.log`, `migration.step_completed`, …
    #[schema(example = "migration.step_completed")]
    pub event: String,
    pub level: String,
    pub component: String,
    pub message: String,
    #[schema(value_type = Object)]
    pub details: Value,
}

impl From<&Event> for StreamEvent {
    fn from(event: &Event) -> Self {
        Self {
            seq: event.seq,
            timestamp: time::text(event.at),
            event: events::word(&event.kind),
            level: event.level.clone(),
            component: event.component.clone(),
            message: event.message.clone(),
            details: object(&event.details),
        }
    }
}

/// `details` is always an object, so that clients need not look twice.
fn object(details: &Value) -> Value {
    if details.is_null() { Value::Object(serde_json::Map::new()) } else { details.clone() }
}

impl Control {
    /// Parameters: `level` (exactly that level), `min_level` (that level or a graver one), `limit` (1 to 1000, default 100), `since` (that moment or later), `offset`.
    pub async fn logs(&self, tenant: &str, id: &str, mut query: Filter) -> Result<Logs, Error> {
        let words = Level::ALL.map(|level| (level.word(), level));
        let filter = EventFilter {
            kinds: events::log_kinds(),
            level: query.choice("level", &words),
            min_level: query.choice("min_level", &words),
            limit: query.number("limit", 1..=1000, 100) as u32,
            since: query.time("since"),
            offset: query.number("offset", 0..=u64::from(u32::MAX), 0) as u32,
            newest_first: true,
            ..EventFilter::default()
        };
        query.done()?;
        self.view(tenant, id, "read the logs of").await?;
        let asked = |e| Error::of_engine(e, id, "read the logs of");
        let total_logs = self.engine().count_events(tenant, id, &filter).await.map_err(asked)?;
        let found = self.engine().events(tenant, id, &filter).await.map_err(asked)?;
        let has_more = u64::from(filter.offset) + (found.len() as u64) < total_logs;
        Ok(Logs { session_id: id.to_owned(), logs: found.into_iter().map(entry).collect(), total_logs, has_more })
    }

    /// Parameters: `after` (a `seq`, default 0), `wait` (seconds to wait for the next event, 0 to 30, default 0), `limit` (1 to 1000, default 1000).
    pub async fn events(&self, tenant: &str, id: &str, mut query: Filter) -> Result<Events, Error> {
        let after = query.number("after", 0..=u64::from(u32::MAX), 0);
        let wait = query.number("wait", 0..=30, 0);
        let limit = query.number("limit", 1..=1000, 1000) as usize;
        query.done()?;
        let mut found = self.wait_events(tenant, id, after, Duration::from_secs(wait)).await?;
        found.truncate(limit);
        let status = status::word(&self.view(tenant, id, "follow").await?);
        let last_event = found.last().map_or(after, |e| e.seq);
        Ok(Events { session_id: id.to_owned(), status, events: found.iter().map(StreamEvent::from).collect(), last_event })
    }

    /// Events after `after`, oldest first, at most 1000; waits for the first one at most so long.
    pub async fn wait_events(&self, tenant: &str, id: &str, after: u64, at_most: Duration) -> Result<Vec<Event>, Error> {
        self.view(tenant, id, "follow").await?;
        self.engine().wait_event(tenant, id, after, at_most).await.map_err(|e| Error::of_engine(e, id, "follow"))
    }
}

fn entry(event: Event) -> LogEntry {
    LogEntry {
        timestamp: time::text(event.at),
        level: event.level,
        message: event.message,
        component: event.component,
        details: object(&event.details),
        seq: event.seq,
    }
}
