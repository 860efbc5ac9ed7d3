//! Carrying out one task on this node.

use super::stored::{SNAPSHOT, Stored, TASK, place};
use super::tasks::{Failure, Task};
use crate::error::Kind;
use crate::{Control, Error};
use domain::vms::Operation;
use ports::records::{Fields, RecordFilter, RecordsError, SYSTEM, Write};
use ports::vms::{Act, VmHost};
use ports::{ConnectorError, ErrorKind};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What a task has led to, beside what can be seen of the machine.
pub(super) struct Done {
    /// Writes that belong to it.
    pub writes: Vec<Write>,
    /// Why the machine is not running, when the operation knows.
    pub reason: Option<String>,
}

impl Done {
    fn nothing() -> Self {
        Self { writes: Vec::new(), reason: None }
    }
}

impl Control {
    /// To its end, whatever that is. A store that does not answer leaves it to the next look.
    pub(super) async fn carry_vm_task(&self, host: &Arc<dyn VmHost>, task: Task) {
        let outcome = self.try_vm_task(host, &task).await;
        if let Err(error) = outcome {
            tracing::warn!(%error, task = task.record.id, "a task of a virtual machine could not be written down; it is looked at again");
        }
        self.inner.vms.end(&task.record.id);
    }

    async fn try_vm_task(&self, host: &Arc<dyn VmHost>, task: &Task) -> Result<(), Error> {
        let tenant = &task.record.tenant;
        let vm = self.find_vm(tenant, task.machine()).await?;
        if let Err(refused) = self.author_of_task(task).await {
            if refused.kind == Kind::Unavailable {
                return Err(refused);
            }
            let late = ConnectorError::new(ErrorKind::Permission, task.body.operation.word(), task.machine(), refused.message).permanent();
            return self.settle_task(host, task, Err(late)).await;
        }
        if task.body.operation == Operation::Delete {
            return self.delete_everything(host, &vm, task).await;
        }
        if task.body.operation == Operation::Start && vm.body.task.as_deref() != Some(&task.record.id) {
            let late = ConnectorError::new(ErrorKind::Stopped, "start", task.machine(), "its plug was pulled before it began");
            return self.settle_task(host, task, Err(late)).await;
        }
        let done = self.operate_host(host, &vm, task).await;
        if let Err(error) = &done {
            tracing::warn!(%error, vm = task.machine(), operation = task.body.operation.word(), "an operation on a virtual machine failed");
        }
        self.settle_task(host, task, done).await
    }

    /// Whether whoever asked for the task may still have it done: the node may have been away for long.
    async fn author_of_task(&self, task: &Task) -> Result<(), Error> {
        match &task.body.author {
            Some(author) => self.author_now(Some(author), &task.record.tenant).await?.require(crate::migrations::VMS),
            None => Ok(()),
        }
    }

    async fn operate_host(&self, host: &Arc<dyn VmHost>, vm: &Stored, task: &Task) -> Result<Done, ConnectorError> {
        let (id, argument) = (vm.record.id.as_str(), &task.body.argument);
        let snapshot = argument.snapshot.as_deref().unwrap_or_default();
        match task.body.operation {
            Operation::Start => self.start_on_host(host, vm).await?,
            Operation::Stop => {
                let waits = argument.patience.filter(|_| vm.body.spec.has_system()).map(Duration::from_secs);
                return Ok(Done { reason: Some(host.stop(id, waits).await?.reason), ..Done::nothing() });
            }
            Operation::ForceStop => return Ok(Done { reason: Some(host.stop(id, None).await?.reason), ..Done::nothing() }),
            Operation::Reboot => host.act(id, Act::Reset).await?,
            Operation::Pause => host.act(id, Act::Pause).await?,
            Operation::Resume => host.act(id, Act::Resume).await?,
            Operation::CreateSnapshot => return self.save_snapshot(host, vm, snapshot).await,
            Operation::RestoreSnapshot => host.restore(id, snapshot).await?,
            Operation::DeleteSnapshot => {
                host.forget(id, snapshot).await?;
                let gone = Write::Delete { tenant: vm.record.tenant.clone(), kind: SNAPSHOT.to_owned(), id: format!("{id}.{snapshot}"), version: None };
                return Ok(Done { writes: vec![gone], ..Done::nothing() });
            }
            Operation::Delete => {}
        }
        Ok(Done::nothing())
    }

    async fn start_on_host(&self, host: &Arc<dyn VmHost>, vm: &Stored) -> Result<(), ConnectorError> {
        let id = &vm.record.id;
        let refused = |kind, why: String| ConnectorError::new(kind, "start", format!("virtual machine {id}"), why);
        match self.refused_file(&vm.record.tenant, &vm.body.spec).await {
            Ok(None) => host.start(id, &vm.body.spec).await.map(drop),
            Ok(Some(why)) => Err(refused(ErrorKind::Invalid, why).advice("Make a machine over another image")),
            Err(error) => Err(refused(ErrorKind::Internal, error.message.clone()).because(error)),
        }
    }

    async fn save_snapshot(&self, host: &Arc<dyn VmHost>, vm: &Stored, name: &str) -> Result<Done, ConnectorError> {
        let id = &vm.record.id;
        let memory = host.save(id, name).await?;
        let fields = Fields::body(json!({"name": name, "memory": memory})).parent(id.clone());
        Ok(Done { writes: vec![Write::insert(&vm.record.tenant, SNAPSHOT, &format!("{id}.{name}"), fields)], ..Done::nothing() })
    }

    /// The host's things first: while they are there, the records that name them stay.
    async fn delete_everything(&self, host: &Arc<dyn VmHost>, vm: &Stored, task: &Task) -> Result<(), Error> {
        let id = &vm.record.id;
        self.inner.vms.unwatch(id);
        if let Err(error) = host.remove(id).await {
            return self.settle_task(host, task, Err(error)).await;
        }
        let gone = |tenant: &str, kind: &str, id: &str| Write::Delete { tenant: tenant.to_owned(), kind: kind.to_owned(), id: id.to_owned(), version: None };
        let tenant = &vm.record.tenant;
        let mut writes = vec![gone(tenant, super::stored::KIND, id), gone(SYSTEM, &place(&vm.body.node), id)];
        for kind in [TASK, SNAPSHOT] {
            let filter = RecordFilter { parent: Some(id.clone()), ..RecordFilter::default() };
            writes.extend(self.records().list(tenant, kind, &filter).await?.iter().map(|r| gone(tenant, kind, &r.id)));
        }
        match self.records().apply(writes).await {
            Ok(_) | Err(RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a failure of the host is to the task, and to the machine's own description.
pub(super) fn failure(error: &ConnectorError) -> Failure {
    let mut failure = Failure::from(error);
    if error.kind == ErrorKind::Internal {
        failure.retryable = false;
    }
    failure
}
