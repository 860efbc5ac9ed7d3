//! A webhook as it is stored: what may be seen in the record's body, headers and signing secrets sealed.

use super::{Only, RetryPolicy};
use crate::Error;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::Secret;
use engine::RunView;
use jiff::Timestamp;
use ports::records::Record;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The records' kind.
pub(crate) const KIND: &str = "webhook";
pub(super) const ACTIVE: &str = "active";
pub(super) const INACTIVE: &str = "inactive";

/// What may be seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Body {
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    pub header_names: Vec<String>,
    pub retry_policy: RetryPolicy,
    pub disabled_reason: Option<String>,
}

/// What may not. `Debug` is left out on purpose.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub headers: BTreeMap<String, String>,
    /// The newest first.
    pub secrets: Vec<SigningSecret>,
}

/// A secret and how long it signs.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SigningSecret {
    pub secret: String,
    /// `None`: until it is rotated.
    pub until: Option<Timestamp>,
}

impl Sealed {
    /// Those that sign at `now`, the newest first.
    pub fn signing(&self, now: Timestamp) -> Vec<Secret> {
        self.secrets.iter().filter(|s| s.until.is_none_or(|until| now < until)).map(|s| Secret::new(s.secret.clone())).collect()
    }

    /// Until when the one before signs; `None` when it does not any more.
    pub fn previous_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.secrets.iter().filter_map(|s| s.until).filter(|until| now < *until).max()
    }

    /// Makes a new secret the one that signs; those before sign until `until`.
    pub fn rotate(&mut self, now: Timestamp, until: Timestamp) -> String {
        self.secrets.retain(|s| s.until.is_none_or(|u| now < u));
        for old in &mut self.secrets {
            old.until = Some(old.until.map_or(until, |u| u.min(until)));
        }
        self.secrets.retain(|s| s.until.is_none_or(|u| now < u));
        let secret = new_secret();
        self.secrets.insert(0, SigningSecret { secret: secret.clone(), until: None });
        secret
    }

    pub fn stored(&self) -> Result<Value, Error> {
        serde_json::to_value(self).map_err(|e| Error::internal(format!("a webhook's secrets cannot be stored: {e}")))
    }

    pub fn read(stored: Option<Value>) -> Result<Self, Error> {
        stored
            .map_or_else(|| Ok(Self::default()), |s| serde_json::from_value(s).map_err(|e| Error::internal(format!("a webhook's secrets cannot be read: {e}"))))
    }
}

/// 256 bits, in the form of Standard Webhooks.
fn new_secret() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    format!("whsec_{}", BASE64_STANDARD.encode(bytes))
}

/// A webhook, read.
#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub record: Record,
    pub body: Body,
}

impl Webhook {
    pub fn of(record: Record) -> Result<Self, Error> {
        let body = serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("webhook {} cannot be read: {e}", record.id)))?;
        Ok(Self { record, body })
    }

    pub fn is_active(&self) -> bool {
        self.record.state.as_deref() == Some(ACTIVE)
    }

    /// Whether it wants to hear of events with this public name.
    pub fn wants(&self, event: &str) -> bool {
        self.body.events.iter().any(|e| e == "*" || e == event)
    }

    /// Whether it hears of that migration; `view` is `None` when it was deleted meanwhile.
    pub fn hears_of(&self, id: &str, view: Option<&RunView>) -> bool {
        self.body.only.as_ref().is_none_or(|only| only.admits(id, view))
    }
}

impl Body {
    pub fn stored(&self) -> Result<Value, Error> {
        serde_json::to_value(self).map_err(|e| Error::internal(format!("a webhook cannot be stored: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_keeps_the_old_secret_for_its_grace() {
        let now: Timestamp = "2024-08-26T14:00:00Z".parse().unwrap();
        let later = |hours: i64| now + jiff::SignedDuration::from_hours(hours);
        let mut sealed = Sealed::default();
        let first = sealed.rotate(now, now);
        assert!(first.starts_with("whsec_") && BASE64_STANDARD.decode(&first[6..]).unwrap().len() == 32);
        let second = sealed.rotate(now, later(24));
        let signing = |sealed: &Sealed, at| sealed.signing(at).iter().map(|s| s.expose().to_owned()).collect::<Vec<_>>();
        assert_eq!(signing(&sealed, later(1)), [second.clone(), first.clone()]);
        assert_eq!((sealed.previous_until(later(1)), sealed.previous_until(later(24))), (Some(later(24)), None));
        assert_eq!(signing(&sealed, later(24)), std::slice::from_ref(&second));
        let third = sealed.rotate(later(1), later(2));
        assert_eq!(signing(&sealed, later(1)), [third.clone(), second, first]);
        assert_eq!(signing(&sealed, later(2)), std::slice::from_ref(&third), "a short grace is short for all of them");
        let fourth = sealed.rotate(later(3), later(3));
        assert_eq!(signing(&sealed, later(3)), [fourth], "no grace: the old ones are void at once");
    }
}
