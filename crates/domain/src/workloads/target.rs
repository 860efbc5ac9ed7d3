//! Where a workload shall live: on a VM that is there, or in a disk image that is made for one.

use super::cloud::check_access_key;
use super::spec::{check_apart, nested};
use super::{CloudAccess, CloudAt, CloudType, Credentials, DRIVE_ROOT, NewImage, Selected, Workload, is_drive};
use crate::decode::{Fields, Problems};

/// See the module.
#[derive(Debug, Clone)]
pub enum Target {
    Vm(Box<TargetVm>),
    /// On the disk of the server that does the migration.
    Image(NewImage),
}

/// A VM that exists and lets us in.
#[derive(Debug, Clone)]
pub struct TargetVm {
    pub cloud_type: CloudType,
    pub cloud_credentials: Credentials,
    /// Where the cloud is asked about the VM.
    pub cloud: CloudAccess,
    pub vm: Workload,
}

impl TargetVm {
    /// The cloud that can be asked about the VM, or why none is.
    pub fn cloud_at(&self) -> Result<CloudAt, String> {
        self.cloud.at(self.cloud_type, &self.cloud_credentials)
    }
}

impl Target {
    pub fn vm(&self) -> Option<&TargetVm> {
        match self {
            Self::Vm(vm) => Some(vm.as_ref()),
            Self::Image(_) => None,
        }
    }

    pub fn image(&self) -> Option<&NewImage> {
        match self {
            Self::Vm(_) => None,
            Self::Image(image) => Some(image),
        }
    }

    /// What it is: the cloud's name, or `image`.
    pub fn word(&self) -> &'static str {
        self.vm().map_or("image", |vm| vm.cloud_type.word())
    }

    /// Where it is: the VM's address or the image's path.
    pub fn place(&self) -> &str {
        match self {
            Self::Vm(vm) => vm.vm.ip.as_str(),
            Self::Image(image) => &image.path,
        }
    }

    /// What people call it.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Vm(_) => "the target VM",
            Self::Image(_) => "the image",
        }
    }

    /// Reads `{cloud_type, cloud_credentials, cloud?, target_vm}` or `{image}`.
    pub(super) fn read(f: &mut Fields<'_>, selected: &[Selected], p: &mut Problems) -> Option<Self> {
        if !f.has("image") {
            return read_vm(f, p).map(|vm| Self::Vm(Box::new(vm)));
        }
        for field in ["cloud_type", "cloud_credentials", "cloud", "target_vm"] {
            if f.has(field) {
                f.value(field);
                p.note(f.path(field), "belongs to a target VM and cannot stand beside image: give one of them");
            }
        }
        nested(f, "image", p, |f, p| Some(NewImage::read(f, selected, p))).map(Self::Image)
    }
}

fn read_vm(f: &mut Fields<'_>, p: &mut Problems) -> Option<TargetVm> {
    if !f.has("cloud_type") {
        p.note(f.path("cloud_type"), "is required: aws, azure, vsphere or vcloud (unless the target is an image)");
    }
    let cloud_type = f.choice("cloud_type", &CloudType::ALL, p);
    let cloud_credentials = nested(f, "cloud_credentials", p, |c, p| Some(Credentials::read(c, false, p)));
    let asked = f.has("cloud");
    let cloud = CloudAccess::read(f.object("cloud", p), cloud_type, p);
    if let (Some(CloudType::Aws), Some(credentials), true) = (cloud_type, &cloud_credentials, asked) {
        check_access_key(&credentials.username, &f.path("cloud_credentials.username"), p);
    }
    let vm = nested(f, "target_vm", p, Workload::read);
    Some(TargetVm { cloud_type: cloud_type?, cloud_credentials: cloud_credentials?, cloud, vm: vm? })
}

/// In an image everything is one file system in the words of Unix.
pub(super) fn check_in_image(selected: &[Selected], source: &Workload, p: &mut Problems) {
    if source.is_windows() {
        p.note("migration_target.image", format!("{} is a Windows server; an image is made of the file systems of Unix only", source.ip));
        return;
    }
    for (i, one) in selected.iter().enumerate().filter(|(_, s)| is_drive(s.target())) {
        let why = format!("'{}' is a drive of Windows, which an image does not have", one.target());
        p.note(format!("selected_mount_points[{i}].target_directory"), why);
    }
    check_apart(selected, DRIVE_ROOT, p);
}
