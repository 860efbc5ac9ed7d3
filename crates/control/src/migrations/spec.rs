//! A migration's document, of whatever kind.

use super::KIND;
use crate::{Control, Error, workloads};
use domain::decode::Problems;
use domain::spec::{MigrationSpec, Notifications, Safety};
use domain::workloads::{WorkloadSpec, is_workload_migration};
use serde_json::{Value, json};

/// What the kinds of migration have in common.
pub(crate) enum Spec {
    Application(Box<MigrationSpec>),
    Workload(Box<WorkloadSpec>),
}

impl Spec {
    /// A stored document: the walls around local paths and addresses were asked when it came in.
    pub fn decode(document: &Value) -> Result<Self, Problems> {
        if is_workload_migration(document) {
            return WorkloadSpec::decode(document).map(|spec| Self::Workload(Box::new(spec)));
        }
        MigrationSpec::decode(document).map(|spec| Self::Application(Box::new(spec)))
    }

    /// The engine's word for its plan. `node`: the one that this process is on.
    pub fn kind(&self, node: &str) -> String {
        match self {
            Self::Application(spec) if spec.machine().is_some() => plans::disk_kind(node),
            Self::Application(_) => KIND.to_owned(),
            Self::Workload(spec) => workloads::kind_of(spec, node),
        }
    }

    /// Whether a backup is made of what it replaces. The disk of a machine replaces nothing, nor does an image.
    pub fn makes_backup(&self) -> bool {
        let moves_disk =
            matches!(self, Self::Application(spec) if spec.machine().is_some()) || matches!(self, Self::Workload(spec) if spec.target.image().is_some());
        self.safety().backup_before && !moves_disk
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Application(spec) => &spec.name,
            Self::Workload(spec) => &spec.name,
        }
    }

    pub fn safety(&self) -> &Safety {
        match self {
            Self::Application(spec) => &spec.safety,
            Self::Workload(spec) => &spec.safety,
        }
    }

    pub fn notifications(&self) -> &Notifications {
        match self {
            Self::Application(spec) => &spec.notifications,
            Self::Workload(spec) => &spec.notifications,
        }
    }

    /// What lists and status show without unsealing the document. No secrets.
    pub fn labels(&self, document: &Value) -> Value {
        match self {
            Self::Application(spec) => of_application(spec),
            Self::Workload(spec) => workloads::labels(spec, document),
        }
    }
}

impl Control {
    /// A document that was decoded before, and the walls asked again: they may have moved since.
    pub(crate) fn decode_any(&self, document: &Value) -> Result<Spec, Error> {
        if is_workload_migration(document) {
            return Spec::decode(document).map_err(Error::configuration);
        }
        self.decode(document).map(|spec| Spec::Application(Box::new(spec)))
    }
}

fn of_application(spec: &MigrationSpec) -> Value {
    let place = |system: &domain::spec::System| {
        let files = system.files.as_ref().map(domain::spec::FilesAt::describe);
        let database = system.database.as_ref().map(domain::spec::DatabaseAt::describe);
        let machine = system.machine.as_ref().map(domain::spec::MachineAt::describe);
        [files, database, machine].into_iter().flatten().collect::<Vec<_>>().join(" + ")
    };
    json!({
        "name": spec.name,
        "description": spec.description,
        "source_type": spec.source.kind.word(),
        "destination_type": spec.destination.kind.word(),
        "source": place(&spec.source),
        "destination": place(&spec.destination),
    })
}
