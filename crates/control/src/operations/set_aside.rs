//! What a server cannot carry on, and leaves to others.

use crate::error::Kind;
use crate::{Control, Error};

impl Control {
    /// After an error of something that is due: a store that does not answer is waited for, anything else is set aside for this node, so that it neither
    /// spins nor keeps others from it.
    pub(crate) async fn pass_over(&self, kind: &str, tenant: &str, id: &str, error: Error) {
        if error.kind == Kind::Unavailable {
            tracing::warn!(kind, id, %error, private = error.private, "it could not be carried on; tried again soon");
            return;
        }
        if let Err(lost) = self.records().set_aside(kind, tenant, id, &error.for_log()).await {
            tracing::warn!(kind, id, %error, %lost, "it could not be carried on, nor set aside; tried again soon");
        }
    }
}
