//! Failed log-ins are answered ever more slowly: per user and address, per user, and per address.
//!
//! Kept in memory: a restart forgives, and each server counts for itself. Only one user from one address waits long: others could otherwise
//! lock somebody out, or everybody who comes through the same proxy.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that cost nothing: typing slips.
const FREE_PAIR: u32 = 5;
const FREE_USER: u32 = 20;
const FREE_ADDRESS: u32 = 50;
const LONGEST: Duration = Duration::from_mins(15);
const LONGEST_USER: Duration = Duration::from_secs(30);
const LONGEST_ADDRESS: Duration = Duration::from_secs(10);
/// After so long without a failure all is forgotten.
const FORGET: Duration = Duration::from_mins(30);
/// More names than this are not remembered; the oldest go first.
const MOST: usize = 20_000;

struct Count {
    failures: u32,
    last: Instant,
    until: Instant,
}

/// The failures of the last half hour.
#[derive(Default)]
pub struct Attempts {
    counts: Mutex<HashMap<String, Count>>,
}

impl Attempts {
    /// How long this user must wait before the next attempt from that address; `None`: go ahead.
    pub fn wait(&self, user: &str, address: &str, now: Instant) -> Option<Duration> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let until = places(user, address).iter().filter_map(|(place, ..)| counts.get(place)).map(|c| c.until).max()?;
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    pub fn failed(&self, user: &str, address: &str, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST {
            counts.retain(|_, c| now.duration_since(c.last) < FORGET);
        }
        if counts.len() >= MOST {
            let oldest = counts.iter().min_by_key(|(_, c)| c.last).map(|(place, _)| place.clone());
            oldest.and_then(|place| counts.remove(&place));
        }
        for (place, free, longest) in places(user, address) {
            let count = counts.entry(place).or_insert(Count { failures: 0, last: now, until: now });
            if now.duration_since(count.last) >= FORGET {
                count.failures = 0;
            }
            count.failures += 1;
            count.last = now;
            if let Some(over) = count.failures.checked_sub(free) {
                count.until = now + Duration::from_secs(1 << over.min(10)).min(longest);
            }
        }
    }

    /// The right password forgives this user's slips from that address. Those of the address stay: others may be tried from there.
    pub fn succeeded(&self, user: &str, address: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, ..) in &places(user, address)[..2] {
            counts.remove(place);
        }
    }
}

fn places(user: &str, address: &str) -> [(String, u32, Duration); 3] {
    // No user has a longer name; what is tried may be anything.
    let user = user.chars().take(128).collect::<String>().to_lowercase();
    [
        (format!("both {address} {user}"), FREE_PAIR, LONGEST),
        (format!("user {user}"), FREE_USER, LONGEST_USER),
        (format!("from {address}"), FREE_ADDRESS, LONGEST_ADDRESS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_a_success_forgives() {
        let (attempts, mut now) = (Attempts::default(), Instant::now());
        for _ in 0..4 {
            attempts.failed("Ann", "a", now);
        }
        assert_eq!(attempts.wait("ann", "a", now), None);
        attempts.failed("ann", "a", now);
        assert_eq!(attempts.wait("ANN", "a", now), Some(Duration::from_secs(1)));
        assert_eq!((attempts.wait("ann", "b", now), attempts.wait("bob", "a", now)), (None, None));
        now += Duration::from_secs(1);
        assert_eq!(attempts.wait("ann", "a", now), None);
        attempts.failed("ann", "a", now);
        assert_eq!(attempts.wait("ann", "a", now), Some(Duration::from_secs(2)));
        for _ in 0..20 {
            attempts.failed("ann", "a", now);
        }
        assert_eq!(attempts.wait("ann", "a", now), Some(LONGEST));
        attempts.succeeded("ann", "a");
        assert_eq!(attempts.wait("ann", "a", now), None);
    }

    #[test]
    fn one_address_cannot_try_every_name_nor_many_addresses_one() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..FREE_ADDRESS {
            attempts.failed(&format!("user{n}"), "a", now);
        }
        assert!(attempts.wait("new", "a", now).is_some() && attempts.wait("new", "b", now).is_none());
        for n in 0..FREE_USER {
            attempts.failed("ann", &format!("address{n}"), now);
        }
        assert!(attempts.wait("ann", "elsewhere", now).is_some());
        assert!(attempts.wait("ann", "elsewhere", now + LONGEST_USER).is_none());
    }
}
