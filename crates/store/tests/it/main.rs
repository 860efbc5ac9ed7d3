//! Both stores against the suites, and what is peculiar to each.

mod postgres;
mod sqlite;
