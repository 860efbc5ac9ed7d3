//! Making, changing and removing webhooks.

use super::stored::{KIND, Sealed, Webhook};
use super::{SecretRotated, WebhookCreated, WebhookDeleted, WebhookView, body, stored};
use crate::templates::unchanged;
use crate::{Control, Error, Filter, time};
use domain::decode::{Fields, Problems};
use jiff::{SignedDuration, Timestamp};
use ports::records::{self, RecordFilter, RecordsError, Write};
use serde_json::Value;

/// How long the secret before a rotation signs too, unless the caller says otherwise.
const GRACE_SECONDS: u64 = 86_400;
const LONGEST_GRACE: u64 = 7 * 86_400;
/// Tries of a removal beside which deliveries come and go.
const TRIES: usize = 5;

impl Control {
    /// Each call makes a new one.
    pub async fn create_webhook(&self, tenant: &str, value: &Value) -> Result<WebhookCreated, Error> {
        let wanted = body::read(value, self.courier(), None)?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let now = Timestamp::now();
        let mut sealed = Sealed { headers: wanted.headers, secrets: Vec::new() };
        let secret = sealed.rotate(now, now);
        let fields = records::Fields::body(wanted.body.stored()?).state(wanted.state).secret(Some(sealed.stored()?));
        let made = self.records().apply(vec![Write::insert(tenant, KIND, &id, fields)]).await?;
        Ok(WebhookCreated { webhook: self.shown(first(made)?).await?, secret })
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`.
    pub async fn webhooks(&self, tenant: &str, mut query: Filter) -> Result<Vec<WebhookView>, Error> {
        let page = query.page();
        query.done()?;
        let filter = page.filter();
        let mut out = Vec::new();
        for record in self.records().list(tenant, KIND, &filter).await? {
            out.push(self.shown(record).await?);
        }
        Ok(out)
    }

    pub async fn webhook(&self, tenant: &str, id: &str) -> Result<WebhookView, Error> {
        self.shown(self.find_webhook(tenant, id).await?.record).await
    }

    /// Replaces it; its secret and its deliveries stay. Headers that read `********` keep their value as long as the host is the same.
    /// `expected`: the version that the caller has read ([`crate::error::Code::Changed`] when it is another one).
    pub async fn change_webhook(&self, tenant: &str, id: &str, value: &Value, expected: Option<u64>) -> Result<WebhookView, Error> {
        let webhook = self.find_webhook(tenant, id).await?;
        unchanged(&webhook.record, expected)?;
        let mut sealed = self.sealed(&webhook).await?;
        let wanted = body::read(value, self.courier(), Some((&webhook.body, &sealed)))?;
        sealed.headers = wanted.headers;
        let fields = records::Fields::body(wanted.body.stored()?).state(wanted.state).secret(Some(sealed.stored()?));
        let made = self.records().apply(vec![Write::update(&webhook.record, fields)]).await?;
        self.shown(first(made)?).await
    }

    /// With all its deliveries, also those that wait.
    pub async fn delete_webhook(&self, tenant: &str, id: &str, expected: Option<u64>) -> Result<WebhookDeleted, Error> {
        unchanged(&self.find_webhook(tenant, id).await?.record, expected)?;
        for tried in 1.. {
            match self.records().apply(self.everything_of(tenant, id).await?).await {
                Ok(_) => break,
                // A delivery came or went between looking and writing.
                Err(RecordsError::NotFound { .. } | RecordsError::Changed { .. }) if tried < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(WebhookDeleted { id: id.to_owned(), status: "deleted" })
    }

    async fn everything_of(&self, tenant: &str, id: &str) -> Result<Vec<Write>, Error> {
        let gone = |kind: &str, id: &str| Write::Delete { tenant: tenant.to_owned(), kind: kind.to_owned(), id: id.to_owned(), version: None };
        let mut writes = vec![gone(KIND, id)];
        for kind in [crate::deliveries::LANE, crate::deliveries::KIND] {
            let filter = RecordFilter { parent: Some(id.to_owned()), ..RecordFilter::default() };
            writes.extend(self.records().list(tenant, kind, &filter).await?.iter().map(|r| gone(kind, &r.id)));
        }
        Ok(writes)
    }

    /// A new secret; the one so far signs too for a while, so that the receiver can change over without losing anything.
    pub async fn rotate_webhook_secret(&self, tenant: &str, id: &str, value: Option<&Value>) -> Result<SecretRotated, Error> {
        let grace = read_grace(value)?;
        let webhook = self.find_webhook(tenant, id).await?;
        let mut sealed = self.sealed(&webhook).await?;
        let now = Timestamp::now();
        let until = now + SignedDuration::from_secs(grace as i64);
        let secret = sealed.rotate(now, until);
        let fields = records::Fields { secret: Some(Some(sealed.stored()?)), ..records::Fields::default() };
        self.records().apply(vec![Write::update(&webhook.record, fields)]).await?;
        Ok(SecretRotated { id: id.to_owned(), secret, previous_secret_until: time::maybe(sealed.previous_until(now)) })
    }

    /// The write that switches a webhook off because its receiver is gone.
    pub(crate) fn switch_off(webhook: &Webhook, reason: &str) -> Result<Write, Error> {
        let mut body = webhook.body.clone();
        body.disabled_reason = Some(reason.to_owned());
        Ok(Write::update(&webhook.record, records::Fields::body(body.stored()?).state(stored::INACTIVE)))
    }

    pub(crate) async fn find_webhook(&self, tenant: &str, id: &str) -> Result<Webhook, Error> {
        let record = self.records().get(tenant, KIND, id).await?;
        Webhook::of(record.ok_or_else(|| Error::not_found("webhook", id))?)
    }

    /// Those that are switched on.
    pub(crate) async fn active_webhooks(&self, tenant: &str) -> Result<Vec<Webhook>, Error> {
        let filter = RecordFilter { states: vec![stored::ACTIVE.to_owned()], ..RecordFilter::default() };
        let mut active = Vec::new();
        for record in self.records().list(tenant, KIND, &filter).await? {
            let id = record.id.clone();
            match Webhook::of(record) {
                Ok(webhook) => active.push(webhook),
                // The others hear of what happens nevertheless.
                Err(error) => self.records().set_aside(KIND, tenant, &id, &error.for_log()).await?,
            }
        }
        Ok(active)
    }

    pub(crate) async fn sealed(&self, webhook: &Webhook) -> Result<Sealed, Error> {
        Sealed::read(self.records().secret(&webhook.record.tenant, KIND, &webhook.record.id).await?)
    }

    async fn shown(&self, record: records::Record) -> Result<WebhookView, Error> {
        let webhook = Webhook::of(record)?;
        let previous = self.sealed(&webhook).await?.previous_until(Timestamp::now());
        Ok(webhook.view(previous))
    }
}

fn first(made: Vec<records::Record>) -> Result<records::Record, Error> {
    made.into_iter().next().ok_or_else(|| Error::internal("a write of one record answered none"))
}

fn read_grace(value: Option<&Value>) -> Result<u64, Error> {
    let Some(value) = value else { return Ok(GRACE_SECONDS) };
    let mut p = Problems::default();
    let mut grace = GRACE_SECONDS;
    if let Some(mut f) = Fields::of("", value, &mut p) {
        grace = f.integer("grace_seconds", 0..=LONGEST_GRACE, &mut p).unwrap_or(grace);
        f.done(&mut p);
    }
    if p.is_empty() { Ok(grace) } else { Err(Error::request(p)) }
}
