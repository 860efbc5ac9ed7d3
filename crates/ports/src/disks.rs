//! Doors for moving a machine's disk: the node's side, which turns disks into files and back, and the records' side, which keeps a machine for the
//! migration that uses it. Every call may be repeated.

use crate::Result;
use domain::vms::{ImageFormat, VmSpec};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A disk image as one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes that a guest sees.
    pub size: u64,
    /// In lower case.
    pub sha256: String,
}

/// The node's side. `run` names a directory of the migration's own beside the machine's disk; it is there from [`VmDisks::staging`] on.
#[async_trait::async_trait]
pub trait VmDisks: Send + Sync {
    /// Where the migration's files lie; made if it is missing.
    async fn staging(&self, id: &str, run: &str) -> Result<PathBuf>;

    /// Bytes that the disk takes on this node, and that its guest sees. [`crate::ErrorKind::NotFound`] when it has none yet.
    async fn disk(&self, id: &str) -> Result<(u64, u64)>;

    /// Writes the disk with all that lies below it into one qcow2 file of the staging directory. It appears whole, or not at all; dropping the call ends
    /// the work. The machine must be off.
    async fn export(&self, id: &str, run: &str, name: &str, compress: bool) -> Result<DiskFile>;

    /// What a file of the staging directory is. [`crate::ErrorKind::Invalid`] for one that is no whole image: damaged, encrypted, or made of more than
    /// one file.
    async fn examine(&self, id: &str, run: &str, name: &str, format: ImageFormat) -> Result<DiskFile>;

    /// Makes the file of the staging directory the machine's disk. The file is gone then.
    async fn adopt(&self, id: &str, run: &str, name: &str, format: ImageFormat) -> Result<()>;

    /// Removes the staging directory.
    async fn clear(&self, id: &str, run: &str) -> Result<()>;
}

/// The records' side. A machine that a migration has can be neither started nor changed nor deleted.
#[async_trait::async_trait]
pub trait VmHolds: Send + Sync {
    /// The name of this node.
    fn node(&self) -> String;

    /// An id for a new machine.
    fn new_id(&self) -> String;

    /// The definition of a machine of this node that is off and free, or that `run` has already. Otherwise why not, in an error.
    async fn find(&self, tenant: &str, id: &str, run: &str) -> Result<VmSpec>;

    /// Gives it to the migration.
    async fn take(&self, tenant: &str, id: &str, run: &str) -> Result<()>;

    /// Gives it back as it was: a machine that was made for the migration is stopped. One that the migration does not have stays as it is.
    async fn release(&self, tenant: &str, id: &str, run: &str) -> Result<()>;

    /// Makes a machine of this node that the migration has. Asks the tenant's quota in the transaction that makes it.
    async fn make(&self, tenant: &str, id: &str, run: &str, spec: &VmSpec) -> Result<()>;

    /// Removes a machine that the migration has made, and all that is kept of it. Refused while it runs.
    async fn discard(&self, tenant: &str, id: &str, run: &str) -> Result<()>;

    /// Whether kernel and initial ramdisk are files that this node allows. The error names the field.
    fn admits(&self, spec: &VmSpec) -> std::result::Result<(), (&'static str, String)>;
}
