//! The report of a migration, as data and as a page.

use super::status;
use crate::error::{Code, Kind};
use crate::{Control, Error};
use engine::{RunState, RunView, StepState};
use serde_json::{Value, json};

/// The plan's last step; its output is the report.
const LAST_STEP: &str = "finish";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Html,
}

/// In the form that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    Json(Value),
    Html(String),
}

impl Control {
    /// The report that the last step stored. Before that a conflict that says where the migration stands.
    pub async fn report(&self, tenant: &str, id: &str, format: Format) -> Result<Report, Error> {
        let view = self.view(tenant, id, "report on").await?;
        let stored = stored(&view).ok_or_else(|| not_ready(&view))?;
        Ok(match format {
            Format::Json => Report::Json(with_status(stored, &view)),
            Format::Html => Report::Html(plans::report::html(&with_status(stored, &view))),
        })
    }
}

/// What became of the migration since: it may have been taken back.
fn with_status(stored: &Value, view: &RunView) -> Value {
    let mut report = stored.clone();
    if let (Value::Object(map), Some(finalized)) = (&mut report, &view.finalized) {
        map.insert("rollback".to_owned(), json!(format!("It was finalised on {:.0}: there is no way back any more.", finalized.at)));
        // It went with the way back.
        map.insert("backup".to_owned(), Value::Null);
    }
    if let Value::Object(map) = &mut report {
        map.insert("status".to_owned(), json!(status::word(view)));
        map.insert("rolled_back".to_owned(), json!(view.state == RunState::RolledBack));
        if matches!(view.state, RunState::RollingBack | RunState::RolledBack) {
            let words = if view.state == RunState::RolledBack { "It was taken back." } else { "It is being taken back." };
            map.insert("rollback".to_owned(), json!(words));
        }
    }
    report
}

fn stored(view: &RunView) -> Option<&Value> {
    view.steps.iter().find(|s| s.name == LAST_STEP && matches!(s.state, StepState::Done | StepState::Undone))?.output.as_ref()
}

fn not_ready(view: &RunView) -> Error {
    let word = status::word(view).replace('_', " ");
    Error::new(Kind::Conflict, Code::ReportNotReady, format!("There is no report yet: the migration is {word}. Its status and logs tell what happened so far"))
        .details(json!({"session_id": view.id, "current_status": status::word(view)}))
}
