//! Making, looking at and removing machines.

use super::asking::{Outcome, Patience};
use super::stored::{Body, KIND, NODE, Stored, TASK};
use super::tasks::{Argument, Task};
use super::{Vm, VmDeleted, VmTask, request, room};
use crate::{Control, Error, Filter};
use domain::decode::Problems;
use domain::vms::{Operation, VmStatus};
use ports::records::{RecordFilter, SYSTEM};
use serde_json::Value;

impl Control {
    /// Each call makes a new one; names may repeat. Nothing is started, no disk made, no image fetched yet.
    pub async fn create_vm(&self, tenant: &str, body: &Value) -> Result<Vm, Error> {
        let here = self.own_node();
        let spec = request::definition(self, tenant, body, &here).await?;
        let node = spec.node.clone().unwrap_or_else(|| here.clone());
        if node != here {
            self.known_vm_node(&node).await?;
        }
        let id = uuid::Uuid::now_v7().simple().to_string();
        room::insert(self.records(), tenant, &id, &Body::new(spec, node), VmStatus::Created).await
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`, `cursor`, `status`, `name`.
    pub async fn vms(&self, tenant: &str, mut query: Filter) -> Result<Vec<Vm>, Error> {
        let page = query.page();
        let words = VmStatus::ALL.map(|s| (s.word(), s));
        let status = query.choice("status", &words);
        let name = query.text("name");
        query.done()?;
        let states = status.iter().map(|s| s.word().to_owned()).collect();
        let filter = RecordFilter { states, parent: name, ..page.filter() };
        self.records().list(tenant, KIND, &filter).await?.into_iter().map(|r| Ok(Stored::of(r)?.view())).collect()
    }

    pub async fn vm(&self, tenant: &str, id: &str) -> Result<Vm, Error> {
        Ok(self.find_vm(tenant, id).await?.view())
    }

    /// With its disk, snapshots, console log and tasks. A running one has to be stopped first.
    pub async fn delete_vm(&self, tenant: &str, id: &str, patience: Patience) -> Result<Outcome<VmDeleted>, Error> {
        let task = self.ask_vm(tenant, id, Operation::Delete, Argument::default()).await?;
        Ok(match self.vm_task_followed(tenant, &task, patience).await? {
            None => Outcome::Now(VmDeleted { id: id.to_owned(), status: "deleted" }),
            Some(task) => Outcome::Later(task),
        })
    }

    /// Newest first. Parameters: `limit`, `offset`, `cursor`.
    pub async fn vm_tasks(&self, tenant: &str, id: &str, mut query: Filter) -> Result<Vec<VmTask>, Error> {
        let filter = RecordFilter { parent: Some(id.to_owned()), ..query.page().filter() };
        query.done()?;
        self.find_vm(tenant, id).await?;
        self.records().list(tenant, TASK, &filter).await?.into_iter().map(|r| Ok(Task::of(r)?.view())).collect()
    }

    pub async fn vm_task(&self, tenant: &str, id: &str, task: &str) -> Result<VmTask, Error> {
        let record = self.records().get(tenant, TASK, task).await?.filter(|r| r.parent.as_deref() == Some(id));
        Ok(Task::of(record.ok_or_else(|| Error::not_found("task", task))?)?.view())
    }

    pub(super) async fn find_vm(&self, tenant: &str, id: &str) -> Result<Stored, Error> {
        Stored::of(self.records().get(tenant, KIND, id).await?.ok_or_else(|| Error::not_found(KIND, id))?)
    }

    /// The name of the node that this process is on.
    pub(crate) fn own_node(&self) -> String {
        self.options().vms.node_name()
    }

    async fn known_vm_node(&self, node: &str) -> Result<(), Error> {
        let known = self.records().list(SYSTEM, NODE, &RecordFilter::default()).await?;
        if known.iter().any(|r| r.id == node) {
            return Ok(());
        }
        let names: Vec<&str> = known.iter().map(|r| r.id.as_str()).collect();
        let mut problems = Problems::default();
        problems.note("node", format!("'{}' is no node that runs virtual machines; there are: {}", node.escape_default(), names.join(", ")));
        Err(Error::request(problems))
    }
}
