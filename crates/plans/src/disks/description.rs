//! What stands beside a machine's image, so that the machine can be made again from both.

use domain::decode::Problems;
use domain::vms::{ImageFormat, VmSpec};
use ports::disks::DiskFile;
use ports::{ConnectorError, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The only form so far.
const FORM: &str = "migration-assistant-vm-1";
/// Larger than any description.
pub const LARGEST: u64 = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    form: String,
    /// The migration that wrote it.
    pub migration_id: String,
    pub vm_id: String,
    pub name: String,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub kernel: Option<String>,
    pub initrd: Option<String>,
    pub append: Option<String>,
    pub image: DescribedImage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedImage {
    /// The name of the file beside this one.
    pub file: String,
    pub format: ImageFormat,
    #[serde(flatten)]
    pub disk: DiskFile,
}

impl Description {
    pub fn new(migration: &str, vm: &str, spec: &VmSpec, file: &str, disk: DiskFile) -> Self {
        Self {
            form: FORM.to_owned(),
            migration_id: migration.to_owned(),
            vm_id: vm.to_owned(),
            name: spec.name.clone(),
            vcpus: spec.vcpus,
            memory_mib: spec.memory_mib,
            kernel: spec.kernel.clone(),
            initrd: spec.initrd.clone(),
            append: spec.append.clone(),
            image: DescribedImage { file: file.to_owned(), format: ImageFormat::Qcow2, disk },
        }
    }

    pub fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Reads one that anybody may have written.
    pub fn read(text: &[u8], at: &str) -> Result<Self> {
        let unusable = |why: String| {
            ConnectorError::new(ErrorKind::Invalid, "use the description", at, why)
                .advice("Name the image itself with destination.image, after moving this file away, or use the one that was written with the image")
        };
        let description: Self = serde_json::from_slice(text).map_err(|e| unusable(e.to_string()))?;
        if description.form != FORM {
            return Err(unusable(format!("its form is '{}', and this version knows '{FORM}'", description.form.escape_default())));
        }
        Ok(description)
    }

    /// The machine that it describes, held to the rules for every machine.
    pub fn machine(&self, at: &str) -> Result<VmSpec> {
        let mut problems = Problems::default();
        let mut body =
            json!({"name": self.name, "vcpus": self.vcpus, "memory_mib": self.memory_mib, "kernel": self.kernel, "initrd": self.initrd, "append": self.append});
        body.as_object_mut().into_iter().for_each(|fields| fields.retain(|_, value| !value.is_null()));
        match VmSpec::decode(&body, &mut problems) {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => {
                let list: Vec<String> = problems.0.into_iter().map(|p| format!("{} {}", p.field, p.message)).collect();
                Err(ConnectorError::new(ErrorKind::Invalid, "use the description", at, list.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_strange_is_refused() {
        let spec = VmSpec::decode(&json!({"name": "web", "vcpus": 2, "kernel": "/k"}), &mut Problems::default()).unwrap();
        let disk = DiskFile { bytes: 1, size: 2, sha256: "ab".to_owned() };
        let written = Description::new("run", "vm", &spec, "web.qcow2", disk);
        let read = Description::read(&written.text(), "s3://b/web.qcow2.json").unwrap();
        assert_eq!((&read, read.machine("x").unwrap()), (&written, spec));
        let other = Description { form: "else".to_owned(), ..written.clone() };
        assert!(Description::read(&other.text(), "x").unwrap_err().reason.contains("else"));
        assert!(Description::read(b"[]", "x").is_err());
        let greedy = Description { vcpus: 1000, ..written };
        assert!(greedy.machine("x").unwrap_err().reason.contains("vcpus"));
    }
}
