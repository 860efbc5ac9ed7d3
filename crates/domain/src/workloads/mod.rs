//! Workloads: servers with mount points, and where they shall live. The words are document 0's.
//!
//! ```text
//! WorkloadSpec ── source: Workload ── address, login, mount points
//!              ├─ selected: which of its mount points move, and into which directory of the target
//!              └─ target: Target ── cloud, target_vm: Workload; or an image to be made
//! ```

mod address;
mod cloud;
mod image;
mod mount_point;
mod selected;
mod spec;
mod target;
mod workload;

pub use address::Address;
pub use cloud::{AwsAt, CloudAccess, CloudAt, CloudType, VsphereAt};
pub use image::NewImage;
pub use mount_point::{DRIVE_ROOT, MountPoint, below, check_drive_root, directory, is_drive, key as mount_point_key, overlap, parents};
pub use selected::Selected;
pub use spec::{Mode, WorkloadSpec, is_workload_migration};
pub use target::{Target, TargetVm};
pub use workload::{Credentials, Ssh, Workload};
