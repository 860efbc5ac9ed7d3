//! Notifications: what a migration's own receivers hear of it, as its configuration's `notifications` say. They travel as deliveries do.
//!
//! Options of a start or a schedule that are honoured here: `send_notifications: false` silences all of them, `notify_on_completion`
//! overrides the configuration's `on_completion`.

mod letter;
mod notice;

pub(crate) use notice::Notice;

use crate::deliveries::{Batch, Channel, To, Told, data};
use crate::migrations::Spec;
use crate::{Control, Error, time};
use domain::decode::Problems;
use domain::spec::Notifications;
use engine::EngineError;
use engine::journal::EventFilter;
use jiff::Timestamp;
use ports::Courier;
use ports::records::{RecordsError, Untold};
use serde_json::{Value, json};

/// The event before a scheduled start; only notifications know it.
pub(crate) const SOON: &str = "migration.starting_soon";
const TRIES: usize = 8;

/// Refuses receivers that will never be spoken to.
pub(crate) fn check(told: &Notifications, courier: &dyn Courier, problems: &mut Problems) {
    let addresses = [
        ("notifications.webhook.url", told.webhook.as_ref().map(|w| w.url.as_str())),
        ("notifications.slack.webhook_url", told.slack.as_ref().map(|s| s.expose())),
    ];
    for (field, url) in addresses {
        if let Some(why) = url.and_then(|url| courier.admits(url).err()) {
            problems.note(field, why);
        }
    }
}

impl Control {
    /// Tells the migration's receivers that it will start at `when`. For whoever keeps schedules: may be called again for the same moment, they hear
    /// of it once. A migration without receivers, or one that is gone, is no error.
    pub async fn notify_before_start(&self, tenant: &str, id: &str, when: Timestamp) -> Result<(), Error> {
        let Some(view) = self.view_if_there(tenant, id).await? else { return Ok(()) };
        let Some(receivers) = self.receivers(tenant, id).await? else { return Ok(()) };
        let mut data = data(&view);
        data["scheduled_for"] = json!(time::text(when));
        for _ in 0..TRIES {
            let now = self.records().now().await?;
            let payload = json!({"type": SOON, "timestamp": time::text(now), "data": data});
            let told = Told { event: SOON.to_owned(), payload, trace: None };
            let mut batch = Batch::new(now);
            for to in channels(&receivers, id) {
                let key = Some(format!("before:{}:{}", to.lane, when.as_second()));
                self.add(&mut batch, tenant, id, &told, To { key, ..to }).await?;
            }
            match self.records().apply(batch.writes()?).await {
                Ok(_) => return Ok(()),
                Err(RecordsError::Taken { kind, .. }) if kind == crate::deliveries::KIND => return Ok(()),
                Err(RecordsError::Taken { .. } | RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::internal(format!("the lanes of migration {id} change all the time")))
    }

    /// Who is to hear of an event of the outbox beside the webhooks.
    pub(crate) async fn notices(&self, untold: &Untold) -> Result<Vec<To>, Error> {
        let completion = match untold.kind.as_str() {
            "run.completed" => true,
            "run.failed" | "run.stuck" => false,
            _ => return Ok(Vec::new()),
        };
        let Some(receivers) = self.receivers(&untold.tenant, &untold.run).await? else { return Ok(Vec::new()) };
        let options = self.start_options(&untold.tenant, &untold.run).await?;
        let given = |name: &str| options.get(name).and_then(Value::as_bool);
        let wanted = if completion { given("notify_on_completion").unwrap_or(receivers.on_completion) } else { receivers.on_failure };
        if !wanted || given("send_notifications") == Some(false) {
            return Ok(Vec::new());
        }
        Ok(channels(&receivers, &untold.run))
    }

    /// The configuration's own; `None` for a migration that is gone or of a kind that has none.
    async fn receivers(&self, tenant: &str, id: &str) -> Result<Option<Notifications>, Error> {
        match self.engine().input(tenant, id).await {
            Ok(document) => Ok(Spec::decode(&document).ok().map(|spec| spec.notifications().clone())),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(Error::of_engine(error, id, "notify of")),
        }
    }

    /// What it was started with.
    async fn start_options(&self, tenant: &str, id: &str) -> Result<Value, Error> {
        let kinds = ["run.started", "run.scheduled"].map(str::to_owned).to_vec();
        let filter = EventFilter { kinds, newest_first: true, limit: 5, ..EventFilter::default() };
        let found = match self.engine().events(tenant, id, &filter).await {
            Ok(found) => found,
            Err(EngineError::NotFound(_)) => Vec::new(),
            Err(error) => return Err(Error::of_engine(error, id, "notify of")),
        };
        Ok(found.into_iter().find_map(|e| e.details.get("options").filter(|o| o.is_object()).cloned()).unwrap_or(Value::Null))
    }
}

/// One lane for each receiver, so that none waits for another.
fn channels(told: &Notifications, run: &str) -> Vec<To> {
    let to = |channel, lane: String, secret: Value| To {
        channel,
        lane: format!("{run}.{lane}"),
        parent: run.to_owned(),
        webhook_id: None,
        secret: Some(secret),
        key: None,
    };
    let mut out: Vec<To> = told.recipients.iter().enumerate().map(|(i, address)| to(Channel::Email, format!("email.{i}"), json!({"to": address}))).collect();
    if let Some(own) = &told.webhook {
        out.push(to(Channel::OwnWebhook, "webhook".to_owned(), json!({"url": own.url, "secret": own.secret.as_ref().map(|s| s.expose())})));
    }
    if let Some(url) = &told.slack {
        out.push(to(Channel::Slack, "slack".to_owned(), json!({"url": url.expose()})));
    }
    out
}
