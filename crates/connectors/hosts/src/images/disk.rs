//! The disk itself: a sparse file with a partition table, one partition, and an ext4 file system in it.
//!
//! ```text
//! 0        512 B            1 MiB                                   end
//! │ MBR     │ boot loader    │ partition 1: ext4                     │
//! ```

use super::place::Place;
use crate::program::{IMG, run, run_long};
use domain::vms::ImageFormat;
use domain::workloads::NewImage;
use ports::Result;
use ports::images::{Boot, Sealed};
use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Stdio;

/// Where the partition begins, in bytes; everything aligns its partitions there, and the boot loader lies before it.
pub(super) const PARTITION: u64 = 1 << 20;
/// What Linux has known since 2.6.28 and every GRUB and e2fsck reads; what came later would lock out the file systems' own checks in older servers.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize";

/// The number that the partition table is known by. The kernel calls the partition `<number>-01`.
pub(super) fn signature(id: &str) -> u32 {
    // Ids are times first and chance last; zero would mean that there is none.
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    u32::from_str_radix(digits.get(digits.len().saturating_sub(8)..).unwrap_or_default(), 16).unwrap_or(0).max(1)
}

/// What the file system is known by unless the workload has a name of its own for it: the run's own id.
pub(super) fn uuid(id: &str) -> String {
    uuid::Uuid::try_parse(id).unwrap_or_else(|_| uuid::Uuid::from_u64_pair(1, u64::from(signature(id)))).hyphenated().to_string()
}

/// Makes it; it appears whole or not at all.
pub(super) async fn make(place: &Place, id: &str, image: &NewImage) -> Result<()> {
    let fresh = place.file("disk.raw.new");
    let failed = |e: std::io::Error| place.failed("make the disk of", &e);
    let file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh).map_err(failed)?;
    file.set_len(image.bytes()).map_err(failed)?;
    let table = place.file("table");
    fs::write(&table, format!("label: dos\nlabel-id: {:#010x}\nunit: sectors\nstart={}, type=83, bootable\n", signature(id), PARTITION / 512))
        .map_err(failed)?;
    let disk = fresh.display().to_string();
    run_long("sfdisk", ["-q", &disk], Stdio::from(fs::File::open(&table).map_err(failed)?)).await?;
    let extended = format!("offset={PARTITION},lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0");
    let size = format!("{}k", (image.bytes() - PARTITION) >> 10);
    run("mkfs.ext4", ["-q", "-F", "-O", FEATURES, "-I", "256", "-i", "8192", "-m", "1", "-U", &uuid(id), "-E", &extended, &disk, &size]).await?;
    file.sync_all().and_then(|()| fs::rename(&fresh, place.raw())).map_err(failed)
}

/// The file system gets the names that the workload knows it by and is checked; then the disk is brought into its format.
pub(super) async fn seal(place: &Place, boot: &Boot) -> Result<Sealed> {
    let ready = place.ready();
    if place.format == ImageFormat::Raw || !ready.exists() {
        let partition = format!("{}?offset={PARTITION}", place.raw().display());
        name(&partition, boot).await?;
        run_long("e2fsck", ["-f", "-n", &partition], Stdio::null()).await?;
    }
    if place.format == ImageFormat::Qcow2 && !ready.exists() {
        convert(&place.raw(), &place.file("disk.qcow2.new")).await?;
        fs::rename(place.file("disk.qcow2.new"), &ready).map_err(|e| place.failed("convert", &e))?;
    }
    let failed = |e: std::io::Error| place.failed("finish", &e);
    let file = fs::File::open(&ready).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.blocks() * 512;
    let identity = super::place::identity(&ready).unwrap_or_default();
    Ok(Sealed { identity, bytes })
}

async fn name(partition: &str, boot: &Boot) -> Result<()> {
    for (flag, value) in [("-U", &boot.uuid), ("-L", &boot.label)] {
        if let Some(value) = value {
            run("tune2fs", ["-f", flag, value, partition]).await?;
        }
    }
    Ok(())
}

async fn convert(raw: &Path, to: &Path) -> Result<()> {
    let words = ["convert", "-f", "raw", "-O", "qcow2", &raw.display().to_string(), &to.display().to_string()].map(str::to_owned);
    run_long(IMG, words, Stdio::null()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_names_of_its_own() {
        assert_eq!(signature("0198e2b4c5d67f80a1b2c3d4e5f60718"), 0xe5f6_0718);
        assert_eq!((signature("run"), signature("00000000")), (1, 1));
        assert_eq!(uuid("0198e2b4c5d67f80a1b2c3d4e5f60718"), "0198e2b4-c5d6-7f80-a1b2-c3d4e5f60718");
    }
}
