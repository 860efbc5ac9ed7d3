//! The doors of the house: narrow traits between the movers and the foreign systems.
//!
//! A connector implements a few verbs and promises exactly what their comments say. It never retries, sleeps, throttles or
//! logs progress: wrappers and movers do. What only some can do is a separate small trait, offered by an accessor that
//! gives `Option`.

pub mod check;
pub mod clouds;
pub mod connect;
pub mod courier;
pub mod databases;
pub mod disks;
pub mod error;
pub mod files;
pub mod hosts;
pub mod images;
pub mod ledger;
pub mod observe;
pub mod place;
pub mod records;
pub mod vms;

pub use check::{Check, CheckOutcome, Examine, Finding, Role};
pub use connect::Connectors;
pub use courier::Courier;
pub use error::{ConnectorError, ErrorKind};
pub use hosts::Host;
pub use ledger::Ledger;
pub use observe::Observer;

/// What every door answers.
pub type Result<T, E = ConnectorError> = std::result::Result<T, E>;
