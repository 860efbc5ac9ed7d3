//! Looking at deliveries, sending one again, trying a webhook out, and throwing old records away.

use super::lane::{LANE, Lane};
use super::outgoing::{Verdict, parcel, posted, test_payload, traced};
use super::{DeliveryDetail, DeliveryView, KIND, State, Stored, WebhookTest, view};
use crate::error::{Code, Kind};
use crate::{Control, Error, Filter};
use domain::Secret;
use engine::Trace;
use jiff::Timestamp;
use ports::records::{Fields, Record, RecordFilter, RecordsError, Write};
use serde_json::json;
use std::time::Duration;

const TRIES: usize = 5;

impl Control {
    /// Newest first. Parameters: `status` (`pending`, `delivered`, `dead`), `limit` (1 to 1000, default 100), `offset`.
    pub async fn webhook_deliveries(&self, tenant: &str, webhook: &str, query: Filter) -> Result<Vec<DeliveryView>, Error> {
        self.find_webhook(tenant, webhook).await?;
        self.deliveries_of(tenant, webhook, query).await
    }

    /// What a migration's own receivers (mail, chat, webhook) were told, with the same parameters.
    pub async fn notifications(&self, tenant: &str, migration: &str, query: Filter) -> Result<Vec<DeliveryView>, Error> {
        if self.view_if_there(tenant, migration).await?.is_none() {
            return Err(Error::migration_not_found(migration));
        }
        self.deliveries_of(tenant, migration, query).await
    }

    async fn deliveries_of(&self, tenant: &str, parent: &str, mut query: Filter) -> Result<Vec<DeliveryView>, Error> {
        let states = query.choice("status", &State::ALL).map(|s| s.word().to_owned()).into_iter().collect();
        let page = query.page();
        query.done()?;
        let filter = RecordFilter { parent: Some(parent.to_owned()), states, ..page.filter() };
        self.records().list(tenant, KIND, &filter).await?.iter().map(|r| Ok(view(r, &Stored::of(r)?))).collect()
    }

    pub async fn webhook_delivery(&self, tenant: &str, webhook: &str, id: &str) -> Result<DeliveryDetail, Error> {
        let (record, stored) = self.delivery(tenant, webhook, id).await?;
        Ok(DeliveryDetail { delivery: view(&record, &stored), payload: stored.payload, attempt_log: stored.log })
    }

    /// Sends a delivery that arrived or is dead once more, behind what waits already. Its `webhook-id` stays the same.
    pub async fn redeliver(&self, tenant: &str, webhook: &str, id: &str) -> Result<DeliveryView, Error> {
        if !self.find_webhook(tenant, webhook).await?.is_active() {
            return Err(conflict("The webhook is switched off: set 'active' to true first", id));
        }
        for _ in 0..TRIES {
            let (record, mut stored) = self.delivery(tenant, webhook, id).await?;
            if record.state.as_deref() == Some(State::Pending.word()) {
                return Err(conflict("The delivery is on its way already", id));
            }
            let now = self.records().now().await?;
            (stored.tried, stored.next_attempt_at, stored.finished_at) = (0, Some(now), None);
            let fields = Fields::body(stored.value()?).state(State::Pending.word()).due(None);
            let writes = vec![Write::update(&record, fields), self.queued(tenant, webhook, &stored, id, now).await?];
            match self.records().apply(writes).await {
                Ok(made) => return made.first().map(|r| view(r, &stored)).ok_or_else(|| Error::internal("a write answered nothing")),
                Err(RecordsError::Changed { .. } | RecordsError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::new(Kind::Unavailable, Code::Unavailable, "The delivery is being changed all the time; the same request may succeed in a moment"))
    }

    /// The write that puts a delivery at the end of its lane.
    async fn queued(&self, tenant: &str, webhook: &str, stored: &Stored, id: &str, now: Timestamp) -> Result<Write, Error> {
        let record = self.records().get(tenant, LANE, &stored.lane).await?;
        let mut lane = record.as_ref().map_or_else(|| Ok(Lane { receiver: webhook.to_owned(), ..Lane::default() }), Lane::of)?;
        let (_, due) = lane.push(id, false, now);
        let mut fields = Fields::body(lane.value()?);
        if due.is_some() {
            fields = fields.due(due);
        }
        Ok(match record {
            Some(read) => Write::update(&read, fields),
            None => Write::insert(tenant, LANE, &stored.lane, fields.parent(webhook)),
        })
    }

    /// Really sends a `webhook.test` now, once, whether the webhook is switched on or not.
    pub async fn test_webhook(&self, tenant: &str, id: &str) -> Result<WebhookTest, Error> {
        let webhook = self.find_webhook(tenant, id).await?;
        let sealed = self.sealed(&webhook).await?;
        let (now, delivery_id) = (Timestamp::now(), uuid::Uuid::now_v7().simple().to_string());
        let payload = test_payload(id, &webhook.body.name, now);
        let mut parcel = parcel(&delivery_id, now, &payload, webhook.body.url.clone(), &sealed.signing(now));
        parcel.private_headers = sealed.headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        let parcel = traced(parcel, Trace::current());
        let outcome = posted(self.courier().post(&parcel).await, now, webhook.body.retry_policy);
        Ok(WebhookTest {
            success: outcome.verdict == Verdict::Arrived,
            status_code: outcome.attempt.status_code,
            latency_ms: outcome.attempt.latency_ms,
            response_excerpt: outcome.attempt.response_excerpt,
            error: outcome.attempt.error,
            delivery_id,
        })
    }

    async fn delivery(&self, tenant: &str, webhook: &str, id: &str) -> Result<(Record, Stored), Error> {
        self.find_webhook(tenant, webhook).await?;
        let record = self.records().get(tenant, KIND, id).await?.filter(|r| r.parent.as_deref() == Some(webhook));
        let record = record.ok_or_else(|| Error::not_found("delivery", id))?;
        let stored = Stored::of(&record)?;
        Ok((record, stored))
    }

    /// Throws away what is over for long.
    pub(super) async fn forget_deliveries(&self, now: Option<Timestamp>) -> Result<(), Error> {
        let old = self.records().take_due(KIND, 100, Duration::from_hours(1), now).await?;
        if old.is_empty() {
            return Ok(());
        }
        match self.records().apply(old.iter().map(Write::delete).collect()).await {
            // One of them was sent again meanwhile: the others come next time.
            Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn conflict(why: &str, id: &str) -> Error {
    Error::new(Kind::Conflict, Code::InvalidState, why).details(json!({"delivery_id": id}))
}
