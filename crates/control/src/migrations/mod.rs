//! Use cases around one migration: creating it, steering it, looking at it.
//!
//! A migration is an engine run of kind [`KIND`]. Its input is the caller's document (sealed by the store), its labels what lists
//! show. Nothing here waits for a migration: workers do the work.

mod create;
mod dry_run;
mod finalize;
mod high_water;
mod life;
mod listing;
mod logs;
mod metrics;
mod node;
mod report;
mod rollback_preview;
mod spec;
mod status;
mod steps;
mod totals;

pub use create::Created;
pub use life::{Acknowledged, RollbackOptions, StartOptions};
pub use listing::{Detail, Summary};
pub use logs::{Events, LogEntry, Logs, StreamEvent};
pub use metrics::{DatabaseMetrics, ErrorCounts, Metrics, MetricsBody, Overall, SystemMetrics, TransferMetrics};
pub use node::Release;
pub use report::{Format, Report};
pub use rollback_preview::{ChangedTable, FilesPreview, NamedFile, Preview};
pub(crate) use spec::Spec;
pub(crate) use status::word;
pub use status::{Operation, Performance, Problem, Status};
pub use steps::Step;
pub(crate) use totals::MOVING_LEDGERS;

use crate::{Control, Error};
use domain::decode::Problems;
use domain::spec::{MigrationSpec, SystemKind};
use engine::RunView;
use serde_json::Value;

/// The engine's word for the plan of a site with its database.
pub const KIND: &str = "application";

impl Control {
    async fn view(&self, tenant: &str, id: &str, doing: &str) -> Result<RunView, Error> {
        self.engine().get(tenant, id).await.map_err(|e| Error::of_engine(e, id, doing))
    }

    /// The migration, for a caller that may steer it: one of a machine's disk takes whoever may do with machines as it likes.
    pub(crate) async fn steerable(&self, tenant: &str, id: &str, doing: &str) -> Result<RunView, Error> {
        let view = self.view(tenant, id, doing).await?;
        if moves_machine(&view) {
            crate::Caller::require_acting(VMS)?;
        }
        Ok(view)
    }

    /// The stored document, with its secrets.
    async fn document(&self, tenant: &str, id: &str) -> Result<Value, Error> {
        self.engine().input(tenant, id).await.map_err(|e| Error::of_engine(e, id, "read"))
    }

    /// Decodes a document and checks the rules that need no connection: every bad field comes back in one answer.
    pub(crate) fn decode(&self, body: &Value) -> Result<MigrationSpec, Error> {
        may_move(body)?;
        self.read_as_anybody(body).map_err(Error::configuration)
    }

    /// As [`Control::decode`], for callers that have more problems to tell.
    pub(crate) fn read(&self, body: &Value) -> Result<MigrationSpec, Problems> {
        if may_move(body).is_err() {
            let mut problems = Problems::default();
            problems.note("source.type", format!("the disk of a virtual machine needs the scope '{VMS}', which this caller has not"));
            return Err(problems);
        }
        self.read_as_anybody(body)
    }

    fn read_as_anybody(&self, body: &Value) -> Result<MigrationSpec, Problems> {
        let spec = MigrationSpec::decode(body)?;
        let mut problems = Problems::default();
        if spec.machine().is_some() && self.settings().machines.is_none() {
            let side = if spec.source.machine.is_some() { "source" } else { "destination" };
            problems.note(format!("{side}.type"), "this program keeps no virtual machines; ask a server that does (--server)");
        }
        crate::local_roots::check(&spec, self.options().local_roots.as_deref(), &mut problems);
        crate::notifications::check(&spec.notifications, self.courier(), &mut problems);
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }
}

/// What a caller must be allowed beside migrations, to move the disk of a machine.
pub(crate) const VMS: &str = "vms:write";

/// Whether a run moves the disk of a machine.
pub(crate) fn moves_machine(view: &RunView) -> bool {
    plans::shown_kind(&view.kind) == plans::shown_kind(&plans::disk_kind(""))
}

fn may_move(body: &Value) -> Result<(), Error> {
    let is_machine = |side: &str| body[side]["type"] == SystemKind::Vm.word();
    if is_machine("source") || is_machine("destination") { crate::Caller::require_acting(VMS) } else { Ok(()) }
}

/// The status as JSON, for whom it is told to.
pub(crate) fn told(view: &RunView) -> Value {
    serde_json::to_value(status::of(view)).unwrap_or_default()
}

/// A label's text; empty when it is missing.
fn label<'a>(view: &'a RunView, name: &str) -> &'a str {
    view.labels.get(name).and_then(Value::as_str).unwrap_or_default()
}
