//! What kind of store it is. Some keep objects as files in directories (SeaweedFS): they list in the order of a tree, and what a
//! tree cannot hold they silently store under another key. They are known by their `Server` header, or by a listing out of order.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Learned from the answers as they pass by; shared by the client and its owner.
#[derive(Debug, Default, Clone)]
pub(super) struct Manners {
    tree: Arc<AtomicBool>,
}

impl Manners {
    /// Whether keys are paths in a tree, as far as the answers so far have shown.
    pub(super) fn is_tree(&self) -> bool {
        self.tree.load(Ordering::Relaxed)
    }

    pub(super) fn learn_tree(&self) {
        self.tree.store(true, Ordering::Relaxed);
    }
}

impl Intercept for Manners {
    fn name(&self) -> &'static str {
        "Manners"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if !self.is_tree() && context.response().headers().get("server").is_some_and(|s| s.starts_with("SeaweedFS")) {
            self.learn_tree();
        }
        Ok(())
    }
}
