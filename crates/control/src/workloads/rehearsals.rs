//! Test clones: what a warm migration has replicated so far, copied elsewhere to be tried out before the cutover.
//!
//! ```text
//! source ──passes──► replica at the target VM ──clone──► a directory beside it, or another VM
//!            └ stand still while the clone reads ([`engine::hold`])
//! ```
//! A clone is a migration of its own: verified, rolled back and deleted like every other one, and never touched by what becomes of the first.

use super::migrations::{is_workload, labels};
use crate::error::{Code, Kind};
use crate::migrations::Detail;
use crate::{Control, Error, time};
use domain::decode::{Fields, Problems};
use domain::workloads::{Mode, Selected, Workload, WorkloadSpec, below, directory};
use engine::{NewRun, RunFilter, RunState, RunView};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The label that says what a clone is one of.
pub(super) const CLONE_OF: &str = "clone_of";

/// The longest name of a migration.
const NAME: usize = 200;

/// One of a migration's test clones; `GET /migrations/{id}` of it tells more.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TestClone {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60719")]
    pub id: String,
    #[schema(example = "completed")]
    pub status: &'static str,
    /// Address of the server that holds it.
    #[schema(example = "10.0.0.13")]
    pub destination: String,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub end_time: Option<String>,
}

/// Where to.
struct Asked {
    directory: Option<String>,
    target_vm: Option<Value>,
}

impl Asked {
    fn read(body: &Value) -> Result<Self, Error> {
        let mut p = Problems::default();
        let mut out = Self { directory: None, target_vm: None };
        if let Some(mut f) = Fields::of("", body, &mut p) {
            out.directory = f.text("directory", &mut p);
            out.target_vm = f.value("target_vm").cloned();
            if let Some(Err(why)) = out.directory.as_deref().map(|d| directory(d, domain::workloads::DRIVE_ROOT)) {
                p.note("directory", why);
            }
            if out.target_vm.is_none() && !f.has("directory") {
                p.note("directory", "is required without target_vm: where on the target VM the clone goes, outside of what is replicated");
            }
            f.done(&mut p);
        }
        if p.is_empty() { Ok(out) } else { Err(Error::request(p)) }
    }

    /// The document of the clone of a migration.
    fn document(&self, of: &str, spec: &WorkloadSpec, document: &Value) -> Value {
        let replicas: Vec<Value> = spec.selected.iter().map(|s| json!({"mount_point_name": s.target(), "total_size": s.mount_point.total_size})).collect();
        let target = &document["migration_target"];
        let mut source = target["target_vm"].clone();
        source["storage"] = json!({"mount_points": replicas});
        let mut selected = replicas;
        let targets = match &self.directory {
            Some(directory) => below(directory, spec.selected.iter().map(Selected::name)),
            None => spec.selected.iter().map(|known| known.target().to_owned()).collect(),
        };
        for (one, target) in selected.iter_mut().zip(targets) {
            one["target_directory"] = json!(target);
        }
        let mut transfer = document["transfer"].clone();
        if let Some(delete) = transfer.pointer_mut("/options/delete_extraneous") {
            *delete = json!(false);
        }
        json!({
            "name": format!("Test clone of {}", spec.name).chars().take(NAME).collect::<String>(),
            "description": format!("What migration {of} has replicated, copied to be tried out"),
            "selected_mount_points": selected,
            "source": source,
            "migration_target": {
                "cloud_type": target["cloud_type"],
                "cloud_credentials": target["cloud_credentials"],
                "cloud": target["cloud"],
                "target_vm": self.target_vm.as_ref().unwrap_or(&target["target_vm"]),
            },
            "transfer": transfer,
        })
    }
}

impl Control {
    /// Copies what a warm migration has replicated so far, and starts at once. The migration's passes stand still while it is read; the clone's own
    /// source is the replica, so that the migration's source is not burdened. Each call makes a new one.
    pub async fn test_clone(&self, tenant: &str, id: &str, body: &Value) -> Result<Detail, Error> {
        let asked = Asked::read(body)?;
        let of_engine = |e| Error::of_engine(e, id, "clone");
        let view = self.engine().get(tenant, id).await.map_err(of_engine)?;
        let (document, replica) = self.cloneable(tenant, &view).await?;
        let spec = WorkloadSpec::decode(&document).map_err(Error::configuration)?;
        let clone = asked.document(id, &spec, &document);
        let (document, clone) = self.resolved(tenant, &clone).await.map_err(|e| in_the_words_of_the_request(e, &asked))?;
        refuse_source(&spec, &replica, &clone)?;
        let made = self.create_clone(tenant, id, document, &clone).await?;
        if let Err(refused) = self.start_run(tenant, &made, None, false).await {
            self.engine().delete(tenant, &made).await.map_err(of_engine)?;
            return Err(refused);
        }
        self.get(tenant, &made).await
    }

    async fn create_clone(&self, tenant: &str, of: &str, document: Value, spec: &WorkloadSpec) -> Result<String, Error> {
        let id = super::stored::new_id();
        let mut labels = labels(spec, &document);
        labels[CLONE_OF] = json!(of);
        let run = NewRun {
            id: id.clone(),
            tenant: tenant.to_owned(),
            kind: super::kind_of(spec, &self.own_node()),
            input: document,
            labels,
            holds: Some(of.to_owned()),
        };
        self.engine().create(run).await.map_err(|e| Error::of_engine(e, &id, "create"))?;
        Ok(id)
    }

    /// The clones of a migration, newest first; `None` for what cannot have any.
    pub(crate) async fn test_clones(&self, tenant: &str, view: &RunView) -> Result<Option<Vec<TestClone>>, Error> {
        if !is_workload(view) {
            return Ok(None);
        }
        let views = self.clones(tenant, &view.id, Vec::new()).await?;
        Ok(Some(views.iter().map(shown).collect()))
    }

    /// Refuses while a test clone reads what the migration has replicated.
    pub(super) async fn refuse_cloned(&self, tenant: &str, id: &str) -> Result<(), Error> {
        let Some(clone) = self.clones(tenant, id, vec![RunState::Running]).await?.into_iter().find(|c| c.owner.is_some()) else { return Ok(()) };
        let message =
            format!("Cannot cut over this migration now: its test clone {} reads what was replicated. Wait until that one has ended, or cancel it", clone.id);
        Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": id, "current_status": "running", "test_clone": clone.id})))
    }

    async fn clones(&self, tenant: &str, of: &str, states: Vec<RunState>) -> Result<Vec<RunView>, Error> {
        let filter = RunFilter { holds: Some(of.to_owned()), states, ..RunFilter::default() };
        self.engine().list(tenant, &filter).await.map_err(|e| Error::of_engine(e, of, "look at"))
    }

    /// The document of a migration that waits between two passes, and the server with its replica.
    async fn cloneable(&self, tenant: &str, view: &RunView) -> Result<(Value, Workload), Error> {
        let refused = |why: &str| {
            let message = format!("Cannot make a test clone of this migration: {why}");
            Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": view.id, "current_status": view.state.word()})))
        };
        if !is_workload(view) {
            return refused("only a workload's warm migration keeps something up to date that could be cloned");
        }
        let document = self.engine().input(tenant, &view.id).await.map_err(|e| Error::of_engine(e, &view.id, "clone"))?;
        let spec = WorkloadSpec::decode(&document).map_err(Error::configuration)?;
        let Some(target) = spec.target.vm().filter(|_| spec.mode == Mode::Warm) else {
            return refused("only a warm one that goes to a VM (\"mode\": \"warm\") waits between passes; the others can be tried out when they are complete");
        };
        match (view.state, view.stance) {
            (RunState::Running, Some(_)) => Ok((document, target.vm.clone())),
            (RunState::Running, None) => refused("its first pass is not done yet, or its cutover was asked for. Try again when its status shows replication"),
            (RunState::Created | RunState::Scheduled, _) => refused("it has not been started; start it, and wait for its first pass"),
            (RunState::Paused | RunState::Failed, _) => refused("it is not running; resume it, so that it stands between two passes"),
            (RunState::Completed, _) => refused("it is complete; its target can be tried out itself, or moved on by a migration of its own"),
            (RunState::Cancelled | RunState::RollingBack | RunState::RolledBack | RunState::Stuck, _) => refused("it was cancelled or rolled back"),
        }
    }
}

fn shown(view: &RunView) -> TestClone {
    TestClone {
        id: view.id.clone(),
        status: crate::migrations::word(view),
        destination: view.labels["destination"].as_str().unwrap_or_default().to_owned(),
        created_at: time::text(view.created_at),
        end_time: time::maybe(view.ended_at),
    }
}

/// A rehearsal never writes to the server that still does the work.
fn refuse_source(of: &WorkloadSpec, replica: &Workload, clone: &WorkloadSpec) -> Result<(), Error> {
    let to = clone.target.vm().map(|target| &target.vm).filter(|to| to.is_same_server(&of.source) && !to.is_same_server(replica));
    let Some(to) = to else { return Ok(()) };
    let mut p = Problems::default();
    p.note("target_vm.ip", format!("{} is the source of the migration, which still does its work; choose another VM", to.ip));
    Err(Error::request(p))
}

/// What is wrong with the clone's document, by the names of the fields that were sent.
fn in_the_words_of_the_request(error: Error, asked: &Asked) -> Error {
    let Some(fields) = error.details["validation_errors"].as_array() else { return error };
    let mut p = Problems::default();
    for one in fields {
        let (field, message) = (one["field"].as_str().unwrap_or_default(), one["message"].as_str().unwrap_or_default());
        let itself = field == "migration_target.target_vm.ip" && asked.directory.is_none() && message.ends_with("is the source itself");
        if itself {
            p.note("directory", "is required: the migration replicates to that VM, so that the clone needs a directory outside of what is replicated");
        } else if field.ends_with(".target_directory") {
            p.note("directory", message);
        } else {
            p.note(field.strip_prefix("migration_target.").unwrap_or(field), message);
        }
    }
    Error::request(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        let vm = |ip: &str| json!({"ip": ip, "credentials": {"username": "root", "password": "word"}});
        let mut source = vm("10.0.0.1");
        source["storage"] = json!({"mount_points": [{"mount_point_name": "/data", "total_size": 7}, {"mount_point_name": "/srv/shop", "total_size": 8}]});
        json!({
            "name": "x".repeat(NAME),
            "selected_mount_points": [{"mount_point_name": "/data", "total_size": 7}, {"mount_point_name": "/srv/shop", "total_size": 8, "target_directory": "/mnt/shop"}],
            "source": source,
            "migration_target": {"cloud_type": "aws", "cloud_credentials": {"username": "a", "password": "b"}, "target_vm": vm("10.0.0.2")},
            "mode": "warm",
            "transfer": {"options": {"delete_extraneous": true, "exclude": ["*.tmp"]}},
        })
    }

    fn clone(body: Value) -> Result<WorkloadSpec, Problems> {
        let spec = WorkloadSpec::decode(&document()).unwrap();
        WorkloadSpec::decode(&Asked::read(&body).unwrap().document("m1", &spec, &document()))
    }

    #[test]
    fn a_clone_reads_the_replica() {
        let spec = clone(json!({"directory": "/srv/try/"})).unwrap();
        assert_eq!((spec.source.ip.as_str(), spec.mode, spec.name.chars().count()), ("10.0.0.2", Mode::Once, NAME));
        let from_to: Vec<_> = spec.selected.iter().map(|s| (s.name(), s.target())).collect();
        assert_eq!(from_to, [("/data", "/srv/try/data"), ("/mnt/shop", "/srv/try/srv-shop")]);
        assert!(!spec.transfer.delete_extraneous && spec.transfer.exclude == ["*.tmp"], "a rehearsal deletes nothing");
        let elsewhere = clone(json!({"target_vm": {"ip": "10.0.0.3", "credentials": {"username": "u", "password": "p"}}})).unwrap();
        assert_eq!(elsewhere.selected.iter().map(|s| s.target()).collect::<Vec<_>>(), ["/data", "/mnt/shop"]);
    }

    #[test]
    fn a_clone_lies_outside_of_the_replica() {
        for (body, field) in
            [(json!({"directory": "/data/try"}), "directory"), (json!({"target_vm": document()["migration_target"]["target_vm"]}), "directory")]
        {
            let error = in_the_words_of_the_request(Error::configuration(clone(body.clone()).unwrap_err()), &Asked::read(&body).unwrap());
            assert_eq!((error.code, &error.details["validation_errors"][0]["field"]), (Code::InvalidRequest, &json!(field)), "{body}");
        }
        let of = WorkloadSpec::decode(&document()).unwrap();
        let replica = of.target.vm().unwrap().vm.clone();
        let onto_source = clone(json!({"directory": "/try", "target_vm": document()["source"]})).unwrap();
        assert!(refuse_source(&of, &replica, &onto_source).is_err());
        assert!(refuse_source(&of, &replica, &clone(json!({"directory": "/try"})).unwrap()).is_ok());
    }

    #[test]
    fn what_is_wrong_with_the_request_is_named() {
        for (body, fields) in [(json!({}), vec!["directory"]), (json!([]), vec!["body"]), (json!({"directory": "x", "colour": 1}), vec!["directory", "colour"])]
        {
            let Err(error) = Asked::read(&body) else { panic!("{body}") };
            let found: Vec<_> = error.details["validation_errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
            assert_eq!(found, fields, "{body}");
        }
    }
}
