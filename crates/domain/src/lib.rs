//! The nouns of the product: what may be said about a migration, with no idea how it is done.
//!
//! No tokio, no database, no HTTP here. `decode` turns a JSON document into a [`spec::MigrationSpec`] and names every bad
//! field at once; `spec` holds the result; `units` prints sizes, rates and durations the way the API documents them;
//! `secret` keeps passwords out of every text.

pub mod decode;
pub mod dotted;
pub mod secret;
pub mod spec;
mod unique_keys;
pub mod units;
pub mod vms;
pub mod workloads;

pub use secret::Secret;
pub use unique_keys::UniqueKeys;
