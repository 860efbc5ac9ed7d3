//! Workloads by the ids of their parts.

use super::{References, ids, taken_apart};
use crate::workloads::stored::{Body, CREDENTIALS, MOUNT_POINT, WORKLOAD, exists, new_id, read, written};
use crate::{Control, Error, Filter};
use domain::decode::{Fields, Problems};
use domain::workloads::{Address, DRIVE_ROOT, MountPoint};
use ports::records::{self, Record, RecordsError, Write};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A workload with its id.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkloadResource {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "192.168.1.1")]
    pub ip: String,
    /// An id.
    pub credentials: String,
    /// Ids.
    pub mount_points: Vec<String>,
}

struct Wanted {
    ip: Option<Address>,
    credentials: String,
    mount_points: Vec<String>,
}

impl Control {
    /// Its address is taken once per tenant.
    pub async fn create_workload_resource(&self, tenant: &str, value: &Value) -> Result<WorkloadResource, Error> {
        let (wanted, problems) = taken_apart(value, wanted);
        let Some(Wanted { ip, credentials, mount_points }) = wanted else { return Err(Error::request(problems)) };
        let mut references = References::new(self, tenant, problems);
        references.take("credentials", CREDENTIALS, &credentials).await?;
        take_mount_points(&mut references, &mount_points).await?;
        references.checked()?;
        let ip = ip.ok_or_else(|| Error::internal("an address was neither read nor refused"))?;
        let body = Body { ip: ip.to_string(), credentials, mount_points, port: 22, host_key: None, drive_root: DRIVE_ROOT.to_owned(), system: None };
        let (id, fields) = (new_id(), records::Fields::body(written(&body)?).key(ip.as_str()));
        let mut writes = vec![Write::insert(tenant, WORKLOAD, &id, fields)];
        writes.extend(references.holds());
        match self.records().apply(writes).await {
            Ok(_) => self.workload_resource(tenant, &id).await,
            Err(RecordsError::Taken { .. }) => Err(exists(&ip)),
            Err(error) => Err(references.told(error)),
        }
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn workload_resources(&self, tenant: &str, query: Filter) -> Result<Vec<WorkloadResource>, Error> {
        self.list_resources(tenant, WORKLOAD, query).await?.iter().map(view).collect()
    }

    pub async fn workload_resource(&self, tenant: &str, id: &str) -> Result<WorkloadResource, Error> {
        view(&self.find_resource(tenant, WORKLOAD, id).await?)
    }

    /// With the parts that were made with it; those of its parts that were made before stay.
    pub async fn delete_workload_resource(&self, tenant: &str, id: &str) -> Result<(), Error> {
        let stored = self.whole(self.find_resource(tenant, WORKLOAD, id).await?).await?;
        self.refuse_targeted(tenant, WORKLOAD, id).await?;
        let mut writes = vec![Write::delete(&stored.record)];
        writes.extend(stored.own().map(Write::delete));
        self.records().apply(writes).await?;
        Ok(())
    }
}

/// Each must be there, and each mount point once.
async fn take_mount_points(references: &mut References<'_>, ids: &[String]) -> Result<(), Error> {
    let mut seen = Vec::new();
    for (i, id) in ids.iter().enumerate() {
        let field = format!("mount_points[{i}]");
        let Some(record) = references.take(&field, MOUNT_POINT, id).await? else { continue };
        let key = read::<MountPoint>(&record)?.key();
        if seen.contains(&key) {
            references.problems().note(field, format!("'{key}' is there twice"));
        }
        seen.push(key);
    }
    Ok(())
}

fn wanted(f: &mut Fields<'_>, p: &mut Problems) -> Wanted {
    let text = f.required_text("ip", p);
    let ip = if text.is_empty() { None } else { Address::parse(&text).map_err(|why| p.note("ip", why)).ok() };
    Wanted { ip, credentials: f.required_text("credentials", p), mount_points: ids(f, "mount_points", p) }
}

fn view(record: &Record) -> Result<WorkloadResource, Error> {
    let body: Body = read(record)?;
    Ok(WorkloadResource { id: record.id.clone(), ip: body.ip, credentials: body.credentials, mount_points: body.mount_points })
}
