//! Schedules: a migration that starts by itself, once at a time or again and again by a cron expression.
//!
//! ```text
//! datetime: the engine's own state `scheduled`; the record tells receivers before and remembers the wish
//! cron:     schedule due ─► firing (schedule + time, with the schedule's next time: one transaction) ─► new migration ─► started
//! ```
//! A schedule's id is its migration's; each migration has at most one. A firing's id is made of schedule and time, and the store hands what is due
//! to one server only: nothing fires twice, and nothing is lost when a server dies in between.

mod cron;
mod firings;
mod life;
mod request;
mod stored;
mod turn;

pub use firings::FiringView;
pub use request::ScheduleBody;
pub use stored::{CatchUp, Overlap, Schedule, ScheduleNotifications};

use crate::Control;
use serde::Serialize;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// Kinds of records.
const KIND: &str = "schedule";
const FIRING: &str = "firing";

/// How often a server looks for what is due.
const LOOK: Duration = Duration::from_secs(1);

/// A schedule is gone; its migration stays.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleDeleted {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
}

impl Control {
    async fn look_at_schedules(&self) {
        if let Err(error) = self.turn_schedules(None).await {
            tracing::warn!(%error, "schedules could not be looked at; tried again in a moment");
        }
        if let Err(error) = self.turn_firings(None).await {
            tracing::warn!(%error, "scheduled migrations could not be looked at; tried again in a moment");
        }
    }

    /// Keeps the schedules of all tenants until `stop`. Any number of servers may do so on one database.
    pub async fn keep_schedules(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if self.may_work() {
                self.look_at_schedules().await;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}
