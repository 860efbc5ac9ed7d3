//! Quotas of tenants: set by the administrators of `default`, seen by the tenant's own.

use crate::error::{Code, Kind};
use crate::templates::unchanged;
use crate::{Caller, Control, Error};
use domain::decode::{Fields, Problems};
use engine::{RunFilter, RunState};
use ports::records::{self, Record, Records, RecordsError, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

const KIND: &str = "quota";
/// How long a change made through another server may go unnoticed.
const FRESH: Duration = Duration::from_secs(5);

/// What a tenant may use; absent or null: as much as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Quotas {
    /// Migrations at work at once (running or rolling back). One more is not started.
    #[schema(example = 10)]
    pub running_migrations: Option<u32>,
    /// Backups that are kept. A migration that would make one more is not started.
    #[schema(example = 100)]
    pub stored_backups: Option<u32>,
    /// Requests of all its callers together; twice as many may come at once.
    #[schema(example = 50)]
    pub requests_per_second: Option<u32>,
    /// Virtual machines, running or not. One more is not made, and so with the next three.
    #[schema(example = 20)]
    pub vms: Option<u32>,
    /// Processors of all its virtual machines together.
    #[schema(example = 40)]
    pub vm_vcpus: Option<u32>,
    /// MiB of memory of all its virtual machines together.
    #[schema(example = 65536)]
    pub vm_memory_mib: Option<u32>,
    /// GiB of disk of all its virtual machines together, as large as their guests see them. A machine with an image needs its own `disk_gib` then.
    #[schema(example = 500)]
    pub vm_disk_gib: Option<u32>,
}

impl Quotas {
    /// Whether something limits virtual machines.
    pub(crate) fn limit_machines(&self) -> bool {
        [self.vms, self.vm_vcpus, self.vm_memory_mib, self.vm_disk_gib].iter().any(Option::is_some)
    }
}

/// A tenant's quotas.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QuotasView {
    #[schema(example = "tenant-123")]
    pub tenant_id: String,
    #[serde(flatten)]
    #[schema(inline)]
    pub quotas: Quotas,
    /// Raised by every change; what `ETag` and `If-Match` compare. 0: never set.
    #[schema(example = 1)]
    pub version: u64,
}

/// What was read lately.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<String, (Instant, Quotas)>>);

impl Control {
    pub async fn quotas(&self, caller: &Caller, tenant: &str) -> Result<QuotasView, Error> {
        let tenant = self.tenant_in_reach(caller, Some(tenant)).await?;
        let record = self.records().get(SYSTEM, KIND, &tenant).await?;
        Ok(view(tenant, record.as_ref()))
    }

    /// Replaces all of them. `expected`: the version that the caller has read.
    pub async fn set_quotas(&self, caller: &Caller, tenant: &str, body: &Value, expected: Option<u64>) -> Result<QuotasView, Error> {
        caller.require_operator()?;
        let tenant = self.tenant_in_reach(caller, Some(tenant)).await?;
        let quotas = decode(body)?;
        let fields = records::Fields::body(json!(quotas));
        let before = self.records().get(SYSTEM, KIND, &tenant).await?;
        let write = match &before {
            Some(record) => {
                unchanged(record, expected)?;
                Write::update(record, fields)
            }
            // What was never set shows version 0.
            None if expected.is_none_or(|version| version == 0) => Write::insert(SYSTEM, KIND, &tenant, fields),
            None => return Err(RecordsError::Changed { kind: KIND.to_owned(), id: tenant }.into()),
        };
        let limit = Write::Limit { tenant: tenant.clone(), active: quotas.running_migrations };
        let made = self.records().apply(vec![write, limit]).await?;
        self.inner.limits.known.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
        Ok(view(tenant, made.first()))
    }

    /// As they were some seconds ago at the latest.
    pub(super) async fn known_quotas(&self, tenant: &str) -> Result<Quotas, Error> {
        let known = &self.inner.limits.known.0;
        if let Some((_, quotas)) = known.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(*quotas);
        }
        let quotas = self.records().get(SYSTEM, KIND, tenant).await?.as_ref().map(read).unwrap_or_default();
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.to_owned(), (Instant::now(), quotas));
        Ok(quotas)
    }

    /// Refuses a start for which the tenant has no room, and takes a place for its backup. Whether there is room for one more at work is decided by
    /// the engine in the transaction of the start; asked here first, so that nobody waits for checks in vain.
    pub(crate) async fn room_to_start(&self, tenant: &str, run: &str, makes_backup: bool) -> Result<(), Error> {
        let quotas = stored_quotas(self.records(), tenant).await?;
        if let Some(limit) = quotas.running_migrations {
            let filter = RunFilter { states: vec![RunState::Running, RunState::RollingBack], ..RunFilter::default() };
            let used = self.engine().journal().count(tenant, &filter).await.map_err(|e| Error::of_engine(e, "", "count"))?;
            if used >= u64::from(limit) {
                return Err(over_running(used, limit.into()));
            }
        }
        match quotas.stored_backups.filter(|_| makes_backup) {
            Some(limit) => self.take_backup_place(tenant, run, limit).await,
            None => Ok(()),
        }
    }
}

/// As many migrations of the tenant are at work as may be.
pub(crate) fn over_running(used: u64, limit: u64) -> Error {
    over("running_migrations", used, limit, "migrations at work; wait for one to end, or ask for more")
}

pub(super) fn refuse_over(quota: &str, used: u64, limit: u32, what: &str) -> Result<(), Error> {
    if used < u64::from(limit) { Ok(()) } else { Err(over(quota, used, limit.into(), what)) }
}

pub(crate) fn over(quota: &str, used: u64, limit: u64, what: &str) -> Error {
    let error = Error::new(Kind::TooMany, Code::QuotaExceeded, format!("This tenant may have {limit} {what}"));
    error.details(json!({"quota": quota, "limit": limit, "used": used}))
}

fn decode(body: &Value) -> Result<Quotas, Error> {
    let mut problems = Problems::default();
    let mut out = Quotas::default();
    if let Some(mut fields) = Fields::of("", body, &mut problems) {
        let mut number = |name, low: u64, high: u64| fields.integer(name, low..=high, &mut problems).map(|n| n as u32);
        out.running_migrations = number("running_migrations", 0, 1_000_000);
        out.stored_backups = number("stored_backups", 0, 1_000_000);
        out.requests_per_second = number("requests_per_second", 1, 1_000_000);
        out.vms = number("vms", 0, 1_000_000);
        out.vm_vcpus = number("vm_vcpus", 0, 1_000_000);
        out.vm_memory_mib = number("vm_memory_mib", 0, 1_000_000_000);
        out.vm_disk_gib = number("vm_disk_gib", 0, 1_000_000_000);
        fields.done(&mut problems);
    }
    if problems.is_empty() { Ok(out) } else { Err(Error::request(problems)) }
}

/// As they are now.
pub(crate) async fn stored_quotas(records: &Arc<dyn Records>, tenant: &str) -> Result<Quotas, Error> {
    Ok(records.get(SYSTEM, KIND, tenant).await?.as_ref().map(read).unwrap_or_default())
}

fn read(record: &Record) -> Quotas {
    serde_json::from_value(record.body.clone()).unwrap_or_default()
}

fn view(tenant_id: String, record: Option<&Record>) -> QuotasView {
    QuotasView { tenant_id, quotas: record.map(read).unwrap_or_default(), version: record.map_or(0, |r| r.version) }
}
