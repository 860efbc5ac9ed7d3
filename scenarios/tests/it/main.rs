//! The whole product against the rig's real servers: one module per story.

mod abuse;
mod api;
mod batches;
mod bucket;
mod canaries;
mod database_mover;
mod faults;
mod files_mover;
mod kill;
mod kill_proxy;
mod kill_s3;
mod notifications;
mod oauth;
mod plan;
mod product;
mod receiver;
mod tree;
mod validation;
mod vms;
mod website;
mod wordpress;
mod wordpress_network;
