//! Failed log-ins are answered ever more slowly: per user and address, per user, and per address.
//!
//! Kept in the store, so that all servers count together and a restart forgives nothing. Only one user from one address waits long: others could
//! otherwise lock somebody out, or everybody who comes through the same network.

use super::{body, digest, stored};
use crate::error::{Code, Kind};
use crate::{Control, Error};
use jiff::{SignedDuration, Timestamp};
use ports::records::{Fields, Record, RecordsError, SYSTEM, Write};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(super) const KIND: &str = "failed_log_ins";
/// Failures that cost nothing: typing slips.
const FREE_PAIR: u32 = 5;
const FREE_USER: u32 = 20;
const FREE_ADDRESS: u32 = 50;
const LONGEST: SignedDuration = SignedDuration::from_mins(15);
const LONGEST_USER: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_ADDRESS: SignedDuration = SignedDuration::from_secs(10);
/// After so long without a failure all is forgotten.
const FORGET: SignedDuration = SignedDuration::from_mins(30);
/// Tries to count a failure while others are counted.
const TRIES: usize = 16;

/// The failures of the last half hour in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    failures: u32,
    last: Timestamp,
    until: Timestamp,
}

impl Count {
    fn after_failure(before: Option<Self>, now: Timestamp, place: &Place) -> Self {
        let known = before.filter(|c| c.last + FORGET > now);
        let failures = known.map_or(0, |c| c.failures).saturating_add(1);
        let wait = failures.checked_sub(place.free).map(|over| SignedDuration::from_secs(1 << over.min(10)).min(place.longest));
        Self { failures, last: now, until: wait.map_or(now, |wait| now + wait) }
    }
}

/// Where failures are counted.
struct Place {
    id: String,
    free: u32,
    longest: SignedDuration,
}

fn places(user: &str, address: &str) -> [Place; 3] {
    // No user has a longer name; what is tried may be anything, even a password: only a hash is kept.
    let user = user.chars().take(128).collect::<String>().to_lowercase();
    let place = |name: String, free, longest| Place { id: digest(&name), free, longest };
    [
        place(format!("both {address} {user}"), FREE_PAIR, LONGEST),
        place(format!("user {user}"), FREE_USER, LONGEST_USER),
        place(format!("from {address}"), FREE_ADDRESS, LONGEST_ADDRESS),
    ]
}

impl Control {
    /// Refuses an attempt of this user from that address as long as it has to wait.
    pub(super) async fn may_try(&self, user: &str, address: &str) -> Result<(), Error> {
        let now = Timestamp::now();
        let mut until = now;
        for place in places(user, address) {
            if let Some((_, count)) = self.failures_at(&place).await? {
                until = until.max(count.until);
            }
        }
        if until == now {
            return Ok(());
        }
        let seconds = (until.duration_since(now).as_millis() as u64).div_ceil(1000);
        let error = Error::new(Kind::TooMany, Code::TooManyAttempts, format!("Too many failed log-ins; try again in {seconds} s"));
        Err(error.details(json!({"retry_after": seconds})))
    }

    pub(super) async fn has_failed(&self, user: &str, address: &str) -> Result<(), Error> {
        let (control, places) = (self.clone(), places(user, address));
        apart(async move {
            for _ in 0..TRIES {
                let (now, mut writes) = (Timestamp::now(), Vec::new());
                for place in &places {
                    let before = control.failures_at(place).await?;
                    let count = Count::after_failure(before.as_ref().map(|(_, count)| *count), now, place);
                    let fields = Fields::body(body(&count)?).due(Some(now + FORGET));
                    writes.push(before.map_or_else(|| Write::insert(SYSTEM, KIND, &place.id, fields.clone()), |(r, _)| Write::update(&r, fields.clone())));
                }
                match control.records().apply(writes).await {
                    Err(RecordsError::Changed { .. } | RecordsError::Taken { .. } | RecordsError::NotFound { .. }) => {}
                    other => return other.map(drop).map_err(Error::from),
                }
            }
            Err(Error::new(Kind::Unavailable, Code::Unavailable, "Many log-ins fail just now; the same request may succeed in a moment"))
        })
        .await
    }

    /// The right password forgives this user's slips from that address. Those of the address stay: others may be tried from there.
    pub(super) async fn has_succeeded(&self, user: &str, address: &str) -> Result<(), Error> {
        let (control, places) = (self.clone(), places(user, address));
        apart(async move {
            for place in &places[..2] {
                if let Some((record, _)) = control.failures_at(place).await? {
                    match control.records().apply(vec![Write::delete(&record)]).await {
                        Ok(_) | Err(RecordsError::Changed { .. } | RecordsError::NotFound { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn failures_at(&self, place: &Place) -> Result<Option<(Record, Count)>, Error> {
        let record = self.records().get(SYSTEM, KIND, &place.id).await?;
        record.map(|r| Ok((stored(&r)?, r))).transpose().map(|found| found.map(|(count, record)| (record, count)))
    }
}

/// Does `work` in a task of its own: what it commits is not the success of the attempt that it counts.
async fn apart(work: impl Future<Output = Result<(), Error>> + Send + 'static) -> Result<(), Error> {
    tokio::spawn(work).await.map_err(|e| Error::internal(format!("counting log-ins: {e}")))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    fn failed(times: u32, now: Timestamp, place: &Place) -> Count {
        (1..times).fold(Count::after_failure(None, now, place), |count, _| Count::after_failure(Some(count), now, place))
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_forgotten() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let [pair, user, address] = places("Ann", "a");
        assert_eq!(failed(4, now, &pair).until, now, "slips are free");
        assert_eq!(failed(5, now, &pair).until, now + 1.second());
        assert_eq!(failed(6, now, &pair).until, now + 2.seconds());
        assert_eq!(failed(40, now, &pair).until, now + LONGEST);
        assert_eq!((failed(40, now, &user).until, failed(99, now, &address).until), (now + LONGEST_USER, now + LONGEST_ADDRESS));
        let later = now + FORGET;
        assert_eq!(Count::after_failure(Some(failed(40, now, &pair)), later, &pair), Count { failures: 1, last: later, until: later });
    }

    #[test]
    fn places_know_no_case_and_no_name() {
        let ids = |user: &str, address: &str| places(user, address).map(|p| p.id);
        assert_eq!(ids("ann", "a"), ids("ANN", "a"));
        assert_ne!(ids("ann", "a")[0], ids("ann", "b")[0]);
        assert!(ids("ann", "a").iter().all(|id| !id.contains("ann")));
    }
}
