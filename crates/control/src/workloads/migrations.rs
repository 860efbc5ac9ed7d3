//! Migrations of workloads: made and looked at in document 0's words, steered like every other migration.

use super::image::NewImageView;
use super::rehearsals::CLONE_OF;
use super::{CloudView, CredentialsView, SelectedView, StorageView};
use crate::error::{Code, Kind};
use crate::migrations::{Acknowledged, Created, Detail};
use crate::{Control, Error};
use domain::spec::redact;
use domain::workloads::{Selected, WorkloadSpec, is_workload_migration};
use engine::{NewRun, RunState, RunView};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Where a label keeps what document 0 shows, and the ids that `/api/v1` knows the parts by.
const SHOWN: &str = "workload";
const RESOURCES: &str = "resources";

/// Document 0's word for where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadState {
    NotStarted,
    Running,
    Success,
    Error,
}

impl WorkloadState {
    pub(crate) fn of(state: RunState) -> Self {
        match state {
            RunState::Created | RunState::Scheduled => Self::NotStarted,
            RunState::Running | RunState::Paused | RunState::RollingBack => Self::Running,
            RunState::Completed => Self::Success,
            RunState::Failed | RunState::Cancelled | RunState::RolledBack | RunState::Stuck => Self::Error,
        }
    }

    /// The same in lower case.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::Running => "running",
            Self::Success => "success",
            Self::Error => "error",
        }
    }
}

/// A server in a migration. Secrets read `********`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MigratedWorkload {
    #[schema(example = "192.168.1.1")]
    pub ip: String,
    pub credentials: CredentialsView,
    pub storage: StorageView,
}

/// Where a workload shall live.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum MigrationTarget {
    Vm(Box<MigrationTargetVm>),
    Image(MigrationTargetImage),
}

/// A disk image that a virtual machine can start from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MigrationTargetImage {
    pub image: NewImageView,
}

/// A VM that is there.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MigrationTargetVm {
    /// `aws`, `azure`, `vsphere` or `vcloud`.
    #[schema(example = "aws")]
    pub cloud_type: String,
    pub cloud_credentials: CredentialsView,
    /// Where the cloud is asked about the VM; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud: Option<CloudView>,
    /// After success its `storage` lists exactly the mount points that were copied.
    pub target_vm: MigratedWorkload,
}

/// What document 0 shows of a migration.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkloadMigration {
    #[schema(value_type = Vec<SelectedView>)]
    pub selected_mount_points: Value,
    #[schema(value_type = MigratedWorkload)]
    pub source: Value,
    #[schema(value_type = MigrationTarget)]
    pub migration_target: Value,
    pub state: WorkloadState,
    /// The same in lower case.
    #[schema(example = "running")]
    pub migration_state: &'static str,
    /// The migration that this is a test clone of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_of: Option<String>,
}

/// What document 0 shows of a migration's status.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WorkloadStatus {
    /// The same as `session_id`.
    pub migration_id: String,
    pub state: WorkloadState,
    /// Nothing happens any more unless somebody asks for it.
    pub finished: bool,
    /// How far a warm migration's target is behind; `null` before its first pass and in other migrations.
    pub replication: Option<Replication>,
}

/// A warm migration between two passes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Replication {
    /// Since its worker took it up.
    #[schema(example = 12)]
    pub passes: u64,
    /// What the last pass found changed at the source: a cutover now finds about as much.
    #[schema(example = 34)]
    pub lag_files: u64,
    pub lag_bytes: u64,
    /// Gone at the source since the pass before.
    pub lag_removed: u64,
    /// How long the last pass took, and so about how long the source would have to stand still.
    #[schema(example = 2.4)]
    pub projected_downtime_seconds: f64,
}

/// A new migration: document 3's answer, or for a workload document 0's whole object.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Made {
    Application(Created),
    Workload(Box<Detail>),
}

impl Made {
    pub fn id(&self) -> &str {
        match self {
            Self::Application(made) => &made.id,
            Self::Workload(made) => &made.summary.id,
        }
    }
}

/// A migration that was started: document 3's answer, or for a workload document 0's whole object.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Started {
    Application(Acknowledged),
    Workload(Box<Detail>),
}

impl Control {
    /// A new migration of either kind, as the fields of the body say. Nothing moves before it is started. Each call makes a new one.
    pub async fn create_any(&self, tenant: &str, body: Value) -> Result<Made, Error> {
        if !is_workload_migration(&body) {
            return self.create(tenant, body).await.map(Made::Application);
        }
        let (document, spec) = self.resolved(tenant, &body).await?;
        let id = self.create_workload_migration(tenant, document, &spec, None).await?;
        Ok(Made::Workload(Box::new(self.get(tenant, &id).await?)))
    }

    /// Stores a migration whose document is complete; its id. `resources`: what `/api/v1` calls its parts.
    pub(crate) async fn create_workload_migration(
        &self,
        tenant: &str,
        document: Value,
        spec: &WorkloadSpec,
        resources: Option<Value>,
    ) -> Result<String, Error> {
        let mut problems = domain::decode::Problems::default();
        crate::notifications::check(&spec.notifications, self.courier(), &mut problems);
        super::cloud::check(&spec.target, self.courier(), &mut problems);
        super::image::check(&spec.target, &self.options().vms.image_roots, &mut problems);
        if !problems.is_empty() {
            return Err(Error::configuration(problems));
        }
        let id = uuid::Uuid::now_v7().simple().to_string();
        self.own_image(tenant, &spec.target).await?;
        let mut labels = labels(spec, &document);
        labels[RESOURCES] = resources.unwrap_or_default();
        let run = NewRun { id: id.clone(), tenant: tenant.to_owned(), kind: kind_of(spec, &self.own_node()), input: document, labels, holds: None };
        self.engine().create(run).await.map_err(|e| Error::of_engine(e, &id, "create"))?;
        Ok(id)
    }

    /// The answer of a creation again, as it is now.
    pub async fn made_before(&self, tenant: &str, id: &str, message: &str) -> Result<Made, Error> {
        let detail = self.get(tenant, id).await?;
        if detail.summary.workload.is_some() {
            return Ok(Made::Workload(Box::new(detail)));
        }
        self.created_before(tenant, id, message).await.map(Made::Application)
    }

    /// The answer of a start again, as it is now.
    pub async fn started_before(&self, tenant: &str, id: &str) -> Result<Started, Error> {
        let view = self.engine().get(tenant, id).await.map_err(|e| Error::of_engine(e, id, "look at"))?;
        self.as_started(tenant, &view).await
    }

    /// Starts a migration of either kind. See [`Control::start`].
    pub async fn start_any(&self, tenant: &str, id: &str, body: Option<&Value>, skip_validation: bool) -> Result<Started, Error> {
        let view = self.start_run(tenant, id, body, skip_validation).await?;
        self.as_started(tenant, &view).await
    }

    async fn as_started(&self, tenant: &str, view: &RunView) -> Result<Started, Error> {
        if is_workload(view) {
            return Ok(Started::Workload(Box::new(self.get(tenant, &view.id).await?)));
        }
        Ok(Started::Application(Acknowledged::started(&view.id)))
    }
}

impl Control {
    /// Ends the warm passes of a workload's migration: the last pass follows at once. Repeatable until the migration has ended.
    pub async fn cut_over(&self, tenant: &str, id: &str) -> Result<Started, Error> {
        let view = self.engine().get(tenant, id).await.map_err(|e| Error::of_engine(e, id, "cut over"))?;
        if !is_workload(&view) {
            let message = "Only a workload's migration waits for a cutover; this one makes its last pass by itself";
            return Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": id, "current_status": view.state.word()})));
        }
        self.refuse_cloned(tenant, id).await?;
        self.engine().ask(tenant, id, plans::CUTOVER).await.map_err(|e| Error::of_engine(e, id, "cut over"))?;
        Ok(Started::Workload(Box::new(self.get(tenant, id).await?)))
    }
}

/// The engine's word for the plan of a workload's migration. An image is made on one node's own disk: that of the request.
pub(crate) fn kind_of(spec: &WorkloadSpec, node: &str) -> String {
    if spec.target.image().is_some() { plans::image_kind(node) } else { super::KIND.to_owned() }
}

/// Whether a run moves a workload.
pub(crate) fn is_workload(view: &RunView) -> bool {
    plans::shown_kind(&view.kind) == super::KIND
}

/// What lists and status show without unsealing the document. No secrets.
pub(crate) fn labels(spec: &WorkloadSpec, document: &Value) -> Value {
    let names: Vec<&str> = spec.selected.iter().map(Selected::name).collect();
    json!({
        "name": spec.name,
        "description": spec.description,
        "source_type": "workload",
        "destination_type": spec.target.word(),
        "source": format!("{} ({})", spec.source.ip, names.join(", ")),
        "destination": spec.target.place(),
        SHOWN: {
            "selected_mount_points": document["selected_mount_points"],
            "source": redact(&document["source"]),
            "migration_target": redact(&document["migration_target"]),
        },
    })
}

/// Document 0's part of an answer; `None` for another kind of migration.
pub(crate) fn shown(kind: &str, state: RunState, labels: &Value) -> Option<WorkloadMigration> {
    let shown = labels.get(SHOWN).filter(|_| plans::shown_kind(kind) == super::KIND)?;
    let state = WorkloadState::of(state);
    let mut migration_target = shown["migration_target"].clone();
    if state == WorkloadState::Success && migration_target.get("target_vm").is_some() {
        migration_target["target_vm"]["storage"] = json!({"mount_points": copied(&shown["selected_mount_points"])});
    }
    Some(WorkloadMigration {
        selected_mount_points: shown["selected_mount_points"].clone(),
        source: shown["source"].clone(),
        migration_target,
        state,
        migration_state: state.word(),
        clone_of: labels.get(CLONE_OF).and_then(Value::as_str).map(str::to_owned),
    })
}

/// The selected mount points as a target's storage names them.
fn copied(selected: &Value) -> Vec<Value> {
    let plain = |m: &Value| json!({"mount_point_name": m["mount_point_name"], "total_size": m["total_size"]});
    selected.as_array().map(|all| all.iter().map(plain).collect()).unwrap_or_default()
}

/// Where the image is that a run makes; `None` when it makes none.
pub(crate) fn image_of(view: &RunView) -> Option<&str> {
    view.labels.get(SHOWN)?["migration_target"]["image"]["path"].as_str()
}

/// Document 0's part of a status.
pub(crate) fn status(view: &RunView) -> Option<WorkloadStatus> {
    is_workload(view).then(|| WorkloadStatus {
        migration_id: view.id.clone(),
        state: WorkloadState::of(view.state),
        finished: view.state.is_end(),
        replication: replication(view),
    })
}

fn replication(view: &RunView) -> Option<Replication> {
    let told = view.sample.as_ref().filter(|_| !view.state.is_end())?.operation.get("replication")?;
    serde_json::from_value(told.clone()).ok()
}

/// What `/api/v1` calls the parts of a migration: ids of the selected mount points, of the source and of the target; `null` where a
/// migration was made of parts given in full.
pub(crate) fn resources_of(view: &RunView) -> Value {
    view.labels.get(RESOURCES).cloned().unwrap_or(Value::Null)
}
