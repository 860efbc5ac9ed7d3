//! Where runs are remembered: the doors between the engine and a store.
//!
//! Five narrow traits, one [`Journal`]. Requests of users ([`Runs`]) are not fenced; everything a worker writes is: it names its
//! [`Token`], and a store that sees another owner or epoch changes nothing and answers [`EngineError::Fenced`]. Time is the store's
//! clock, never a worker's. Events are written in the transaction of the change they tell about.

pub mod memory;
mod records;
pub mod words;

pub use records::{Change, Chunk, ChunkDone, Claim, ClaimRequest, EventFilter, Level, NewChunk, NewEvent, StepPin, Token, Wanted};

use crate::EngineError;
use crate::hold::Hold;
use crate::line::RunLine;
use crate::state::Request;
use crate::view::{Event, LedgerTotals, NewRun, RunFilter, RunView};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::watch;

/// An active run that was at work and that nobody has had for longer than this is interrupted.
pub const INTERRUPTED_AFTER: Duration = Duration::from_secs(5);

/// Runs as users see them. Every call names the tenant; a run of another tenant is [`EngineError::NotFound`].
#[async_trait::async_trait]
pub trait Runs: Send + Sync {
    /// Adds a run in state `created` with its steps, and the event `run.created`; gives its moment. An id that exists is [`EngineError::Invalid`].
    async fn create(&self, run: &NewRun, steps: &[StepPin]) -> Result<Timestamp, EngineError>;

    async fn view(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;

    /// The unsealed input.
    async fn input(&self, tenant: &str, id: &str) -> Result<Value, EngineError>;

    /// Replaces the input of a run that was finalised, by one without its secrets. Any other run is left as it is. Repeatable.
    async fn forget_secrets(&self, tenant: &str, id: &str, input: &Value) -> Result<(), EngineError>;

    /// Newest first, without the outputs of steps. Costs nothing per chunk: ledger totals are kept, not counted.
    async fn list(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunView>, EngineError>;

    /// Newest first. Costs nothing per step or chunk: what a line shows of them is kept, not counted.
    async fn lines(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunLine>, EngineError>;

    /// How many runs match, `limit` and `offset` aside.
    async fn count(&self, tenant: &str, filter: &RunFilter) -> Result<u64, EngineError>;

    /// Applies [`crate::state::request`] to the run's state in one transaction, with its event. What would make it active is refused with
    /// [`EngineError::Full`] when the store has a limit for the tenant and it is reached.
    async fn request(&self, tenant: &str, id: &str, request: &Request) -> Result<RunView, EngineError>;

    /// Removes a run that is not active, with all its traces.
    async fn delete(&self, tenant: &str, id: &str) -> Result<(), EngineError>;
}

/// The event stream of a run.
#[async_trait::async_trait]
pub trait Events: Send + Sync {
    async fn events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<Vec<Event>, EngineError>;

    /// How many events match, `limit` and `offset` aside.
    async fn count_events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<u64, EngineError>;

    /// Changes whenever this process (and, where the store can tell, another one) wrote an event. A hint, no promise: poll as well.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Who works on a run.
#[async_trait::async_trait]
pub trait Leases: Send + Sync {
    /// Takes the oldest active run (or a scheduled one whose time has come) that nobody holds: owner set, epoch raised by one. A scheduled run
    /// waits while its tenant has as many active runs as it may.
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>, EngineError>;

    /// Takes the oldest active run whose worker is gone: one that was claimed before and that nobody holds now. Scheduled runs and those that nobody
    /// has worked on yet are left alone.
    async fn claim_abandoned(&self, _request: &ClaimRequest) -> Result<Option<Claim>, EngineError> {
        Ok(None)
    }

    /// Holds the run for `lease` from now on.
    async fn renew(&self, token: &Token, lease: Duration) -> Result<(), EngineError>;

    /// What users want of the run; also tells whether the lease still holds.
    async fn wanted(&self, token: &Token) -> Result<Option<Wanted>, EngineError>;

    /// Gives the run back so that another worker may go on at once.
    async fn release(&self, token: &Token) -> Result<(), EngineError>;

    /// Says that a worker of `node` is there for `lease` from now on; `None`: it leaves. Journals of a single process need not know.
    async fn announce(&self, _node: &str, _lease: Option<Duration>) -> Result<(), EngineError> {
        Ok(())
    }

    /// Whether a worker of `node` is there, as far as [`Leases::announce`] told.
    async fn is_present(&self, _node: &str) -> Result<bool, EngineError> {
        Ok(false)
    }

    /// Takes the pin off a run that no worker holds, with the event `run.unpinned`: any node may claim it from now on. What lies on the old
    /// node is lost to the run; nothing it has noted is forgotten. [`EngineError::Conflict`] while a worker holds the run, or when it has no pin.
    async fn unpin(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;
}

/// What a worker writes down while it drives a run.
#[async_trait::async_trait]
pub trait Record: Send + Sync {
    /// All or nothing, in one transaction: the changes in order, then the events. A state that is no longer active ends the lease.
    async fn write(&self, token: &Token, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), EngineError>;

    /// A memo. `scope` is empty for the run, or the name of a ledger.
    async fn recall(&self, token: &Token, scope: &str, key: &str) -> Result<Option<Value>, EngineError>;

    /// In one transaction: whether a run in a worker's hands holds this one. If so, it is noted as standing still; if not, as going on, and with
    /// `for_good` as one that can be held no more.
    async fn stand_still(&self, token: &Token, for_good: bool) -> Result<bool, EngineError>;

    /// How the run stands that this one holds. A held run that is deciding this moment is waited for.
    async fn hold(&self, token: &Token) -> Result<Hold, EngineError>;

    /// The run as it is now, for its worker.
    async fn own_view(&self, token: &Token) -> Result<RunView, EngineError>;
}

/// The chunk ledgers of a run.
#[async_trait::async_trait]
pub trait Chunks: Send + Sync {
    /// Adds chunks in one transaction. A `seq` that is already there is left as it is.
    async fn plan(&self, token: &Token, ledger: &str, chunks: Vec<NewChunk>) -> Result<(), EngineError>;

    /// Says that planning is complete. Repeatable.
    async fn seal(&self, token: &Token, ledger: &str) -> Result<(), EngineError>;

    /// Chunks that are not done, by ascending `seq`, after `after`, at most `limit`; each handing-out raises `attempts`.
    async fn pending(&self, token: &Token, ledger: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError>;

    /// Records results in one transaction, and corrects the totals to the exact counts. Repeatable: the first result stays.
    async fn done(&self, token: &Token, ledger: &str, chunks: Vec<ChunkDone>) -> Result<(), EngineError>;

    /// All chunks by ascending `seq`, after `after`, at most `limit`. Not fenced: reports read them too.
    async fn all(&self, tenant: &str, run: &str, ledger: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError>;

    /// Zero for a ledger that does not exist yet.
    async fn totals(&self, tenant: &str, run: &str, ledger: &str) -> Result<LedgerTotals, EngineError>;
}

/// Everything a store offers.
pub trait Journal: Runs + Events + Leases + Record + Chunks {}

impl<T: Runs + Events + Leases + Record + Chunks> Journal for T {}
