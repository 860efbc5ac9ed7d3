//! Virtual machines: definitions of a tenant, and what their nodes make of them.
//!
//! ```text
//! request ─► the machine's new status, a task, and a mark that its node has work: one transaction
//!                                              │ the server on that node takes what is marked
//!                                              ▼
//!           task ─► the host does it ─► what is seen then settles the status: one transaction
//! ```
//! One operation at a time is at work on a machine; only pulling the plug takes the place of another. A server that starts looks at every machine of
//! its node: tasks that were begun go on, machines that still run are watched again, those that died meanwhile say so.

mod asking;
mod console;
mod driver;
mod holds;
mod life;
mod over;
mod request;
mod room;
mod settle;
mod shown;
mod snapshots;
mod stored;
mod tasks;
mod work;

pub use asking::{Outcome, Patience};
pub use console::Console;
pub use holds::Holds;
pub use request::{SnapshotBody, StopBody, VmBody};
pub use shown::{Vm, VmDeleted, VmImage, VmSnapshot, VmTask, VmTaskError};

use ports::disks::VmDisks;
use ports::vms::VmHost;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What runs machines in this process.
#[derive(Clone, Default)]
pub struct Setup {
    /// `None`: this process runs none.
    pub host: Option<Arc<dyn VmHost>>,
    /// What turns their disks into files and back; `None`: disks are not moved here.
    pub disks: Option<Arc<dyn VmDisks>>,
    /// This node's name; empty: the machine's own.
    pub node: String,
    /// Directories below which images, kernels and initial ramdisks may lie.
    pub image_roots: Vec<PathBuf>,
}

impl Setup {
    /// The name of the node that this process is on.
    pub fn node_name(&self) -> String {
        if !self.node.is_empty() {
            return self.node.clone();
        }
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
    }

    /// What a migration of disks needs, where there is something that moves them.
    pub fn machines(&self, records: Arc<dyn ports::records::Records>) -> Option<plans::Machines> {
        let disks = self.disks.clone()?;
        Some(plans::Machines { holds: Arc::new(Holds::new(records, self.clone())), disks })
    }
}

/// What this process knows beside the records.
#[derive(Default)]
pub(crate) struct Vms {
    /// Rung when there is work for this node.
    bell: Notify,
    /// Rung when a task has ended.
    ended: Notify,
    /// Tasks that this process is at.
    begun: Mutex<HashSet<String>>,
    /// Who waits for the end of which machine's process.
    watches: Mutex<HashMap<String, AbortHandle>>,
}

impl Vms {
    /// Whether nobody was at this task; then the caller is.
    fn begin(&self, task: &str) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned())
    }

    fn end(&self, task: &str) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
        self.ended.notify_waiters();
    }

    /// A new watch takes the place of the one before.
    fn watch(&self, id: &str, watch: AbortHandle) {
        let before = self.watches.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), watch);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Nobody here is at anything any more.
    fn let_go(&self) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let all = std::mem::take(&mut *self.watches.lock().unwrap_or_else(PoisonError::into_inner));
        for watch in all.into_values() {
            watch.abort();
        }
    }

    fn unwatch(&self, id: &str) {
        if let Some(watch) = self.watches.lock().unwrap_or_else(PoisonError::into_inner).remove(id) {
            watch.abort();
        }
    }
}
