//! Workloads (document 0): servers with mount points, and migrations that move the selected ones to a target VM.
//!
//! ```text
//! POST /workloads ─► records: workload ─► credentials, mount points      (the same ones that /api/v1 shows one by one)
//! POST /migrations {selected_mount_points, source, migration_target} ─► a run of kind `workload`
//! ```
//! The records are in [`stored`], what `/api/v1` adds in [`crate::resources`].

mod body;
pub(crate) mod cloud;
mod discovery;
mod image;
mod image_owner;
mod life;
mod migrations;
mod rehearsals;
mod resolve;
pub(crate) mod stored;

pub use cloud::CloudView;
pub use discovery::{Discovered, LeftOut, Listener};
pub use migrations::{Made, MigratedWorkload, MigrationTarget, Replication, Started, WorkloadMigration, WorkloadState, WorkloadStatus};
pub(crate) use migrations::{image_of, is_workload, kind_of, labels, resources_of, shown, status};
pub use plans::WORKLOAD as KIND;
pub use rehearsals::TestClone;

use domain::secret::MASK;
use domain::workloads::MountPoint;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may log in. The password always reads `********`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CredentialsView {
    #[schema(example = "testuser")]
    pub username: String,
    #[schema(example = "********")]
    pub password: String,
    #[schema(example = "testdomain.com")]
    pub domain: Option<String>,
}

impl CredentialsView {
    pub(crate) fn new(username: String, domain: Option<String>) -> Self {
        Self { username, password: MASK.to_owned(), domain }
    }
}

/// A mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MountPointView {
    #[schema(example = "C:\\")]
    pub mount_point_name: String,
    /// Bytes.
    #[schema(example = 1000)]
    pub total_size: u64,
}

impl From<&MountPoint> for MountPointView {
    fn from(of: &MountPoint) -> Self {
        Self { mount_point_name: of.mount_point_name.clone(), total_size: of.total_size }
    }
}

/// A mount point that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SelectedView {
    #[schema(example = "C:\\")]
    pub mount_point_name: String,
    /// Bytes.
    #[schema(example = 1000)]
    pub total_size: u64,
    /// Where at the target VM its content goes, if not to the mount point of the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "D:\\migrated")]
    pub target_directory: Option<String>,
}

/// The file systems of a server.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct StorageView {
    pub mount_points: Vec<MountPointView>,
}

/// How to get in over SSH. A key and its passphrase read `********`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SshView {
    #[schema(example = 22)]
    pub port: u16,
    /// A `known_hosts` line, a bare public key or a SHA256 fingerprint. Absent: the server's own `known_hosts` decides; an unknown key is
    /// never accepted silently.
    #[schema(example = "SHA256:2bWGmS9pE0kLUj4HlmnkDwQCYJdQW0ERB1mRkqXzZzo")]
    pub host_key: Option<String>,
    pub private_key: Option<String>,
    pub passphrase: Option<String>,
    /// Where the server shows a Windows drive.
    #[schema(example = "/{drive}:/")]
    pub drive_root: String,
}

/// A workload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WorkloadView {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "192.168.1.1")]
    pub ip: String,
    pub credentials: CredentialsView,
    pub storage: StorageView,
    pub ssh: SshView,
    /// What a discovery found running there.
    pub system: Option<Discovered>,
    pub created_at: String,
    pub updated_at: String,
    /// What `ETag` shows and `If-Match` asks for.
    pub version: u64,
}
