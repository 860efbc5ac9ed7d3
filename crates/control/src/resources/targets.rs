//! Migration targets: a cloud, who may use it, and the VM there.

use super::{decode, unknown};
use crate::workloads::stored::{CREDENTIALS, WORKLOAD, read, written};
use crate::{Control, Error, Filter};
use domain::decode::{Fields, Problems};
use domain::workloads::CloudType;
use ports::records::{self, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The records' kind.
pub(super) const TARGET: &str = "migration_target";

/// As stored. All but the cloud are ids.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TargetBody {
    pub cloud_type: CloudType,
    pub cloud_credentials: String,
    pub target_vm: String,
}

/// A migration target with its id.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TargetResource {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    /// `aws`, `azure`, `vsphere` or `vcloud`.
    #[schema(example = "aws")]
    pub cloud_type: &'static str,
    /// An id of credentials.
    pub cloud_credentials: String,
    /// An id of a workload.
    pub target_vm: String,
}

impl Control {
    pub async fn create_target(&self, tenant: &str, value: &Value) -> Result<TargetResource, Error> {
        let body = decode(value, wanted)?.ok_or_else(|| Error::internal("a cloud was neither read nor refused"))?;
        for (field, kind, id) in [("cloud_credentials", CREDENTIALS, &body.cloud_credentials), ("target_vm", WORKLOAD, &body.target_vm)] {
            if self.records().get(tenant, kind, id).await?.is_none() {
                return Err(unknown(field, kind, id));
            }
        }
        view(&self.add_resource(tenant, TARGET, records::Fields::body(written(&body)?)).await?)
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn targets(&self, tenant: &str, query: Filter) -> Result<Vec<TargetResource>, Error> {
        self.list_resources(tenant, TARGET, query).await?.iter().map(view).collect()
    }

    pub async fn target(&self, tenant: &str, id: &str) -> Result<TargetResource, Error> {
        view(&self.find_resource(tenant, TARGET, id).await?)
    }

    pub async fn delete_target(&self, tenant: &str, id: &str) -> Result<(), Error> {
        self.delete_resource(tenant, TARGET, id).await
    }
}

fn wanted(f: &mut Fields<'_>, p: &mut Problems) -> Option<TargetBody> {
    if !f.has("cloud_type") {
        p.note("cloud_type", "is required: aws, azure, vsphere or vcloud");
    }
    let cloud_type = f.choice("cloud_type", &CloudType::ALL, p);
    let (cloud_credentials, target_vm) = (f.required_text("cloud_credentials", p), f.required_text("target_vm", p));
    Some(TargetBody { cloud_type: cloud_type?, cloud_credentials, target_vm })
}

fn view(record: &Record) -> Result<TargetResource, Error> {
    let TargetBody { cloud_type, cloud_credentials, target_vm } = read(record)?;
    Ok(TargetResource { id: record.id.clone(), cloud_type: cloud_type.word(), cloud_credentials, target_vm })
}
