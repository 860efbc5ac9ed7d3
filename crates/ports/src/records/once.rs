//! A request that must not be done twice: the first transaction that it commits says so in the request's own record, or is not committed.
//!
//! Whoever answers such a request keeps a record of it ([`KIND`], in state [`AT_WORK`], with the attempt's own `key`) and does the work inside
//! [`marked`]. The store looks for the mark when it commits: the record's state becomes [`CHANGED`] and its `parent` what was written, in the same
//! transaction. A record that is another attempt's by now refuses the commit. After a crash the record tells whether anything was changed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Kind of the records of requests.
pub const KIND: &str = "idempotency";
/// Somebody does it, and nothing is committed yet.
pub const AT_WORK: &str = "at_work";
/// Something of it is committed; its answer is not kept yet.
pub const CHANGED: &str = "changed";

/// The record of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub tenant: String,
    pub id: String,
    /// The record's `key`: no other attempt has it.
    pub attempt: String,
}

struct Marked {
    mark: Mark,
    written: AtomicBool,
}

tokio::task_local! {
    static MARKED: Arc<Marked>;
}

/// Runs `work`: the first commit inside it carries `mark`. Answers whether there was one.
pub async fn marked<F: Future>(mark: Mark, work: F) -> (F::Output, bool) {
    let marked = Arc::new(Marked { mark, written: AtomicBool::new(false) });
    let output = MARKED.scope(marked.clone(), work).await;
    (output, marked.written.load(Ordering::Acquire))
}

/// For stores: the mark that the transaction being made has to carry; given once.
pub fn owed() -> Option<Owed> {
    let marked = MARKED.try_with(Arc::clone).ok()?;
    (!marked.written.swap(true, Ordering::AcqRel)).then(|| Owed { marked, kept: false })
}

/// A mark on its way into a transaction. Dropped without [`Owed::kept`], it is owed again.
pub struct Owed {
    marked: Arc<Marked>,
    kept: bool,
}

impl Owed {
    pub fn mark(&self) -> &Mark {
        &self.marked.mark
    }

    /// The transaction was committed.
    pub fn kept(mut self) {
        self.kept = true;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if !self.kept {
            self.marked.written.store(false, Ordering::Release);
        }
    }
}
