//! Switching WordPress's maintenance mode on for the last pass, and always off again.
//!
//! The note is written before the file and says what was there before, so that whoever takes the migration up after a crash can
//! put the site back. A file that somebody else has written since is left alone. Whether the mode is in effect is asked of the site itself, where its
//! address is known: written is not proven.

use super::job::{Job, recall, value};
use super::standstill;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::wordpress::{detect, maintenance};
use bytes::Bytes;
use engine::{StepContext, StepError};
use futures::StreamExt;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::{Connectors, ErrorKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const NOTE: &str = "maintenance";
const LIMIT: u64 = 1 << 16;

/// How often the file is written anew; the mode ends by itself some minutes after the last time.
pub const REFRESH: Duration = Duration::from_mins(1);

/// How often the site is asked whether the mode is in effect, and the pause between: a cache of compiled PHP looks at files every two seconds.
const PROOF_ATTEMPTS: u32 = 3;
const PROOF_PAUSE: Duration = Duration::from_millis(1500);

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    pub on: bool,
    /// The file, relative to the web root.
    #[serde(default)]
    file: String,
    /// A `.maintenance` of the site's own, from before.
    before: Option<Before>,
    /// Why the mode could not be switched on.
    pub unavailable: Option<String>,
    /// Why the mode is not proven to be in effect; `None` while it is on: the site answered that it is.
    #[serde(default)]
    pub unproven: Option<String>,
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

/// Switches the mode on with `file` (below the web root); false when the source does not let us write. Repeatable.
pub async fn enter(cx: &StepContext, files: &dyn FileTarget, file: &FilePath, observer: &RunObserver) -> StepResult<bool> {
    let mut now = state(cx).await?;
    if !now.on {
        let found = detect::read_small(files, file, LIMIT).await.map_err(step_error)?;
        now.before = found.filter(|(_, text)| !maintenance::is_ours(text)).map(|(entry, text)| Before { entry, hex: hex::encode(text) });
        now.on = true;
        now.file = file.to_string();
        now.unavailable = None;
        now.unproven = None;
        note(cx, &now).await?;
    }
    match write(cx, files, file).await {
        Ok(()) => {
            observer.info("maintenance", "The source site is in maintenance mode for the last pass");
            Ok(true)
        }
        Err(e) if matches!(e.kind, ErrorKind::Permission | ErrorKind::Unsupported) => {
            unavailable(cx, observer, now, e.to_string()).await?;
            Ok(false)
        }
        Err(e) => Err(step_error(e)),
    }
}

/// Notes that the mode cannot be had, and why.
pub async fn unavailable(cx: &StepContext, observer: &RunObserver, now: State, why: String) -> StepResult<()> {
    observer.warning("maintenance", format!("Maintenance mode is not possible, so the last pass runs while the site lives: {why}"));
    note(cx, &State { on: false, before: None, unavailable: Some(why), ..now }).await
}

/// Asks the site at `url` whether the mode is in effect, and notes the answer. `core`: WordPress's directory below the web root.
pub async fn prove(cx: &StepContext, connectors: &dyn Connectors, url: Option<&str>, core: &str, observer: &RunObserver) -> StepResult<()> {
    let mut now = state(cx).await?;
    now.unproven = match url {
        None => Some("source.url is not given, so the site could not be asked".to_owned()),
        Some(url) => answers_closed(connectors, &login_page(url, core)).await.err(),
    };
    match &now.unproven {
        None => observer.info("maintenance", "The source site answers that it is in maintenance mode"),
        Some(why) => observer.warning("maintenance", format!("It is not proven that the source site is in maintenance mode: {why}")),
    }
    note(cx, &now).await
}

/// A page that no cache keeps and that every WordPress has.
fn login_page(url: &str, core: &str) -> String {
    format!("{}/{}", url.trim_end_matches('/'), detect::below(core, "wp-login.php"))
}

async fn answers_closed(connectors: &dyn Connectors, page: &str) -> Result<(), String> {
    let mut why = String::new();
    for attempt in 0..PROOF_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PROOF_PAUSE).await;
        }
        match connectors.page_status(page).await {
            Ok(503) => return Ok(()),
            Ok(status) => why = format!("{page} answered {status} and not 503"),
            Err(e) => why = e.to_string(),
        }
    }
    Err(why)
}

/// Writes the file, whose time is what counts.
pub async fn write(cx: &StepContext, files: &dyn FileTarget, file: &FilePath) -> ports::Result<()> {
    let text = maintenance::content(cx.run_id());
    let kind = EntryKind::File { size: text.len() as u64 };
    let entry = Entry { mode: Some(0o644), ..Entry::new(file.clone(), kind) };
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
    let path = FilePath::from(if now.file.is_empty() { maintenance::FILE } else { now.file.as_str() });
    let found = detect::read_small(files, &path, LIMIT).await.map_err(step_error)?;
    if found.is_some_and(|(_, text)| maintenance::is_of_run(&text, cx.run_id())) {
        match &now.before {
            Some(before) => put(files, &before.entry, cx.run_id(), original(before)?).await.map_err(step_error)?,
            None => files.remove(&path).await.map_err(step_error)?,
        }
    }
    files.sweep(cx.run_id()).await.map_err(step_error)?;
    now.on = false;
    note(cx, &now).await?;
    observer.info("maintenance", "The source site is out of maintenance mode");
    Ok(now)
}

fn original(before: &Before) -> StepResult<Vec<u8>> {
    hex::decode(&before.hex).map_err(|e| StepError::permanent("internal", format!("The site's own maintenance file was noted unreadably: {e}")))
}

/// The same when the run stops for whatever reason, with the standstill: opens only what it needs.
pub async fn stand_down(job: &Job, cx: &StepContext) -> StepResult<()> {
    let left = lift(job, cx).await;
    standstill::end(cx).await?;
    left
}

async fn lift(job: &Job, cx: &StepContext) -> StepResult<()> {
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
