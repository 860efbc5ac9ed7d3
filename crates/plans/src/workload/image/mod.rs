//! What is peculiar to a workload whose target is a disk image: it is made first, filled like any other target, made bootable, and put into its place.
//!
//! ```text
//! make ─► (validate, replicate, cutover, verify) ─► boot ─► publish
//! ```
//! The files in it need no undo of their own: an unfinished image goes as a whole.

mod boot;
mod make;
mod publish;
mod room;

pub use boot::MakeBootable;
pub use make::MakeImage;
pub use publish::Publish;
pub(super) use room::refuse_small;

use super::job::Job;
use crate::adapters::{StepResult, failed};
use domain::workloads::NewImage;
use movers::files::FilesPlan;
use ports::ErrorKind;
use ports::images::DiskImages;
use std::sync::Arc;

/// What makes images here, and the one to be made.
pub(super) fn of(job: &Job) -> StepResult<(&Arc<dyn DiskImages>, &NewImage)> {
    let image = job.spec.target.image().ok_or_else(|| failed(ErrorKind::Internal, "The migration's target is no image", ""))?;
    let images = job
        .settings
        .images
        .as_ref()
        .ok_or_else(|| failed(ErrorKind::Unsupported, "This program makes no disk images", "Let a server do it: serve --image-root DIR"))?;
    Ok((images, image))
}

/// Why an image for these plans would be refused; for the dry run, which makes none.
pub(super) async fn refusals(job: &Job, plans: &[FilesPlan]) -> Vec<String> {
    let mut out = Vec::new();
    match of(job) {
        Ok((images, image)) => out.extend(images.check(image).await.err().map(|e| e.to_string())),
        Err(e) => out.push(e.message),
    }
    if out.is_empty() {
        out.extend(refuse_small(job, plans).await.err().map(|e| e.message));
    }
    out
}
