//! Steering a migration: start, pause, resume, cancel, roll back, resolve, delete.

use super::Spec;
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::decode::{Fields, Problems};
use engine::{EngineError, RunState, RunView};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A request was taken; the work goes on in the background.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Acknowledged {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// The same as `session_id`.
    pub id: String,
    #[schema(example = "started")]
    pub status: &'static str,
    #[schema(example = "Migration execution started in background")]
    pub message: String,
}

impl Acknowledged {
    /// Document 3's answer of a start.
    pub(crate) fn started(id: &str) -> Self {
        Self::new(id, "started", "Migration execution started in background")
    }

    pub(super) fn released(id: &str) -> Self {
        Self::new(id, "released", "The migration is released from its node: any server may work on it, without the backup that lies there")
    }

    fn new(id: &str, status: &'static str, message: impl Into<String>) -> Self {
        Self { session_id: id.to_owned(), id: id.to_owned(), status, message: message.into() }
    }
}

/// Body of a start. Absent fields: as the migration's own configuration says.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct StartOptions {
    /// Undo everything by itself when the migration fails. Default: the configuration's `safety.rollback_on_failure`.
    #[schema(example = true)]
    pub auto_rollback: Option<bool>,
    /// Default: true.
    #[schema(example = true)]
    pub send_notifications: Option<bool>,
}

impl StartOptions {
    fn decode(body: Option<&Value>) -> Result<Self, Error> {
        let Some(body) = body else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        let mut out = Self::default();
        if let Some(mut fields) = Fields::of("", body, &mut problems) {
            let given = |name: &str| fields.has(name);
            let (rollback, notify) = (given("auto_rollback"), given("send_notifications"));
            let values = (fields.flag("auto_rollback", false, &mut problems), fields.flag("send_notifications", true, &mut problems));
            out = Self { auto_rollback: rollback.then_some(values.0), send_notifications: notify.then_some(values.1) };
            fields.done(&mut problems);
        }
        if problems.is_empty() { Ok(out) } else { Err(Error::request(problems)) }
    }
}

/// Body of a rollback. Absent: the migration's own backup, and everything.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RollbackOptions {
    #[schema(example = "backup-20240826-143022")]
    pub backup_id: Option<String>,
    pub rollback_options: Restore,
    /// Take back also what others wrote into the migration's tables and files since: it is saved first. Without it such a rollback is refused.
    #[schema(example = false)]
    pub discard_later_changes: bool,
}

impl Default for RollbackOptions {
    fn default() -> Self {
        Self { backup_id: None, rollback_options: Restore { files: true, database: true, configuration: true }, discard_later_changes: false }
    }
}

/// What a rollback takes back.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Restore {
    #[serde(rename = "restore_files")]
    pub files: bool,
    #[serde(rename = "restore_database")]
    pub database: bool,
    #[serde(rename = "restore_configuration")]
    pub configuration: bool,
}

impl RollbackOptions {
    fn decode(body: Option<&Value>) -> Result<Self, Error> {
        let empty = json!({});
        let mut problems = Problems::default();
        let mut out = Self::default();
        if let Some(mut fields) = Fields::of("", body.unwrap_or(&empty), &mut problems) {
            out.backup_id = fields.text("backup_id", &mut problems);
            out.discard_later_changes = fields.flag("discard_later_changes", false, &mut problems);
            if let Some(mut options) = fields.object("rollback_options", &mut problems) {
                out.rollback_options.files = options.flag("restore_files", true, &mut problems);
                out.rollback_options.database = options.flag("restore_database", true, &mut problems);
                out.rollback_options.configuration = options.flag("restore_configuration", true, &mut problems);
                let asked = out.rollback_options;
                if !(asked.files || asked.database || asked.configuration) {
                    problems.note("rollback_options", "asks for nothing: at least one of restore_files, restore_database, restore_configuration must be true");
                }
                options.done(&mut problems);
            }
            fields.done(&mut problems);
        }
        if problems.is_empty() { Ok(out) } else { Err(Error::request(problems)) }
    }

    /// As the steps' undo reads it.
    fn for_engine(&self) -> Value {
        let Restore { files, database, configuration } = self.rollback_options;
        let later = self.discard_later_changes;
        json!({"backup_id": self.backup_id, "restore_files": files, "restore_database": database, "restore_configuration": configuration, "discard_later_changes": later})
    }
}

impl Control {
    /// Checks both systems (unless `skip_validation`), then hands the migration to a worker. A migration that runs already is a
    /// conflict, so calling twice starts it once.
    pub async fn start(&self, tenant: &str, id: &str, body: Option<&Value>, skip_validation: bool) -> Result<Acknowledged, Error> {
        self.start_run(tenant, id, body, skip_validation).await?;
        Ok(Acknowledged::started(id))
    }

    /// As [`Control::start`]; the run as it is then.
    pub(crate) async fn start_run(&self, tenant: &str, id: &str, body: Option<&Value>, skip_validation: bool) -> Result<RunView, Error> {
        let asked = StartOptions::decode(body)?;
        // Where no server does it now and then, a start is the moment for it.
        if let Err(error) = self.enforce_retention().await {
            tracing::warn!(%error, private = error.private, "expired backups could not be removed");
        }
        let view = self.steerable(tenant, id, "start").await?;
        let mut auto_rollback = asked.auto_rollback.unwrap_or(false);
        if matches!(view.state, RunState::Created | RunState::Scheduled) {
            let document = self.document(tenant, id).await?;
            // The disk may have changed since the migration was created: the wall is asked again.
            let spec = self.decode_any(&document)?;
            self.room_to_start(tenant, id, spec.makes_backup()).await?;
            auto_rollback = asked.auto_rollback.unwrap_or(spec.safety().rollback_on_failure);
            // A workload's servers are looked at by its first step: document 0 hears of them through the migration's state.
            if let (Spec::Application(spec), false) = (&spec, skip_validation) {
                self.check_before_start(tenant, spec).await?;
            }
        }
        let options = json!({"auto_rollback": auto_rollback, "send_notifications": asked.send_notifications.unwrap_or(true)});
        self.engine().start(tenant, id, self.traced(options)).await.map_err(|e| not_started(e, &view))
    }

    /// The worker stops at its next safe point; `paused` follows.
    pub async fn pause(&self, tenant: &str, id: &str) -> Result<Acknowledged, Error> {
        self.steerable(tenant, id, "pause").await?;
        let view = self.steered(tenant, id, "pause", self.engine().pause(tenant, id).await).await?;
        let status = if view.state == RunState::Paused { "paused" } else { "pausing" };
        Ok(Acknowledged::new(id, status, "Migration pause initiated; it keeps what it has done and goes on with resume"))
    }

    /// Goes on with a paused migration, or tries a failed one again from the step that failed.
    pub async fn resume(&self, tenant: &str, id: &str) -> Result<Acknowledged, Error> {
        let view = self.steerable(tenant, id, "resume").await?;
        self.require_node(&view, "resume").await?;
        self.steered(tenant, id, "resume", self.engine().resume(tenant, id).await).await?;
        Ok(Acknowledged::new(id, "started", "Migration execution resumed in background"))
    }

    /// The worker stops at its next safe point; `cancelled` follows. Nothing is undone by this.
    pub async fn cancel(&self, tenant: &str, id: &str) -> Result<Acknowledged, Error> {
        self.steerable(tenant, id, "cancel").await?;
        self.steered(tenant, id, "cancel", self.engine().cancel(tenant, id).await).await?;
        Ok(Acknowledged::new(id, "cancelled", "Migration cancellation initiated"))
    }

    /// Takes a migration back, in the background.
    pub async fn rollback(&self, tenant: &str, id: &str, body: Option<&Value>) -> Result<Acknowledged, Error> {
        let asked = RollbackOptions::decode(body)?;
        let view = self.steerable(tenant, id, "roll back").await?;
        self.require_node(&view, "roll back").await?;
        if let Some(image) = crate::workloads::image_of(&view).filter(|_| asked.rollback_options.files) {
            self.refuse_image_in_use(tenant, id, image).await?;
        }
        self.refuse_under_newer(tenant, id).await?;
        if let Some(backup) = &asked.backup_id {
            self.backup_of_migration(tenant, id, backup).await?;
        }
        self.refuse_rollback(tenant, &view, &asked).await?;
        self.steered(tenant, id, "roll back", self.engine().rollback(tenant, id, self.traced(asked.for_engine())).await).await?;
        Ok(Acknowledged::new(id, "rollback_started", "Migration rollback started in background"))
    }

    /// Tries the rollback of a stuck migration again, after its cause was removed.
    pub async fn resolve(&self, tenant: &str, id: &str) -> Result<Acknowledged, Error> {
        let view = self.steerable(tenant, id, "resolve").await?;
        self.require_node(&view, "resolve").await?;
        self.steered(tenant, id, "resolve", self.engine().resolve(tenant, id).await).await?;
        Ok(Acknowledged::new(id, "rollback_started", "Migration rollback is tried again in background"))
    }

    /// Forgets a migration that is not at work. Its backups stay until they expire.
    pub async fn delete(&self, tenant: &str, id: &str) -> Result<Acknowledged, Error> {
        self.steerable(tenant, id, "delete").await?;
        self.refuse_holder(tenant, id).await?;
        self.engine().delete(tenant, id).await.map_err(|e| Error::of_engine(e, id, "delete"))?;
        self.forget_schedule(tenant, id).await?;
        Ok(Acknowledged::new(id, "deleted", "Migration session deleted"))
    }
}

impl Control {
    /// A place is taken back in the order in which it was written, newest first.
    async fn refuse_under_newer(&self, tenant: &str, id: &str) -> Result<(), Error> {
        let newer = plans::place_history::newer_run(&self.settings().backups_dir, id).await.map_err(|e| Error::internal(e.to_string()))?;
        let Some(newer) = newer else { return Ok(()) };
        let known = self.engine().get(tenant, &newer).await.is_ok();
        let which = if known { format!("the migration '{newer}'") } else { "another migration".to_owned() };
        let message = format!("Cannot roll back this migration: {which} has written to the same destination since. Roll that one back first.");
        let newer = known.then_some(newer);
        Err(Error::new(Kind::Conflict, Code::InvalidState, message).details(json!({"session_id": id, "newer_migration": newer})))
    }

    /// The engine's answer to a wish; a refusal names the status that callers see.
    async fn steered(&self, tenant: &str, id: &str, doing: &str, answer: Result<RunView, EngineError>) -> Result<RunView, Error> {
        let refused = match answer {
            Ok(view) => return Ok(view),
            Err(refused) => refused,
        };
        let ended = matches!(refused, EngineError::Conflict { state: RunState::RolledBack, .. });
        let mut told = Error::of_engine(refused, id, doing);
        if ended {
            told.details["current_status"] = json!(super::status::word(&self.view(tenant, id, doing).await?));
        }
        Err(told)
    }
}

/// Document 3's own answer for a second start.
fn not_started(error: EngineError, view: &RunView) -> Error {
    match error {
        EngineError::Conflict { state: RunState::Running, .. } => Error::new(Kind::Conflict, Code::AlreadyRunning, "Migration session is already running")
            .details(json!({"session_id": view.id, "current_status": "running", "started_at": crate::time::text(view.started_at.unwrap_or(view.now))})),
        other => Error::of_engine(other, &view.id, "start"),
    }
}
