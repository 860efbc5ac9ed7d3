//! The database connectors against the rig's real servers: one shared suite, plugged in per engine.

mod moving;
mod mysql;
mod postgres;
mod sqlite;
mod suite;
