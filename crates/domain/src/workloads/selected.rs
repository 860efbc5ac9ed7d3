//! A mount point that moves, and where at the target its content goes.

use super::mount_point::{self, MountPoint};
use crate::decode::{Fields, Problems};
use serde_json::Value;

/// One of the source's mount points, selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    pub mount_point: MountPoint,
    /// An absolute path at the target VM; `None`: the mount point of the same name.
    pub target_directory: Option<String>,
}

impl Selected {
    /// Reads `{mount_point_name, total_size, target_directory?}`.
    fn read(f: &mut Fields<'_>, p: &mut Problems) -> Self {
        let mount_point = MountPoint::read(f, p);
        let target_directory = f.text("target_directory", p);
        if let Some(Err(why)) = target_directory.as_deref().map(mount_point::check_path) {
            p.note(f.path("target_directory"), why);
        }
        Self { mount_point, target_directory }
    }

    /// A list of them, each mount point once.
    pub fn read_list(values: &[Value], path: &str, p: &mut Problems) -> Vec<Self> {
        mount_point::read_each(values, path, p, Self::read, |s| &s.mount_point)
    }

    /// As the caller wrote it.
    pub fn name(&self) -> &str {
        &self.mount_point.mount_point_name
    }

    /// The directory at the target VM.
    pub fn target(&self) -> &str {
        self.target_directory.as_deref().unwrap_or(self.name())
    }

    /// Whether it goes elsewhere than to the mount point of its own name.
    pub fn moves_elsewhere(&self) -> bool {
        mount_point::key(self.target()) != self.mount_point.key()
    }
}
