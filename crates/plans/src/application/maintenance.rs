//! Switching WordPress's maintenance mode on for the last pass, and always off again.
//!
//! The note is written before the file and says what was there before, so that whoever takes the migration up after a crash can
//! put the site back. A file that somebody else has written since is left alone.

use super::job::{Job, recall, value};
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::wordpress::{detect, maintenance};
use bytes::Bytes;
use engine::StepContext;
use futures::StreamExt;
use jiff::Timestamp;
use ports::ErrorKind;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NOTE: &str = "maintenance";
const LIMIT: u64 = 1 << 16;

/// How often the moment in the file is moved on.
pub const REFRESH: Duration = Duration::from_mins(10);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    pub on: bool,
    since: Option<Timestamp>,
    /// All periods together, in milliseconds.
    pub stood_still_ms: u64,
    /// A `.maintenance` of the site's own, from before.
    before: Option<Before>,
    /// Why the mode could not be switched on.
    pub unavailable: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    entry: Entry,
    hex: String,
}

pub async fn state(cx: &StepContext) -> StepResult<State> {
    Ok(recall(cx, NOTE).await?.unwrap_or_default())
}

async fn note(cx: &StepContext, state: &State) -> StepResult<()> {
    cx.remember(NOTE, Some(value(state))).await
}

/// Switches the mode on; false when the source does not let us write. Repeatable.
pub async fn enter(cx: &StepContext, files: &dyn FileTarget, observer: &RunObserver) -> StepResult<bool> {
    let mut now = state(cx).await?;
    if !now.on {
        let found = detect::read_small(files, &FilePath::from(maintenance::FILE), LIMIT).await.map_err(step_error)?;
        now.before = found.filter(|(_, text)| !maintenance::is_ours(text)).map(|(entry, text)| Before { entry, hex: hex::encode(text) });
        now.on = true;
        now.since = Some(Timestamp::now());
        now.unavailable = None;
        note(cx, &now).await?;
    }
    match write(cx, files).await {
        Ok(()) => {
            observer.info("maintenance", "The source site is in maintenance mode for the last pass");
            Ok(true)
        }
        Err(e) if matches!(e.kind, ErrorKind::Permission | ErrorKind::Unsupported) => {
            let why = e.to_string();
            observer.warning("maintenance", format!("Maintenance mode is not possible, so the last pass runs while the site lives: {why}"));
            note(cx, &State { on: false, since: None, before: None, unavailable: Some(why), ..now }).await?;
            Ok(false)
        }
        Err(e) => Err(step_error(e)),
    }
}

/// Writes the file with a moment ahead of now.
pub async fn write(cx: &StepContext, files: &dyn FileTarget) -> ports::Result<()> {
    let text = maintenance::content(cx.run_id(), Timestamp::now().as_second() + maintenance::AHEAD);
    let kind = EntryKind::File { size: text.len() as u64 };
    let entry = Entry { path: FilePath::from(maintenance::FILE), kind, modified_ns: None, mode: Some(0o644), version: None, content_type: None, posix: None };
    put(files, &entry, cx.run_id(), text.into_bytes()).await
}

async fn put(files: &dyn FileTarget, entry: &Entry, staging: &str, text: Vec<u8>) -> ports::Result<()> {
    files.put(entry, staging, futures::stream::iter([Ok(Bytes::from(text))]).boxed()).await.map(drop)
}

/// Switches the mode off, if this run switched it on. Repeatable.
pub async fn leave(cx: &StepContext, files: &dyn FileTarget, observer: &RunObserver) -> StepResult<State> {
    let mut now = state(cx).await?;
    if !now.on {
        return Ok(now);
    }
    let path = FilePath::from(maintenance::FILE);
    let found = detect::read_small(files, &path, LIMIT).await.map_err(step_error)?;
    if found.is_some_and(|(_, text)| maintenance::is_of_run(&text, cx.run_id())) {
        match &now.before {
            Some(before) => put(files, &before.entry, cx.run_id(), hex::decode(&before.hex).unwrap_or_default()).await.map_err(step_error)?,
            None => files.remove(&path).await.map_err(step_error)?,
        }
    }
    files.sweep(cx.run_id()).await.map_err(step_error)?;
    let period = now.since.map_or(0, |since| Timestamp::now().as_millisecond() - since.as_millisecond());
    now.on = false;
    now.since = None;
    now.stood_still_ms += u64::try_from(period).unwrap_or(0);
    note(cx, &now).await?;
    observer.info("maintenance", "The source site is out of maintenance mode");
    Ok(now)
}

/// The same when the run stops for whatever reason: opens only what it needs.
pub async fn stand_down(job: &Job, cx: &StepContext) -> StepResult<()> {
    if !state(cx).await?.on {
        return Ok(());
    }
    let Some(at) = &job.spec.source.files else { return Ok(()) };
    let files = job.settings.connectors.files(at, 1).await.map_err(step_error)?;
    leave(cx, files.as_ref(), &RunObserver::new(cx)).await.map(|_| ())
}

#[cfg(test)]
#[path = "maintenance_tests.rs"]
mod tests;
