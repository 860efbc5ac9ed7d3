//! Whether this process is alive, and whether it should get requests.

use crate::Control;
use serde::Serialize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use utoipa::ToSchema;

/// A store that does not answer within this time does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answer of `GET /livez` and `GET /readyz`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Readiness {
    /// `alive`, `ready` or `not_ready`.
    #[schema(example = "ready")]
    pub status: &'static str,
    /// Why it is not ready, for people.
    pub reason: Option<&'static str>,
}

impl Readiness {
    pub fn is_good(&self) -> bool {
        self.reason.is_none()
    }
}

impl Control {
    /// This process answers. Asks nobody: a dead database must not have every server restarted.
    pub fn liveness(&self) -> Readiness {
        Readiness { status: "alive", reason: None }
    }

    /// Whether requests should come here: the store answers, its schema is ours, and this process is not about to end.
    pub async fn readiness(&self) -> Readiness {
        let not = |reason| Readiness { status: "not_ready", reason: Some(reason) };
        if self.inner.operations.standing_down.load(Ordering::Acquire) {
            return not("this server is shutting down");
        }
        match tokio::time::timeout(PATIENCE, self.records().ready()).await {
            Ok(Ok(())) => Readiness { status: "ready", reason: None },
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                not("the database does not answer, or has another schema than this program")
            }
            Err(_) => not("the database does not answer in time"),
        }
    }

    /// From now on not ready: whoever distributes requests sends them elsewhere. Requests that come are still answered.
    pub fn stand_down(&self) {
        self.inner.operations.standing_down.store(true, Ordering::Release);
    }
}
