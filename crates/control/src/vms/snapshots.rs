//! Snapshots: moments of a machine to come back to.

use super::asking::{Outcome, Patience};
use super::stored::SNAPSHOT;
use super::tasks::Argument;
use super::{Vm, VmSnapshot, request, shown};
use crate::{Control, Error, Filter};
use domain::vms::Operation;
use ports::records::{RecordFilter, RecordsError};
use serde_json::Value;

impl Control {
    /// Of a running machine with its memory, of one that is off the disk alone. Names are unique within the machine.
    pub async fn create_vm_snapshot(&self, tenant: &str, id: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<VmSnapshot>, Error> {
        let name = request::snapshot(body)?;
        if self.records().get(tenant, SNAPSHOT, &format!("{id}.{name}")).await?.is_some() {
            return Err(RecordsError::Taken { kind: "snapshot".to_owned(), key: name }.into());
        }
        let task = self.ask_vm(tenant, id, Operation::CreateSnapshot, about(&name)).await?;
        Ok(match self.vm_task_followed(tenant, &task, patience).await? {
            None => Outcome::Now(self.vm_snapshot(tenant, id, &name).await?),
            Some(task) => Outcome::Later(task),
        })
    }

    /// Newest first. Parameters: `limit`, `offset`, `cursor`.
    pub async fn vm_snapshots(&self, tenant: &str, id: &str, mut query: Filter) -> Result<Vec<VmSnapshot>, Error> {
        let filter = RecordFilter { parent: Some(id.to_owned()), ..query.page().filter() };
        query.done()?;
        self.find_vm(tenant, id).await?;
        self.records().list(tenant, SNAPSHOT, &filter).await?.iter().map(shown::snapshot).collect()
    }

    /// Takes the machine back to that moment.
    pub async fn restore_vm_snapshot(&self, tenant: &str, id: &str, name: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<Vm>, Error> {
        request::nothing(body)?;
        self.find_vm(tenant, id).await?;
        self.vm_snapshot(tenant, id, name).await?;
        self.operate_vm(tenant, id, Operation::RestoreSnapshot, about(name), patience).await
    }

    /// The machine stays as it is.
    pub async fn delete_vm_snapshot(&self, tenant: &str, id: &str, name: &str, patience: Patience) -> Result<Outcome<Vm>, Error> {
        self.find_vm(tenant, id).await?;
        self.vm_snapshot(tenant, id, name).await?;
        self.operate_vm(tenant, id, Operation::DeleteSnapshot, about(name), patience).await
    }

    async fn vm_snapshot(&self, tenant: &str, id: &str, name: &str) -> Result<VmSnapshot, Error> {
        let record = self.records().get(tenant, SNAPSHOT, &format!("{id}.{name}")).await?;
        shown::snapshot(&record.ok_or_else(|| Error::not_found("snapshot", name))?)
    }
}

fn about(name: &str) -> Argument {
    Argument { snapshot: Some(name.to_owned()), ..Argument::default() }
}
