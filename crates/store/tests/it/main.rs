//! Both stores against the suites, and what is peculiar to each.

mod maintenance;
mod postgres;
mod sqlite;
mod walls;
