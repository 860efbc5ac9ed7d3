//! Who did what, from where, with which result: written in the transaction of the change, never changed again.
//!
//! Whoever answers a request runs it inside [`attempt`]. The store looks for the attempt when it commits and puts its entry into the same
//! transaction, once; an attempt that changed nothing (refused, failed, not found) is written down by [`Audit::note`] at its end.

use super::RecordsError;
use jiff::Timestamp;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of an attempt while it is made. No secrets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditEntry {
    pub tenant: String,
    /// Name of the user or API key; `anonymous` where nobody has to log in; `system` for our own schedules.
    pub actor: String,
    /// How the actor proved who it is: `none`, `token`, `api_key`, `password`, `system`.
    pub proof: String,
    /// The operation's id in the OpenAPI document, such as `start_migration`.
    pub action: String,
    /// What it was done to, such as `migrations/0198…`.
    pub target: String,
    /// Address of the caller.
    pub source: String,
    pub request_id: String,
    /// `done`, or the error's code.
    pub result: String,
    pub details: Value,
}

/// An entry as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// Grows with time.
    pub id: u64,
    pub at: Timestamp,
    pub entry: AuditEntry,
}

/// Which entries; empty texts match all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    pub action: Option<String>,
    /// With `*` at its end: what begins so.
    pub target: Option<String>,
    pub result: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Entries older than this one (keyset paging: newest first).
    pub before: Option<u64>,
    /// 0: all.
    pub limit: u32,
    pub offset: u32,
}

/// The log's own door.
#[async_trait::async_trait]
pub trait Audit: Send + Sync {
    /// Appends an entry for something that changed nothing.
    async fn note(&self, entry: AuditEntry) -> Result<(), RecordsError>;

    /// Newest first.
    async fn entries(&self, tenant: &str, filter: &AuditFilter) -> Result<Vec<AuditRow>, RecordsError>;
}

struct Attempt {
    entry: AuditEntry,
    written: AtomicBool,
}

tokio::task_local! {
    static ATTEMPT: Arc<Attempt>;
}

/// Runs `work` as an attempt: the first commit inside it carries `entry` with the result `done`. Answers whether there was one.
pub async fn attempt<F: Future>(entry: AuditEntry, work: F) -> (F::Output, bool) {
    let attempt = Arc::new(Attempt { entry: AuditEntry { result: "done".to_owned(), ..entry }, written: AtomicBool::new(false) });
    let output = ATTEMPT.scope(attempt.clone(), work).await;
    (output, attempt.written.load(Ordering::Acquire))
}

/// For stores: the entry that the transaction being made has to carry; given once per attempt.
pub fn owed() -> Option<Owed> {
    let attempt = ATTEMPT.try_with(Arc::clone).ok()?;
    (!attempt.written.swap(true, Ordering::AcqRel)).then(|| Owed { attempt, kept: false })
}

/// An entry on its way into a transaction. Dropped without [`Owed::kept`], it is owed again.
pub struct Owed {
    attempt: Arc<Attempt>,
    kept: bool,
}

impl Owed {
    pub fn entry(&self) -> &AuditEntry {
        &self.attempt.entry
    }

    /// The transaction was committed.
    pub fn kept(mut self) {
        self.kept = true;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.kept {
            self.attempt.written.store(false, Ordering::Release);
        }
    }
}
