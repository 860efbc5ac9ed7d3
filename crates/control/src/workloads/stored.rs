//! A workload as it is stored: a record of its own, one for its credentials and one for each mount point.
//!
//! What was made together with the workload has it as its parent and goes with it; what `/api/v1` made before stays.

use super::{CredentialsView, Discovered, KIND, MountPointView, SshView, StorageView, WorkloadView};
use crate::error::{Code, Kind};
use crate::{Control, Error, time};
use domain::secret::MASK;
use domain::spec::HostKeyPin;
use domain::workloads::{Address, Credentials, MountPoint, Ssh, Workload};
use ports::records::{Fields, Record, RecordFilter, Write};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The records' kinds.
pub(crate) const WORKLOAD: &str = KIND;
pub(crate) const CREDENTIALS: &str = "credentials";
pub(crate) const MOUNT_POINT: &str = "mount_point";

/// A workload's own record. Its secret is the private key with its passphrase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Body {
    pub ip: String,
    /// Ids of other records.
    pub credentials: String,
    pub mount_points: Vec<String>,
    pub port: u16,
    pub host_key: Option<String>,
    pub drive_root: String,
    #[serde(default)]
    pub system: Option<Discovered>,
}

/// Credentials' record. Its secret is the password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CredentialsBody {
    pub username: String,
    pub domain: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Keys {
    private_key: Option<String>,
    passphrase: Option<String>,
}

/// A workload with what belongs to it.
pub(crate) struct Stored {
    pub record: Record,
    pub body: Body,
    pub credentials: Record,
    pub mount_points: Vec<Record>,
}

impl Stored {
    pub fn view(&self) -> Result<WorkloadView, Error> {
        let login: CredentialsBody = read(&self.credentials)?;
        let masked = self.record.has_secret.then(|| MASK.to_owned());
        Ok(WorkloadView {
            id: self.record.id.clone(),
            ip: self.body.ip.clone(),
            credentials: CredentialsView::new(login.username, login.domain),
            storage: StorageView { mount_points: self.mount_points.iter().map(read).collect::<Result<Vec<MountPointView>, _>>()? },
            ssh: SshView {
                port: self.body.port,
                host_key: self.body.host_key.clone(),
                private_key: masked,
                passphrase: None,
                drive_root: self.body.drive_root.clone(),
            },
            system: self.body.system.clone(),
            created_at: time::text(self.record.created_at),
            updated_at: time::text(self.record.updated_at),
            version: self.record.version,
        })
    }

    /// The records that were made with it.
    pub fn own(&self) -> impl Iterator<Item = &Record> {
        let mine = |r: &&Record| r.parent.as_ref() == Some(&self.record.id);
        std::iter::once(&self.credentials).chain(&self.mount_points).filter(mine)
    }
}

/// A record's body as what it is.
pub(crate) fn read<T: DeserializeOwned>(record: &Record) -> Result<T, Error> {
    serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("the {} {} cannot be read: {e}", record.kind, record.id)))
}

pub(crate) fn written<T: Serialize>(body: &T) -> Result<Value, Error> {
    serde_json::to_value(body).map_err(|e| Error::internal(format!("a part of a workload cannot be stored: {e}")))
}

pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Fields of a credentials' record.
pub(crate) fn credentials_fields(of: &Credentials) -> Result<Fields, Error> {
    let secret = of.password.as_ref().map(|p| json!(p.expose()));
    Ok(Fields::body(written(&CredentialsBody { username: of.username.clone(), domain: of.domain.clone() })?).secret(secret))
}

/// The writes that add the parts of `workload` below the record `id`; the body that refers to them.
pub(crate) fn parts(tenant: &str, id: &str, workload: &Workload, system: Option<Discovered>) -> Result<(Vec<Write>, Body), Error> {
    let credentials = new_id();
    let mut writes = vec![Write::insert(tenant, CREDENTIALS, &credentials, credentials_fields(&workload.credentials)?.parent(id))];
    let mut mount_points = Vec::with_capacity(workload.mount_points.len());
    for mount_point in &workload.mount_points {
        let part = new_id();
        writes.push(Write::insert(tenant, MOUNT_POINT, &part, Fields::body(written(mount_point)?).parent(id)));
        mount_points.push(part);
    }
    let host_key = match &workload.ssh.host_key {
        HostKeyPin::Pinned(key) => Some(key.clone()),
        HostKeyPin::KnownHosts(_) | HostKeyPin::Unknown => None,
    };
    let Ssh { port, drive_root, .. } = workload.ssh.clone();
    Ok((writes, Body { ip: workload.ip.to_string(), credentials, mount_points, port, host_key, drive_root, system }))
}

/// The sealed part of a workload's record.
pub(crate) fn keys(ssh: &Ssh) -> Result<Option<Value>, Error> {
    let exposed = |s: &Option<domain::Secret>| s.as_ref().map(|s| s.expose().to_owned());
    let keys = Keys { private_key: exposed(&ssh.private_key), passphrase: exposed(&ssh.passphrase) };
    keys.private_key.is_some().then(|| written(&keys)).transpose()
}

/// The answer to a second workload with that address.
pub(crate) fn exists(ip: &Address) -> Error {
    Error::new(
        Kind::Conflict,
        Code::Taken,
        format!("There is a workload with the address {ip} already; change that one (PUT /workloads/{ip}), or delete it first"),
    )
    .details(json!({"kind": WORKLOAD, "key": ip.as_str()}))
}

impl Control {
    /// A workload by its address, in any spelling.
    pub(crate) async fn stored_workload(&self, tenant: &str, ip: &str) -> Result<Option<Stored>, Error> {
        let Ok(address) = Address::parse(ip) else { return Ok(None) };
        let record = self.records().find(tenant, WORKLOAD, address.as_str()).await?;
        match record {
            Some(record) => self.whole(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// A workload's record with its parts.
    pub(crate) async fn whole(&self, record: Record) -> Result<Stored, Error> {
        let body: Body = read(&record)?;
        let tenant = record.tenant.clone();
        let credentials = self.records().get(&tenant, CREDENTIALS, &body.credentials).await?;
        let credentials = credentials.ok_or_else(|| Error::internal(format!("the workload {} has lost its credentials", record.id)))?;
        let mut mount_points = Vec::with_capacity(body.mount_points.len());
        for id in &body.mount_points {
            mount_points.extend(self.records().get(&tenant, MOUNT_POINT, id).await?);
        }
        Ok(Stored { record, body, credentials, mount_points })
    }

    /// The workload as document 0 writes it, with its secrets: for a migration's own sealed document.
    pub(crate) async fn workload_document(&self, stored: &Stored) -> Result<Value, Error> {
        let login: CredentialsBody = read(&stored.credentials)?;
        let mount_points: Vec<MountPoint> = stored.mount_points.iter().map(read).collect::<Result<_, _>>()?;
        let password = self.password_of(&stored.credentials).await?;
        let keys = match self.records().secret(&stored.record.tenant, WORKLOAD, &stored.record.id).await? {
            Some(keys) => serde_json::from_value(keys).map_err(|e| Error::internal(format!("a workload's keys cannot be read: {e}")))?,
            None => Keys::default(),
        };
        let body = &stored.body;
        Ok(json!({
            "ip": body.ip,
            "credentials": {"username": login.username, "password": password, "domain": login.domain},
            "storage": {"mount_points": mount_points},
            "ssh": {"port": body.port, "host_key": body.host_key, "drive_root": body.drive_root, "private_key": keys.private_key, "passphrase": keys.passphrase},
        }))
    }

    /// The password of a credentials' record.
    pub(crate) async fn password_of(&self, credentials: &Record) -> Result<Option<String>, Error> {
        let secret = self.records().secret(&credentials.tenant, CREDENTIALS, &credentials.id).await?;
        Ok(secret.and_then(|s| s.as_str().map(str::to_owned)))
    }

    /// Every workload of a tenant, without its parts.
    pub(crate) async fn workload_records(&self, tenant: &str) -> Result<Vec<Record>, Error> {
        Ok(self.records().list(tenant, WORKLOAD, &RecordFilter::default()).await?)
    }
}
