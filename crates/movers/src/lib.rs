//! The algorithms that move things over the doors in `ports`: they know no foreign system, no engine and no store.

pub mod databases;
pub mod files;
