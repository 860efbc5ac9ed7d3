//! Letting old things go: of progress that is older than an hour one event a minute stays.

use crate::{Control, Error};
use engine::EngineError;
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::collections::BTreeSet;

/// Progress stays as it is for so many minutes.
const WHOLE_MINUTES: i64 = 60;
/// So many minutes are looked at in one write,
const SLICE_MINUTES: i64 = 6 * 60;
/// and so many events are deleted by it at most, so that no other write waits for long.
const AT_ONCE: u32 = 2000;
/// So many finished migrations are looked at together.
const FORGET_AT_ONCE: u32 = 200;

/// How far old progress has been thinned. Every process begins anew, which costs a look at what it kept.
#[derive(Debug, Default)]
pub struct Thinned {
    until: Option<Timestamp>,
}

impl Control {
    /// Thins what has become old since the last call with the same `done`; how many events went. `now` stands in for the clock in tests.
    pub async fn thin_progress(&self, done: &mut Thinned, now: Option<Timestamp>) -> Result<u64, Error> {
        let end = minute(now.unwrap_or_else(Timestamp::now), -WHOLE_MINUTES);
        let mut gone = 0;
        while let Some(oldest) = self.records().oldest_progress(done.until.unwrap_or(Timestamp::UNIX_EPOCH)).await? {
            let from = minute(oldest, 0).max(done.until.unwrap_or(Timestamp::UNIX_EPOCH));
            if from >= end {
                break;
            }
            let until = minute(from, SLICE_MINUTES).min(end);
            loop {
                let some = self.records().thin(from, until, AT_ONCE).await?;
                gone += some;
                if some < u64::from(AT_ONCE) {
                    break;
                }
            }
            done.until = Some(until);
        }
        Ok(gone)
    }
}

impl Control {
    /// Forgets migrations that were completed or rolled back more than so long ago, with their logs; how many went. One that can still be rolled back stays:
    /// its backup must have expired, or it must have been finalised. Repeatable; a server calls it now and then.
    pub async fn forget_finished(&self, keep: SignedDuration) -> Result<u64, Error> {
        let before = self.records().now().await?.checked_sub(keep).unwrap_or(Timestamp::UNIX_EPOCH);
        let stored = plans::backups::all(self.settings()).await.map_err(|e| Error::internal(e.to_string()))?;
        let with_backup: BTreeSet<String> = stored.into_iter().map(|b| b.run).collect();
        let (mut gone, mut after) = (0, None);
        loop {
            let page = self.records().finished_before(before, after, FORGET_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(gone) };
            after = Some((last.ended_at, last.id.clone()));
            for run in page.iter().filter(|run| !with_backup.contains(&run.id)) {
                gone += u64::from(self.forget_run(&run.tenant, &run.id).await?);
            }
        }
    }

    /// False: it may still be needed.
    async fn forget_run(&self, tenant: &str, id: &str) -> Result<bool, Error> {
        let Some(view) = self.view_if_there(tenant, id).await? else { return Ok(false) };
        // Its backup lies elsewhere, and may be there.
        if view.finalized.is_none() && view.pinned_to.as_deref().is_some_and(|node| self.engine().plans().node() != Some(node)) {
            return Ok(false);
        }
        match self.engine().delete(tenant, id).await {
            Ok(()) => self.forget_schedule(tenant, id).await.map(|()| true),
            // Somebody has it rolled back, reads it, or was faster.
            Err(EngineError::Conflict { .. } | EngineError::NotFound(_)) => Ok(false),
            Err(error) => Err(Error::of_engine(error, id, "forget")),
        }
    }
}

/// The whole minute of a moment, so many minutes later.
fn minute(at: Timestamp, later: i64) -> Timestamp {
    let seconds = at.as_second().div_euclid(60) * 60;
    Timestamp::from_second(seconds).and_then(|t| t.checked_add(later.minutes())).unwrap_or(at)
}
