//! The door to whatever makes disk images on this machine: a partition with a file system that is filled through [`crate::files`], made bootable, and
//! then put where it was asked for.
//!
//! ```text
//! begin ─► open ─► (directories are filled) ─► make_bootable ─► close ─► seal ─► publish
//! ```
//! Until `publish` everything lies in a working directory beside the image's path, under the run's id. Every call may be repeated. What is open belongs to
//! this process and is let go by the kernel when the process dies: no mount outlives it. What may stay is the working directory, which `remove` takes, and,
//! of a process killed within the instants in which `open` makes it, a loop device without a mount, which the next `open` or `remove` detaches.

use crate::Result;
use crate::files::FileTarget;
use domain::workloads::NewImage;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What was done so that a machine starts from the image, or why nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    pub bootable: bool,
    /// When it is not bootable: for a person.
    pub reason: String,
    /// The kernel that is started unless somebody chooses another one: `/boot/vmlinuz-6.1.0`.
    pub kernel: Option<String>,
    /// What the file system is to be known by, because the workload's own configuration says so. `seal` sets them.
    pub uuid: Option<String>,
    pub label: Option<String>,
    /// What was changed in the workload's files, and what to look after.
    pub notes: Vec<String>,
}

/// An image that is whole and waits for its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Tells this very file from every other one that may ever lie at its path.
    pub identity: String,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// The door. `id` is the run's.
#[async_trait::async_trait]
pub trait DiskImages: Send + Sync {
    /// Whether an image can be made there: programs, rights, an allowed directory, nothing at its path. Changes nothing.
    async fn check(&self, image: &NewImage) -> Result<()>;

    /// Bytes that are free where the image is to lie.
    async fn free_space(&self, image: &NewImage) -> Result<u64>;

    /// Makes the unfinished image with an empty file system. It appears whole or not at all; one that is there stays as it is.
    async fn begin(&self, id: &str, image: &NewImage) -> Result<()>;

    /// Opens the unfinished image for this process alone. A temporary error while another one has it.
    async fn open(&self, id: &str, image: &NewImage) -> Result<Arc<dyn OpenImage>>;

    /// Checks the file system of an image that is closed and brings it into its format.
    async fn seal(&self, id: &str, image: &NewImage, boot: &Boot) -> Result<Sealed>;

    /// Puts the sealed image at its path, never over anything, and removes the working directory.
    async fn publish(&self, id: &str, image: &NewImage, sealed: &Sealed) -> Result<()>;

    /// Removes everything that is unfinished; and the image at its path, if it is the one that was `sealed`. Says whether something else was left there.
    async fn remove(&self, id: &str, image: &NewImage, sealed: Option<&Sealed>) -> Result<bool>;
}

/// An image whose file system is mounted, for the holder of this value and of its directories only.
#[async_trait::async_trait]
pub trait OpenImage: Send + Sync {
    /// A directory of it by its absolute path, made with its parents if it is missing. Links in the path stay inside the image.
    async fn directory(&self, path: &str) -> Result<Arc<dyn FileTarget>>;

    /// Adapts the workload's table of file systems, whose original stays beside it, and installs a boot loader that starts its newest kernel. `moved`: the
    /// directories that were filled.
    async fn make_bootable(&self, moved: &[String]) -> Result<Boot>;

    /// Everything is on the disk then, and nothing can be written any more.
    async fn close(&self) -> Result<()>;
}
