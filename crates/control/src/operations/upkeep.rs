//! Letting old things go: of progress that is older than an hour one event a minute stays.

use crate::{Control, Error};
use jiff::{Timestamp, ToSpan};

/// Progress stays as it is for so many minutes.
const WHOLE_MINUTES: i64 = 60;
/// So many minutes are looked at in one write,
const SLICE_MINUTES: i64 = 6 * 60;
/// and so many events are deleted by it at most, so that no other write waits for long.
const AT_ONCE: u32 = 2000;

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

/// The whole minute of a moment, so many minutes later.
fn minute(at: Timestamp, later: i64) -> Timestamp {
    let seconds = at.as_second().div_euclid(60) * 60;
    Timestamp::from_second(seconds).and_then(|t| t.checked_add(later.minutes())).unwrap_or(at)
}
