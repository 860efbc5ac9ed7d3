//! What could not be read, and is passed over so that it holds nothing else up.
//!
//! The reason is often one node's own (another key file, an older program), so it is set aside for that node only: others still take it. After a while the
//! node tries it again. Whoever looks after the service sees what is set aside in `/health`, in the metrics and in `db check`.

use jiff::Timestamp;

/// The kind of a run.
pub const RUN: &str = "run";
/// The kind of an event that nobody was told of yet; its id is its number in the outbox.
pub const EVENT: &str = "event";

/// One thing that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// [`RUN`], [`EVENT`], or a record's kind.
    pub kind: String,
    pub tenant: String,
    pub id: String,
    /// Why, for people. Never a secret.
    pub reason: String,
    pub at: Timestamp,
}
