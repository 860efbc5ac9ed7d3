//! From what is seen of a machine's process to its status.

use super::asking::TRIES;
use super::stored::Stored;
use super::tasks::Task;
use super::work::{self, Done};
use crate::{Control, Error};
use domain::vms::{Operation, Seen, VmStatus};
use jiff::Timestamp;
use ports::ConnectorError;
use ports::records::{RecordsError, Write};
use ports::vms::{Observed, VmHost};
use std::sync::Arc;

/// What was seen, in the words of the status.
fn seen(observed: &Observed) -> Seen {
    match observed {
        Observed::On { .. } => Seen::Alive,
        Observed::Off(ending) if !ending.clean => Seen::Crashed,
        Observed::Off(_) | Observed::Absent => Seen::Ended,
    }
}

impl Control {
    /// Ends a task, and the machine's status with it as long as no other task has taken its place.
    pub(super) async fn settle_task(&self, host: &Arc<dyn VmHost>, task: &Task, done: Result<Done, ConnectorError>) -> Result<(), Error> {
        let failed = done.as_ref().err().map(work::failure);
        let (extra, reason) = done.map_or_else(|_| (Vec::new(), None), |d| (d.writes, d.reason));
        let (tenant, id) = (&task.record.tenant, task.machine());
        for tried in 1.. {
            let vm = self.find_vm(tenant, id).await?;
            let is_current = vm.body.task.as_deref() == Some(&task.record.id);
            if !is_current && task.body.operation == Operation::Start && failed.is_none() {
                // Somebody pulled the plug in the very moment of its start.
                let _off_or_told = host.stop(id, None).await.inspect_err(|error| tracing::error!(%error, vm = id, "a virtual machine runs that should be off"));
            }
            let mut writes = vec![task.ended(failed.clone())?];
            writes.extend(extra.iter().cloned());
            if is_current {
                let observed = host.observe(id).await;
                let start_failed = (task.body.operation == Operation::Start).then_some(failed.as_ref()).flatten();
                writes.push(settled(&vm, observed, start_failed.map(|f| f.message.clone()).or_else(|| reason.clone()), start_failed.is_some())?);
            }
            match self.records().apply(writes).await {
                Ok(_) => break,
                Err(RecordsError::Changed { .. }) if tried < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.watch_vm(host, tenant, id);
        Ok(())
    }

    /// Corrects the status of a machine on which no operation is at work, and watches it.
    pub(super) async fn settle_idle(&self, host: &Arc<dyn VmHost>, tenant: &str, id: &str) -> Result<(), Error> {
        for tried in 1.. {
            let vm = self.find_vm(tenant, id).await?;
            if vm.body.task.is_some() {
                return Ok(());
            }
            let observed = host.observe(id).await;
            let is_on = matches!(observed, Ok(Observed::On { .. }));
            let was_on = vm.status == VmStatus::Running;
            if is_on || was_on {
                match self.records().apply(vec![settled(&vm, observed, None, false)?]).await {
                    Ok(_) => {}
                    Err(RecordsError::Changed { .. }) if tried < TRIES => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            if is_on {
                self.watch_vm(host, tenant, id);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Waits in the background for the end of its process, and writes it down.
    fn watch_vm(&self, host: &Arc<dyn VmHost>, tenant: &str, id: &str) {
        let (control, host) = (self.clone(), host.clone());
        let (tenant, machine) = (tenant.to_owned(), id.to_owned());
        let watch = tokio::spawn(async move {
            if let Err(error) = host.ended(&machine).await {
                tracing::warn!(%error, vm = machine, "the end of a virtual machine cannot be waited for");
                return;
            }
            match control.settle_ended(&host, &tenant, &machine).await {
                Ok(()) => {}
                Err(error) if error.kind == crate::error::Kind::NotFound => {}
                Err(error) => tracing::warn!(%error, vm = machine, "the end of a virtual machine could not be written down"),
            }
        });
        self.inner.vms.watch(id, watch.abort_handle());
    }

    /// Its process has ended by itself. An operation at work sees that by itself.
    async fn settle_ended(&self, host: &Arc<dyn VmHost>, tenant: &str, id: &str) -> Result<(), Error> {
        for tried in 1.. {
            let vm = self.find_vm(tenant, id).await?;
            if vm.body.task.is_some() || vm.status != VmStatus::Running {
                return Ok(());
            }
            match self.records().apply(vec![settled(&vm, host.observe(id).await, None, false)?]).await {
                Err(RecordsError::Changed { .. }) if tried < TRIES => {}
                other => return other.map(drop).map_err(Error::from),
            }
        }
        Ok(())
    }
}

/// The write for what was seen. A host that cannot look leaves the status of a machine at rest as it was.
fn settled(vm: &Stored, observed: Result<Observed, ConnectorError>, reason: Option<String>, start_failed: bool) -> Result<Write, Error> {
    let mut body = super::stored::Body { task: None, ..vm.body.clone() };
    let Ok(observed) = observed else {
        body.reason = reason.or(body.reason);
        body.running = None;
        let status = if matches!(vm.status, VmStatus::Created | VmStatus::Stopped) { vm.status } else { VmStatus::Failed };
        return vm.becomes(status, &body);
    };
    let status = if start_failed { VmStatus::Failed } else { vm.status.settled(seen(&observed)) };
    match observed {
        Observed::On { running, paused } => {
            if body.running.as_ref().map(|r| r.process) != Some(running.process) {
                body.started_at = Some(Timestamp::now());
            }
            body.running = Some(running);
            body.paused = paused;
            body.reason = None;
        }
        Observed::Off(ending) => {
            body.running = None;
            body.paused = false;
            // A stop says more than what is left to see.
            if vm.status != status || reason.is_some() {
                body.reason = reason.or(Some(ending.reason));
            }
        }
        Observed::Absent => {
            body.running = None;
            body.paused = false;
            body.reason = reason.or(body.reason);
        }
    }
    vm.becomes(status, &body)
}
