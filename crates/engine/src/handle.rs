//! SKETCH of the public surface (signatures stay):
//!
//! ```ignore
//! #[derive(Clone)] pub struct Engine { .. }
//! impl Engine {
//!     pub fn new(journal: Arc<dyn Journal>, plans: PlanRegistry) -> Self;
//!     pub async fn create(&self, run: NewRun) -> Result<RunView, EngineError>;
//!     pub async fn start(&self, tenant: &str, id: &str, options: Value) -> Result<RunView, EngineError>;
//!     pub async fn pause(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;
//!     pub async fn resume(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;   // also retries a failed run
//!     pub async fn cancel(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;
//!     pub async fn rollback(&self, tenant: &str, id: &str, options: Value) -> Result<RunView, EngineError>;
//!     pub async fn resolve(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;  // stuck → rolling back again
//!     pub async fn delete(&self, tenant: &str, id: &str) -> Result<(), EngineError>;        // not while active
//!     pub async fn get(&self, tenant: &str, id: &str) -> Result<RunView, EngineError>;
//!     pub async fn input(&self, tenant: &str, id: &str) -> Result<Value, EngineError>;
//!     pub async fn list(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunView>, EngineError>;
//!     pub async fn count(&self, tenant: &str, filter: &RunFilter) -> Result<u64, EngineError>;
//!     pub async fn events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<Vec<Event>, EngineError>;
//!         // EventFilter { after: u64, kinds: Vec<String>, min_level / level, since: Option<Timestamp>, newest_first: bool, limit: u32 } ; plus count_events
//!     pub async fn wait_event(&self, tenant: &str, id: &str, after: u64, at_most: Duration) -> Result<Vec<Event>, EngineError>; // long poll
//!     pub async fn ledger(&self, tenant: &str, id: &str, name: &str) -> … read-only chunk listing (for reports)
//! }
//! ```
