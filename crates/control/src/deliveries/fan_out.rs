//! From events to deliveries: read a page of the outbox, write what follows from it, and take the page away, in one transaction.

use super::lane::{LANE, Lane};
use super::{Channel, KIND, State, Stored, Told};
use crate::error::Kind;
use crate::webhooks::Webhook;
use crate::{Control, Error};
use engine::RunView;
use jiff::Timestamp;
use ports::records::set_aside::EVENT;
use ports::records::{Fields, Record, RecordsError, Untold, Write};
use serde_json::Value;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// Events of one transaction.
const PAGE: u32 = 100;

impl Control {
    /// Makes deliveries of what happened. `true`: there may be more at once.
    ///
    /// # Errors
    /// What the journal or the store says; nothing was written then.
    pub(super) async fn fan_out(&self, now: Option<Timestamp>) -> Result<bool, Error> {
        let page = self.records().untold(PAGE).await?;
        if page.is_empty() {
            return Ok(false);
        }
        let now = match now {
            Some(now) => now,
            None => self.records().now().await?,
        };
        let mut batch = Batch::new(now);
        let mut known = Known::default();
        let mut told = Vec::with_capacity(page.len());
        for untold in &page {
            match self.follow(untold, &mut batch, &mut known).await {
                Ok(()) => told.push(untold.id),
                Err(error) if error.kind == Kind::Unavailable => return Err(error),
                Err(error) => self.records().set_aside(EVENT, &untold.tenant, &untold.id.to_string(), &error.for_log()).await?,
            }
        }
        if told.is_empty() {
            return Ok(true);
        }
        let more = page.len() == PAGE as usize;
        let mut writes = batch.writes()?;
        writes.push(Write::Told { ids: told });
        match self.records().apply(writes).await {
            Ok(_) => Ok(more),
            // Another server told of these events, or a lane moved on: the next look sees how it is.
            Err(RecordsError::Changed { .. } | RecordsError::Taken { .. } | RecordsError::NotFound { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn follow(&self, untold: &Untold, batch: &mut Batch, known: &mut Known) -> Result<(), Error> {
        let word = crate::events::word(&untold.kind);
        if !known.webhooks.contains_key(&untold.tenant) {
            known.webhooks.insert(untold.tenant.clone(), self.active_webhooks(&untold.tenant).await?);
        }
        let wanting: Vec<&Webhook> = known.webhooks.get(&untold.tenant).into_iter().flatten().filter(|w| w.wants(&word)).collect();
        let notices = self.notices(untold).await?;
        if wanting.is_empty() && notices.is_empty() {
            return Ok(());
        }
        let event = self.event_of(untold).await?;
        if !known.views.contains_key(&untold.run) {
            known.views.insert(untold.run.clone(), self.view_if_there(&untold.tenant, &untold.run).await?);
        }
        let view = known.views.get(&untold.run).and_then(Option::as_ref);
        let told = Told::new(untold, event.as_ref(), view, batch.now);
        for webhook in wanting.into_iter().filter(|w| w.hears_of(&untold.run, view)) {
            let id = webhook.record.id.clone();
            let to = To { channel: Channel::Webhook, lane: format!("{id}.{}", untold.run), parent: id.clone(), webhook_id: Some(id), secret: None, key: None };
            self.add(batch, &untold.tenant, &untold.run, &told, to).await?;
        }
        for to in notices {
            self.add(batch, &untold.tenant, &untold.run, &told, to).await?;
        }
        Ok(())
    }

    /// Adds one delivery to the batch, at the end of its lane.
    pub(crate) async fn add(&self, batch: &mut Batch, tenant: &str, run: &str, told: &Told, to: To) -> Result<(), Error> {
        if let Entry::Vacant(new) = batch.lanes.entry((tenant.to_owned(), to.lane.clone())) {
            new.insert(Draft::of(self.records().get(tenant, LANE, &to.lane).await?, &to)?);
        }
        batch.add(tenant, run, told, to)
    }
}

/// What was read once for a whole page.
#[derive(Default)]
struct Known {
    webhooks: HashMap<String, Vec<Webhook>>,
    views: HashMap<String, Option<RunView>>,
}

/// A receiver of one event.
pub(crate) struct To {
    pub channel: Channel,
    pub lane: String,
    /// What its records are listed under: the webhook, or the migration.
    pub parent: String,
    pub webhook_id: Option<String>,
    /// Address and secrets of a receiver that only this migration knows.
    pub secret: Option<Value>,
    /// Makes the delivery unique.
    pub key: Option<String>,
}

/// Deliveries and lanes of one transaction.
pub(crate) struct Batch {
    now: Timestamp,
    deliveries: BTreeMap<(String, String), Fields>,
    replaced: Vec<(String, String)>,
    lanes: HashMap<(String, String), Draft>,
}

struct Draft {
    record: Option<Record>,
    lane: Lane,
    parent: String,
    due: Option<Timestamp>,
}

impl Draft {
    fn of(record: Option<Record>, to: &To) -> Result<Self, Error> {
        let receiver = to.webhook_id.clone().unwrap_or_else(|| to.lane.clone());
        let lane = record.as_ref().map_or_else(|| Ok(Lane { receiver, ..Lane::default() }), Lane::of)?;
        Ok(Self { record, lane, parent: to.parent.clone(), due: None })
    }

    fn write(self, tenant: &str, id: &str) -> Result<Write, Error> {
        let mut fields = Fields::body(self.lane.value()?);
        if let Some(due) = self.due {
            fields = fields.due(Some(due));
        }
        Ok(match &self.record {
            Some(read) => Write::update(read, fields),
            None => Write::insert(tenant, LANE, id, fields.parent(self.parent)),
        })
    }
}

impl Batch {
    pub fn new(now: Timestamp) -> Self {
        Self { now, deliveries: BTreeMap::new(), replaced: Vec::new(), lanes: HashMap::new() }
    }

    fn add(&mut self, tenant: &str, run: &str, told: &Told, to: To) -> Result<(), Error> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let stored = Stored {
            channel: to.channel,
            webhook_id: to.webhook_id,
            event: told.event.clone(),
            session_id: run.to_owned(),
            lane: to.lane.clone(),
            payload: told.payload.clone(),
            trace: told.trace.map(|t| t.to_string()),
            tried: 0,
            attempts: 0,
            log: Vec::new(),
            next_attempt_at: Some(self.now),
            finished_at: None,
        };
        let draft = self.lanes.get_mut(&(tenant.to_owned(), to.lane)).ok_or_else(|| Error::internal("a delivery without its lane"))?;
        let (replaced, due) = draft.lane.push(&id, stored.is_progress(), self.now);
        draft.due = due.or(draft.due);
        if let Some(old) = replaced.map(|old| (tenant.to_owned(), old))
            && self.deliveries.remove(&old).is_none()
        {
            self.replaced.push(old);
        }
        let mut fields = Fields::body(stored.value()?).parent(to.parent).state(State::Pending.word()).secret(to.secret);
        fields.key = to.key.map(Some);
        self.deliveries.insert((tenant.to_owned(), id), fields);
        Ok(())
    }

    pub fn writes(self) -> Result<Vec<Write>, Error> {
        let mut out: Vec<Write> = self.deliveries.into_iter().map(|((tenant, id), fields)| Write::insert(&tenant, KIND, &id, fields)).collect();
        for ((tenant, id), draft) in self.lanes {
            out.push(draft.write(&tenant, &id)?);
        }
        let gone = |(tenant, id): (String, String)| Write::Delete { tenant, kind: KIND.to_owned(), id, version: None };
        out.extend(self.replaced.into_iter().map(gone));
        Ok(out)
    }
}
