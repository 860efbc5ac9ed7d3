//! Writing down what came of a try: the delivery, its lane's next turn, and a receiver that is gone, in one transaction.

use super::dispatch::Leaving;
use super::lane::{Fate, LANE, Lane};
use super::outgoing::{Outcome, Verdict};
use super::{KIND, State};
use crate::webhooks::RetryPolicy;
use crate::{Control, Error};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, Record, RecordsError, Write};
use rand::Rng;
use std::time::Duration;

const TRIES: usize = 8;
const LONGEST_PAUSE: u64 = 6 * 3600;
/// How long records of what arrived and of what did not are kept.
const KEEP_DELIVERED: SignedDuration = SignedDuration::from_hours(30 * 24);
const KEEP_DEAD: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Nothing, or hardly anything, comes after these.
const LAST_EVENTS: [&str; 5] = ["migration.completed", "migration.failed", "migration.cancelled", "migration.rolled_back", "migration.stuck"];

impl Control {
    pub(super) async fn settle(&self, tenant: &str, lane_id: &str, leaving: Leaving, outcome: Outcome, now: Timestamp) -> Result<(), Error> {
        let mut stored = leaving.stored;
        stored.note(outcome.attempt);
        let (state, fate) = verdict(&outcome.verdict, stored.tried, outcome.policy, stored.is_progress(), now);
        let (over, again_at) = match fate {
            Fate::Again { at } => (None, Some(at)),
            Fate::Over { .. } => (Some(now), None),
        };
        (stored.next_attempt_at, stored.finished_at) = (again_at, over);
        let keep = if state == State::Dead { KEEP_DEAD } else { KEEP_DELIVERED };
        let fields = Fields::body(stored.value()?).state(state.word()).due(over.map(|at| at + keep));
        let mut told = Some(Write::update(&leaving.record, fields));
        let ends = LAST_EVENTS.contains(&stored.event.as_str()) || stored.webhook_id.is_none();
        for _ in 0..TRIES {
            let Some(record) = self.records().get(tenant, LANE, lane_id).await? else { return Ok(()) };
            let mut writes = vec![after(&record, &leaving.record.id, fate, now, ends)?];
            writes.extend(told.clone());
            if outcome.verdict == Verdict::Gone {
                writes.extend(self.gone(tenant, stored.webhook_id.as_deref()).await?);
            }
            match self.records().apply(writes).await {
                Ok(_) => return Ok(()),
                // Somebody deleted the delivery or had it sent again: only the lane is ours to write.
                Err(RecordsError::Changed { kind, .. } | RecordsError::NotFound { kind, .. }) if kind == KIND => told = None,
                Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::internal(format!("the lane {lane_id} changes all the time")))
    }

    /// Switches the webhook off, unless it was deleted or is off already.
    async fn gone(&self, tenant: &str, webhook: Option<&str>) -> Result<Option<Write>, Error> {
        let Some(id) = webhook else { return Ok(None) };
        let active = self.active_webhooks(tenant).await?.into_iter().find(|w| w.record.id == id);
        active.map(|w| Self::switch_off(&w, "the receiver answered 410 Gone")).transpose()
    }
}

/// The lane's next turn.
fn after(record: &Record, id: &str, fate: Fate, now: Timestamp, ends: bool) -> Result<Write, Error> {
    let mut lane = Lane::of(record)?;
    let due = lane.settle(id, fate, now);
    if due.is_none() && ends {
        return Ok(Write::delete(record));
    }
    Ok(Write::update(record, Fields::body(lane.value()?).due(due)))
}

fn verdict(verdict: &Verdict, tried: u32, policy: RetryPolicy, was_progress: bool, now: Timestamp) -> (State, Fate) {
    let over = Fate::Over { was_progress };
    match verdict {
        Verdict::Arrived => (State::Delivered, over),
        Verdict::Again { rest } if tried <= policy.max_retries => (State::Pending, Fate::Again { at: now + pause(policy, tried, *rest) }),
        Verdict::Again { .. } | Verdict::GivenUp | Verdict::Gone => (State::Dead, over),
    }
}

/// Doubled from try to try, a fifth more or less, and never shorter than the receiver asks.
fn pause(policy: RetryPolicy, tried: u32, rest: Option<Duration>) -> SignedDuration {
    let doubled = u64::from(policy.retry_delay).saturating_mul(1 << tried.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let chance = rand::rng().random_range(0.8..1.2);
    let pause = Duration::from_secs(doubled).mul_f64(chance).max(rest.unwrap_or_default());
    SignedDuration::try_from(pause).unwrap_or(SignedDuration::from_secs(LONGEST_PAUSE as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_retries: 3, retry_delay: 5 };

    #[test]
    fn pauses_double_with_some_chance_and_respect_the_receiver() {
        for (tried, expected) in [(1, 5.0), (2, 10.0), (3, 20.0), (20, 21_600.0)] {
            let seen: Vec<f64> = (0..50).map(|_| pause(POLICY, tried, None).as_secs_f64()).collect();
            assert!(seen.iter().all(|s| (expected * 0.8..=expected * 1.2).contains(s)), "{tried}: {seen:?}");
            assert!(seen.iter().any(|s| (s - seen[0]).abs() > 0.001), "all the same");
        }
        assert_eq!(pause(POLICY, 1, Some(Duration::from_mins(2))), SignedDuration::from_mins(2));
    }

    #[test]
    fn the_last_retry_is_the_policys() {
        let now = Timestamp::UNIX_EPOCH;
        let again = Verdict::Again { rest: None };
        assert_eq!(verdict(&again, 3, POLICY, false, now).0, State::Pending);
        assert_eq!(verdict(&again, 4, POLICY, false, now), (State::Dead, Fate::Over { was_progress: false }));
        assert_eq!(verdict(&again, 1, RetryPolicy { max_retries: 0, ..POLICY }, false, now).0, State::Dead);
        assert_eq!(verdict(&Verdict::Arrived, 1, POLICY, true, now), (State::Delivered, Fate::Over { was_progress: true }));
        assert_eq!(verdict(&Verdict::Gone, 1, POLICY, false, now).0, State::Dead);
    }
}
