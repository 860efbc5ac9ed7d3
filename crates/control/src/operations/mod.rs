//! What an operator of the service needs: is it ready, what does it do, and that old things go.

pub mod metrics;
mod readiness;
mod set_aside;
mod traces;
pub mod traffic;
mod upkeep;

pub use readiness::Readiness;
pub use traces::Sampling;
pub use traffic::{RouteMeter, Traffic};
pub use upkeep::Thinned;

use ports::records::upkeep::Census;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio::sync::Mutex;

/// What one process keeps for its operator.
#[derive(Default)]
pub(crate) struct Operations {
    pub traffic: Arc<Traffic>,
    pub standing_down: AtomicBool,
    pub fitness: readiness::Fitness,
    /// The last census, and when it was taken.
    pub census: Mutex<Option<(Instant, Census)>>,
}
