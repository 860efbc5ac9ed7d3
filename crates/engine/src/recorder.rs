//! The pen of one claimed run: every durable word of its worker and its steps goes through here, fenced, with the waiting log lines.

use crate::hold::Hold;
use crate::journal::{Change, Journal, Level, NewEvent, Token};
use crate::telling::Telling;
use crate::view::Sample;
use crate::{EngineError, StepError};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// Log lines kept while the journal cannot be written; more are counted and dropped.
const LINES: usize = 10_000;

/// Shared by the worker and its steps.
pub struct Recorder {
    journal: Arc<dyn Journal>,
    token: Token,
    telling: Telling,
    lines: Mutex<Lines>,
    /// Held while lines are written, so that they keep their order.
    order: tokio::sync::Mutex<()>,
    fenced: CancellationToken,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<NewEvent>,
    dropped: u64,
}

impl Recorder {
    pub fn new(journal: Arc<dyn Journal>, token: Token, newest: Option<&Sample>) -> Self {
        Self { journal, token, telling: Telling::new(newest), lines: Mutex::default(), order: tokio::sync::Mutex::default(), fenced: CancellationToken::new() }
    }

    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    pub fn token(&self) -> &Token {
        &self.token
    }

    pub fn telling(&self) -> &Telling {
        &self.telling
    }

    /// Cancelled when a write showed that the lease is lost.
    pub fn fenced(&self) -> &CancellationToken {
        &self.fenced
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn log(&self, level: Level, component: &str, message: String, details: Value) {
        let mut lines = self.lines();
        if lines.waiting.len() < LINES {
            lines.waiting.push(NewEvent::new("log", level, component, message).details(details));
        } else {
            lines.dropped += 1;
        }
    }

    fn take_lines(&self) -> Vec<NewEvent> {
        let mut lines = self.lines();
        let dropped = std::mem::take(&mut lines.dropped);
        if dropped > 0 {
            let message = format!("{dropped} log lines were dropped: the journal could not be written fast enough");
            lines.waiting.push(NewEvent::new("log", Level::Warning, "engine", message));
        }
        std::mem::take(&mut lines.waiting)
    }

    /// Writes the changes with the waiting lines before `events`. Lines that could not be written wait for the next write.
    pub async fn write(&self, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), EngineError> {
        let _turn = self.order.lock().await;
        let lines = self.take_lines();
        let all: Vec<NewEvent> = lines.iter().cloned().chain(events).collect();
        let written = self.journal.write(&self.token, changes, all.clone()).await;
        if written.is_err() {
            self.lines().waiting.splice(0..0, lines);
        } else {
            all.iter().for_each(told);
        }
        self.noted(written)
    }

    /// Writes waiting lines and the sample, if there is anything.
    pub async fn flush(&self, sample: Option<Sample>) -> Result<(), EngineError> {
        let mut changes = Vec::new();
        let mut events = Vec::new();
        if let Some(sample) = sample {
            events.push(progress(&sample));
            changes.push(Change::Sample(sample));
        }
        if changes.is_empty() && self.lines().waiting.is_empty() {
            return Ok(());
        }
        self.write(changes, events).await
    }

    pub async fn remember(&self, scope: &str, key: &str, value: Option<Value>) -> Result<(), StepError> {
        let change = Change::Memo { scope: scope.to_owned(), key: key.to_owned(), value };
        self.answer(self.journal.write(&self.token, vec![change], Vec::new()).await)
    }

    pub async fn pin_to(&self, node: &str) -> Result<(), StepError> {
        let change = Change::PinTo { node: node.to_owned() };
        self.answer(self.journal.write(&self.token, vec![change], Vec::new()).await)
    }

    pub async fn recall(&self, scope: &str, key: &str) -> Result<Option<Value>, StepError> {
        self.answer(self.journal.recall(&self.token, scope, key).await)
    }

    pub async fn stand_still(&self, for_good: bool) -> Result<bool, StepError> {
        self.answer(self.journal.stand_still(&self.token, for_good).await)
    }

    pub async fn hold(&self) -> Result<Hold, StepError> {
        self.answer(self.journal.hold(&self.token).await)
    }

    /// Notes a lost lease, so that everything else of this run stops too.
    pub fn noted<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Err(EngineError::Fenced(_)) = &result {
            self.fenced.cancel();
        }
        result
    }

    /// The journal's answer in a step's words.
    pub fn answer<T>(&self, result: Result<T, EngineError>) -> Result<T, StepError> {
        self.noted(result).map_err(|error| match error {
            EngineError::Fenced(_) => StepError::stopped(),
            EngineError::Unavailable(reason) => StepError::temporary("journal_unavailable", format!("could not write down the progress of the run: {reason}"))
                .details(json!({"reason": reason})),
            other => StepError::permanent("internal", format!("the journal refused a write of the run: {other}")),
        })
    }
}

/// What stands in the run's own log stands in the program's log, too.
fn told(event: &NewEvent) {
    let NewEvent { kind, component, message, level, .. } = event;
    match level {
        _ if kind == "progress" => {}
        Level::Error => tracing::error!(target: "run", kind, component, "{message}"),
        Level::Warning => tracing::warn!(target: "run", kind, component, "{message}"),
        Level::Info => tracing::info!(target: "run", kind, component, "{message}"),
        Level::Debug => tracing::debug!(target: "run", kind, component, "{message}"),
    }
}

/// The event of a sample.
pub(crate) fn progress(sample: &Sample) -> NewEvent {
    let details = serde_json::to_value(sample).unwrap_or_default();
    NewEvent::new("progress", Level::Debug, "engine", format!("progress of {}", sample.step)).details(details)
}
