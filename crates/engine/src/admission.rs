//! Whether a run may begin that was asked for before its time.
//!
//! A start that is scheduled carries its author among the run's options ([`AUTHOR`]). When its time has come, and before its first step, the worker asks
//! whether that author may start it now. A start that somebody asks for at the moment carries none: it was judged when it was asked for.

use crate::{RunView, StepError};
use serde_json::Value;

/// The option that says who asked for a start that is done later.
pub const AUTHOR: &str = "author";

/// Judges starts that were asked for before their time.
#[async_trait::async_trait]
pub trait Admission: Send + Sync {
    /// Called before the first step, possibly several times.
    ///
    /// # Errors
    /// A temporary one is tried again with back-off; any other ends the run as failed, with nothing done.
    async fn admit(&self, view: &RunView, options: &Value) -> Result<(), StepError>;
}

/// Whether the options are those of a start that has to be judged.
pub(crate) fn is_deferred(options: &Value) -> bool {
    options.get(AUTHOR).is_some_and(|author| !author.is_null())
}

/// The options once somebody has asked for the run to go on now.
pub fn asked_for_now(mut options: Value) -> Value {
    if let Some(fields) = options.as_object_mut() {
        fields.remove(AUTHOR);
    }
    options
}
