//! What is peculiar to a WordPress site: its configuration file, its maintenance mode, its address inside stored values.
//!
//! Pure functions over bytes, plus [`detect`], which reads through a `FileSource`. When they run is `application`'s business.

pub mod address;
pub mod config;
pub mod detect;
pub mod maintenance;
pub mod network;
pub mod rewriting;
pub mod serialized;

/// The configuration file, relative to the web root. Never copied as it is: the configuration step writes it.
pub const CONFIG: &str = "wp-config.php";
