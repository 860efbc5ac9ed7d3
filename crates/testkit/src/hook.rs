//! What a test does between two calls of a system in memory: it may change things, fail the call, or never let it return.

use ports::Result;

/// A call that is about to happen.
pub struct Call<'a> {
    /// The system's name, as the test gave it.
    pub system: &'a str,
    /// `open`, `put`, `replace`, …
    pub operation: &'a str,
    /// A path or a table; may be empty.
    pub subject: &'a str,
}

/// See the module's comment.
#[async_trait::async_trait]
pub trait Hook: Send + Sync {
    /// Runs before the call takes effect. An error is the call's answer, and then it has none.
    async fn before(&self, call: &Call<'_>) -> Result<()>;
}
