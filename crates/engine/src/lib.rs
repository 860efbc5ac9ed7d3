//! Durable runs: a plan is a list of steps, each with run, undo and probe; the journal remembers what was done.
//!
//! ```text
//! created ─► scheduled ─► running ⇄ paused        running ─► completed | failed | cancelled
//!      any of completed, failed, cancelled ─► rolling_back ─► rolled_back | stuck     stuck ─► rolling_back (resolve)
//! ```
//! This crate knows no word of migrating: it runs steps, fences late workers by lease and epoch, keeps chunk ledgers, writes
//! events in the transaction of the change they tell about, and undoes in reverse. Where it is stored is the [`Journal`]'s business.

pub mod admission;
pub mod context;
mod drive;
pub mod error;
pub mod handle;
pub mod hold;
pub mod journal;
pub mod ledger;
pub mod line;
pub mod plan;
mod recorder;
pub mod state;
pub mod telling;
pub mod trace;
pub mod view;
pub mod worker;

pub use admission::Admission;
pub use context::StepContext;
pub use error::{EngineError, StepError};
pub use handle::Engine;
pub use hold::{Hold, Stance};
pub use journal::{Chunk, ChunkDone, EventFilter, Journal, Level, NewChunk};
pub use ledger::Ledger;
pub use line::RunLine;
pub use plan::{Plan, PlanRegistry, Presence, Step};
pub use state::RunState;
pub use telling::{Counters, Meter, Reading};
pub use trace::Trace;
pub use view::{Event, Finalized, LedgerTotals, NewRun, RunFilter, RunView, Sample, StepState, StepView};
pub use worker::{Worker, WorkerOptions};
