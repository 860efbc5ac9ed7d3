//! Room for one more machine: what a tenant's machines add up to is asked in the transaction that makes one.
//!
//! Machines that a quota limits are made one after the other: each transaction raises the version of one record of the tenant, and one that has seen
//! an older version looks again. What is deleted only makes room, so it asks nobody.

use super::Vm;
use super::stored::{self, Body, KIND, Stored};
use crate::Error;
use crate::error::{Code, Kind};
use crate::limits::{Quotas, over, stored_quotas};
use domain::decode::Problems;
use domain::vms::{VmSpec, VmStatus};
use ports::records::{Fields, RecordFilter, Records, RecordsError, SYSTEM, Write};
use serde_json::json;
use std::sync::Arc;

/// Kind of the record whose version is raised; its id is the tenant.
const TURN: &str = "vm_turn";
/// Tries beside others who make machines at the same time.
const TRIES: usize = 64;
/// Size of a disk that nobody named and no image gives, in GiB.
const EMPTY: u64 = 1;

/// Makes the machine, or refuses.
pub(super) async fn insert(records: &Arc<dyn Records>, tenant: &str, id: &str, body: &Body, status: VmStatus) -> Result<Vm, Error> {
    for _ in 0..TRIES {
        let quotas = stored_quotas(records, tenant).await?;
        let mut writes = stored::insert(tenant, id, body, status)?;
        if quotas.limit_machines() {
            writes.push(turn(records, tenant).await?);
            // Read behind the turn: whoever makes one meanwhile has raised its version.
            refuse_full(records, tenant, &quotas, &body.spec).await?;
        }
        match records.apply(writes).await {
            Ok(made) => {
                let record = made.into_iter().next().ok_or_else(|| Error::internal("a virtual machine was written, and no record came back"))?;
                return Ok(Stored::of(record)?.view());
            }
            Err(RecordsError::Changed { kind, .. } | RecordsError::Taken { kind, .. }) if kind == TURN => {}
            Err(error) => return Err(error.into()),
        }
    }
    let message = "Too many virtual machines of this tenant are made at once; the same request may succeed in a moment";
    Err(Error::new(Kind::Unavailable, Code::Unavailable, message))
}

async fn turn(records: &Arc<dyn Records>, tenant: &str) -> Result<Write, Error> {
    let record = records.get(SYSTEM, TURN, tenant).await?;
    Ok(record.map_or_else(|| Write::insert(SYSTEM, TURN, tenant, Fields::body(json!({}))), |r| Write::update(&r, Fields::body(json!({})))))
}

async fn refuse_full(records: &Arc<dyn Records>, tenant: &str, quotas: &Quotas, wanted: &VmSpec) -> Result<(), Error> {
    if quotas.vm_disk_gib.is_some() && disk(wanted).is_none() {
        let mut problems = Problems::default();
        problems.note("disk_gib", "is required beside an image: this tenant's disks are limited, and what an image needs is not known before it is there");
        return Err(Error::request(problems));
    }
    let mut used = [0_u64; 4];
    for record in records.list(tenant, KIND, &RecordFilter::default()).await? {
        for (sum, one) in used.iter_mut().zip(needs(&Stored::of(record)?.body.spec)) {
            *sum += one;
        }
    }
    let limits = [
        ("vms", quotas.vms, "virtual machines"),
        ("vm_vcpus", quotas.vm_vcpus, "processors in virtual machines"),
        ("vm_memory_mib", quotas.vm_memory_mib, "MiB of memory in virtual machines"),
        ("vm_disk_gib", quotas.vm_disk_gib, "GiB of disk in virtual machines"),
    ];
    for ((quota, limit, what), (used, needed)) in limits.into_iter().zip(used.into_iter().zip(needs(wanted))) {
        if let Some(limit) = limit.map(u64::from).filter(|limit| used + needed > *limit) {
            let what = format!("{what}: {used} are used and {needed} more would be; delete a machine, or ask for more");
            return Err(over(quota, used, limit, &what));
        }
    }
    Ok(())
}

/// Machines, processors, MiB of memory, GiB of disk.
fn needs(spec: &VmSpec) -> [u64; 4] {
    [1, spec.vcpus.into(), spec.memory_mib, disk(spec).unwrap_or(EMPTY)]
}

/// `None`: as large as its image, whatever that is.
fn disk(spec: &VmSpec) -> Option<u64> {
    spec.disk_gib.or_else(|| spec.image.is_none().then_some(EMPTY))
}
