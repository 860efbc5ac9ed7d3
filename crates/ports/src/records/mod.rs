//! What the control plane remembers beside runs: people, keys, presets, templates, batches, schedules, webhooks, deliveries.
//!
//! One door for all of them. A [`Record`] has a place (tenant and kind), an id, a JSON body, and maybe a sealed secret; `key` is unique
//! within its place, `parent`, `state` and `due_at` are what lists and workers look for. [`Records::apply`] writes any number of
//! records in ONE transaction, so that a change and what follows from it (a firing and its schedule's next time, a delivery and the
//! event that it answers) are never half done. Time is the store's clock.

pub mod analytics;
pub mod audit;
mod error;
pub mod once;
pub mod set_aside;
pub mod upkeep;

pub use analytics::Analytics;
pub use audit::{Audit, AuditEntry, AuditFilter, AuditRow};
pub use error::RecordsError;
pub use set_aside::SetAside;
pub use upkeep::Upkeep;

use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// The tenant of what belongs to the installation, such as users, who may belong to several tenants.
pub const SYSTEM: &str = "system";

type Result<T> = std::result::Result<T, RecordsError>;

/// One stored thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub tenant: String,
    /// The noun, such as `webhook`. The rooms of `control` choose their own.
    pub kind: String,
    /// Unique within tenant and kind.
    pub id: String,
    /// Raised by every write; what `ETag` and `If-Match` compare.
    pub version: u64,
    /// Unique within tenant and kind, such as a name or the hash of an API key.
    pub key: Option<String>,
    pub parent: Option<String>,
    pub state: Option<String>,
    pub due_at: Option<Timestamp>,
    pub body: Value,
    /// Whether a secret is stored with it; [`Records::secret`] opens it.
    pub has_secret: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a write sets. Everything not named is emptied by an insert and kept by an update.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields {
    pub body: Option<Value>,
    pub key: Option<Option<String>>,
    pub parent: Option<Option<String>>,
    pub state: Option<Option<String>>,
    pub due_at: Option<Option<Timestamp>>,
    /// Sealed with the tenant and id that it belongs to; never in a list, a log or an answer.
    pub secret: Option<Option<Value>>,
}

impl Fields {
    pub fn body(body: Value) -> Self {
        Self { body: Some(body), ..Self::default() }
    }

    #[must_use]
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(Some(key.into())), ..self }
    }

    #[must_use]
    pub fn parent(self, parent: impl Into<String>) -> Self {
        Self { parent: Some(Some(parent.into())), ..self }
    }

    #[must_use]
    pub fn state(self, state: impl Into<String>) -> Self {
        Self { state: Some(Some(state.into())), ..self }
    }

    /// `None` takes it off the list of what is due.
    #[must_use]
    pub fn due(self, at: Option<Timestamp>) -> Self {
        Self { due_at: Some(at), ..self }
    }

    #[must_use]
    pub fn secret(self, secret: Option<Value>) -> Self {
        Self { secret: Some(secret), ..self }
    }
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A record that is not there yet; [`RecordsError::Taken`] when its id or key is.
    Insert { tenant: String, kind: String, id: String, fields: Fields },
    /// A record that is there; `version`, when given, must be the stored one ([`RecordsError::Changed`]).
    Update { tenant: String, kind: String, id: String, version: Option<u64>, fields: Fields },
    /// As `Update`; the record goes.
    Delete { tenant: String, kind: String, id: String, version: Option<u64> },
    /// Takes told events off the outbox; [`RecordsError::Changed`] when another process was faster with one of them.
    Told { ids: Vec<u64> },
    /// How many runs of the tenant may be active at once; `None`: as many as it likes.
    Limit { tenant: String, active: Option<u32> },
}

impl Write {
    pub fn insert(tenant: &str, kind: &str, id: &str, fields: Fields) -> Self {
        Self::Insert { tenant: tenant.to_owned(), kind: kind.to_owned(), id: id.to_owned(), fields }
    }

    /// Changes the record as it was read; refused when it has changed since.
    pub fn update(read: &Record, fields: Fields) -> Self {
        Self::Update { tenant: read.tenant.clone(), kind: read.kind.clone(), id: read.id.clone(), version: Some(read.version), fields }
    }

    /// Deletes the record as it was read; refused when it has changed since.
    pub fn delete(read: &Record) -> Self {
        Self::Delete { tenant: read.tenant.clone(), kind: read.kind.clone(), id: read.id.clone(), version: Some(read.version) }
    }
}

/// Which records of a place.
#[derive(Debug, Clone, Default)]
pub struct RecordFilter {
    pub parent: Option<String>,
    pub states: Vec<String>,
    /// Ids behind this one, in the order of the list (keyset paging).
    pub after: Option<String>,
    /// By id, descending: newest first for ids that grow with time.
    pub newest_first: bool,
    /// 0: all.
    pub limit: u32,
    pub offset: u32,
}

/// An event that nobody has been told of yet, in the order of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Untold {
    pub id: u64,
    pub tenant: String,
    pub run: String,
    /// The event's number in its run.
    pub seq: u64,
    pub kind: String,
}

/// Permits out of a bucket of requests that servers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permits {
    /// How many of those asked for; 0 when the bucket is full of requests.
    pub granted: u32,
    /// How far the bucket's moment lies ahead of now, in microseconds.
    pub ahead: i64,
}

/// The door.
#[async_trait::async_trait]
pub trait Records: Audit + Analytics + Upkeep + Send + Sync {
    /// `None` when there is no such record in that tenant.
    async fn get(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Record>>;

    /// By its unique key.
    async fn find(&self, tenant: &str, kind: &str, key: &str) -> Result<Option<Record>>;

    async fn list(&self, tenant: &str, kind: &str, filter: &RecordFilter) -> Result<Vec<Record>>;

    /// How many match, paging aside.
    async fn count(&self, tenant: &str, kind: &str, filter: &RecordFilter) -> Result<u64>;

    /// The opened secret; `None` when there is none.
    async fn secret(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>>;

    /// All writes in one transaction, in order, or none. Answers the inserted and updated records.
    async fn apply(&self, writes: Vec<Write>) -> Result<Vec<Record>>;

    /// Records of every tenant that are due, earliest first: each is handed to one caller only, and becomes due again after `hold`
    /// unless it is written before (its version is raised, so a late writer is refused). `now` stands in for the store's clock in tests.
    async fn take_due(&self, kind: &str, limit: u32, hold: Duration, now: Option<Timestamp>) -> Result<Vec<Record>>;

    /// The oldest events of all tenants that nobody was told of. [`Write::Told`] takes them away.
    async fn untold(&self, limit: u32) -> Result<Vec<Untold>>;

    /// Takes up to `count` permits out of the bucket `key`, which holds `burst` and gets one more every `interval` microseconds. `None`: no other
    /// server shares this store, count by yourself.
    async fn take_permits(&self, key: &str, count: u32, interval: i64, burst: u32) -> Result<Option<Permits>>;
}
