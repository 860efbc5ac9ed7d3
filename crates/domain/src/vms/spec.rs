//! The definition of a virtual machine. A name alone is enough.

use super::image::{self, Image};
use crate::decode::{Fields, Problems};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest name, in characters.
const LONGEST_NAME: usize = 200;
/// Longest kernel command line that every architecture takes, in bytes.
const LONGEST_APPEND: usize = 2048;

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    pub name: String,
    pub vcpus: u32,
    pub memory_mib: u64,
    /// `None`: as large as the image; without one a small empty disk.
    pub disk_gib: Option<u64>,
    pub image: Option<Image>,
    /// Absolute paths on the node.
    pub kernel: Option<String>,
    pub initrd: Option<String>,
    /// The kernel's command line.
    pub append: Option<String>,
    /// Where it is to run; `None`: wherever the request arrived.
    pub node: Option<String>,
}

impl VmSpec {
    /// Reads it strictly: every bad, missing and unknown field is noted.
    pub fn decode(body: &Value, problems: &mut Problems) -> Option<Self> {
        let mut f = Fields::of("", body, problems)?;
        let spec = Self {
            name: name(&mut f, problems),
            vcpus: f.integer("vcpus", 1..=64, problems).unwrap_or(1) as u32,
            memory_mib: f.integer("memory_mib", 16..=1_048_576, problems).unwrap_or(512),
            disk_gib: f.integer("disk_gib", 1..=65_536, problems),
            image: image::read(&mut f, problems),
            kernel: path(&mut f, "kernel", problems),
            initrd: path(&mut f, "initrd", problems),
            append: f.text("append", problems),
            node: f.text("node", problems),
        };
        for (field, given) in [("initrd", f.has("initrd")), ("append", f.has("append"))] {
            if given && !f.has("kernel") {
                problems.note(field, "needs a kernel beside it");
            }
        }
        if spec.append.as_ref().is_some_and(|a| a.len() > LONGEST_APPEND || a.chars().any(char::is_control)) {
            problems.note("append", format!("must be at most {LONGEST_APPEND} bytes without control characters"));
        }
        f.done(problems);
        Some(spec)
    }

    /// Whether there is anything in it that could listen to the power button: without image and kernel it is firmware and an empty disk.
    pub fn has_system(&self) -> bool {
        self.image.is_some() || self.kernel.is_some()
    }
}

fn name(f: &mut Fields<'_>, problems: &mut Problems) -> String {
    let name = f.required_text("name", problems);
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        problems.note("name", format!("must be at most {LONGEST_NAME} characters without control characters"));
    }
    name
}

fn path(f: &mut Fields<'_>, field: &'static str, problems: &mut Problems) -> Option<String> {
    let path = f.text(field, problems)?;
    if !is_path(&path) {
        problems.note(field, "must be an absolute path without '..'");
    }
    Some(path)
}

/// Absolute and without a way back up.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.split('/').any(|part| part == "..") && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vms::{ImageFormat, ImagePlace};
    use serde_json::json;

    fn fields(body: &Value) -> Vec<String> {
        let mut problems = Problems::default();
        VmSpec::decode(body, &mut problems);
        problems.0.into_iter().map(|p| p.field).collect()
    }

    #[test]
    fn a_name_is_enough() {
        let mut problems = Problems::default();
        let spec = VmSpec::decode(&json!({"name": "vm1"}), &mut problems).unwrap();
        assert!(problems.is_empty());
        assert_eq!((spec.name.as_str(), spec.vcpus, spec.memory_mib, spec.disk_gib, spec.has_system()), ("vm1", 1, 512, None, false));
        let stored: VmSpec = serde_json::from_value(serde_json::to_value(&spec).unwrap()).unwrap();
        assert_eq!(stored, spec);
    }

    #[test]
    fn images_are_files_or_fetched_with_a_hash() {
        let mut problems = Problems::default();
        let mut read = |image: Value| VmSpec::decode(&json!({"name": "n", "image": image}), &mut problems).unwrap().image.unwrap();
        let path = |p: &str| ImagePlace::Path { path: p.to_owned() };
        assert_eq!(read(json!("/srv/a.qcow2")), Image { place: path("/srv/a.qcow2"), format: ImageFormat::Qcow2 });
        assert_eq!(read(json!({"path": "/srv/a.img"})), Image { place: path("/srv/a.img"), format: ImageFormat::Raw });
        assert_eq!(read(json!({"path": "/srv/a", "format": "qcow2"})).format, ImageFormat::Qcow2);
        let hash = "AB".repeat(32);
        let fetched = read(json!({"url": "https://example.com/a.qcow2?x=1", "sha256": hash}));
        let place = ImagePlace::Url { url: "https://example.com/a.qcow2?x=1".to_owned(), sha256: "ab".repeat(32) };
        assert_eq!(fetched, Image { place, format: ImageFormat::Qcow2 });
        let stored: Image = serde_json::from_value(serde_json::to_value(&fetched).unwrap()).unwrap();
        assert_eq!(stored, fetched);
        assert!(problems.is_empty(), "{:?}", problems.0);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let rows: [(Value, &[&str]); 12] = [
            (json!([]), &["body"]),
            (json!({}), &["name"]),
            (json!({"name": " "}), &["name"]),
            (json!({"name": "a\nb", "vcpus": 0, "memory_mib": 1, "disk_gib": 0}), &["vcpus", "memory_mib", "disk_gib", "name"]),
            (json!({"name": "n", "vcpus": "2", "memory": 5}), &["vcpus", "memory"]),
            (json!({"name": "n", "image": "a.qcow2"}), &["image"]),
            (json!({"name": "n", "image": 5}), &["image"]),
            (json!({"name": "n", "image": {}}), &["image"]),
            (json!({"name": "n", "image": {"url": "ftp://x", "sha256": "zz", "size": 1}}), &["image.size", "image.url", "image.sha256"]),
            (json!({"name": "n", "image": {"url": "https://x"}}), &["image.sha256"]),
            (json!({"name": "n", "image": {"path": "/a/../b", "sha256": "x"}}), &["image.sha256", "image.path"]),
            (json!({"name": "n", "kernel": "vmlinuz", "initrd": "/i"}), &["kernel"]),
        ];
        for (body, wanted) in rows {
            let (mut found, mut wanted) = (fields(&body), wanted.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{body}");
        }
        assert_eq!(fields(&json!({"name": "n", "initrd": "/i", "append": "quiet"})), ["initrd", "append"]);
    }
}
