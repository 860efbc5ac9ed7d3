//! The destination's `wp-config.php`: compared before it is replaced, and before it is taken back.

use super::backup::{Restorable, save_configuration_again, save_later_configuration};
use super::job::{Job, recall};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::late_backup::LateBackup;
use crate::wordpress::{CONFIG, detect};
use bytes::Bytes;
use engine::StepContext;
use futures::StreamExt;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::{ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// Note: written before the file is.
pub const WRITING: &str = "configuration.writing";
/// How often the file is looked at again because somebody wrote to it at that moment.
const TRIES: u32 = 3;
/// No configuration file is larger, in bytes.
const LIMIT: u64 = 1 << 24;

/// What we are about to write, and whether something was there.
#[derive(Serialize, Deserialize)]
pub struct Writing {
    pub existed: bool,
    pub blake3: String,
}

impl Writing {
    fn is(&self, text: &[u8]) -> bool {
        blake3::hash(text).to_hex().as_str() == self.blake3
    }
}

/// What stands there: a link as itself, and the text that it leads to.
struct Standing {
    entry: Entry,
    text: Vec<u8>,
}

async fn standing(files: &dyn FileTarget) -> Result<Option<Standing>> {
    let path = FilePath::from(CONFIG);
    let Some(entry) = files.stat(&path).await? else { return Ok(None) };
    let text = match detect::read_small(files, &path, LIMIT).await {
        Ok(read) => read.map(|(_, text)| text).unwrap_or_default(),
        // A link that leads nowhere.
        Err(e) if e.kind == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(e),
    };
    Ok(Some(Standing { entry, text }))
}

/// Writes the file. What stands there and is neither ours nor saved is saved first. `earlier`: what an interrupted try was about to write.
/// Repeatable.
pub async fn replace(
    job: &Job,
    cx: &StepContext,
    observer: &RunObserver,
    files: &dyn FileTarget,
    entry: &Entry,
    text: &[u8],
    earlier: Option<&Writing>,
) -> StepResult<()> {
    for _ in 0..TRIES {
        let found = standing(files).await.map_err(step_error)?;
        if let Some(found) = &found
            && found.text != text
            && earlier.is_none_or(|earlier| !earlier.is(&found.text))
        {
            save_configuration_again(job, cx, observer, files, &found.text).await?;
        }
        if put(files, entry, cx.run_id(), text, found.map(|f| f.entry).as_ref()).await.map_err(step_error)? {
            return Ok(());
        }
    }
    let message = format!("{CONFIG} at {} was changed again and again while it was about to be replaced", files.location());
    Err(failed(ErrorKind::Changed, message, "Find out who writes to it, and start again"))
}

/// Puts the file over exactly what was `seen`; false when something else stands there by now.
async fn put(files: &dyn FileTarget, entry: &Entry, staging: &str, text: &[u8], seen: Option<&Entry>) -> Result<bool> {
    let body = futures::stream::iter([Ok(Bytes::copy_from_slice(text))]).boxed();
    let put = match seen {
        Some(seen) => files.put_replacing(entry, staging, body, seen).await,
        None => files.put_new(entry, staging, body).await,
    };
    match put {
        Ok(_) => Ok(true),
        Err(e) if e.kind == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether the file reads back as `text`.
pub async fn prove(files: &dyn FileTarget, text: &[u8]) -> StepResult<()> {
    let stored = detect::read_small(files, &FilePath::from(CONFIG), LIMIT).await.map_err(step_error)?;
    if stored.is_some_and(|(_, stored)| stored == text) {
        return Ok(());
    }
    Err(failed(ErrorKind::Corrupt, format!("{CONFIG} does not read back as it was written at {}", files.location()), "Check who else writes there"))
}

/// Restores what stood there before, or removes ours; what somebody changed since stays, unless it is to be discarded. Repeatable.
pub async fn take_back(job: &Job, cx: &StepContext, observer: &RunObserver, files: &dyn FileTarget, writing: &Writing) -> StepResult<()> {
    let before = match Restorable::find(job, cx).await? {
        Some(restorable) => restorable.configuration().await?,
        None => None,
    };
    let found = match standing(files).await {
        Err(e) if e.kind == ErrorKind::NotFound => None,
        other => other.map_err(step_error)?,
    };
    let is_before = |found: &Standing| before.as_ref().is_some_and(|(entry, text)| same_kind(entry, &found.entry) && *text == found.text);
    match &found {
        None if before.is_none() => return Ok(()),
        Some(found) if is_before(found) => return set_mode(files, before.as_ref(), &found.entry).await,
        Some(found) if !writing.is(&found.text) && !discard(job, cx, observer, files).await? => {
            observer.warning("rollback", format!("{CONFIG} was left alone: it was changed at the destination after the migration wrote it"));
            return Ok(());
        }
        _ => {}
    }
    let seen = found.map(|f| f.entry);
    let done = match &before {
        Some((entry, text)) => restore(files, entry, cx.run_id(), text, seen.as_ref()).await?,
        None if writing.existed => {
            observer.warning("rollback", format!("{CONFIG} was overwritten without a backup, as asked, and is not restored"));
            true
        }
        None => remove(files, seen.as_ref()).await?,
    };
    if !done {
        observer.warning("rollback", format!("{CONFIG} was left alone: it was changed at the destination while it was about to be taken back"));
    } else if before.is_some() {
        observer.info("rollback", format!("Restored {CONFIG}; it reads back as it was"));
    }
    Ok(())
}

/// The text is as before already; its mode and time may not be.
async fn set_mode(files: &dyn FileTarget, before: Option<&(Entry, Vec<u8>)>, now: &Entry) -> StepResult<()> {
    match before {
        Some((entry, _)) if matches!(entry.kind, EntryKind::File { .. }) && (entry.mode, entry.modified_ns) != (now.mode, now.modified_ns) => {
            files.make(entry).await.map_err(step_error)
        }
        _ => Ok(()),
    }
}

fn same_kind(one: &Entry, other: &Entry) -> bool {
    match (&one.kind, &other.kind) {
        (EntryKind::File { .. }, EntryKind::File { .. }) => true,
        (one, other) => one == other,
    }
}

/// Saves what somebody changed, where a rollback is to take it back all the same; false where it is to stay.
async fn discard(job: &Job, cx: &StepContext, observer: &RunObserver, files: &dyn FileTarget) -> StepResult<bool> {
    let Some(late) = LateBackup::for_discarded(&job.settings, cx, &job.spec.name, &job.spec.safety).await? else { return Ok(false) };
    save_later_configuration(job, cx, files).await?;
    late.close(cx, observer).await?;
    observer.warning("rollback", format!("{CONFIG} was saved and then taken back, as asked: it was changed at the destination after the migration wrote it"));
    Ok(true)
}

async fn restore(files: &dyn FileTarget, entry: &Entry, staging: &str, text: &[u8], seen: Option<&Entry>) -> StepResult<bool> {
    if matches!(entry.kind, EntryKind::Symlink { .. }) {
        if !remove(files, seen).await? {
            return Ok(false);
        }
        files.make(entry).await.map_err(step_error)?;
        return Ok(true);
    }
    let done = put(files, entry, staging, text, seen).await.map_err(step_error)?;
    if done {
        prove(files, text).await?;
    }
    Ok(done)
}

async fn remove(files: &dyn FileTarget, seen: Option<&Entry>) -> StepResult<bool> {
    let Some(seen) = seen else { return Ok(true) };
    match files.remove_if(&FilePath::from(CONFIG), seen).await {
        Ok(()) => Ok(true),
        Err(e) if e.kind == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(step_error(e)),
    }
}

/// Whether the file at the destination is still the one we wrote. `None`: none was written.
pub async fn still_ours(cx: &StepContext, files: &dyn FileTarget) -> StepResult<Option<bool>> {
    let Some(writing) = recall::<Writing>(cx, WRITING).await? else { return Ok(None) };
    let stored = detect::read_small(files, &FilePath::from(CONFIG), LIMIT).await.map_err(step_error)?;
    Ok(Some(stored.is_some_and(|(_, text)| writing.is(&text))))
}
