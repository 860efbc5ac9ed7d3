//! Making, changing and removing workloads.

use super::stored::{Stored, WORKLOAD, exists, keys, new_id, parts, written};
use super::{WorkloadView, body};
use crate::templates::unchanged;
use crate::{Control, Error, Filter};
use domain::decode::Problems;
use domain::workloads::Workload;
use ports::records::{self, RecordsError, Write};
use serde_json::Value;

impl Control {
    /// A new workload; its address is taken once per tenant ([`Code::Taken`]). Without `storage` the server is asked for its mount
    /// points first, and nothing is made when it does not answer.
    pub async fn create_workload(&self, tenant: &str, value: &Value) -> Result<WorkloadView, Error> {
        let mut workload = body::read(value)?;
        let mut system = None;
        if value.get("storage").is_none_or(Value::is_null) {
            self.refuse_taken(tenant, &workload).await?;
            let found = self.ask(&workload).await?;
            workload.mount_points.clone_from(&found.mount_points);
            system = Some(found.view);
        }
        let id = new_id();
        let (mut writes, made) = parts(tenant, &id, &workload, system)?;
        let fields = records::Fields::body(written(&made)?).key(workload.ip.as_str()).secret(keys(&workload.ssh)?);
        writes.insert(0, Write::insert(tenant, WORKLOAD, &id, fields));
        self.records().apply(writes).await.map_err(|e| taken(e, &workload))?;
        self.workload(tenant, workload.ip.as_str()).await
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`.
    pub async fn workloads(&self, tenant: &str, mut query: Filter) -> Result<Vec<WorkloadView>, Error> {
        let page = query.page();
        query.done()?;
        let mut out = Vec::new();
        for record in self.records().list(tenant, WORKLOAD, &page.filter()).await? {
            out.push(self.whole(record).await?.view()?);
        }
        Ok(out)
    }

    /// By any spelling of its address.
    pub async fn workload(&self, tenant: &str, ip: &str) -> Result<WorkloadView, Error> {
        self.find_workload(tenant, ip).await?.view()
    }

    /// Replaces it. Its address stays ([`Code::InvalidRequest`] for another one); secrets that read `********` keep their value.
    pub async fn change_workload(&self, tenant: &str, ip: &str, value: &Value, expected: Option<u64>) -> Result<WorkloadView, Error> {
        let stored = self.find_workload(tenant, ip).await?;
        unchanged(&stored.record, expected)?;
        let workload = self.changed_body(&stored, value).await?;
        if workload.ip.as_str() != stored.body.ip {
            let mut p = Problems::default();
            p.note("ip", format!("a workload's address never changes: it is {}; create another workload for {}", stored.body.ip, workload.ip));
            return Err(Error::request(p));
        }
        self.replace(tenant, &stored, &workload, stored.body.system.clone()).await?;
        self.workload(tenant, ip).await
    }

    /// With the credentials and mount points that were made with it.
    pub async fn delete_workload(&self, tenant: &str, ip: &str, expected: Option<u64>) -> Result<(), Error> {
        let stored = self.find_workload(tenant, ip).await?;
        unchanged(&stored.record, expected)?;
        self.refuse_targeted(tenant, WORKLOAD, &stored.record.id).await?;
        let mut writes = vec![Write::delete(&stored.record)];
        writes.extend(stored.own().map(Write::delete));
        self.records().apply(writes).await?;
        Ok(())
    }

    /// New parts in the place of the old ones, in one transaction.
    pub(super) async fn replace(&self, tenant: &str, stored: &Stored, workload: &Workload, system: Option<super::Discovered>) -> Result<(), Error> {
        let (mut writes, made) = parts(tenant, &stored.record.id, workload, system)?;
        writes.extend(stored.own().map(Write::delete));
        let fields = records::Fields::body(written(&made)?).secret(keys(&workload.ssh)?);
        writes.insert(0, Write::update(&stored.record, fields));
        self.records().apply(writes).await?;
        Ok(())
    }

    pub(crate) async fn find_workload(&self, tenant: &str, ip: &str) -> Result<Stored, Error> {
        self.stored_workload(tenant, ip).await?.ok_or_else(|| Error::not_found(WORKLOAD, ip))
    }

    async fn refuse_taken(&self, tenant: &str, workload: &Workload) -> Result<(), Error> {
        if self.records().find(tenant, WORKLOAD, workload.ip.as_str()).await?.is_some() {
            return Err(exists(&workload.ip));
        }
        Ok(())
    }
}

fn taken(error: RecordsError, workload: &Workload) -> Error {
    match error {
        RecordsError::Taken { ref kind, .. } if kind == WORKLOAD => exists(&workload.ip),
        other => other.into(),
    }
}
