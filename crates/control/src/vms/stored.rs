//! A machine as it is stored.

use crate::Error;
use domain::vms::{VmSpec, VmState, VmStatus};
use jiff::Timestamp;
use ports::records::{self, Record, SYSTEM, Write};
use ports::vms::Running;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Kinds of a tenant's records. A task's and a snapshot's parent is the machine; a machine's parent is its name, so that lists can ask for it.
pub(super) const KIND: &str = "vm";
pub(super) const TASK: &str = "vm_task";
pub(super) const SNAPSHOT: &str = "vm_snapshot";
/// Kind of the installation's records of nodes.
pub(super) const NODE: &str = "vm_node";

/// Kind of the installation's records of a node's machines: an id and its tenant, due when the node has work with it.
pub(super) fn place(node: &str) -> String {
    format!("vm_at:{node}")
}

/// Whose machine a record of a [`place`] names.
pub(super) fn tenant_of(place: &Record) -> String {
    place.body["tenant"].as_str().unwrap_or_default().to_owned()
}

/// What is stored beside the status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    pub spec: VmSpec,
    pub node: String,
    pub paused: bool,
    /// The operation at work.
    pub task: Option<String>,
    pub running: Option<Running>,
    /// Why it is not running (any more).
    pub reason: Option<String>,
    pub started_at: Option<Timestamp>,
    /// The migration that has its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Which migration has a machine, and what the machine was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    pub run: String,
    pub before: VmStatus,
}

impl Body {
    pub fn new(spec: VmSpec, node: String) -> Self {
        Self { spec, node, paused: false, task: None, running: None, reason: None, started_at: None, held: None }
    }

    fn stored(&self) -> Result<serde_json::Value, Error> {
        serde_json::to_value(self).map_err(|e| Error::internal(format!("a virtual machine cannot be stored: {e}")))
    }
}

/// A machine, read.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub record: Record,
    pub body: Body,
    pub status: VmStatus,
}

impl Stored {
    pub fn of(record: Record) -> Result<Self, Error> {
        let unreadable = |why: &str| Error::internal(format!("virtual machine {} cannot be read: {why}", record.id));
        let body = serde_json::from_value(record.body.clone()).map_err(|e| unreadable(&e.to_string()))?;
        let status = record.state.as_deref().and_then(VmStatus::parse).ok_or_else(|| unreadable("no such status"))?;
        Ok(Self { record, body, status })
    }

    /// What decides about operations.
    pub fn state(&self) -> VmState {
        VmState { status: self.status, paused: self.body.paused, busy: self.body.task.is_some() }
    }

    /// The write that makes it so; refused when it has changed since it was read.
    pub fn becomes(&self, status: VmStatus, body: &Body) -> Result<Write, Error> {
        Ok(Write::update(&self.record, records::Fields::body(body.stored()?).state(status.word())))
    }

    /// The write that tells its node to look at it.
    pub fn marked(&self) -> Write {
        let fields = records::Fields::default().due(Some(Timestamp::now()));
        Write::Update { tenant: SYSTEM.to_owned(), kind: place(&self.body.node), id: self.record.id.clone(), version: None, fields }
    }
}

/// The writes that make a new machine.
pub(super) fn insert(tenant: &str, id: &str, body: &Body, status: VmStatus) -> Result<Vec<Write>, Error> {
    let fields = records::Fields::body(body.stored()?).state(status.word()).parent(body.spec.name.clone());
    let place = Write::insert(SYSTEM, &place(&body.node), id, records::Fields::body(json!({"tenant": tenant})));
    Ok(vec![Write::insert(tenant, KIND, id, fields), place])
}
