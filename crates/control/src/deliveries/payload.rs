//! What a receiver is told of an event: `{type, timestamp, data}`.

use crate::{Control, Error, events, migrations, time};
use engine::journal::EventFilter;
use engine::{EngineError, Event, RunState, RunView, Trace};
use jiff::Timestamp;
use ports::records::Untold;
use serde_json::{Value, json};

/// An event with what is known of its migration.
pub(crate) struct Told {
    /// The public name.
    pub event: String,
    pub payload: Value,
    /// The trace that its migration is part of.
    pub trace: Option<Trace>,
}

impl Told {
    /// `status` and `message` are those of the event, everything else is how it is now.
    pub fn new(untold: &Untold, event: Option<&Event>, view: Option<&RunView>, now: Timestamp) -> Self {
        let word = events::word(&untold.kind);
        let at = event.map_or(now, |e| e.at);
        let mut data = view.map_or_else(|| json!({"session_id": untold.run, "id": untold.run}), data);
        if let Some(status) = status(&untold.kind, event, view) {
            data["status"] = json!(status);
        }
        data["message"] = json!(event.map(|e| e.message.as_str()));
        data["sequence"] = json!(untold.seq);
        if untold.kind.starts_with("step.")
            && let Some(event) = event
        {
            data["step"] = json!({"name": event.component, "details": event.details});
        }
        let trace = view.and_then(|v| v.trace);
        Self { trace, payload: json!({"type": word, "timestamp": time::text(at), "data": data}), event: word }
    }
}

/// The migration's status without its list of steps, and what it is about.
pub(crate) fn data(view: &RunView) -> Value {
    let mut data = migrations::told(view);
    if let Value::Object(map) = &mut data {
        map.remove("steps");
        map.remove("last_event");
        for name in ["source", "destination", "source_type", "destination_type"] {
            map.insert(name.to_owned(), view.labels.get(name).cloned().unwrap_or_default());
        }
    }
    data
}

/// The status that the event brought about, in the word that callers see.
fn status(kind: &str, event: Option<&Event>, view: Option<&RunView>) -> Option<&'static str> {
    let named = kind.strip_prefix("run.").and_then(|what| match what {
        "started" | "resumed" => Some(RunState::Running),
        other => RunState::parse(other),
    });
    let told = event.and_then(|e| e.details.get("state")?.as_str()).and_then(RunState::parse);
    match named.or(told)? {
        RunState::RolledBack if view.is_some_and(|v| v.rolls_back_by_itself) => Some(RunState::Failed.word()),
        state => Some(state.word()),
    }
}

impl Control {
    /// The event itself; `None` when its migration was deleted meanwhile.
    pub(super) async fn event_of(&self, untold: &Untold) -> Result<Option<Event>, Error> {
        let filter = EventFilter { after: untold.seq - 1, limit: 1, ..EventFilter::default() };
        match self.engine().events(&untold.tenant, &untold.run, &filter).await {
            Ok(found) => Ok(found.into_iter().find(|e| e.seq == untold.seq)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(Error::of_engine(error, &untold.run, "tell of")),
        }
    }

    /// The migration; `None` when it was deleted meanwhile.
    pub(crate) async fn view_if_there(&self, tenant: &str, run: &str) -> Result<Option<RunView>, Error> {
        match self.engine().get(tenant, run).await {
            Ok(view) => Ok(Some(view)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(Error::of_engine(error, run, "tell of")),
        }
    }
}
