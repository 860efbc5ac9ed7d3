//! The engine as its users hold it: create runs, say what they should do, look at them. Workers do the work ([`crate::Worker`]).

use crate::journal::{Chunk, EventFilter, Journal, StepPin, Token};
use crate::line::RunLine;
use crate::state::Request;
use crate::view::{Event, LedgerTotals, NewRun, RunFilter, RunView};
use crate::{EngineError, Plan, PlanRegistry, StepError};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a waiting reader looks by itself, in case a change came from another process.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Cheap to clone; all clones speak to the same journal.
#[derive(Clone)]
pub struct Engine {
    journal: Arc<dyn Journal>,
    plans: PlanRegistry,
}

impl Engine {
    pub fn new(journal: Arc<dyn Journal>, plans: PlanRegistry) -> Self {
        Self { journal, plans }
    }

    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    pub fn plans(&self) -> &PlanRegistry {
        &self.plans
    }

    /// Adds a run in state `created`. Its plan is built at once, so that an input without a plan is refused here
    /// ([`EngineError::Invalid`]) and the steps are known from the beginning. Gives the moment of its creation.
    pub async fn create(&self, run: NewRun) -> Result<Timestamp, EngineError> {
        let plan = self.plans.build(&run.kind, &run.input)?;
        self.journal.create(&run, &pins(&plan)).await
    }

    /// `created` or `scheduled` → `running`. `options` reach every step as `cx.options()`; `auto_rollback: true` among them (or
    /// among the labels) undoes everything by itself after a failure.
    pub async fn start(&self, tenant: &str, id: &str, options: Value) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Start { options }).await
    }

    /// Starts by itself at that time (the store's clock).
    pub async fn schedule(&self, tenant: &str, id: &str, at: Timestamp, options: Value) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Schedule { at, options }).await
    }

    /// `scheduled` → `created`.
    pub async fn unschedule(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Unschedule).await
    }

    /// The worker stops soon; the state becomes `paused` once it has.
    pub async fn pause(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Pause).await
    }

    /// Goes on with a paused run, or tries a failed one again from the step that failed.
    pub async fn resume(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Resume).await
    }

    /// The worker stops soon; the state becomes `cancelled` once it has. Nothing is undone.
    pub async fn cancel(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Cancel).await
    }

    /// Undoes in reverse. `options` replace those of the start, unless they are null.
    pub async fn rollback(&self, tenant: &str, id: &str, options: Value) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Rollback { options }).await
    }

    /// Tries the undo of a stuck run again.
    pub async fn resolve(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Resolve).await
    }

    /// Tells the run's steps something that one of them waits for ([`crate::StepContext::asked`]). Repeatable.
    pub async fn ask(&self, tenant: &str, id: &str, name: &str) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Ask { name: name.to_owned() }).await
    }

    /// Gives up the way back of a completed run: it can never be rolled back any more, and the chunks and memos that only a rollback needs are removed
    /// with it, in one transaction. Totals, outputs and events stay. `by`: who, if known. Repeatable; the first one counts.
    pub async fn finalize(&self, tenant: &str, id: &str, by: Option<String>) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Finalize { by }).await
    }

    /// See [`crate::journal::Runs::forget_secrets`].
    pub async fn forget_secrets(&self, tenant: &str, id: &str, input: &Value) -> Result<(), EngineError> {
        self.journal.forget_secrets(tenant, id, input).await
    }

    /// See [`crate::journal::Leases::unpin`].
    pub async fn unpin(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.unpin(tenant, id).await
    }

    /// Whether a worker of that node is there. This process's own node is, whether it runs a worker or not.
    pub async fn is_present(&self, node: &str) -> Result<bool, EngineError> {
        if self.plans.node() == Some(node) { Ok(true) } else { self.journal.is_present(node).await }
    }

    /// `created` or `scheduled` → `failed`, with nothing done: its start was refused for good. Everybody is told as of any other failure.
    pub async fn refuse(&self, tenant: &str, id: &str, error: StepError) -> Result<RunView, EngineError> {
        self.journal.request(tenant, id, &Request::Refuse { error }).await
    }

    /// Removes a run that is not active, with its events and ledgers.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<(), EngineError> {
        self.journal.delete(tenant, id).await
    }

    pub async fn get(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.journal.view(tenant, id).await
    }

    /// The run's input, unsealed: it may hold secrets.
    pub async fn input(&self, tenant: &str, id: &str) -> Result<Value, EngineError> {
        self.journal.input(tenant, id).await
    }

    /// Newest first, without the outputs of steps.
    pub async fn list(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunView>, EngineError> {
        self.journal.list(tenant, filter).await
    }

    /// Newest first, as lines of a list.
    pub async fn lines(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunLine>, EngineError> {
        self.journal.lines(tenant, filter).await
    }

    /// How many runs match, `limit` and `offset` aside.
    pub async fn count(&self, tenant: &str, filter: &RunFilter) -> Result<u64, EngineError> {
        self.journal.count(tenant, filter).await
    }

    pub async fn events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<Vec<Event>, EngineError> {
        self.journal.events(tenant, id, filter).await
    }

    /// How many events match, `limit` and `offset` aside.
    pub async fn count_events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<u64, EngineError> {
        self.journal.count_events(tenant, id, filter).await
    }

    /// Events after number `after`, oldest first; waits for one, at most so long, and then answers an empty list.
    pub async fn wait_event(&self, tenant: &str, id: &str, after: u64, at_most: Duration) -> Result<Vec<Event>, EngineError> {
        let filter = EventFilter { after, limit: 1000, ..EventFilter::default() };
        let deadline = Instant::now() + at_most;
        let mut changes = self.journal.changes();
        loop {
            changes.mark_unchanged();
            let events = self.journal.events(tenant, id, &filter).await?;
            let now = Instant::now();
            if !events.is_empty() || now >= deadline {
                return Ok(events);
            }
            let _woken_or_not = tokio::time::timeout(LOOK_AGAIN.min(deadline - now), changes.changed()).await;
        }
    }

    /// Chunks of a ledger, done or not, by ascending `seq`, after `after`, at most `limit`.
    pub async fn ledger(&self, tenant: &str, id: &str, name: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError> {
        self.journal.all(tenant, id, name, after, limit).await
    }

    /// A memo of the run, or of one of its ledgers (`scope`), for readers: whoever works on the run may change it at any moment.
    pub async fn memo(&self, tenant: &str, id: &str, scope: &str, key: &str) -> Result<Option<Value>, EngineError> {
        // Reading is not fenced, so the token need only say which run.
        let token = Token { run: id.to_owned(), tenant: tenant.to_owned(), owner: String::new(), epoch: 0 };
        self.journal.recall(&token, scope, key).await
    }

    pub async fn ledger_totals(&self, tenant: &str, id: &str, name: &str) -> Result<LedgerTotals, EngineError> {
        self.journal.totals(tenant, id, name).await
    }
}

/// The pinned form of a plan.
pub(crate) fn pins(plan: &Plan) -> Vec<StepPin> {
    plan.steps.iter().map(|s| StepPin { name: s.name().to_owned(), title: s.title().to_owned(), version: s.version() }).collect()
}
