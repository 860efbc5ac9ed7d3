//! The HTTP interface in process: the real router and use cases on a journal in memory. The tests play the worker, so that
//! every moment of a migration can be looked at; nothing is moved here (other stories do that with the whole product).

mod analytics;
mod audit;
pub mod auth;
mod auth_access;
mod auth_code;
mod auth_forged;
mod auth_password;
mod bad_bodies;
mod batches;
pub mod bench;
mod clouds;
mod deferred;
mod document;
mod document3;
mod firings;
mod idempotency;
mod lifecycle;
mod limits;
mod lists;
mod notifications;
mod openapi;
mod operations;
mod presets;
mod rehearsals;
mod requests;
mod resources;
mod schedules;
mod socket;
mod strict;
mod templates;
mod webhooks;
mod workloads;
