//! What is to be told to whom: deliveries, made from the engine's outbox and kept until they have arrived or are dead.
//!
//! ```text
//! outbox ──fan_out──► delivery records + lanes ──dispatch──► courier ──settle──► delivered | next try | dead
//!          one transaction                       one server at a time   one transaction
//! ```
//! A **lane** is one receiver and one migration: its deliveries go out one after the other, in the order of the events. Only lanes are
//! due; a delivery's own `due_at` is when its record is thrown away. Whatever is killed in between goes out again: at least once.

mod dispatch;
mod fan_out;
mod lane;
mod life;
mod outgoing;
mod payload;
mod rounds;
mod settle;
mod signature;
mod spans;

pub(crate) use fan_out::{Batch, To};
pub(crate) use lane::LANE;
pub(crate) use payload::{Told, data};

use crate::{Error, time};
use jiff::Timestamp;
use ports::records::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The records' kind.
pub(crate) const KIND: &str = "delivery";
/// Tries that are kept in the log.
const LOGGED: usize = 25;

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Delivered,
    Dead,
}

impl State {
    pub const ALL: [(&'static str, Self); 3] = [("pending", Self::Pending), ("delivered", Self::Delivered), ("dead", Self::Dead)];

    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// What kind of receiver a delivery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A webhook of the tenant.
    Webhook,
    /// The migration's own webhook.
    OwnWebhook,
    /// A chat.
    Slack,
    Email,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub at: String,
    /// HTTP status, if the receiver answered.
    #[schema(example = 503)]
    pub status_code: Option<u16>,
    pub latency_ms: Option<u64>,
    /// Why it did not arrive.
    pub error: Option<String>,
    /// The beginning of the receiver's answer.
    pub response_excerpt: Option<String>,
}

/// A delivery as it is stored. The receiver's address and secrets are sealed elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub channel: Channel,
    pub webhook_id: Option<String>,
    pub event: String,
    pub session_id: String,
    /// The lane that it waits in.
    pub lane: String,
    pub payload: Value,
    /// The trace that it is part of, as a `traceparent` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Tries since it was made or redelivered.
    pub tried: u32,
    /// Tries in all.
    pub attempts: u32,
    pub log: Vec<Attempt>,
    pub next_attempt_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

impl Stored {
    pub fn of(record: &Record) -> Result<Self, Error> {
        serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("delivery {} cannot be read: {e}", record.id)))
    }

    pub fn value(&self) -> Result<Value, Error> {
        serde_json::to_value(self).map_err(|e| Error::internal(format!("a delivery cannot be stored: {e}")))
    }

    pub fn is_progress(&self) -> bool {
        self.event == "migration.progress"
    }

    fn note(&mut self, attempt: Attempt) {
        self.tried += 1;
        self.attempts += 1;
        self.log.push(attempt);
        if self.log.len() > LOGGED {
            self.log.remove(0);
        }
    }
}

/// One line of a webhook's deliveries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryView {
    /// The same as the header `webhook-id`, for every try.
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    pub webhook_id: Option<String>,
    pub channel: Channel,
    #[schema(example = "migration.completed")]
    pub event: String,
    /// The migration that it tells of.
    pub session_id: String,
    /// `pending`, `delivered` or `dead`.
    #[schema(example = "delivered")]
    pub status: String,
    #[schema(example = 1)]
    pub attempts: u32,
    #[schema(example = 200)]
    pub last_status_code: Option<u16>,
    pub last_error: Option<String>,
    pub next_attempt_at: Option<String>,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub finished_at: Option<String>,
}

/// A delivery with what was sent and what came of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DeliveryDetail {
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// The body, as it is sent.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// The newest tries, oldest first.
    pub attempt_log: Vec<Attempt>,
}

/// Answer of a test: a `webhook.test` was really sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookTest {
    /// The receiver answered with a 2xx status.
    #[schema(example = true)]
    pub success: bool,
    #[schema(example = 200)]
    pub status_code: Option<u16>,
    #[schema(example = 87)]
    pub latency_ms: Option<u64>,
    pub response_excerpt: Option<String>,
    /// Why it did not arrive.
    pub error: Option<String>,
    /// What `webhook-id` said.
    pub delivery_id: String,
}

fn view(record: &Record, stored: &Stored) -> DeliveryView {
    let last = stored.log.last();
    DeliveryView {
        id: record.id.clone(),
        webhook_id: stored.webhook_id.clone(),
        channel: stored.channel,
        event: stored.event.clone(),
        session_id: stored.session_id.clone(),
        status: record.state.clone().unwrap_or_default(),
        attempts: stored.attempts,
        last_status_code: last.and_then(|a| a.status_code),
        last_error: last.and_then(|a| a.error.clone()),
        next_attempt_at: time::maybe(stored.next_attempt_at),
        created_at: time::text(record.created_at),
        finished_at: time::maybe(stored.finished_at),
    }
}
