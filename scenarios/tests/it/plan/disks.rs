//! The plans for disks of virtual machines in both suites: real disks and the node's real tools, no guest.

use super::{Connectors, write};
use connectors_hosts::Qemu;
use control::vms::Setup;
use domain::decode::Problems;
use domain::vms::VmSpec;
use futures::FutureExt;
use ports::disks::VmHolds;
use ports::records::{RecordFilter, Records};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use testkit::plan_suite::{self, Case};

/// The tenant of the suites.
const TENANT: &str = "suite";
const MACHINE: &str = "aa";

fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn make_image(raw: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
    tool("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", raw.to_str().expect("text"), to.to_str().expect("text")]);
    std::fs::remove_file(raw).expect("no longer needed");
}

/// Machines below `dir`, their records, and a place outside.
struct World {
    dir: PathBuf,
    records: Arc<dyn Records>,
    settings: plans::Settings,
}

impl World {
    async fn new(dir: &Path) -> Self {
        let records = store::open("sqlite:", &dir.join("records")).await.expect("a store");
        let host = Arc::new(Qemu::new(dir.join("vms"), Vec::new(), None));
        let setup = Setup { host: Some(host.clone()), disks: Some(host), node: "suite".to_owned(), image_roots: Vec::new() };
        let machines = setup.machines(records.clone());
        let settings =
            plans::Settings { connectors: Arc::new(Connectors), backups_dir: dir.join("backups"), work_dir: dir.join("work"), machines, images: None };
        for place in ["outside", "vms"] {
            std::fs::create_dir_all(dir.join(place)).expect("a directory");
        }
        Self { dir: dir.to_owned(), records, settings }
    }

    fn holds(&self) -> &dyn VmHolds {
        self.settings.machines.as_ref().expect("machines").holds.as_ref()
    }

    /// A machine that is off, with a little on its disk.
    async fn machine(&self) {
        let spec = VmSpec::decode(&json!({"name": "web 1", "vcpus": 2, "memory_mib": 64}), &mut Problems::default()).expect("a definition");
        self.holds().make(TENANT, MACHINE, "seed", &spec).await.expect("made");
        self.holds().release(TENANT, MACHINE, "seed").await.expect("free");
        let raw = self.dir.join("raw");
        write(&raw, &"content ".repeat(1 << 15));
        make_image(&raw, &self.dir.join("vms").join(MACHINE).join("disk.qcow2"));
    }

    /// An image outside, with a description as the plan writes it.
    fn described(&self) {
        let (raw, image) = (self.dir.join("raw"), self.dir.join("outside/old.qcow2"));
        write(&raw, &"moved ".repeat(1 << 15));
        make_image(&raw, &image);
        let sha256 = tool("sha256sum", &[image.to_str().expect("text")])[..64].to_owned();
        let description = json!({"form": "migration-assistant-vm-1", "migration_id": "m", "vm_id": "v", "name": "old", "vcpus": 3, "memory_mib": 96,
            "kernel": null, "initrd": null, "append": null,
            "image": {"file": "old.qcow2", "format": "qcow2", "bytes": std::fs::metadata(&image).expect("a file").len(), "size": 196_608, "sha256": sha256}});
        write(&self.dir.join("outside/old.qcow2.json"), &description.to_string());
    }

    /// Files outside, machines and their disks; ids of machines that a plan has made differ and count as one.
    async fn state(&self) -> String {
        let machines = self.records.list(TENANT, "vm", &RecordFilter::default()).await.expect("machines");
        let mut out = super::fingerprint::tree(&self.dir.join("outside"), &[]) + &super::fingerprint::tree(&self.dir.join("vms"), &[]);
        for vm in &machines {
            writeln!(out, "{} {:?} {}", vm.id, vm.state, vm.body).expect("text");
        }
        machines.iter().filter(|vm| vm.id != MACHINE).fold(out, |text, vm| text.replace(&vm.id, "NEW"))
    }

    fn document(&self, source: Value, destination: Value) -> Value {
        let mut body = json!({"name": "Disk", "source": {"type": "static", "paths": {"web_root": self.dir.join("outside")}}});
        body["destination"] = body["source"].clone();
        for (side, given) in [("source", source), ("destination", destination)] {
            if !given.is_null() {
                body[side] = given;
            }
        }
        body
    }
}

async fn case(leaves: bool) -> Case {
    let dir = tempfile::tempdir().expect("a directory");
    let world = World::new(dir.path()).await;
    let input = if leaves {
        world.machine().await;
        world.document(json!({"type": "vm", "vm": MACHINE}), Value::Null)
    } else {
        world.described();
        world.document(Value::Null, json!({"type": "vm", "name": "restored", "memory_mib": 80}))
    };
    let (kind, registry) = (plans::disk_kind("suite"), plans::registry(world.settings.clone()));
    let world = Arc::new(world);
    let fingerprint = Arc::new(move || {
        let world = world.clone();
        async move { world.state().await }.boxed()
    });
    Case { kind, registry, input, options: json!({}), rollback_options: Value::Null, fingerprint, keep: Box::new(dir) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_leaves_passes_both_suites() {
    plan_suite::run(|| case(true).boxed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_arrives_passes_both_suites() {
    plan_suite::run(|| case(false).boxed()).await;
}
