//! The events that go with requests, the same for every store.

use super::{Level, NewEvent, Wanted};
use crate::state::{Next, Request};
use crate::view::Finalized;
use crate::{EngineError, RunState};
use serde_json::json;

/// The event of a new run.
pub fn created(kind: &str) -> NewEvent {
    NewEvent::new("run.created", Level::Info, "engine", format!("created, of kind {kind}"))
}

/// The event of a request that was allowed.
pub fn requested(request: &Request, next: Next) -> NewEvent {
    let (kind, message) = match (request, next) {
        (Request::Start { .. }, _) => ("run.started", "started".to_owned()),
        (Request::Schedule { at, .. }, _) => ("run.scheduled", format!("scheduled for {at}")),
        (Request::Unschedule, _) => ("run.unscheduled", "taken off the schedule".to_owned()),
        (Request::Resume, _) => ("run.resumed", "resumed".to_owned()),
        (Request::Pause, Next::Enter(_) | Next::Note) => ("run.paused", "paused".to_owned()),
        (Request::Pause, Next::Want(_)) => ("run.pausing", "asked to pause".to_owned()),
        (Request::Cancel, Next::Enter(_) | Next::Note) => ("run.cancelled", "cancelled".to_owned()),
        (Request::Cancel, Next::Want(_)) => ("run.cancelling", "asked to stop".to_owned()),
        (Request::Rollback { .. }, _) => ("run.rolling_back", "rollback started".to_owned()),
        (Request::Resolve, _) => ("run.rolling_back", "rollback tried again".to_owned()),
        (Request::Refuse { error }, _) => ("run.failed", format!("failed: {error}")),
        (Request::Ask { name }, _) => ("run.asked", format!("asked for the {name}")),
        (Request::Finalize { by: Some(by) }, _) => ("run.finalized", format!("finalised by {by}: there is no way back any more")),
        (Request::Finalize { by: None }, _) => ("run.finalized", "finalised: there is no way back any more".to_owned()),
    };
    let mut details = match next {
        Next::Enter(state) => json!({ "state": state.word() }),
        Next::Want(Wanted::Pause | Wanted::Cancel) => json!({ "state": RunState::Running.word() }),
        Next::Note => json!({}),
    };
    if let Request::Ask { name } = request {
        details["asked"] = json!(name);
    }
    if let Request::Start { options } | Request::Schedule { options, .. } = request {
        details["options"] = crate::admission::asked_for_now(options.clone());
    }
    let mut level = Level::Info;
    if let Request::Refuse { error } = request {
        level = Level::Error;
        details["error"] = json!(error);
    }
    NewEvent::new(kind, level, "engine", message).details(details)
}

/// The key of the memo that says what was asked for.
pub fn asked(name: &str) -> String {
    format!("asked.{name}")
}

/// The event of a scheduled run whose time has come.
pub fn due() -> NewEvent {
    NewEvent::new("run.started", Level::Info, "engine", "started by its schedule").details(json!({ "state": RunState::Running.word() }))
}

/// The refusal of a request in a store's error.
pub fn refused(id: &str, state: RunState, refusal: crate::state::Refusal) -> EngineError {
    EngineError::Conflict { id: id.to_owned(), state, message: refusal.0 }
}

/// The refusal of a rollback whose means are gone.
pub fn no_way_back(id: &str, state: RunState, finalized: &Finalized) -> EngineError {
    let by = finalized.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let message = format!("it was finalised on {:.0}{by}, and what a rollback needs was removed then", finalized.at);
    EngineError::Conflict { id: id.to_owned(), state, message }
}

/// The refusal of what would take away what another run reads.
pub fn read_by(id: &str, state: RunState, holder: &str) -> EngineError {
    let message = format!("{holder} is at work with what it has made; wait until that one has ended, or cancel it");
    EngineError::Conflict { id: id.to_owned(), state, message }
}

/// The event of a run that a node cannot read.
pub fn set_aside(node: &str, reason: &str) -> NewEvent {
    let whose = if node.is_empty() { "a server".to_owned() } else { format!("the node '{node}'") };
    let message = format!("set aside by {whose}, which goes on with others and tries again in some minutes: {reason}");
    NewEvent::new("log", Level::Error, "engine", message).details(json!({ "node": node }))
}

/// The event of a run that lost its node.
pub fn unpinned(node: &str) -> NewEvent {
    let message = format!("released from the node '{node}' by force: what lies there, such as the backup, is lost to this run");
    NewEvent::new("run.unpinned", Level::Warning, "engine", message).details(json!({ "node": node }))
}

/// The refusal to take a pin off.
pub fn not_unpinned(id: &str, state: RunState, is_pinned: bool) -> EngineError {
    let message = if is_pinned { "a worker of its node is at work on it" } else { "it is pinned to no node" };
    EngineError::Conflict { id: id.to_owned(), state, message: message.to_owned() }
}

/// The refusal of a deletion.
pub fn undeletable(id: &str, state: RunState) -> EngineError {
    EngineError::Conflict { id: id.to_owned(), state, message: "it is at work; cancel it first".to_owned() }
}

/// Whether an event kind matches an entry of a filter: the same word, or a prefix that ends in `*`.
pub fn kind_matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    }
}
