//! Whether what moves fits into the image, and the image on this machine's disk.

use super::of;
use crate::adapters::{StepResult, failed, step_error};
use crate::workload::job::Job;
use domain::units;
use domain::vms::ImageFormat;
use domain::workloads::NewImage;
use movers::files::FilesPlan;
use ports::ErrorKind;

/// Bytes that an entry takes beside its content, at the least: its number, a name, the rest of its last block.
const PER_ENTRY: u64 = 2 << 10;

/// What the plans together take in a file system.
fn needed(plans: &[FilesPlan]) -> u64 {
    plans.iter().map(|plan| plan.bytes + (plan.files + plan.directories + plan.symlinks) * PER_ENTRY).sum()
}

/// The one that does not suffice is named. A raw disk is made before the image in another format, so both need room for a while.
pub async fn refuse_small(job: &Job, plans: &[FilesPlan]) -> StepResult<()> {
    let (images, image) = of(job)?;
    let needed = needed(plans);
    if let Some(message) = too_small(image, needed) {
        return Err(failed(ErrorKind::NoSpace, message, "Give the image a larger size_gib, or leave something out (transfer.exclude)"));
    }
    let copies = if image.format == ImageFormat::Raw { 1 } else { 2 };
    let free = images.free_space(image).await.map_err(step_error)?;
    if free < needed * copies {
        let message = format!(
            "{} is needed to make {} (what moves, {copies} times while it is made), but {} is free there",
            units::size(needed * copies),
            image.path,
            units::size(free)
        );
        return Err(failed(ErrorKind::NoSpace, message, "Free some space on this machine, or choose a path on a larger disk, then start again"));
    }
    Ok(())
}

/// A file system keeps about a twentieth for itself.
fn too_small(image: &NewImage, needed: u64) -> Option<String> {
    (needed > image.bytes() / 20 * 19).then(|| format!("{} is to move into an image of {} GiB", units::size(needed), image.size_gib))
}
