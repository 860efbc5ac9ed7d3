//! The movers against doors in memory, where every call can be made to fail.

mod files;
