//! Between two rooms that must not know each other: the engine's ledgers, logs and errors, as the movers' doors want them.

mod failure;
mod ledger;
mod observer;
mod reading;

pub use failure::{StepResult, failed, step_error};
pub use ledger::RunLedger;
pub use observer::RunObserver;
pub use reading::ReadLedger;
