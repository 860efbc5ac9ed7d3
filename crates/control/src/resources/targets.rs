//! Migration targets: a cloud, who may use it, and the VM there.

use super::{References, taken_apart};
use crate::workloads::CloudView;
use crate::workloads::cloud::check_access;
use crate::workloads::stored::{CREDENTIALS, WORKLOAD, new_id, read, written};
use crate::{Control, Error, Filter};
use domain::decode::{Fields, Problems};
use domain::spec::redact;
use domain::workloads::{CloudAccess, CloudType};
use ports::Courier;
use ports::records::{self, Record, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The records' kind.
pub(super) const TARGET: &str = "migration_target";

/// As stored: ids, and where the cloud is asked. What is secret of that is in the record's secret, which is the whole of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TargetBody {
    pub cloud_type: CloudType,
    pub cloud_credentials: String,
    pub target_vm: String,
    #[serde(default)]
    pub cloud: Option<CloudView>,
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
    /// Where the cloud is asked about the VM; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudView>,
}

impl Control {
    pub async fn create_target(&self, tenant: &str, value: &Value) -> Result<TargetResource, Error> {
        let (wanted, problems) = taken_apart(value, |f, p| wanted(f, self.courier(), p));
        let Some(Wanted { cloud_type, cloud_credentials, target_vm, cloud }) = wanted else { return Err(Error::request(problems)) };
        let mut references = References::new(self, tenant, problems);
        references.take("cloud_credentials", CREDENTIALS, &cloud_credentials).await?;
        references.take("target_vm", WORKLOAD, &target_vm).await?;
        references.checked()?;
        let cloud_type = cloud_type.ok_or_else(|| Error::internal("a cloud was neither read nor refused"))?;
        let body = TargetBody { cloud_type, cloud_credentials, target_vm, cloud };
        let sealed = value["cloud"]["session_token"].is_string().then(|| value["cloud"].clone());
        let id = new_id();
        let mut writes = vec![Write::insert(tenant, TARGET, &id, records::Fields::body(written(&body)?).secret(sealed))];
        writes.extend(references.holds());
        match self.records().apply(writes).await {
            Ok(_) => self.target(tenant, &id).await,
            Err(error) => Err(references.told(error)),
        }
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn targets(&self, tenant: &str, query: Filter) -> Result<Vec<TargetResource>, Error> {
        self.list_resources(tenant, TARGET, query).await?.iter().map(view).collect()
    }

    pub async fn target(&self, tenant: &str, id: &str) -> Result<TargetResource, Error> {
        view(&self.find_resource(tenant, TARGET, id).await?)
    }

    /// Where the target's cloud is asked, with its token.
    pub(super) async fn cloud_of(&self, record: &Record, body: &TargetBody) -> Result<Value, Error> {
        match self.records().secret(&record.tenant, TARGET, &record.id).await? {
            Some(whole) => Ok(whole),
            None => written(&body.cloud),
        }
    }

    pub async fn delete_target(&self, tenant: &str, id: &str) -> Result<(), Error> {
        self.delete_resource(tenant, TARGET, id).await
    }
}

struct Wanted {
    cloud_type: Option<CloudType>,
    cloud_credentials: String,
    target_vm: String,
    cloud: Option<CloudView>,
}

fn wanted(f: &mut Fields<'_>, courier: &dyn Courier, p: &mut Problems) -> Wanted {
    if !f.has("cloud_type") {
        p.note("cloud_type", "is required: aws, azure, vsphere or vcloud");
    }
    let cloud_type = f.choice("cloud_type", &CloudType::ALL, p);
    let (cloud_credentials, target_vm) = (f.required_text("cloud_credentials", p), f.required_text("target_vm", p));
    let cloud = f.value("cloud").and_then(|c| serde_json::from_value(redact(c)).ok());
    check_access(&CloudAccess::read(f.object("cloud", p), cloud_type, p), "cloud.endpoint", courier, p);
    Wanted { cloud_type, cloud_credentials, target_vm, cloud }
}

fn view(record: &Record) -> Result<TargetResource, Error> {
    let TargetBody { cloud_type, cloud_credentials, target_vm, cloud } = read(record)?;
    Ok(TargetResource { id: record.id.clone(), cloud_type: cloud_type.word(), cloud_credentials, target_vm, cloud })
}
