//! Workloads on real servers: each has its own address, its own disks and its own root.

mod clouds;
mod full;
mod image;
mod refusals;
mod rehearsal;
mod replication;
pub mod server;
