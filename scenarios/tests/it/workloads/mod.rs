//! Workloads on real servers: each has its own address, its own disks and its own root.

mod replication;
pub mod server;
