//! Taking lanes that are due and sending the first delivery of each.

use super::lane::{Fate, LANE, Lane};
use super::{KIND, State, Stored, spans};
use crate::{Control, Error};
use jiff::Timestamp;
use ports::records::{Fields, Record, RecordsError, Write};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// A lane is one server's for so long; a try ends well before.
const HOLD: Duration = Duration::from_secs(30);
/// Tries to write beside others who write the same lane.
const TRIES: usize = 8;

/// A delivery that is about to be sent.
pub(super) struct Leaving {
    pub record: Record,
    pub stored: Stored,
}

/// When a lane was taken, by the store's clock. `now` stands in for it in tests.
pub(super) fn taken_at(lane: &Record, now: Option<Timestamp>) -> Timestamp {
    now.or_else(|| lane.due_at.and_then(|due| due.checked_sub(HOLD).ok())).unwrap_or_else(Timestamp::now)
}

impl Control {
    /// Lanes that are due, for this server only.
    pub(super) async fn due_lanes(&self, most: u32, now: Option<Timestamp>) -> Result<Vec<Record>, Error> {
        Ok(self.records().take_due(LANE, most, HOLD, now).await?)
    }

    /// Sends the first delivery of a lane that was taken, and writes down what came of it.
    ///
    /// # Errors
    /// What the store says; the lane is due again when its hold is over.
    pub(super) async fn deliver(&self, lane: Record, now: Option<Timestamp>) -> Result<(), Error> {
        let (taken, begun) = (taken_at(&lane, now), Instant::now());
        // The store's clock, as it goes on here; in tests it stands still.
        let clock = || if now.is_some() { taken } else { taken.saturating_add(begun.elapsed()).unwrap_or(taken) };
        let (tenant, id) = (lane.tenant.clone(), lane.id.clone());
        let Some(leaving) = self.leave(lane, clock()).await? else { return Ok(()) };
        let (trace, span) = spans::of(&leaving);
        let tried = async {
            let outcome = self.carry(&leaving, trace, clock()).await?;
            spans::ended(&outcome);
            Ok::<_, Error>(outcome)
        };
        let outcome = tried.instrument(span).await?;
        self.settle(&tenant, &id, leaving, outcome, clock()).await
    }

    /// Puts a lane back for a moment: its receiver has enough of our senders.
    pub(super) async fn put_back(&self, lane: &Record, at: Timestamp) -> Result<(), Error> {
        match self.records().apply(vec![Write::update(lane, Fields::default().due(Some(at)))]).await {
            // Something was added to it: the hold ends by itself.
            Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Marks the first delivery as being on its way, so that newer progress does not replace it. `None`: there is nothing to send.
    async fn leave(&self, mut record: Record, now: Timestamp) -> Result<Option<Leaving>, Error> {
        for _ in 0..TRIES {
            let mut lane = Lane::of(&record)?;
            let leaving = match lane.queue.front() {
                Some(first) => self.pending(&record.tenant, first).await?,
                None => None,
            };
            let mut fields = Fields::default();
            match (&leaving, lane.queue.front().cloned()) {
                (Some(leaving), _) => lane.sending = Some(leaving.record.id.clone()),
                (None, Some(first)) => fields = fields.due(lane.settle(&first, Fate::Over { was_progress: false }, now)),
                (None, None) => fields = fields.due(None),
            }
            fields.body = Some(lane.value()?);
            match self.records().apply(vec![Write::update(&record, fields)]).await {
                Ok(_) => return Ok(leaving),
                Err(RecordsError::NotFound { .. }) => return Ok(None),
                Err(RecordsError::Changed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(again) = self.records().get(&record.tenant, LANE, &record.id).await? else { return Ok(None) };
            record = again;
        }
        Ok(None)
    }

    async fn pending(&self, tenant: &str, id: &str) -> Result<Option<Leaving>, Error> {
        let found = self.records().get(tenant, KIND, id).await?.filter(|r| r.state.as_deref() == Some(State::Pending.word()));
        found.map(|record| Ok(Leaving { stored: Stored::of(&record)?, record })).transpose()
    }
}
