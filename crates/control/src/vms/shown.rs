//! Machines, tasks and snapshots as callers see them.

use super::stored::Stored;
use super::tasks::{self, Task};
use crate::{Error, time};
use domain::vms::{Image, ImagePlace};
use ports::records::Record;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A virtual machine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Vm {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "vm1")]
    pub name: String,
    /// `created`, `starting`, `running`, `stopping`, `stopped`, `failed` or `migrating`.
    #[schema(example = "running")]
    pub status: &'static str,
    /// A paused machine is `running`, but stands still.
    pub paused: bool,
    /// Where it runs.
    pub node: String,
    #[schema(example = 1)]
    pub vcpus: u32,
    #[schema(example = 512)]
    pub memory_mib: u64,
    /// `null`: as large as its image, or a small empty disk.
    pub disk_gib: Option<u64>,
    pub image: Option<VmImage>,
    pub kernel: Option<String>,
    pub initrd: Option<String>,
    pub append: Option<String>,
    /// What runs its instructions while it is running: `kvm` (the processor) or `tcg` (a program).
    pub accelerator: Option<String>,
    /// Why it is `tcg`.
    pub accelerator_reason: Option<String>,
    /// What keeps it from taking more than its share of the node, or why nothing does.
    pub limits: Option<String>,
    /// Why it is not running (any more).
    pub reason: Option<String>,
    /// The operation at work on it.
    pub task_id: Option<String>,
    /// The migration that has its disk: until it has ended well or is rolled back, the machine is `migrating`.
    pub migration_id: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub updated_at: String,
    /// Raised by every change.
    pub version: u64,
}

/// The disk that it began with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmImage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The disk came with this migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration_id: Option<String>,
    #[schema(example = "qcow2")]
    pub format: &'static str,
}

/// A machine and everything of it is gone.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmDeleted {
    pub id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
}

/// An operation on a virtual machine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmTask {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    pub vm_id: String,
    /// `start`, `stop`, `force_stop`, `reboot`, `pause`, `resume`, `create_snapshot`, `restore_snapshot`, `delete_snapshot` or `delete`.
    #[schema(example = "start")]
    pub operation: &'static str,
    /// `waiting` (taken, or at work), `completed` or `failed`.
    #[schema(example = "completed")]
    pub status: String,
    /// The snapshot that it is about.
    pub snapshot: Option<String>,
    pub error: Option<VmTaskError>,
    pub created_at: String,
    pub ended_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VmTaskError {
    pub message: String,
    /// Whether the same may succeed later without anybody changing anything.
    pub retryable: bool,
}

/// A moment of a machine to come back to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VmSnapshot {
    #[schema(example = "before-upgrade")]
    pub name: String,
    pub vm_id: String,
    /// Whether it holds the memory of the running machine beside its disk.
    pub memory: bool,
    pub created_at: String,
}

impl Stored {
    pub(super) fn view(&self) -> Vm {
        let (body, spec) = (&self.body, &self.body.spec);
        let running = body.running.as_ref();
        Vm {
            id: self.record.id.clone(),
            name: spec.name.clone(),
            status: self.status.word(),
            paused: body.paused,
            node: body.node.clone(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            disk_gib: spec.disk_gib,
            image: spec.image.as_ref().map(image),
            kernel: spec.kernel.clone(),
            initrd: spec.initrd.clone(),
            append: spec.append.clone(),
            accelerator: running.map(|r| r.accelerator.clone()),
            accelerator_reason: running.and_then(|r| r.accelerator_reason.clone()),
            limits: running.map(|r| r.limits.clone()),
            reason: body.reason.clone(),
            task_id: body.task.clone(),
            migration_id: body.held.as_ref().map(|held| held.run.clone()),
            created_at: time::text(self.record.created_at),
            started_at: time::maybe(body.started_at),
            updated_at: time::text(self.record.updated_at),
            version: self.record.version,
        }
    }
}

fn image(image: &Image) -> VmImage {
    let format = image.format.word();
    match &image.place {
        ImagePlace::Path { path } => VmImage { path: Some(path.clone()), url: None, sha256: None, migration_id: None, format },
        ImagePlace::Url { url, sha256 } => VmImage { path: None, url: Some(url.clone()), sha256: Some(sha256.clone()), migration_id: None, format },
        ImagePlace::Moved { migration } => VmImage { path: None, url: None, sha256: None, migration_id: Some(migration.clone()), format },
    }
}

impl Task {
    pub(super) fn view(&self) -> VmTask {
        VmTask {
            id: self.record.id.clone(),
            vm_id: self.machine().to_owned(),
            operation: self.body.operation.word(),
            status: self.record.state.clone().unwrap_or_else(|| tasks::WAITING.to_owned()),
            snapshot: self.body.argument.snapshot.clone(),
            error: self.body.error.as_ref().map(|e| VmTaskError { message: e.message.clone(), retryable: e.retryable }),
            created_at: time::text(self.record.created_at),
            ended_at: time::maybe(self.body.ended_at),
        }
    }
}

/// A snapshot's record: its id is made of the machine's and its name.
pub(super) fn snapshot(record: &Record) -> Result<VmSnapshot, Error> {
    let text = |field: &str| record.body[field].as_str().map(str::to_owned);
    let name = text("name").ok_or_else(|| Error::internal(format!("snapshot {} cannot be read", record.id)))?;
    Ok(VmSnapshot {
        name,
        vm_id: record.parent.clone().unwrap_or_default(),
        memory: record.body["memory"].as_bool().unwrap_or(false),
        created_at: time::text(record.created_at),
    })
}
