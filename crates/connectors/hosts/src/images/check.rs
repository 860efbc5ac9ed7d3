//! What a machine needs to make images, all that is missing named at once.

use super::place::Place;
use crate::program;
use domain::vms::ImageFormat;
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Where GRUB keeps what starts a machine with a BIOS.
pub(super) const GRUB: &str = "/usr/lib/grub/i386-pc";

pub(super) async fn machine(place: &Place) -> Result<()> {
    let subject = || place.image.display().to_string();
    if !rustix::process::geteuid().is_root() {
        let reason = "only root may mount file systems, and this server does not run as root";
        return Err(ConnectorError::new(ErrorKind::Permission, "make the image", subject(), reason).advice("Run the server that makes images as root"));
    }
    let mut wanted =
        vec![("sfdisk", "--version"), ("mkfs.ext4", "-V"), ("tune2fs", "-V"), ("e2fsck", "-V"), ("losetup", "--version"), ("grub-mkimage", "--version")];
    if place.format == ImageFormat::Qcow2 {
        wanted.push((program::IMG, "--version"));
    }
    let (mut missing, mut packages) = (Vec::new(), BTreeSet::new());
    for (name, flag) in wanted {
        // Whatever else they say to that: they are there.
        if let Err(error) = program::run(name, [flag]).await
            && error.kind == ErrorKind::Unsupported
        {
            missing.push(name);
            packages.extend(program::home(name).1.split(' '));
        }
    }
    if !Path::new(GRUB).join("boot.img").is_file() {
        missing.push(GRUB);
        packages.insert("grub-pc-bin");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let advice = format!("On Debian and Ubuntu: apt install {}", packages.into_iter().collect::<Vec<_>>().join(" "));
    Err(ConnectorError::new(ErrorKind::Unsupported, "make the image", subject(), format!("this machine has no {}", missing.join(", no "))).advice(advice))
}
