//! The lease on a directory or bucket: a mark in its root that says who has it and until when.
//!
//! The holder renews the mark. A mark whose time is over is watched for one more renewal before it is taken over, so that clocks that
//! differ do no harm. Listings do not show it.

use super::ownership::Holder;
use crate::adapters::{StepResult, step_error};
use crate::wordpress::detect::read_small;
use engine::StepError;
use jiff::{SignedDuration, Timestamp};
use ports::files::{FilePath, FileTarget};
use ports::place::{FilePlace, MARK_PREFIX};
use ports::{ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A holder that is not heard of for so long has lost the place.
const EXPIRY: SignedDuration = SignedDuration::from_secs(90);
/// One renewal of a living holder falls into it.
const WATCH: Duration = Duration::from_secs(25);
const MAX_SIZE: u64 = 4096;
/// How often a mark that others change is looked at again.
const ATTEMPTS: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    holder: String,
    expires: Timestamp,
}

impl Mark {
    fn new(holder: &str) -> Self {
        Self { holder: holder.to_owned(), expires: Timestamp::now() + EXPIRY }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// See the module's comment.
pub(super) struct MarkLease {
    files: Arc<dyn FileTarget>,
    place: Arc<dyn FilePlace>,
    holder: String,
    /// When it ends unless it is renewed.
    expires: std::sync::Mutex<Timestamp>,
}

fn path() -> FilePath {
    FilePath::from(format!("{MARK_PREFIX}owner").as_str())
}

impl MarkLease {
    /// `None` when there is no root yet, or nothing can be written into it.
    pub(super) async fn take(files: &Arc<dyn FileTarget>, holder: &Holder, stop: &CancellationToken) -> StepResult<Option<Self>> {
        let Some(place) = files.place() else { return Ok(None) };
        let lease = Self { files: files.clone(), place, holder: holder.text.clone(), expires: std::sync::Mutex::new(Timestamp::now()) };
        for _ in 0..ATTEMPTS {
            let found = match lease.read().await {
                Err(e) if e.kind == ErrorKind::NotFound => return Ok(None),
                found => found.map_err(step_error)?,
            };
            let own = found.as_ref().is_some_and(|mark| mark.holder == lease.holder);
            if let Some(mark) = found.filter(|_| !own) {
                lease.wait_for_end(&mark, holder, stop).await?;
            }
            match lease.write(own).await {
                Ok(()) => {}
                Err(e) if e.kind == ErrorKind::AlreadyExists => continue,
                Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Unsupported) => return Ok(None),
                Err(e) => return Err(step_error(e)),
            }
            // A store that knows no conditional writes has taken both.
            if lease.read().await.map_err(step_error)?.is_some_and(|mark| mark.holder == lease.holder) {
                return Ok(Some(lease));
            }
        }
        Err(holder.refused("", &files.location()))
    }

    /// Removes the mark of a holder that is gone.
    async fn wait_for_end(&self, mark: &Mark, holder: &Holder, stop: &CancellationToken) -> StepResult<()> {
        let refused = |mark: &Mark| Err(holder.refused(&mark.holder, &self.files.location()));
        if mark.expires > Timestamp::now() {
            return refused(mark);
        }
        tokio::select! {
            () = stop.cancelled() => return Err(StepError::stopped()),
            () = tokio::time::sleep(WATCH) => {}
        }
        match self.read().await.map_err(step_error)? {
            Some(now) if now != *mark => refused(&now),
            Some(_) => self.files.remove(&path()).await.map_err(step_error),
            None => Ok(()),
        }
    }

    /// A mark that cannot be read is somebody's; it ends like any other.
    async fn read(&self) -> Result<Option<Mark>> {
        let found = read_small(self.files.as_ref(), &path(), MAX_SIZE).await?;
        Ok(found.map(|(_, text)| serde_json::from_slice(&text).unwrap_or(Mark { holder: String::new(), expires: Timestamp::UNIX_EPOCH })))
    }

    async fn write(&self, replace: bool) -> Result<()> {
        let mark = Mark::new(&self.holder);
        self.place.write_mark(&path(), &mark.text(), replace).await?;
        *self.expires.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = mark.expires;
        Ok(())
    }

    /// Whether the place is still ours. While it does not answer it is, until the mark's time is over.
    pub(super) async fn renew(&self) -> bool {
        let renewed = match self.read().await {
            Ok(Some(mark)) if mark.holder == self.holder => self.write(true).await,
            Ok(Some(_)) => return false,
            Ok(None) => self.write(false).await,
            Err(e) => Err(e),
        };
        let expires = *self.expires.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        renewed.is_ok() || Timestamp::now() < expires
    }

    /// What cannot be removed now expires.
    pub(super) async fn release(&self) {
        let own = matches!(self.read().await, Ok(Some(mark)) if mark.holder == self.holder);
        if own {
            self.files.remove(&path()).await.ok();
        }
    }
}
