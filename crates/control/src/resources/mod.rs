//! Document 1: credentials, mount points, workloads, migration targets and migrations, one by one and by their ids.
//!
//! They are the same records that [`crate::workloads`] shows as a whole. What is in use by another one stays ([`Code::InUse`]).

mod credentials;
mod migrations;
mod mount_points;
mod references;
mod targets;
mod workloads;

pub use credentials::CredentialsResource;
pub use migrations::MigrationResource;
pub use mount_points::MountPointResource;
pub use targets::TargetResource;
pub use workloads::WorkloadResource;

use crate::error::{Code, Kind};
use crate::workloads::stored::{Body, WORKLOAD, read};
use crate::{Control, Error, Filter};
use domain::decode::{Fields, Problems, type_name};
use ports::records::{self, Record, Write};
use references::References;
use serde_json::{Value, json};
use targets::{TARGET, TargetBody};

impl Control {
    /// Adds a record; gives it back as it is stored.
    async fn add_resource(&self, tenant: &str, kind: &str, fields: records::Fields) -> Result<Record, Error> {
        let id = crate::workloads::stored::new_id();
        let made = self.records().apply(vec![Write::insert(tenant, kind, &id, fields)]).await?;
        made.into_iter().next().ok_or_else(|| Error::internal("a write of one record answered none"))
    }

    async fn find_resource(&self, tenant: &str, kind: &'static str, id: &str) -> Result<Record, Error> {
        self.records().get(tenant, kind, id).await?.ok_or_else(|| Error::not_found(kind, id))
    }

    async fn list_resources(&self, tenant: &str, kind: &str, mut query: Filter) -> Result<Vec<Record>, Error> {
        let page = query.page();
        query.done()?;
        Ok(self.records().list(tenant, kind, &page.filter()).await?)
    }

    /// Removes a record that nothing refers to.
    async fn delete_resource(&self, tenant: &str, kind: &'static str, id: &str) -> Result<(), Error> {
        let record = self.find_resource(tenant, kind, id).await?;
        self.refuse_used(tenant, kind, id).await?;
        self.records().apply(vec![Write::delete(&record)]).await?;
        Ok(())
    }

    /// Refuses to take away what a workload or a target refers to.
    async fn refuse_used(&self, tenant: &str, kind: &'static str, id: &str) -> Result<(), Error> {
        for record in self.workload_records(tenant).await? {
            let body: Body = read(&record)?;
            if body.credentials == id || body.mount_points.iter().any(|m| m == id) {
                return Err(in_use(kind, id, WORKLOAD, &record.id));
            }
        }
        self.refuse_targeted(tenant, kind, id).await
    }

    /// Refuses to take away what a migration target refers to.
    pub(crate) async fn refuse_targeted(&self, tenant: &str, kind: &'static str, id: &str) -> Result<(), Error> {
        for record in self.records().list(tenant, TARGET, &records::RecordFilter::default()).await? {
            let body: TargetBody = read(&record)?;
            if body.cloud_credentials == id || body.target_vm == id {
                return Err(in_use(kind, id, TARGET, &record.id));
            }
        }
        Ok(())
    }
}

fn in_use(kind: &str, id: &str, by: &str, user: &str) -> Error {
    let (kind, by) = (kind.replace('_', " "), by.replace('_', " "));
    Error::new(Kind::Conflict, Code::InUse, format!("The {kind} '{id}' belongs to the {by} '{user}'; delete that one first"))
        .details(json!({"used_by": {"kind": by, "id": user}}))
}

/// Reads a body: all bad fields come back together.
fn decode<T>(value: &Value, read: impl FnOnce(&mut Fields<'_>, &mut Problems) -> T) -> Result<T, Error> {
    let (out, p) = taken_apart(value, read);
    out.filter(|_| p.is_empty()).ok_or_else(|| Error::request(p))
}

/// The same for a body whose ids are still to be looked up: what is wrong with them is told together with the rest.
fn taken_apart<T>(value: &Value, read: impl FnOnce(&mut Fields<'_>, &mut Problems) -> T) -> (Option<T>, Problems) {
    let mut p = Problems::default();
    let mut out = None;
    if let Some(mut f) = Fields::of("", value, &mut p) {
        out = Some(read(&mut f, &mut p));
        f.done(&mut p);
    }
    (out, p)
}

/// A required list of ids.
fn ids(f: &mut Fields<'_>, field: &'static str, p: &mut Problems) -> Vec<String> {
    match f.value(field) {
        None => p.note(f.path(field), "is required"),
        Some(Value::Array(_)) => return f.texts(field, p),
        Some(other) => p.note(f.path(field), format!("must be an array of ids, not {}", type_name(other))),
    }
    Vec::new()
}
