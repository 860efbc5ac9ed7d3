//! One try: what is sent to which receiver, and what its answer means.

use super::dispatch::Leaving;
use super::{Attempt, Channel, KIND, signature};
use crate::notifications::Notice;
use crate::webhooks::RetryPolicy;
use crate::{Control, Error, time};
use domain::Secret;
use engine::Trace;
use jiff::Timestamp;
use ports::courier::{Letter, Parcel, Receipt, Undelivered};
use serde_json::{Value, json};
use std::time::Duration;

/// For receivers that only one migration knows: about two hours.
const NOTICE_POLICY: RetryPolicy = RetryPolicy { max_retries: 8, retry_delay: 30 };

/// What a try came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub attempt: Attempt,
    pub verdict: Verdict,
    pub policy: RetryPolicy,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Arrived,
    Again {
        /// How long the receiver wants to be left alone.
        rest: Option<Duration>,
    },
    /// The same would fail again.
    GivenUp,
    /// The receiver is gone for good.
    Gone,
}

impl Control {
    pub(super) async fn carry(&self, leaving: &Leaving, trace: Option<Trace>, now: Timestamp) -> Result<Outcome, Error> {
        match leaving.stored.channel {
            Channel::Webhook => self.carry_to_webhook(leaving, trace, now).await,
            Channel::OwnWebhook => {
                let receiver = self.receiver(leaving).await?;
                let secrets: Vec<Secret> = text(&receiver, "secret").map(Secret::new).into_iter().collect();
                let parcel = parcel(&leaving.record.id, now, &leaving.stored.payload, text(&receiver, "url").unwrap_or_default(), &secrets);
                Ok(posted(self.courier().post(&traced(parcel, trace)).await, now, NOTICE_POLICY))
            }
            Channel::Slack => {
                let receiver = self.receiver(leaving).await?;
                let body = Notice::of(&leaving.stored.payload).for_chat();
                let parcel = Parcel { headers: vec![json_type()], ..parcel(&leaving.record.id, now, &body, text(&receiver, "url").unwrap_or_default(), &[]) };
                Ok(posted(self.courier().post(&traced(parcel, trace)).await, now, NOTICE_POLICY))
            }
            Channel::Email => {
                let receiver = self.receiver(leaving).await?;
                let (subject, text_form, html) = Notice::of(&leaving.stored.payload).letter()?;
                let to = text(&receiver, "to").into_iter().collect();
                let letter = Letter { id: leaving.record.id.clone(), to, subject, text: text_form, html };
                Ok(mailed(self.courier().mail(&letter).await, now))
            }
        }
    }

    async fn carry_to_webhook(&self, leaving: &Leaving, trace: Option<Trace>, now: Timestamp) -> Result<Outcome, Error> {
        let id = leaving.stored.webhook_id.as_deref().unwrap_or_default();
        let webhook = match self.find_webhook(&leaving.record.tenant, id).await {
            Ok(webhook) if webhook.is_active() => webhook,
            Ok(_) => return Ok(given_up("the webhook was switched off", now)),
            Err(error) if error.kind == crate::error::Kind::NotFound => return Ok(given_up("the webhook was deleted", now)),
            Err(error) => return Err(error),
        };
        let sealed = self.sealed(&webhook).await?;
        let mut parcel = parcel(&leaving.record.id, now, &leaving.stored.payload, webhook.body.url.clone(), &sealed.signing(now));
        parcel.private_headers = sealed.headers.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Ok(posted(self.courier().post(&traced(parcel, trace)).await, now, webhook.body.retry_policy))
    }

    /// Where the delivery goes, unsealed.
    async fn receiver(&self, leaving: &Leaving) -> Result<Value, Error> {
        let sealed = self.records().secret(&leaving.record.tenant, KIND, &leaving.record.id).await?;
        sealed.ok_or_else(|| Error::internal(format!("delivery {} has no receiver", leaving.record.id)))
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

fn json_type() -> (String, String) {
    ("content-type".to_owned(), "application/json".to_owned())
}

/// A signed JSON message.
pub(super) fn parcel(id: &str, now: Timestamp, payload: &Value, url: String, secrets: &[Secret]) -> Parcel {
    let body = payload.to_string();
    let mut headers = signature::headers(id, now, &body, secrets);
    headers.push(json_type());
    Parcel { url, headers, private_headers: Vec::new(), body }
}

/// The parcel, as a part of that trace.
pub(super) fn traced(mut parcel: Parcel, trace: Option<Trace>) -> Parcel {
    parcel.headers.extend(trace.map(|t| ("traceparent".to_owned(), t.to_string())));
    parcel
}

fn given_up(why: &str, now: Timestamp) -> Outcome {
    let attempt = Attempt { at: time::text(now), status_code: None, latency_ms: None, error: Some(why.to_owned()), response_excerpt: None };
    Outcome { attempt, verdict: Verdict::GivenUp, policy: NOTICE_POLICY }
}

/// A try that the receiver answered, or did not.
pub(super) fn posted(answer: Result<Receipt, Undelivered>, now: Timestamp, policy: RetryPolicy) -> Outcome {
    let receipt = match answer {
        Ok(receipt) => receipt,
        Err(undelivered) => return not_sent(undelivered, now, policy),
    };
    let verdict = match receipt.status {
        200..=299 => Verdict::Arrived,
        410 => Verdict::Gone,
        _ => Verdict::Again { rest: receipt.retry_after },
    };
    let attempt = Attempt {
        at: time::text(now),
        status_code: Some(receipt.status),
        latency_ms: Some(receipt.latency.as_millis() as u64),
        error: (verdict != Verdict::Arrived).then(|| format!("the receiver answered {}", receipt.status)),
        response_excerpt: Some(receipt.excerpt).filter(|e| !e.is_empty()),
    };
    Outcome { attempt, verdict, policy }
}

fn mailed(answer: Result<(), Undelivered>, now: Timestamp) -> Outcome {
    match answer {
        Ok(()) => {
            let attempt = Attempt { at: time::text(now), status_code: None, latency_ms: None, error: None, response_excerpt: None };
            Outcome { attempt, verdict: Verdict::Arrived, policy: NOTICE_POLICY }
        }
        Err(undelivered) => not_sent(undelivered, now, NOTICE_POLICY),
    }
}

fn not_sent(undelivered: Undelivered, now: Timestamp, policy: RetryPolicy) -> Outcome {
    let verdict = if undelivered.temporary { Verdict::Again { rest: None } } else { Verdict::GivenUp };
    let attempt = Attempt { at: time::text(now), status_code: None, latency_ms: None, error: Some(undelivered.reason), response_excerpt: None };
    Outcome { attempt, verdict, policy }
}

/// What a test sends.
pub(super) fn test_payload(webhook_id: &str, name: &str, now: Timestamp) -> Value {
    json!({"type": "webhook.test", "timestamp": time::text(now), "data": {"webhook_id": webhook_id, "name": name, "message": "This is a test; no migration is concerned"}})
}
