//! The work in the background: look at the outbox, look at the lanes, wait for the next change.

use super::dispatch::taken_at;
use super::lane::{LANE, Lane};
use crate::error::Kind;
use crate::{Control, Error};
use jiff::{SignedDuration, Timestamp};
use ports::records::Record;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often we look by ourselves: retries come due, and other servers write too.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Deliveries on their way from this server, and to one receiver.
const AT_ONCE: usize = 32;
const AT_ONCE_EACH: usize = 4;
const BUSY: SignedDuration = SignedDuration::from_millis(250);
const FORGET_EVERY: Duration = Duration::from_mins(10);
/// How long what is on its way may take when we stop.
const LAST_WORDS: Duration = Duration::from_secs(3);

struct Rounds {
    /// A lane whose receiver is busy looks again after so long.
    busy: SignedDuration,
    all: Arc<Semaphore>,
    each: HashMap<String, Arc<Semaphore>>,
    tasks: JoinSet<()>,
    forgot: Option<Instant>,
}

impl Control {
    /// Tells webhooks and receivers of notifications what happens, until `stop`. Several servers may do so on one store. What is cut off
    /// is sent again, here or elsewhere.
    pub async fn tell_others(&self, stop: CancellationToken) {
        let mut rounds = Rounds::new(BUSY);
        let mut changes = self.engine().journal().changes();
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            if self.may_work()
                && let Err(error) = self.round(&mut rounds, None).await
            {
                tracing::warn!(%error, private = error.private, "deliveries wait; tried again in a moment");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                _ = changes.changed() => {}
                Some(_) = rounds.tasks.join_next() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        let ending = async { while rounds.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, ending).await.is_err() {
            tracing::info!(waiting = rounds.tasks.len(), "deliveries on their way are sent again later");
        }
    }

    /// One round to its end, for those who do not stay: makes deliveries of all events and tries once whatever is due at `now`.
    /// Answers how many were tried.
    pub async fn tell_once(&self, now: Option<Timestamp>) -> Result<usize, Error> {
        // Nothing is on its way any more when this ends, so nobody is busy then.
        let mut rounds = Rounds::new(SignedDuration::ZERO);
        let begun = self.round(&mut rounds, now).await?;
        while rounds.tasks.join_next().await.is_some() {}
        Ok(begun)
    }

    async fn round(&self, rounds: &mut Rounds, now: Option<Timestamp>) -> Result<usize, Error> {
        while self.fan_out(now).await? {}
        while rounds.tasks.try_join_next().is_some() {}
        let free = rounds.all.available_permits();
        if free == 0 {
            return Ok(0);
        }
        let lanes = self.due_lanes(free as u32, now).await?;
        let begun = lanes.len();
        for lane in lanes {
            self.begin(rounds, lane, now).await?;
        }
        if rounds.forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            rounds.forgot = Some(Instant::now());
            self.forget_deliveries(now).await?;
        }
        Ok(begun)
    }

    async fn begin(&self, rounds: &mut Rounds, lane: Record, now: Option<Timestamp>) -> Result<(), Error> {
        let receiver = match Lane::of(&lane) {
            Ok(read) => read.receiver,
            Err(error) => return Ok(self.records().set_aside(LANE, &lane.tenant, &lane.id, &error.for_log()).await?),
        };
        let Some(permits) = rounds.permits(&receiver) else {
            return self.put_back(&lane, taken_at(&lane, now) + rounds.busy).await;
        };
        let control = self.clone();
        rounds.tasks.spawn(async move {
            let (tenant, id) = (lane.tenant.clone(), lane.id.clone());
            match control.deliver(lane, now).await {
                Ok(()) => {}
                Err(error) if error.kind == Kind::Unavailable => {
                    tracing::warn!(lane = id, %error, "a delivery could not be made; tried again in half a minute");
                }
                Err(error) => {
                    if let Err(lost) = control.records().set_aside(LANE, &tenant, &id, &error.for_log()).await {
                        tracing::warn!(lane = id, %error, %lost, "a delivery could not be made, nor set aside; tried again in half a minute");
                    }
                }
            }
            drop(permits);
        });
        Ok(())
    }
}

impl Rounds {
    fn new(busy: SignedDuration) -> Self {
        Self { busy, all: Arc::new(Semaphore::new(AT_ONCE)), each: HashMap::new(), tasks: JoinSet::new(), forgot: None }
    }

    /// A place among all senders and among the receiver's own; `None` when it has enough of us.
    fn permits(&mut self, receiver: &str) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        // Receivers that nobody sends to are forgotten.
        self.each.retain(|_, each| each.available_permits() < AT_ONCE_EACH);
        let each = self.each.entry(receiver.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_EACH))).clone();
        Some((self.all.clone().try_acquire_owned().ok()?, each.try_acquire_owned().ok()?))
    }
}
