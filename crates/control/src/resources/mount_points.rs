//! Mount points.

use super::decode;
use crate::workloads::stored::{MOUNT_POINT, read, written};
use crate::{Control, Error, Filter};
use domain::workloads::MountPoint;
use ports::records::{Fields, Record};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A mount point with its id.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MountPointResource {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "C:\\")]
    pub mount_point_name: String,
    /// Bytes.
    #[schema(example = 1000)]
    pub total_size: u64,
}

impl Control {
    pub async fn create_mount_point(&self, tenant: &str, value: &Value) -> Result<MountPointResource, Error> {
        let wanted = decode(value, MountPoint::read)?;
        view(&self.add_resource(tenant, MOUNT_POINT, Fields::body(written(&wanted)?)).await?)
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn mount_points(&self, tenant: &str, query: Filter) -> Result<Vec<MountPointResource>, Error> {
        self.list_resources(tenant, MOUNT_POINT, query).await?.iter().map(view).collect()
    }

    pub async fn mount_point(&self, tenant: &str, id: &str) -> Result<MountPointResource, Error> {
        view(&self.find_resource(tenant, MOUNT_POINT, id).await?)
    }

    pub async fn delete_mount_point(&self, tenant: &str, id: &str) -> Result<(), Error> {
        self.delete_resource(tenant, MOUNT_POINT, id).await
    }
}

fn view(record: &Record) -> Result<MountPointResource, Error> {
    let MountPoint { mount_point_name, total_size } = read(record)?;
    Ok(MountPointResource { id: record.id.clone(), mount_point_name, total_size })
}
