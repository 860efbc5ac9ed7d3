//! A virtual machine as one side of a migration: its disk goes into one file of the other side, or comes out of one.

use super::database::Side;
use super::{MigrationSpec, System};
use crate::decode::{Fields, Problems};
use crate::vms::{ImageFormat, VmSpec};
use serde_json::{Map, Value};

/// Which machine.
#[derive(Debug, Clone)]
pub enum MachineAt {
    /// One that is there, and off: the source.
    Source(SourceMachine),
    /// One that the migration makes: the destination.
    New(Box<NewMachine>),
}

#[derive(Debug, Clone)]
pub struct SourceMachine {
    /// The machine's id.
    pub id: String,
    /// The file that is written, relative to the destination's root; `None`: called after the machine.
    pub image: Option<String>,
    pub compress: bool,
}

#[derive(Debug, Clone)]
pub struct NewMachine {
    pub name: String,
    /// The file that is read, relative to the source's root; `None`: the only one there with a description beside it.
    pub image: Option<String>,
    /// What the file is, when its name and its description do not tell.
    pub format: Option<ImageFormat>,
    /// In lower case.
    pub sha256: Option<String>,
    /// What is not given is taken from the description.
    pub vcpus: Option<u32>,
    pub memory_mib: Option<u64>,
    pub kernel: Option<String>,
    pub initrd: Option<String>,
    pub append: Option<String>,
}

/// What stands beside a machine's image: `<image>.json`.
pub fn description_of(image: &str) -> String {
    format!("{image}.json")
}

impl MachineAt {
    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Source(machine) => format!("vm://{}", machine.id),
            Self::New(machine) => format!("vm://{}", machine.name),
        }
    }
}

/// Reads the fields beside `type`.
pub(super) fn read(f: &mut Fields<'_>, side: Side, p: &mut Problems) -> MachineAt {
    if f.has("url") {
        p.note(f.path("url"), "has no meaning for a virtual machine");
    }
    let image = f.text("image", p);
    let may_be = if side == Side::Source { is_plain_name } else { is_name };
    if image.as_deref().is_some_and(|name| !may_be(name)) {
        p.note(f.path("image"), IMAGE_RULES);
    }
    match side {
        Side::Source => MachineAt::Source(SourceMachine { id: f.required_text("vm", p), image, compress: f.flag("compress", true, p) }),
        Side::Destination => MachineAt::New(Box::new(new_machine(f, image, p))),
    }
}

fn new_machine(f: &mut Fields<'_>, image: Option<String>, p: &mut Problems) -> NewMachine {
    let sha256 = f.text("sha256", p);
    if sha256.as_ref().is_some_and(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit())) {
        p.note(f.path("sha256"), "must be 64 hexadecimal digits");
    }
    for field in ["sha256", "format"] {
        if f.has(field) && image.is_none() {
            p.note(f.path(field), "needs the image that it is about beside it");
        }
    }
    let format = f.choice("format", &[("qcow2", ImageFormat::Qcow2), ("raw", ImageFormat::Raw)], p);
    let machine = decoded(f, p);
    NewMachine {
        name: machine.as_ref().map(|m| m.name.clone()).unwrap_or_default(),
        image,
        format,
        sha256: sha256.map(|s| s.to_ascii_lowercase()),
        vcpus: machine.as_ref().filter(|_| f.has("vcpus")).map(|m| m.vcpus),
        memory_mib: machine.as_ref().filter(|_| f.has("memory_mib")).map(|m| m.memory_mib),
        kernel: machine.as_ref().and_then(|m| m.kernel.clone()),
        initrd: machine.as_ref().and_then(|m| m.initrd.clone()),
        append: machine.and_then(|m| m.append),
    }
}

/// The fields that every definition of a machine has, held to the same rules.
fn decoded(f: &mut Fields<'_>, p: &mut Problems) -> Option<VmSpec> {
    let mut definition = Map::new();
    for field in ["name", "vcpus", "memory_mib", "kernel", "initrd", "append"] {
        if let Some(value) = f.value(field) {
            definition.insert(field.to_owned(), value.clone());
        }
    }
    let mut own = Problems::default();
    let machine = VmSpec::decode(&Value::Object(definition), &mut own);
    for problem in own.0 {
        p.note(f.path(&problem.field), problem.message);
    }
    machine
}

const IMAGE_RULES: &str = "must be the name of a file: at a source without '/' and a leading '.', at a destination below the other side's root, without '..'; \
    no control characters, at most 200 bytes, at a destination 900";

fn is_plain_name(name: &str) -> bool {
    is_name(name) && name.len() <= 200 && !name.contains('/') && !name.starts_with('.')
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 900 && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..") && !name.chars().any(char::is_control)
}

/// Rules for a migration with a machine in it.
pub(super) fn check(spec: &MigrationSpec, p: &mut Problems) {
    let (from, to) = (&spec.source, &spec.destination);
    for (this, other, side) in [(from, to, "destination"), (to, from, "source")] {
        if this.machine.is_some() && other.machine.is_none() && !is_plain_place(other) {
            p.note(
                format!("{side}.type"),
                format!("'{}' cannot stand beside a virtual machine: its disk is one file of a bucket, a directory or a server", other.kind.word()),
            );
        }
    }
    if from.machine.is_some() && to.machine.is_some() {
        p.note("destination.type", "a virtual machine's disk goes into a bucket, a directory or a server, and comes from there");
    }
    if spec.machine().is_none() {
        return;
    }
    if spec.transfer.delete_extraneous {
        p.note("transfer.options.delete_extraneous", "has no meaning for a virtual machine's disk: nothing else is touched");
    }
    if !spec.transfer.exclude.is_empty() {
        p.note("transfer.options.exclude", "has no meaning for a virtual machine's disk, which is one file");
    }
}

/// Files and nothing that would be asked for more.
fn is_plain_place(system: &System) -> bool {
    system.files.is_some() && system.database.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode(source: &Value, destination: &Value) -> Result<MigrationSpec, Vec<String>> {
        let body = json!({"name": "n", "source": source, "destination": destination});
        MigrationSpec::decode(&body).map_err(|problems| problems.0.into_iter().map(|p| p.field).collect())
    }

    #[test]
    fn a_disk_goes_into_a_bucket_and_comes_back() {
        let bucket = json!({"type": "aws-s3", "bucket": "disks"});
        let out = decode(&json!({"type": "vm", "vm": "abc"}), &bucket).unwrap();
        assert!(matches!(out.machine(), Some(MachineAt::Source(SourceMachine { id, image: None, compress: true })) if id == "abc"));
        let back = decode(&bucket, &json!({"type": "vm", "name": "new", "image": "a/b.qcow2", "sha256": "AB".repeat(32), "vcpus": 2})).unwrap();
        let Some(MachineAt::New(new)) = back.machine() else { panic!("a new machine") };
        assert_eq!((new.name.as_str(), new.vcpus, new.memory_mib), ("new", Some(2), None));
        assert_eq!((new.image.as_deref(), new.sha256.clone()), (Some("a/b.qcow2"), Some("ab".repeat(32))));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let bucket = json!({"type": "aws-s3", "bucket": "disks"});
        let vm = json!({"type": "vm", "vm": "abc"});
        let rows: [(Value, Value, &[&str]); 7] = [
            (json!({"type": "vm"}), bucket.clone(), &["source.vm"]),
            (
                json!({"type": "vm", "vm": "a", "image": "../x", "url": "https://x", "colour": 1}),
                bucket.clone(),
                &["source.url", "source.image", "source.colour"],
            ),
            (bucket.clone(), json!({"type": "vm", "vm": "a"}), &["destination.name", "destination.vm"]),
            (
                bucket,
                json!({"type": "vm", "name": "", "vcpus": 0, "sha256": "x", "kernel": "k"}),
                &["destination.sha256", "destination.sha256", "destination.vcpus", "destination.kernel", "destination.name"],
            ),
            (vm.clone(), json!({"type": "vm", "name": "n"}), &["destination.type"]),
            (vm.clone(), json!({"type": "mysql", "host": "h", "username": "u", "database": "d"}), &["destination.type"]),
            (vm, json!({"type": "static", "database": {"type": "sqlite", "database": "/a.db"}}), &["destination.type"]),
        ];
        for (source, destination, wanted) in rows {
            let (mut found, mut wanted) = (decode(&source, &destination).unwrap_err(), wanted.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{source} → {destination}");
        }
    }
}
