//! What a caller and a tenant may use: requests a second, migrations that run at once, backups that are kept.
//!
//! A request is counted twice: for its caller (a user, a key; where nobody has to log in, the address) against the server's rate, and for its
//! tenant against the tenant's quota, if it has one. Servers on one PostgreSQL share the counts.

mod backup_places;
mod bucket;
mod quotas;

pub use bucket::{Rate, Taken};
pub use quotas::{Quotas, QuotasView};
pub(crate) use quotas::{over, over_running, stored_quotas};

use crate::caller::Proof;
use crate::error::{Code, Kind};
use crate::{Caller, Control, Error};
use bucket::Buckets;
use jiff::Timestamp;
use serde_json::json;

/// The state of this room.
#[derive(Default)]
pub(crate) struct Limits {
    buckets: Buckets,
    known: quotas::Known,
}

/// How a caller stands after a request, for the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub rate: Rate,
    pub taken: Taken,
}

impl Standing {
    /// The refusal, when there was no room.
    pub fn refusal(&self) -> Option<Error> {
        if self.taken.allowed {
            return None;
        }
        let seconds = self.taken.retry_after;
        let message = format!("Too many requests: at most {} a second. The same request may succeed in {seconds} s", self.rate.per_second);
        Some(Error::new(Kind::TooMany, Code::RateLimited, message).details(json!({"limit_per_second": self.rate.per_second, "retry_after": seconds})))
    }
}

impl Control {
    /// Counts a request of `caller` from `address`. `None`: nothing limits it.
    pub async fn count_request(&self, caller: &Caller, address: &str) -> Result<Option<Standing>, Error> {
        let who = match (&caller.user, caller.proof) {
            (_, Proof::None) => format!("address {address}"),
            (Some(user), _) => format!("user {user}"),
            (None, _) => format!("name {}", caller.name),
        };
        let mut standing = None;
        if let Some(rate) = self.options().request_rate {
            standing = Some(Standing { rate, taken: self.take_from(&format!("{}/{who}", caller.tenant), rate).await? });
        }
        if standing.is_some_and(|s| !s.taken.allowed) {
            return Ok(standing);
        }
        let Some(per_second) = self.known_quotas(&caller.tenant).await?.requests_per_second else { return Ok(standing) };
        let rate = Rate { per_second };
        let tenant = Standing { rate, taken: self.take_from(&format!("{}/", caller.tenant), rate).await? };
        // The narrower of the two is what the caller has to know.
        Ok(Some(standing.filter(|s| tenant.taken.allowed && s.taken.remaining < tenant.taken.remaining).unwrap_or(tenant)))
    }

    async fn take_from(&self, key: &str, rate: Rate) -> Result<Taken, Error> {
        let (buckets, now) = (&self.inner.limits.buckets, Timestamp::now());
        if let Some(taken) = buckets.take_held(key, rate, now) {
            return Ok(taken);
        }
        match self.records().take_permits(key, bucket::handful(rate), rate.interval(), rate.burst()).await? {
            Some(permits) => Ok(buckets.receive(key, rate, permits, now)),
            None => Ok(buckets.take(key, rate, now)),
        }
    }
}
