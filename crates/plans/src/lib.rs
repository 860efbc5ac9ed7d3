//! Plans: what a migration of one kind consists of, as steps for the engine; and what the rest of the product asks about it.
//!
//! ```text
//! engine (steps, ledgers, memos) ◄── application/*, workload/*, disks/* ──► movers (files, databases) ──► ports
//!                                        │
//!                                        └── wordpress/* (pure), backups, report
//! ```
//! Which connectors exist is unknown here: they come in through [`Settings`].

mod adapters;
pub mod application;
pub mod backups;
mod config_place;
mod disks;
mod late_backup;
pub mod place_history;
mod refusals;
pub mod report;
mod room;
mod site;
mod survey;
mod uploads;
mod uploads_place;
pub mod validation;
pub mod wordpress;
mod workload;

pub use disks::Machines;
pub use site::{Site, WordPress};
pub use survey::{DryRun, survey, survey_disk, survey_workload};

use std::path::PathBuf;
use std::sync::Arc;

/// The kind of run that moves a site or a store: `application` in the journal.
pub const APPLICATION: &str = "application";

/// The kind of run that moves a server's mount points.
pub const WORKLOAD: &str = "workload";

/// The word of runs that move the disk of a virtual machine.
const DISK: &str = "disk";

/// What a warm migration of a workload waits for.
pub const CUTOVER: &str = "cutover";

/// What every plan needs from the process it runs in.
#[derive(Clone)]
pub struct Settings {
    pub connectors: Arc<dyn ports::Connectors>,
    /// Each backup is a directory below it.
    pub backups_dir: PathBuf,
    /// Scratch space of the worker; nothing in it outlives a migration.
    pub work_dir: PathBuf,
    /// Where this process moves disks of virtual machines; `None`: it does not.
    pub machines: Option<Machines>,
    /// What makes disk images on this machine; `None`: nothing does.
    pub images: Option<Arc<dyn ports::images::DiskImages>>,
}

/// The kind of run that moves the disk of a virtual machine, for the node that has the disk: no other claims it.
pub fn disk_kind(node: &str) -> String {
    format!("{DISK}@{node}")
}

/// The kind of run that moves a server's mount points into an image on that node: no other claims it.
pub fn image_kind(node: &str) -> String {
    format!("{WORKLOAD}@{node}")
}

/// A kind of run as callers see it.
pub fn shown_kind(kind: &str) -> &str {
    kind.split_once('@').map_or(kind, |(word, _)| word)
}

/// Names of the steps of a plan of this kind with so many steps, in order. `None`: not the same for all of them.
pub fn step_names(kind: &str, steps: usize) -> Option<&'static [&'static str]> {
    let names: &[&str] = match shown_kind(kind) {
        APPLICATION => &["validate", "backup", "prepare", "database", "files", "configuration", "verify", "finish"],
        WORKLOAD => &["validate", "backup", "replicate", "cutover", "verify", "finish"],
        _ => return None,
    };
    (names.len() == steps).then_some(names)
}

/// The kinds of run that this crate knows, for the engine. Where backups cannot be kept there is no node: a worker leaves what has a backup to others, and
/// [`backups::node_of`] says why.
pub fn registry(settings: Settings) -> engine::PlanRegistry {
    let plans = engine::PlanRegistry::default()
        .on_node(backups::node_of(&settings).ok())
        .with(APPLICATION, Arc::new(application::Builder::new(settings.clone())))
        .with(WORKLOAD, Arc::new(workload::Builder::new(settings.clone())));
    match settings.machines.clone() {
        Some(machines) => plans
            .with(&image_kind(&machines.holds.node()), Arc::new(workload::Builder::new(settings.clone())))
            .with(&disk_kind(&machines.holds.node()), Arc::new(disks::Builder::new(settings, machines))),
        None => plans,
    }
}

/// A stored document that no plan can be made from.
fn unreadable(problems: domain::decode::Problems) -> engine::EngineError {
    let list: Vec<String> = problems.0.into_iter().map(|p| format!("{} {}", p.field, p.message)).collect();
    engine::EngineError::Invalid(format!("the migration's document is not valid: {}", list.join("; ")))
}
