//! What all steps of one migration share: the specification, the doors, and where the migration's files lie beside the machine's disk.

use super::Machines;
use super::look::Disk;
use super::picked::picked;
use crate::Settings;
use crate::adapters::{RunLedger, StepResult, failed, step_error};
use crate::application::recall;
use domain::spec::{FilesAt, MachineAt, MigrationSpec, NewMachine, SourceMachine, description_of};
use domain::vms::VmSpec;
use engine::StepContext;
use movers::files::{FileOptions, FilesMover};
use ports::files::{FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// How many times a call is tried in all before a temporary error is final.
const RETRIES: u32 = 5;

pub struct Job {
    pub settings: Settings,
    pub machines: Machines,
    pub spec: MigrationSpec,
    outside: OnceCell<Arc<dyn FileTarget>>,
}

/// Which way the disk goes.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    Out(&'a SourceMachine),
    In(&'a NewMachine),
}

/// Keys of the run's notes.
pub mod notes {
    /// The id of the machine that is made.
    pub const MACHINE: &str = "disk.machine";
    pub const ROOT_ABSENT: &str = "disk.root_absent";
    pub const FILES_PLAN: &str = "plan.files";
}

impl Job {
    pub fn new(settings: Settings, machines: Machines, spec: MigrationSpec) -> Self {
        Self { settings, machines, spec, outside: OnceCell::new() }
    }

    pub fn way(&self) -> Result<Way<'_>> {
        match self.spec.machine() {
            Some(MachineAt::Source(machine)) => Ok(Way::Out(machine)),
            Some(MachineAt::New(machine)) => Ok(Way::In(machine)),
            None => Err(ConnectorError::new(ErrorKind::Internal, "plan", &self.spec.name, "no side of the migration is a virtual machine")),
        }
    }

    /// The bucket, directory or server, opened on first use.
    pub async fn outside(&self) -> Result<&Arc<dyn FileTarget>> {
        let open = || async {
            let at = self.spec.source.files.as_ref().or(self.spec.destination.files.as_ref());
            let at = at.ok_or_else(|| ConnectorError::new(ErrorKind::Internal, "open", &self.spec.name, "no side of the migration has files"))?;
            self.settings.connectors.files(at, self.spec.transfer.parallel_transfers).await
        };
        self.outside.get_or_try_init(open).await
    }

    /// The machine: the source, or the one that is made. `None` before it is known.
    pub async fn machine(&self, cx: &StepContext) -> StepResult<Option<String>> {
        match self.way().map_err(step_error)? {
            Way::Out(machine) => Ok(Some(machine.id.clone())),
            Way::In(_) => recall(cx, notes::MACHINE).await,
        }
    }

    pub async fn known_machine(&self, cx: &StepContext) -> StepResult<String> {
        self.machine(cx).await?.ok_or_else(|| failed(ErrorKind::Internal, "The machine of this migration was never made", ""))
    }

    /// A directory of the machine as files.
    pub async fn local(&self, directory: &Path) -> Result<Arc<dyn FileTarget>> {
        let at = FilesAt::Local { root: directory.to_string_lossy().into_owned() };
        self.settings.connectors.files(&at, self.spec.transfer.parallel_transfers).await
    }

    /// From here to there, only what belongs to the disk.
    pub async fn mover(&self, cx: &StepContext) -> StepResult<FilesMover> {
        let disk = disk(cx)?;
        let directory = self.machines.disks.staging(&self.known_machine(cx).await?, cx.run_id()).await.map_err(step_error)?;
        let (inside, outside) = (self.local(&directory).await.map_err(step_error)?, self.outside().await.map_err(step_error)?.clone());
        let path = |name: &str| FilePath::from(name);
        let (from, to) = match self.way().map_err(step_error)? {
            Way::Out(_) => {
                let names = [disk.image.clone(), description_of(&disk.image)];
                (picked(inside, names.iter().map(|name| (path(name), path(name)))), outside)
            }
            Way::In(_) => (picked(outside, [(path(&disk.image), path(disk.staged()))]), inside),
        };
        Ok(FilesMover::new(from, to, self.options(cx)))
    }

    /// A mover for taking back what was written outside: it never looks at the source, so the destination stands in for it.
    pub async fn undoer(&self, cx: &StepContext) -> StepResult<FilesMover> {
        let outside = self.outside().await.map_err(step_error)?;
        Ok(FilesMover::new(outside.clone(), outside.clone(), self.options(cx)))
    }

    fn options(&self, cx: &StepContext) -> FileOptions {
        let transfer = &self.spec.transfer;
        FileOptions {
            parallel: transfer.parallel_transfers,
            chunk_size: transfer.chunk_size,
            staging: cx.run_id().to_owned(),
            retries: RETRIES,
            ..FileOptions::default()
        }
    }
}

/// What the first step found.
pub fn disk(cx: &StepContext) -> StepResult<Disk> {
    let stored = cx.output_of("validate").unwrap_or_default()["disk"].clone();
    serde_json::from_value(stored).map_err(|e| failed(ErrorKind::Internal, format!("What the first step found cannot be read: {e}"), ""))
}

pub fn ledger(cx: &StepContext) -> RunLedger {
    RunLedger::new(cx.ledger("files"))
}

/// The definition of the machine that is made.
pub fn made_of(new: &NewMachine, described: Option<VmSpec>, size: u64) -> VmSpec {
    let described = described.unwrap_or(VmSpec {
        name: String::new(),
        vcpus: 1,
        memory_mib: 512,
        disk_gib: None,
        image: None,
        kernel: None,
        initrd: None,
        append: None,
        node: None,
    });
    // What belongs to another kernel does not belong to this one.
    let (initrd, append) = match &new.kernel {
        Some(_) => (new.initrd.clone(), new.append.clone()),
        None => (described.initrd.clone(), described.append.clone()),
    };
    VmSpec {
        name: new.name.clone(),
        vcpus: new.vcpus.unwrap_or(described.vcpus),
        memory_mib: new.memory_mib.unwrap_or(described.memory_mib),
        disk_gib: Some(size.div_ceil(1 << 30).max(1)),
        kernel: new.kernel.clone().or(described.kernel),
        initrd,
        append,
        ..described
    }
}
