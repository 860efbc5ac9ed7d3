//! The binary as its users have it: what it prints, and the exit codes it gives.

mod canned;
mod configuration;
mod documents;
mod embedded;
mod exits;
mod help;
mod interrupted;
mod presets;
mod program;
