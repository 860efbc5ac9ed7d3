//! Migrations by the ids of their parts: the same runs that `/migrations` shows.

use super::targets::{TARGET, TargetBody};
use super::{References, ids, taken_apart};
use crate::workloads::stored::{CREDENTIALS, CredentialsBody, MOUNT_POINT, WORKLOAD, read};
use crate::workloads::{self, WorkloadState};
use crate::{Control, Error, Filter};
use domain::decode::{Fields, Problems};
use domain::workloads::{MountPoint, WorkloadSpec};
use engine::{RunFilter, RunView};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A migration with its id. Parts that were given in full and not by their ids are `null`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MigrationResource {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    /// Ids of mount points.
    #[schema(value_type = Option<Vec<String>>)]
    pub selected_mount_points: Value,
    /// An id of a workload.
    #[schema(value_type = Option<String>)]
    pub source: Value,
    /// An id of a migration target.
    #[schema(value_type = Option<String>)]
    pub migration_target: Value,
    pub state: WorkloadState,
    /// The same in lower case.
    #[schema(example = "not_started")]
    pub migration_state: &'static str,
}

struct Wanted {
    selected: Vec<String>,
    source: String,
    target: String,
}

impl Control {
    /// Nothing moves before it is started.
    pub async fn create_migration_resource(&self, tenant: &str, value: &Value) -> Result<MigrationResource, Error> {
        let (wanted, problems) = taken_apart(value, wanted);
        let Some(wanted) = wanted else { return Err(Error::request(problems)) };
        let document = self.joined(tenant, &wanted, problems).await?;
        let spec = WorkloadSpec::decode(&document).map_err(|p| Error::request(renamed(p)))?;
        let resources = json!({"selected_mount_points": wanted.selected, "source": wanted.source, "migration_target": wanted.target});
        let id = self.create_workload_migration(tenant, document, &spec, Some(resources)).await?;
        self.migration_resource(tenant, &id).await
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`.
    pub async fn migration_resources(&self, tenant: &str, mut query: Filter) -> Result<Vec<MigrationResource>, Error> {
        let (limit, offset) = (query.number("limit", 1..=1000, 100) as u32, query.number("offset", 0..=u64::from(u32::MAX), 0) as u32);
        query.done()?;
        let filter = RunFilter { kind: Some(workloads::KIND.to_owned()), limit, offset, ..RunFilter::default() };
        let views = self.engine().list(tenant, &filter).await.map_err(|e| Error::of_engine(e, "", "list"))?;
        Ok(views.iter().map(view).collect())
    }

    pub async fn migration_resource(&self, tenant: &str, id: &str) -> Result<MigrationResource, Error> {
        let found = self.engine().get(tenant, id).await.map_err(|e| Error::of_engine(e, id, "look at"))?;
        if workloads::is_workload(&found) { Ok(view(&found)) } else { Err(Error::migration_not_found(id)) }
    }

    /// Starts it; the answer shows it running.
    pub async fn start_migration_resource(&self, tenant: &str, id: &str) -> Result<MigrationResource, Error> {
        self.migration_resource(tenant, id).await?;
        self.start(tenant, id, None, false).await?;
        self.migration_resource(tenant, id).await
    }

    pub async fn delete_migration_resource(&self, tenant: &str, id: &str) -> Result<(), Error> {
        self.migration_resource(tenant, id).await?;
        self.delete(tenant, id).await.map(drop)
    }

    /// Document 0's form of what the ids stand for, with its secrets. All bad fields come back together.
    async fn joined(&self, tenant: &str, wanted: &Wanted, problems: Problems) -> Result<Value, Error> {
        let mut references = References::new(self, tenant, problems);
        let source = references.take("source", WORKLOAD, &wanted.source).await?;
        let target = references.take("migration_target", TARGET, &wanted.target).await?;
        let mut selected = Vec::with_capacity(wanted.selected.len());
        for (i, id) in wanted.selected.iter().enumerate() {
            let record = references.take(&format!("selected_mount_points[{i}]"), MOUNT_POINT, id).await?;
            selected.extend(record.as_ref().map(read::<MountPoint>).transpose()?);
        }
        references.checked()?;
        let (Some(source), Some(record)) = (source, target) else { return Err(Error::internal("an id was neither found nor refused")) };
        let source = self.whole(source).await?;
        let target: TargetBody = read(&record)?;
        let access = self.cloud_of(&record, &target).await?;
        let vm = self.whole(self.find_resource(tenant, WORKLOAD, &target.target_vm).await?).await?;
        let cloud = self.find_resource(tenant, CREDENTIALS, &target.cloud_credentials).await?;
        let login: CredentialsBody = read(&cloud)?;
        Ok(json!({
            "selected_mount_points": selected,
            "source": self.workload_document(&source).await?,
            "migration_target": {
                "cloud_type": target.cloud_type,
                "cloud_credentials": {"username": login.username, "password": self.password_of(&cloud).await?, "domain": login.domain},
                "cloud": access,
                "target_vm": self.workload_document(&vm).await?,
            },
        }))
    }
}

fn wanted(f: &mut Fields<'_>, p: &mut Problems) -> Wanted {
    let selected = ids(f, "selected_mount_points", p);
    if selected.is_empty() && f.has("selected_mount_points") {
        p.note("selected_mount_points", "must name at least one mount point");
    }
    Wanted { selected, source: f.required_text("source", p), target: f.required_text("migration_target", p) }
}

/// The caller gave ids, so problems inside what they stand for are told under their fields.
fn renamed(problems: Problems) -> Problems {
    let outer = |field: &str| field.split(['.', '[']).next().unwrap_or(field).to_owned();
    Problems(problems.0.into_iter().map(|p| domain::decode::Problem { field: outer(&p.field), ..p }).collect())
}

fn view(of: &RunView) -> MigrationResource {
    let resources = workloads::resources_of(of);
    let state = WorkloadState::of(of.state);
    MigrationResource {
        id: of.id.clone(),
        selected_mount_points: resources["selected_mount_points"].clone(),
        source: resources["source"].clone(),
        migration_target: resources["migration_target"].clone(),
        state,
        migration_state: state.word(),
    }
}
