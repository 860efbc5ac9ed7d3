//! The heart-beat of a claimed run: renews the lease, looks for wishes of users, writes samples and log lines.

use super::stop::{Stop, StopSignal};
use crate::EngineError;
use crate::recorder::Recorder;
use crate::worker::Shared;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The store's clock, as it was read with the claim and has gone on since.
pub(super) struct StoreClock {
    read: Timestamp,
    at: Instant,
}

impl StoreClock {
    pub fn new(read: Timestamp, at: Instant) -> Self {
        Self { read, at }
    }

    pub fn now(&self) -> Timestamp {
        let gone = SignedDuration::try_from(self.at.elapsed()).unwrap_or(SignedDuration::ZERO);
        self.read.checked_add(gone).unwrap_or(self.read)
    }
}

/// Beats until `ended`, or until the lease is lost.
pub(super) struct Pulse {
    pub shared: Arc<Shared>,
    pub recorder: Arc<Recorder>,
    pub signal: Arc<StopSignal>,
    pub clock: Arc<StoreClock>,
    /// When the newest renewal (or the claim) was asked for: the lease is at least that old.
    pub renewed: Instant,
    pub sampled: Instant,
}

impl Pulse {
    pub async fn beat(mut self, ended: CancellationToken) {
        loop {
            let safe_until = self.renewed + self.shared.options.lease * 2 / 3;
            tokio::select! {
                () = ended.cancelled() => return,
                () = self.recorder.fenced().cancelled() => return self.signal.raise(Stop::LostLease),
                () = tokio::time::sleep_until(safe_until) => return self.signal.raise(Stop::LostLease),
                () = self.shared.shutdown.cancelled(), if self.signal.reason().is_none() => self.signal.raise(Stop::Shutdown),
                () = tokio::time::sleep(self.shared.options.poll) => {
                    let looked = tokio::select! {
                        looked = Self::look(&self.shared, &self.recorder, &self.signal, &self.clock, &mut self.renewed, &mut self.sampled) => looked,
                        () = tokio::time::sleep_until(safe_until) => Ok(()),
                    };
                    if let Err(error) = looked {
                        tracing::warn!(%error, "could not reach the journal; trying again until the lease ends");
                    }
                }
            }
        }
    }

    async fn look(
        shared: &Shared,
        recorder: &Recorder,
        signal: &StopSignal,
        clock: &StoreClock,
        renewed: &mut Instant,
        sampled: &mut Instant,
    ) -> Result<(), EngineError> {
        let now = Instant::now();
        if now.duration_since(*renewed) >= shared.options.lease / 3 {
            recorder.noted(recorder.journal().renew(recorder.token(), shared.options.lease).await)?;
            *renewed = now;
        }
        if let Some(wanted) = recorder.noted(recorder.journal().wanted(recorder.token()).await)? {
            signal.raise(Stop::Wanted(wanted));
        }
        if now.duration_since(*sampled) >= shared.options.sample {
            *sampled = now;
            recorder.flush(recorder.telling().sample(clock.now())).await?;
        }
        Ok(())
    }
}
