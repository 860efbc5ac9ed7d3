//! What a step sees while it runs: its input, earlier outputs, its ledgers and memos, the stop signal, and ways to tell.
//!
//! SKETCH of the public surface (the engine's builder completes it; the signatures stay):
//!
//! ```ignore
//! impl StepContext {
//!     pub fn run_id(&self) -> &str;
//!     pub fn tenant(&self) -> &str;
//!     pub fn step(&self) -> &str;
//!     pub fn attempt(&self) -> u32;                        // from 1
//!     pub fn input(&self) -> &Value;                       // the run's input, unsealed
//!     pub fn output_of(&self, step: &str) -> Option<Value>; // output of an earlier, done step
//!     pub fn options(&self) -> &Value;                     // options given with start / rollback
//!     pub fn stopping(&self) -> &CancellationToken;        // cancel, pause, lost lease, shutdown
//!     pub async fn remember(&self, key: &str, value: Option<Value>) -> Result<(), StepError>; // durable per run, fenced
//!     pub async fn recall(&self, key: &str) -> Result<Option<Value>, StepError>;
//!     pub fn ledger(&self, name: &str) -> Ledger;          // named chunk ledger of the run; cheap, cloneable, Send + Sync + 'static
//!     pub fn log(&self, level: Level, component: &str, message: String, details: Value); // never blocks; flushed with the next write
//!     pub fn operation(&self, operation: Value);           // current_operation
//!     pub fn meter(&self) -> Arc<Meter>;                   // live counters: bytes, items, retries (atomics)
//!     pub fn for_test(...)                                 // a context on an in-memory journal, for the suites
//! }
//! ```
