//! What the runs of a period add up to, counted by the store itself.

use super::RecordsError;
use jiff::Timestamp;
use jiff::civil::Date;

/// Which runs, and what of them is of interest.
#[derive(Debug, Clone)]
pub struct Period {
    pub tenant: String,
    /// Runs that were started from this moment on,
    pub from: Timestamp,
    /// until this one, itself included.
    pub until: Timestamp,
    /// The label whose values are told apart, such as `source_type`.
    pub label: &'static str,
    /// What the names of the ledgers begin with whose bytes count as moved.
    pub ledgers: &'static [&'static str],
}

/// The runs that were started on one day (UTC) and have one value of the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayTotals {
    pub day: Date,
    /// Empty for runs without the label.
    pub label: String,
    pub runs: u64,
    pub completed: u64,
    /// Those that failed and were taken back by themselves, and stuck ones, included.
    pub failed: u64,
    pub cancelled: u64,
    /// Taken back because somebody asked.
    pub rolled_back: u64,
    /// From start to end, of the completed and failed ones together.
    pub microseconds: u64,
    /// Bytes moved by the completed and failed ones.
    pub bytes_ended: u64,
    /// Bytes moved by all.
    pub bytes: u64,
}

/// The door.
#[async_trait::async_trait]
pub trait Analytics: Send + Sync {
    /// Only days that have runs, earliest first, labels in order.
    async fn days(&self, period: &Period) -> Result<Vec<DayTotals>, RecordsError>;
}
