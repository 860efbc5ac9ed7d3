//! The node of a migration: once it has a backup, only servers that reach that backup go on with it or take it back.
//!
//! What such a migration is asked for is refused while its node has no server, so that nobody waits for what cannot happen, and nothing is touched.
//! A node that is gone for good is given up by force, which says what is lost.

use super::life::Acknowledged;
use super::status::Problem;
use crate::error::{Code, Kind};
use crate::{Control, Error};
use domain::decode::{Fields, Problems};
use engine::RunView;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// Body of a release.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Release {
    /// Must be true: what the migration overwrote can never be restored then.
    #[schema(example = true, schema_with = only_true)]
    pub force: bool,
}

fn only_true() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([true]))
        .description(Some("Must be true: what the migration overwrote can never be restored then."))
        .build()
}

/// The word of a migration that waits for its node.
const WAITS: &str = "node_unavailable";

impl Control {
    /// The migration's node, when no server of it is running.
    pub(super) async fn absent_node(&self, view: &RunView) -> Result<Option<String>, Error> {
        let Some(node) = &view.pinned_to else { return Ok(None) };
        let is_present = self.engine().is_present(node).await.map_err(|e| Error::of_engine(e, &view.id, "look at"))?;
        Ok((!is_present).then(|| node.clone()))
    }

    /// Refuses what only the migration's node can do while no server of that node is running.
    pub(super) async fn require_node(&self, view: &RunView, doing: &str) -> Result<(), Error> {
        let Some(node) = self.absent_node(view).await? else { return Ok(()) };
        let message = format!("Cannot {doing} this migration now: {}", absence(&node, &view.id));
        Err(Error::new(Kind::Conflict, Code::NodeUnavailable, message).details(json!({
            "session_id": view.id,
            "node": node,
            "current_status": super::word(view),
            "release": format!("/migrations/{}/release", view.id),
        })))
    }

    /// What a status says of a migration that waits for its node.
    pub(super) async fn waiting_for_node(&self, view: &RunView) -> Result<Option<Problem>, Error> {
        if !view.state.is_active() || view.held {
            return Ok(None);
        }
        let node = self.absent_node(view).await?;
        Ok(node.map(|node| Problem {
            code: WAITS.to_owned(),
            message: format!("Nobody works on this migration: {}", absence(&node, &view.id)),
            step: view.current_step().map(|s| s.name.clone()),
            retryable: true,
            details: json!({"node": node}),
        }))
    }

    /// Gives a migration's node up: any server may work on it from now on, without what lies on that node. `body`: `{"force": true}`.
    pub async fn release(&self, tenant: &str, id: &str, body: Option<&Value>) -> Result<Acknowledged, Error> {
        self.steerable(tenant, id, "release").await?;
        let mut problems = Problems::default();
        let empty = json!({});
        let mut force = false;
        if let Some(mut fields) = Fields::of("", body.unwrap_or(&empty), &mut problems) {
            force = fields.flag("force", false, &mut problems);
            fields.done(&mut problems);
        }
        if !force && problems.is_empty() {
            problems.note("force", "must be true: the migration's backup is lost to it then, and what it overwrote can never be restored");
        }
        if !problems.is_empty() {
            return Err(Error::request(problems));
        }
        self.engine().unpin(tenant, id).await.map_err(|e| Error::of_engine(e, id, "release"))?;
        Ok(Acknowledged::released(id))
    }
}

fn absence(node: &str, id: &str) -> String {
    format!(
        "its backup lies on the node '{node}', and no server of that node is running. Start that server again. If it is gone for good, \
         give it up with 'migration-assistant release {id} --force' (POST /migrations/{id}/release): what the migration overwrote can then never be restored"
    )
}
