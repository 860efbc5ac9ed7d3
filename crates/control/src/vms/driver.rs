//! The server's side on a node: it takes what is marked for it, and takes over what was left when it starts.

use super::stored::{NODE, TASK, place, tenant_of};
use super::tasks::{Task, WAITING};
use crate::error::Kind;
use crate::{Control, Error};
use ports::records::{Fields, Record, RecordFilter, RecordsError, SYSTEM, Write};
use ports::vms::VmHost;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often a server looks for marks that another one has set.
const LOOK: Duration = Duration::from_secs(1);
/// A marked machine is looked at again after this time, until there is nothing to do.
const HOLD: Duration = Duration::from_mins(1);
const AT_ONCE: u32 = 64;

impl Control {
    /// Runs this node's machines until `stop`. They go on running afterwards, and are taken over by the next server on this node.
    pub async fn keep_vms(&self, stop: CancellationToken) {
        let Some(host) = self.options().vms.host.clone() else { return };
        let mut work = JoinSet::new();
        let mut taken_over = false;
        while !stop.is_cancelled() {
            let turn = async {
                if !taken_over {
                    self.take_over_vms(&host).await?;
                    taken_over = true;
                }
                self.take_marked_vms(&host, &mut work).await
            };
            if let Err(error) = turn.await {
                tracing::warn!(%error, "virtual machines could not be looked at; tried again in a moment");
            }
            while work.try_join_next().is_some() {}
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.inner.vms.bell.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        // What is cut off here goes on with the next start.
        work.shutdown().await;
        self.inner.vms.let_go();
    }

    /// At the start: says that there is such a node, lets begun tasks go on, and looks what has become of each machine.
    async fn take_over_vms(&self, host: &Arc<dyn VmHost>) -> Result<(), Error> {
        let node = self.own_node();
        match self.records().apply(vec![Write::insert(SYSTEM, NODE, &node, Fields::body(json!({})))]).await {
            Ok(_) | Err(RecordsError::Taken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let places = self.records().list(SYSTEM, &place(&node), &RecordFilter::default()).await?;
        for record in &places {
            told(self.look_again_at_vm(host, record).await, record)?;
        }
        let kept = host.machines().await.unwrap_or_default();
        let strangers: Vec<&String> = kept.iter().filter(|id| !places.iter().any(|p| p.id == **id)).collect();
        if !strangers.is_empty() {
            // Another database may know them: nothing of somebody's disk is thrown away on a suspicion.
            tracing::warn!(?strangers, "this node keeps virtual machines that this database does not know; they are left as they are");
        }
        Ok(())
    }

    async fn look_again_at_vm(&self, host: &Arc<dyn VmHost>, place: &Record) -> Result<(), Error> {
        let tenant = tenant_of(place);
        match self.find_vm(&tenant, &place.id).await {
            Ok(vm) if vm.body.task.is_some() => {
                self.records().apply(vec![vm.marked()]).await?;
                Ok(())
            }
            Ok(_) => self.settle_idle(host, &tenant, &place.id).await,
            Err(error) => Err(error),
        }
    }

    async fn take_marked_vms(&self, host: &Arc<dyn VmHost>, work: &mut JoinSet<()>) -> Result<(), Error> {
        for marked in self.records().take_due(&place(&self.own_node()), AT_ONCE, HOLD, None).await? {
            told(self.take_marked_vm(host, &marked, work).await, &marked)?;
        }
        Ok(())
    }

    async fn take_marked_vm(&self, host: &Arc<dyn VmHost>, marked: &Record, work: &mut JoinSet<()>) -> Result<(), Error> {
        let filter = RecordFilter { parent: Some(marked.id.clone()), states: vec![WAITING.to_owned()], ..RecordFilter::default() };
        let waiting = self.records().list(&tenant_of(marked), TASK, &filter).await?;
        if waiting.is_empty() {
            self.unmark_vm(marked).await?;
        }
        for record in waiting {
            let task = Task::of(record)?;
            if self.inner.vms.begin(&task.record.id) {
                let (control, host) = (self.clone(), host.clone());
                work.spawn(async move { control.carry_vm_task(&host, task).await });
            }
        }
        Ok(())
    }

    /// Nothing to do. A mark that was set meanwhile stays.
    async fn unmark_vm(&self, marked: &Record) -> Result<(), Error> {
        match self.records().apply(vec![Write::update(marked, Fields::default().due(None))]).await {
            Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is wrong with one machine must not keep the others waiting; a store that does not answer is everybody's.
fn told(result: Result<(), Error>, place: &Record) -> Result<(), Error> {
    match result {
        Err(error) if error.kind != Kind::Unavailable => {
            tracing::error!(%error, private = error.private, vm = place.id, "a virtual machine cannot be looked after");
            Ok(())
        }
        other => other,
    }
}
