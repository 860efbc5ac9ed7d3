//! What looking after a store needs: whether it is ready, what is in it, and what may go.

use super::{RecordsError, SetAside};
use jiff::Timestamp;

/// Upper bounds, in seconds, of the classes in which durations of steps are counted.
pub const STEP_BOUNDS: [u32; 8] = [1, 5, 15, 60, 300, 1800, 7200, 43200];

/// A count of everything, of all tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Runs per state.
    pub runs: Vec<(String, u64)>,
    /// Records that wait for their time, per kind: how many, and for how many of them it has come.
    pub waiting: Vec<(String, u64, u64)>,
    /// Events that nobody was told of yet.
    pub untold: u64,
    /// Steps that are done, per name.
    pub steps: Vec<StepTimes>,
    /// Bytes that the ledgers of all runs have as done.
    pub bytes_moved: u64,
    /// What is set aside, per kind.
    pub set_aside: Vec<(String, u64)>,
    /// Leases that this process has renewed since it opened the store.
    pub renewals: u64,
}

/// How long the steps of one name took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepTimes {
    pub name: String,
    pub count: u64,
    pub microseconds: u64,
    /// How many took at most as long as each of [`STEP_BOUNDS`].
    pub within: [u64; STEP_BOUNDS.len()],
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedRun {
    pub tenant: String,
    pub id: String,
    pub ended_at: Timestamp,
}

/// The door.
#[async_trait::async_trait]
pub trait Upkeep: Send + Sync {
    /// Answers when the database does and has exactly the schema of this program.
    async fn ready(&self) -> Result<(), RecordsError>;

    async fn census(&self) -> Result<Census, RecordsError>;

    /// The store's clock: what is due is due by it, whatever the servers' own clocks say.
    async fn now(&self) -> Result<Timestamp, RecordsError> {
        Ok(Timestamp::now())
    }

    /// Runs of every tenant that were completed or rolled back before that moment, as tenant and id; at most `limit`, the oldest first, behind `after`.
    async fn finished_before(&self, _at: Timestamp, _after: Option<(Timestamp, String)>, _limit: u32) -> Result<Vec<FinishedRun>, RecordsError> {
        Ok(Vec::new())
    }

    /// Whether the keys of this process open what is sealed: false when there are sealed things, and none of the newest can be opened.
    async fn opens_secrets(&self) -> Result<bool, RecordsError> {
        Ok(true)
    }

    /// Has this node pass over something that it cannot read, until it tries again in some minutes; a record becomes due at once for other nodes.
    /// Repeatable: the newest reason stays.
    async fn set_aside(&self, _kind: &str, _tenant: &str, _id: &str, _reason: &str) -> Result<(), RecordsError> {
        Ok(())
    }

    /// What any node has set aside and has not read since.
    async fn everything_set_aside(&self) -> Result<Vec<SetAside>, RecordsError> {
        Ok(Vec::new())
    }

    /// When the first `progress` event from `since` on was written.
    async fn oldest_progress(&self, since: Timestamp) -> Result<Option<Timestamp>, RecordsError>;

    /// Deletes `progress` events from `from` on, before `until`, but the last of each minute of a run; those that nobody was told of
    /// stay. At most `limit`; how many went. Both times are whole minutes. Can be repeated.
    async fn thin(&self, from: Timestamp, until: Timestamp, limit: u32) -> Result<u64, RecordsError>;
}
