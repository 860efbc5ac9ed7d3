//! The database connectors against the rig's real servers: one shared suite, plugged in per engine.

mod mysql;
mod suite;
