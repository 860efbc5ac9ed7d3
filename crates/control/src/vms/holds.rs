//! Machines that a migration of their disk has: nobody starts, changes or deletes one before the migration gives it back.
//!
//! What says so is the machine's own record, so that it outlives every process. A migration that ends for good without giving back (failed, cancelled)
//! is resumed or rolled back; until then it is not deleted either.

use super::asking::TRIES;
use super::stored::{Body, Held, KIND, SNAPSHOT, Stored, TASK, place};
use super::{Setup, room};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::vms::{Image, ImageFormat, ImagePlace, Operation, VmSpec, VmStatus};
use ports::disks::VmHolds;
use ports::records::{RecordFilter, Records, RecordsError, SYSTEM, Write};
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::json;
use std::sync::Arc;

/// The records' side of [`ports::disks`].
pub struct Holds {
    records: Arc<dyn Records>,
    setup: Setup,
}

impl Holds {
    pub fn new(records: Arc<dyn Records>, setup: Setup) -> Self {
        Self { records, setup }
    }

    async fn stored(&self, tenant: &str, id: &str) -> Result<Option<Stored>> {
        let record = self.records.get(tenant, KIND, id).await.map_err(|e| unanswered(id, e.into()))?;
        record.map(Stored::of).transpose().map_err(|e| unanswered(id, e))
    }

    async fn found(&self, tenant: &str, id: &str, run: &str) -> Result<Stored> {
        let vm = self.stored(tenant, id).await?;
        let vm = vm.ok_or_else(|| refused(id, ErrorKind::NotFound, "there is no such machine", "Choose one that GET /vms lists"))?;
        if vm.body.node != self.setup.node_name() {
            let advice = format!("Ask the server on '{}': it has the disk", vm.body.node);
            return Err(refused(
                id,
                ErrorKind::Unsupported,
                &format!("it is kept on the node '{}', and this is '{}'", vm.body.node, self.setup.node_name()),
                &advice,
            ));
        }
        match &vm.body.held {
            Some(held) if held.run == run => return Ok(vm),
            Some(held) => return Err(refused(id, ErrorKind::Invalid, &format!("the migration {} has it", held.run), "Wait for that one to end")),
            None => {}
        }
        match vm.status {
            VmStatus::Stopped | VmStatus::Failed if vm.body.task.is_none() => Ok(vm),
            VmStatus::Created => Err(refused(id, ErrorKind::Invalid, "it has no disk before its first start", "Start it once, and stop it")),
            VmStatus::Running => Err(refused(id, ErrorKind::Invalid, "it is running", "Stop it first")),
            _ => Err(refused(id, ErrorKind::Invalid, "another operation is at work on it", "Wait for that to end")),
        }
    }

    /// Writes what `next` makes of the machine, as often as somebody else is faster. `None`: nothing is to be written.
    async fn change(&self, tenant: &str, id: &str, next: impl Fn(&Stored) -> Result<Option<(VmStatus, Body)>>) -> Result<()> {
        for _ in 0..TRIES {
            let Some(vm) = self.stored(tenant, id).await? else { return Ok(()) };
            let Some((status, body)) = next(&vm)? else { return Ok(()) };
            let write = vm.becomes(status, &body).map_err(|e| unanswered(id, e))?;
            match self.records.apply(vec![write]).await {
                Err(RecordsError::Changed { .. }) => {}
                other => return other.map(drop).map_err(|e| unanswered(id, e.into())),
            }
        }
        Err(ConnectorError::new(ErrorKind::Changed, "use", subject(id), "it changes too often to be taken"))
    }

    async fn forget(&self, vm: &Stored) -> std::result::Result<(), Error> {
        let (tenant, id) = (&vm.record.tenant, &vm.record.id);
        let gone = |tenant: &str, kind: &str, id: &str| Write::Delete { tenant: tenant.to_owned(), kind: kind.to_owned(), id: id.to_owned(), version: None };
        let mut writes = vec![gone(tenant, KIND, id), gone(SYSTEM, &place(&vm.body.node), id)];
        for kind in [TASK, SNAPSHOT] {
            let filter = RecordFilter { parent: Some(id.clone()), ..RecordFilter::default() };
            writes.extend(self.records.list(tenant, kind, &filter).await?.iter().map(|r| gone(tenant, kind, &r.id)));
        }
        match self.records.apply(writes).await {
            Ok(_) | Err(RecordsError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait::async_trait]
impl VmHolds for Holds {
    fn node(&self) -> String {
        self.setup.node_name()
    }

    fn new_id(&self) -> String {
        uuid::Uuid::now_v7().simple().to_string()
    }

    async fn find(&self, tenant: &str, id: &str, run: &str) -> Result<VmSpec> {
        Ok(self.found(tenant, id, run).await?.body.spec)
    }

    async fn take(&self, tenant: &str, id: &str, run: &str) -> Result<()> {
        for _ in 0..TRIES {
            let vm = self.found(tenant, id, run).await?;
            if vm.body.held.is_some() {
                return Ok(());
            }
            let body = Body { held: Some(Held { run: run.to_owned(), before: vm.status }), ..vm.body.clone() };
            let write = vm.becomes(VmStatus::Migrating, &body).map_err(|e| unanswered(id, e))?;
            match self.records.apply(vec![write]).await {
                Err(RecordsError::Changed { .. }) => {}
                other => return other.map(drop).map_err(|e| unanswered(id, e.into())),
            }
        }
        Err(ConnectorError::new(ErrorKind::Changed, "use", subject(id), "it changes too often to be taken"))
    }

    async fn release(&self, tenant: &str, id: &str, run: &str) -> Result<()> {
        let freed = |vm: &Stored| {
            let held = vm.body.held.as_ref().filter(|held| held.run == run);
            Ok(held.map(|held| (held.before, Body { held: None, ..vm.body.clone() })))
        };
        self.change(tenant, id, freed).await
    }

    async fn make(&self, tenant: &str, id: &str, run: &str, spec: &VmSpec) -> Result<()> {
        if self.stored(tenant, id).await?.is_some() {
            return Ok(());
        }
        let image = Image { place: ImagePlace::Moved { migration: run.to_owned() }, format: ImageFormat::Qcow2 };
        let spec = VmSpec { image: Some(image), node: None, ..spec.clone() };
        let held = Some(Held { run: run.to_owned(), before: VmStatus::Stopped });
        let body = Body { held, ..Body::new(spec, self.setup.node_name()) };
        room::insert(&self.records, tenant, id, &body, VmStatus::Migrating).await.map(drop).map_err(|e| unmade(&body.spec.name, e))
    }

    async fn discard(&self, tenant: &str, id: &str, run: &str) -> Result<()> {
        let ours = |vm: &Stored| matches!(&vm.body.spec.image, Some(Image { place: ImagePlace::Moved { migration }, .. }) if migration == run);
        // First nobody else may have it any more.
        let kept = |vm: &Stored| {
            if !ours(vm) || vm.body.held.as_ref().is_some_and(|held| held.run == run) {
                return Ok(None);
            }
            if let Some(held) = &vm.body.held {
                return Err(refused(
                    id,
                    ErrorKind::Invalid,
                    &format!("the migration {} has it", held.run),
                    "Wait for that one to end, then resolve this migration",
                ));
            }
            match vm.state().begin(Operation::Delete) {
                Ok(_) => Ok(Some((VmStatus::Migrating, Body { held: Some(Held { run: run.to_owned(), before: vm.status }), ..vm.body.clone() }))),
                Err(why) => Err(refused(id, ErrorKind::Invalid, why.text(), "Then resolve this migration")),
            }
        };
        self.change(tenant, id, kept).await?;
        let vm = self.stored(tenant, id).await?.filter(ours);
        if let Some(host) = &self.setup.host {
            host.remove(id).await?;
        }
        match vm {
            Some(vm) => self.forget(&vm).await.map_err(|e| unanswered(id, e)),
            None => Ok(()),
        }
    }

    fn admits(&self, spec: &VmSpec) -> std::result::Result<(), (&'static str, String)> {
        for (field, path) in [("kernel", &spec.kernel), ("initrd", &spec.initrd)] {
            if let Some(why) = path.as_ref().and_then(|path| super::request::refusal(path, &self.setup.image_roots)) {
                return Err((field, why));
            }
        }
        Ok(())
    }
}

impl Control {
    /// Refuses to forget a migration that has a machine: nobody could give it back any more.
    pub(crate) async fn refuse_holder(&self, tenant: &str, run: &str) -> std::result::Result<(), Error> {
        let filter = RecordFilter { states: vec![VmStatus::Migrating.word().to_owned()], ..RecordFilter::default() };
        for record in self.records().list(tenant, KIND, &filter).await? {
            let vm = Stored::of(record)?;
            if vm.body.held.as_ref().is_some_and(|held| held.run == run) {
                let message = format!(
                    "Cannot delete this migration: it has the virtual machine '{}'. Roll it back first; that gives the machine back",
                    vm.body.spec.name
                );
                return Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": run, "vm_id": vm.record.id})));
            }
        }
        Ok(())
    }
}

fn subject(id: &str) -> String {
    format!("virtual machine {id}")
}

fn refused(id: &str, kind: ErrorKind, why: &str, advice: &str) -> ConnectorError {
    ConnectorError::new(kind, "use", subject(id), why).advice(advice)
}

/// The store did not answer, or holds what cannot be read.
fn unanswered(id: &str, error: Error) -> ConnectorError {
    let temporary = error.kind == Kind::Unavailable;
    let mut out = ConnectorError::new(ErrorKind::Internal, "look up", subject(id), error.message.clone()).because(error);
    out.temporary = temporary;
    out
}

/// A machine that could not be made: a full quota is the one reason that its owner can do something about.
fn unmade(name: &str, error: Error) -> ConnectorError {
    if error.code != Code::QuotaExceeded {
        return unanswered(name, error);
    }
    ConnectorError::new(ErrorKind::NoSpace, "make the virtual machine", name, error.message.clone()).because(error)
}
