//! Webhooks: addresses outside that are told what happens to a tenant's migrations.
//!
//! ```text
//! event of the engine ─► outbox ─► deliveries (one a webhook) ─► lane (webhook + migration) ─► the receiver
//! ```
//! Here is the resource; what is sent, when and how often is decided in [`crate::deliveries`].

mod body;
mod life;
mod only;
mod stored;

pub use only::Only;
pub(crate) use stored::Webhook;

use crate::time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How often and how fast a delivery is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetryPolicy {
    /// Tries after the first one, 0 to 20. When all have failed, the delivery is dead, and stays in the list until it is redelivered.
    #[schema(example = 3)]
    pub max_retries: u32,
    /// Seconds before the first retry, 1 to 3600; doubled for each further one, with some chance in it, at most six hours.
    #[schema(example = 5)]
    pub retry_delay: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 5, retry_delay: 5 }
    }
}

/// Body of `POST /webhooks` and `PUT /webhooks/{id}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookConfiguration {
    #[schema(example = "Migration Notifications")]
    pub name: String,
    #[schema(example = "https://api.example.com/migration-webhook")]
    pub url: String,
    /// Names of events, or `*` for all.
    #[schema(example = json!(["migration.started", "migration.completed", "migration.failed", "migration.progress"]))]
    pub events: Vec<String>,
    /// Only events of these migrations. Default: of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// Headers of your own, such as an `Authorization`. In a PUT, `********` keeps the stored value.
    #[schema(example = json!({"Authorization": "Bearer webhook-token", "Content-Type": "application/json"}))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// Switched off, it is told nothing. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// A webhook. Its secret is never shown again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookView {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "Migration Notifications")]
    pub name: String,
    #[schema(example = "https://api.example.com/migration-webhook")]
    pub url: String,
    pub events: Vec<String>,
    /// `null`: events of all migrations.
    pub only: Option<Only>,
    /// Every value reads `********`.
    #[schema(example = json!({"Authorization": "********"}))]
    pub headers: BTreeMap<String, String>,
    pub retry_policy: RetryPolicy,
    pub active: bool,
    /// Why it was switched off by itself: the receiver said that it is gone.
    pub disabled_reason: Option<String>,
    /// Until when the secret before the last rotation signs too.
    pub previous_secret_until: Option<String>,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub updated_at: String,
    /// What `ETag` shows and `If-Match` asks for.
    pub version: u64,
}

/// Answer of `POST /webhooks`: the only one with the secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookCreated {
    #[serde(flatten)]
    pub webhook: WebhookView,
    /// Verifies the signatures. Store it now.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

/// Body of `POST /webhooks/{id}/rotate-secret`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SecretRotation {
    /// For so many seconds the secret so far signs too, 0 to 604800. Default: a day.
    #[schema(example = 86400)]
    pub grace_seconds: Option<u64>,
}

/// Answer of a rotation: the only one with the new secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SecretRotated {
    pub id: String,
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
    /// Until then every delivery carries both signatures; `null`: the old one is void now.
    pub previous_secret_until: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookDeleted {
    pub id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
}

impl Webhook {
    pub(crate) fn view(&self, previous: Option<jiff::Timestamp>) -> WebhookView {
        let body = &self.body;
        WebhookView {
            id: self.record.id.clone(),
            name: body.name.clone(),
            url: body.url.clone(),
            events: body.events.clone(),
            only: body.only.clone(),
            headers: body.header_names.iter().map(|name| (name.clone(), domain::secret::MASK.to_owned())).collect(),
            retry_policy: body.retry_policy,
            active: self.is_active(),
            disabled_reason: body.disabled_reason.clone(),
            previous_secret_until: time::maybe(previous),
            created_at: time::text(self.record.created_at),
            updated_at: time::text(self.record.updated_at),
            version: self.record.version,
        }
    }
}
