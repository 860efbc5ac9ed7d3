//! What tests share: the addresses of the real servers of the rig, and the suites that every journal and every plan passes.

pub mod clouds_suite;
pub mod drive_suite;
pub mod hook;
pub mod journal_suite;
pub mod leftovers;
pub mod memory_database;
pub mod memory_files;
pub mod memory_ledger;
pub mod memory_observer;
pub mod memory_vms;
pub mod plan_suite;
pub mod product_database;
pub mod records_suite;
pub mod rig;
pub mod scripted;
pub mod vms_suite;
