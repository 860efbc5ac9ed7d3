//! A journal behind a line that can be cut (a worker that cannot reach it must stop by itself), or that refuses results.

use engine::journal::{Change, ChunkDone, Chunks, Claim, ClaimRequest, EventFilter, Events, Leases, NewEvent, Record, Runs, StepPin, Token, Wanted};
use engine::state::Request;
use engine::{Chunk, EngineError, Event, Hold, Journal, LedgerTotals, NewChunk, NewRun, RunFilter, RunLine, RunView};
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// See the module's comment.
pub struct Cut {
    inner: Arc<dyn Journal>,
    broken: AtomicBool,
    refuse: AtomicBool,
}

impl Cut {
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self { inner, broken: AtomicBool::new(false), refuse: AtomicBool::new(false) }
    }

    pub fn cut(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// From now on the output of a step cannot be stored.
    pub fn refuse_outputs(&self) {
        self.refuse.store(true, Ordering::SeqCst);
    }

    fn line(&self) -> Result<&dyn Journal, EngineError> {
        if self.broken.load(Ordering::SeqCst) { Err(EngineError::Unavailable("the line is cut".to_owned())) } else { Ok(self.inner.as_ref()) }
    }
}

macro_rules! through {
    ($door:ident { $(fn $name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)* } $($rest:tt)*) => {
        #[async_trait::async_trait]
        impl $door for Cut {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$out, EngineError> { self.line()?.$name($($arg),*).await })*
            $($rest)*
        }
    };
}

through!(Runs {
    fn create(run: &NewRun, steps: &[StepPin]) -> Timestamp;
    fn view(tenant: &str, id: &str) -> RunView;
    fn input(tenant: &str, id: &str) -> Value;
    fn forget_secrets(tenant: &str, id: &str, input: &Value) -> ();
    fn list(tenant: &str, filter: &RunFilter) -> Vec<RunView>;
    fn lines(tenant: &str, filter: &RunFilter) -> Vec<RunLine>;
    fn count(tenant: &str, filter: &RunFilter) -> u64;
    fn request(tenant: &str, id: &str, request: &Request) -> RunView;
    fn delete(tenant: &str, id: &str) -> ();
});
through!(Events {
    fn events(tenant: &str, id: &str, filter: &EventFilter) -> Vec<Event>;
    fn count_events(tenant: &str, id: &str, filter: &EventFilter) -> u64;
}
fn changes(&self) -> watch::Receiver<u64> {
    self.inner.changes()
});
through!(Leases {
    fn claim(request: &ClaimRequest) -> Option<Claim>;
    fn renew(token: &Token, lease: Duration) -> ();
    fn wanted(token: &Token) -> Option<Wanted>;
    fn release(token: &Token) -> ();
    fn announce(node: &str, lease: Option<Duration>) -> ();
    fn is_present(node: &str) -> bool;
    fn unpin(tenant: &str, id: &str) -> RunView;
});
through!(Record {
    fn recall(token: &Token, scope: &str, key: &str) -> Option<Value>;
    fn own_view(token: &Token) -> RunView;
    fn stand_still(token: &Token, for_good: bool) -> bool;
    fn hold(token: &Token) -> Hold;
}
async fn write(&self, token: &Token, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), EngineError> {
    if self.refuse.load(Ordering::SeqCst) && changes.iter().any(|c| matches!(c, Change::Done { .. })) {
        return Err(EngineError::Internal("the value is too large".to_owned()));
    }
    self.line()?.write(token, changes, events).await
});
through!(Chunks {
    fn plan(token: &Token, ledger: &str, chunks: Vec<NewChunk>) -> ();
    fn seal(token: &Token, ledger: &str) -> ();
    fn pending(token: &Token, ledger: &str, after: Option<u64>, limit: usize) -> Vec<Chunk>;
    fn done(token: &Token, ledger: &str, chunks: Vec<ChunkDone>) -> ();
    fn all(tenant: &str, run: &str, ledger: &str, after: Option<u64>, limit: usize) -> Vec<Chunk>;
    fn totals(tenant: &str, run: &str, ledger: &str) -> LedgerTotals;
});
