//! The values that cross the journal's doors.

use crate::view::{RunView, Sample};
use crate::{RunState, StepError};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// How grave an event is. Ordered: `Debug < Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warning, Self::Error];

    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word().eq_ignore_ascii_case(word))
    }
}

/// Proof of holding a run: compared by the store with every write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub run: String,
    pub tenant: String,
    pub owner: String,
    pub epoch: u64,
}

/// What users want of a run that a worker holds. Ordered: a later pause does not take back a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wanted {
    Pause,
    Cancel,
}

impl Wanted {
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Cancel => "cancel",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pause, Self::Cancel].into_iter().find(|w| w.word() == word)
    }
}

/// A worker looking for work.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    pub owner: String,
    pub kinds: Vec<String>,
    /// Runs that this worker cannot work on (a foreign step version).
    pub except: Vec<String>,
    pub lease: Duration,
    /// The worker's node: it gets runs that are pinned to it, and those that are pinned to none.
    pub node: Option<String>,
}

/// A run in a worker's hands.
#[derive(Debug, Clone)]
pub struct Claim {
    pub token: Token,
    pub view: RunView,
    pub input: Value,
    /// Options of the newest start or rollback.
    pub options: Value,
    pub wanted: Option<Wanted>,
}

/// A step as the plan pins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPin {
    pub name: String,
    pub title: String,
    pub version: u32,
}

/// One change of a run, written by its worker.
#[derive(Debug, Clone)]
pub enum Change {
    /// Replaces the pinned steps; only before any step began.
    Pin(Vec<StepPin>),
    /// Intent: the step is about to run. Raises its attempts.
    Begun {
        index: u32,
    },
    Done {
        index: u32,
        output: Value,
    },
    /// Ended for good.
    Failed {
        index: u32,
        error: StepError,
    },
    /// A temporary error that will be tried again; the step stays begun.
    Faltered {
        index: u32,
        error: StepError,
    },
    Undone {
        index: u32,
    },
    /// The run's next state. `error` is what users are shown; `None` leaves the stored one.
    State {
        to: RunState,
        error: Option<StepError>,
    },
    Sample(Sample),
    /// From now on only workers of this node may claim the run: state that it needs lies there.
    PinTo {
        node: String,
    },
    /// `None` removes it.
    Memo {
        scope: String,
        key: String,
        value: Option<Value>,
    },
}

/// An event to be appended. The store gives it its number and its time.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub kind: String,
    pub level: Level,
    pub component: String,
    pub message: String,
    pub details: Value,
}

impl NewEvent {
    pub fn new(kind: impl Into<String>, level: Level, component: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), level, component: component.into(), message: message.into(), details: Value::Null }
    }

    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

/// Which events to read.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events with a higher sequence number.
    pub after: u64,
    /// Empty: all. An entry that ends in `*` matches a prefix (`run.*`).
    pub kinds: Vec<String>,
    /// Only events of this level, or a graver one.
    pub min_level: Option<Level>,
    /// Only events of exactly this level.
    pub level: Option<Level>,
    pub since: Option<Timestamp>,
    pub newest_first: bool,
    /// 0: no limit.
    pub limit: u32,
    pub offset: u32,
}

/// A chunk that is being planned. `seq` is chosen by the planner, deterministic, unique within its ledger.
#[derive(Debug, Clone)]
pub struct NewChunk {
    pub seq: u64,
    pub spec: Vec<u8>,
    pub items: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub seq: u64,
    pub spec: Vec<u8>,
    pub items: u64,
    pub bytes: u64,
    /// How many times it was handed out by `pending`.
    pub attempts: u32,
    /// `None` until it is done.
    pub result: Option<Vec<u8>>,
}

/// The outcome of one chunk, with the exact counts.
#[derive(Debug, Clone)]
pub struct ChunkDone {
    pub seq: u64,
    pub result: Vec<u8>,
    pub items: u64,
    pub bytes: u64,
}
