//! Asking for operations: the status decides, a task is written, and whoever asked may wait for its end.

use super::stored::{Stored, TASK};
use super::tasks::{self, Argument, FAILED, Task};
use super::{Vm, VmTask, request};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::vms::{Operation, Refusal};
use ports::records::RecordsError;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer waits for the operation, unless the caller says otherwise. Less than most clients' own patience.
const USUAL_WAIT: Duration = Duration::from_mins(1);
/// How often a task is looked at that another server carries out.
const LOOK: Duration = Duration::from_millis(250);
/// Tries of a write beside which the machine changes.
pub(super) const TRIES: usize = 8;

/// For how long the caller waits for the end of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(USUAL_WAIT)
    }
}

/// What has become of an operation when the caller's patience was over.
#[derive(Debug, Clone)]
pub enum Outcome<T> {
    Now(T),
    /// It goes on; the task can be followed.
    Later(VmTask),
}

impl Control {
    /// A machine that is off or failed; makes its disk the first time.
    pub async fn start_vm(&self, tenant: &str, id: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<Vm>, Error> {
        request::nothing(body)?;
        self.operate_vm(tenant, id, Operation::Start, Argument::default(), patience).await
    }

    /// Presses the power button and waits for the guest, then pulls the plug; or pulls it at once.
    pub async fn stop_vm(&self, tenant: &str, id: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<Vm>, Error> {
        let waits = request::stop(body)?;
        let operation = if waits.is_some() { Operation::Stop } else { Operation::ForceStop };
        self.operate_vm(tenant, id, operation, Argument { patience: waits, ..Argument::default() }, patience).await
    }

    /// The reset button of a machine that runs.
    pub async fn reboot_vm(&self, tenant: &str, id: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<Vm>, Error> {
        request::nothing(body)?;
        self.operate_vm(tenant, id, Operation::Reboot, Argument::default(), patience).await
    }

    pub async fn pause_vm(&self, tenant: &str, id: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<Vm>, Error> {
        request::nothing(body)?;
        self.operate_vm(tenant, id, Operation::Pause, Argument::default(), patience).await
    }

    pub async fn resume_vm(&self, tenant: &str, id: &str, body: Option<&Value>, patience: Patience) -> Result<Outcome<Vm>, Error> {
        request::nothing(body)?;
        self.operate_vm(tenant, id, Operation::Resume, Argument::default(), patience).await
    }

    pub(super) async fn operate_vm(&self, tenant: &str, id: &str, operation: Operation, argument: Argument, patience: Patience) -> Result<Outcome<Vm>, Error> {
        let task = self.ask_vm(tenant, id, operation, argument).await?;
        Ok(match self.vm_task_followed(tenant, &task, patience).await? {
            None => Outcome::Now(self.vm(tenant, id).await?),
            Some(task) => Outcome::Later(task),
        })
    }

    /// Writes the operation down, if the machine's status allows it; gives its task.
    pub(super) async fn ask_vm(&self, tenant: &str, id: &str, operation: Operation, argument: Argument) -> Result<String, Error> {
        for tried in 1.. {
            let vm = self.find_vm(tenant, id).await?;
            let status = vm.state().begin(operation).map_err(|why| refused(&vm, operation, why))?;
            let task = uuid::Uuid::now_v7().simple().to_string();
            let body = super::stored::Body { task: Some(task.clone()), ..vm.body.clone() };
            let writes = vec![vm.becomes(status, &body)?, tasks::insert(tenant, id, &task, operation, argument.clone())?, vm.marked()];
            match self.records().apply(writes).await {
                Ok(_) => {
                    self.inner.vms.bell.notify_one();
                    return Ok(task);
                }
                Err(RecordsError::Changed { .. }) if tried < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::internal("a loop without end ended"))
    }

    /// Waits for the end of a task: `None` when it is done, the task when it takes longer; its failure as an error. A task that is gone went with its
    /// machine.
    pub(super) async fn vm_task_followed(&self, tenant: &str, task: &str, patience: Patience) -> Result<Option<VmTask>, Error> {
        let deadline = Instant::now() + patience.0;
        loop {
            let ended = self.inner.vms.ended.notified();
            let Some(record) = self.records().get(tenant, TASK, task).await? else { return Ok(None) };
            let task = Task::of(record)?;
            if task.has_ended() {
                return failure(&task).map_or(Ok(None), Err);
            }
            if Instant::now() >= deadline {
                return Ok(Some(task.view()));
            }
            let look = (Instant::now() + LOOK).min(deadline);
            tokio::select! { () = ended => {} () = tokio::time::sleep_until(look) => {} }
        }
    }
}

fn refused(vm: &Stored, operation: Operation, why: Refusal) -> Error {
    let doing = operation.word().replace('_', " ");
    let holder = vm.body.held.as_ref().map(|held| &held.run);
    let why = match holder {
        Some(run) => format!("the migration {run} has its disk; it is free again when that has completed, or is rolled back"),
        None => why.text().to_owned(),
    };
    let message = format!("Cannot {doing} the virtual machine '{}': {why}", vm.body.spec.name);
    let details = json!({"vm_id": vm.record.id, "current_status": vm.status.word(), "task_id": vm.body.task, "migration_id": holder});
    Error::new(Kind::Conflict, Code::InvalidState, message).details(details)
}

/// What a task that failed is to the one who waited for it.
fn failure(task: &Task) -> Option<Error> {
    let failed = task.body.error.as_ref().filter(|_| task.record.state.as_deref() == Some(FAILED))?;
    let details = json!({"vm_id": task.machine(), "task_id": task.record.id, "kind": failed.kind, "retryable": failed.retryable});
    Some(Error::new(Kind::Unavailable, Code::VmOperationFailed, failed.message.clone()).details(details))
}
