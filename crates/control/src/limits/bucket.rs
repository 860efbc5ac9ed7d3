//! Counting requests: a bucket that fills steadily and holds a burst (GCRA), in this process and shared between servers.
//!
//! A bucket is one moment, the theoretical arrival time: how far it lies ahead of now says how full of requests the bucket is. Where several servers
//! share a database, each takes a handful of permits from the shared bucket at a time and gives them out by itself.

use jiff::Timestamp;
use ports::records::Permits;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Buckets that are remembered before the idle ones are forgotten.
const REMEMBERED: usize = 10_000;
/// How long permits taken from a shared bucket hold, in microseconds.
const HELD: i64 = 1_000_000;

/// So many requests a second, and as many again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
}

impl Rate {
    /// `500/s`, `500`: requests a second; at least one, at most a million.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix("/s").unwrap_or(text.trim());
        number.trim().parse().ok().filter(|n| (1..=1_000_000).contains(n)).map(|per_second| Self { per_second })
    }

    /// Requests that may come at once.
    pub fn burst(self) -> u32 {
        self.per_second.saturating_mul(2)
    }

    /// Microseconds that one request costs.
    pub fn interval(self) -> i64 {
        1_000_000 / i64::from(self.per_second)
    }
}

/// What a bucket said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub allowed: bool,
    /// Requests that may still come at once.
    pub remaining: u32,
    /// Seconds until the bucket is as it was at first.
    pub reset: u32,
    /// Seconds until one more request may come.
    pub retry_after: u32,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    arrival: i64,
    /// Permits from the shared bucket that are not given out yet, and until when they hold.
    permits: u32,
    until: i64,
}

/// All buckets of this process.
#[derive(Default)]
pub(crate) struct Buckets(Mutex<HashMap<String, Bucket>>);

impl Buckets {
    /// One request, counted here alone.
    pub fn take(&self, key: &str, rate: Rate, now: Timestamp) -> Taken {
        let now = now.as_microsecond();
        self.with(key, now, |bucket| {
            let ahead = (bucket.arrival - now).max(0);
            let allowed = ahead + rate.interval() <= rate.interval() * i64::from(rate.burst());
            if allowed {
                bucket.arrival = now + ahead + rate.interval();
            }
            said(allowed, (bucket.arrival - now).max(0), 0, rate)
        })
    }

    /// One request out of the permits that are held; `None` when there are none.
    pub fn take_held(&self, key: &str, rate: Rate, now: Timestamp) -> Option<Taken> {
        let now = now.as_microsecond();
        self.with(key, now, |bucket| {
            let held = bucket.permits > 0 && bucket.until > now;
            held.then(|| {
                bucket.permits -= 1;
                said(true, (bucket.arrival - now).max(0), bucket.permits, rate)
            })
        })
    }

    /// Remembers what the shared bucket gave, and takes one request out of it.
    pub fn receive(&self, key: &str, rate: Rate, permits: Permits, now: Timestamp) -> Taken {
        let now = now.as_microsecond();
        self.with(key, now, |bucket| {
            bucket.arrival = now.saturating_add(permits.ahead);
            bucket.permits = permits.granted.saturating_sub(1);
            bucket.until = now + HELD;
            said(permits.granted > 0, permits.ahead, bucket.permits, rate)
        })
    }

    fn with<T>(&self, key: &str, now: i64, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= REMEMBERED && !buckets.contains_key(key) {
            buckets.retain(|_, b| b.arrival > now || (b.permits > 0 && b.until > now));
        }
        act(buckets.entry(key.to_owned()).or_default())
    }
}

/// How many permits are taken at a time: a tenth of a second's, so that few requests write.
pub(crate) fn handful(rate: Rate) -> u32 {
    (rate.per_second / 10).clamp(1, 500)
}

fn said(allowed: bool, ahead: i64, held: u32, rate: Rate) -> Taken {
    let interval = rate.interval();
    let room = interval * i64::from(rate.burst()) - ahead;
    let seconds = |micros: i64| u32::try_from((micros.max(0) + 999_999) / 1_000_000).unwrap_or(u32::MAX);
    Taken {
        allowed,
        remaining: u32::try_from(room.max(0) / interval).unwrap_or(u32::MAX).saturating_add(held),
        reset: seconds(ahead),
        retry_after: if allowed { 0 } else { seconds(interval - room).max(1) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    #[test]
    fn a_burst_then_the_rate_and_never_more() {
        let (buckets, rate) = (Buckets::default(), Rate { per_second: 10 });
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let mut allowed = 0;
        for tenth in 0..100_i64 {
            for _ in 0..50 {
                allowed += u32::from(buckets.take("k", rate, start + (100 * tenth).milliseconds()).allowed);
            }
        }
        // 20 at once, and one more for each tenth of a second after the first.
        assert_eq!(allowed, 20 + 99);
        assert!(buckets.take("other", rate, start).allowed, "each key has its own");
    }

    #[test]
    fn what_is_said_is_what_happens() {
        let (buckets, rate) = (Buckets::default(), Rate { per_second: 1 });
        let start: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        assert_eq!(buckets.take("k", rate, start), Taken { allowed: true, remaining: 1, reset: 1, retry_after: 0 });
        assert_eq!(buckets.take("k", rate, start), Taken { allowed: true, remaining: 0, reset: 2, retry_after: 0 });
        assert_eq!(buckets.take("k", rate, start), Taken { allowed: false, remaining: 0, reset: 2, retry_after: 1 });
        assert!(buckets.take("k", rate, start + 1.second()).allowed);
    }

    #[test]
    fn rates_are_read() {
        assert_eq!(Rate::parse("500/s"), Some(Rate { per_second: 500 }));
        assert_eq!(Rate::parse(" 7 "), Some(Rate { per_second: 7 }));
        for bad in ["", "0", "-1/s", "5/m", "2000000/s", "fast"] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
    }
}
