//! Whether this process is alive, whether it should get requests, and whether it may take up work.

use crate::Control;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// A store that does not answer within this time does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what was found out about this node counts.
const FRESH: Duration = Duration::from_secs(15);
/// What must find room on each disk.
const TRIAL: usize = 64 * 1024;

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

/// What was found out last about this node, and when.
#[derive(Default)]
pub(crate) struct Fitness(Mutex<Option<(Instant, Option<&'static str>)>>);

impl Fitness {
    /// `None`: nothing was found out so far.
    fn last(&self) -> Option<(Instant, Option<&'static str>)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, trouble: Option<&'static str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), trouble));
    }
}

impl Control {
    /// This process answers. Asks nobody: a dead database must not have every server restarted.
    pub fn liveness(&self) -> Readiness {
        Readiness { status: "alive", reason: None }
    }

    /// Whether requests should come here: the store answers, its schema is ours, this node can work, and this process is not about to end.
    pub async fn readiness(&self) -> Readiness {
        let trouble = if self.inner.operations.standing_down.load(Ordering::Acquire) {
            Some("this server is shutting down")
        } else {
            match self.inner.operations.fitness.last() {
                Some((at, trouble)) if at.elapsed() < FRESH && trouble.is_none() => self.trouble_with_store().await,
                _ => self.look_at_fitness().await,
            }
        };
        match trouble {
            None => Readiness { status: "ready", reason: None },
            Some(reason) => Readiness { status: "not_ready", reason: Some(reason) },
        }
    }

    /// Finds out whether this node can work; the reason why not. A server does so every few seconds.
    pub async fn look_at_fitness(&self) -> Option<&'static str> {
        let trouble = self.trouble().await;
        let known = self.inner.operations.fitness.last().and_then(|(_, known)| known);
        match trouble {
            Some(reason) if known != Some(reason) => tracing::error!(reason, "this server takes up no work"),
            None if known.is_some() => tracing::info!("this server takes up work again"),
            _ => {}
        }
        self.inner.operations.fitness.keep(trouble);
        trouble
    }

    /// Whether this node may claim what is to be done: nothing is known that keeps it from doing it.
    pub fn may_work(&self) -> bool {
        self.inner.operations.fitness.last().is_none_or(|(_, trouble)| trouble.is_none())
    }

    async fn trouble(&self) -> Option<&'static str> {
        if !(self.options().worker_alive)() {
            return Some("a part of this server has failed: see its log, and restart it");
        }
        if let Some(reason) = self.trouble_with_store().await {
            return Some(reason);
        }
        if plans::backups::node_of(self.settings()).is_err() {
            return Some("the directory for backups cannot be read or written");
        }
        let places = [self.options().data_dir.clone(), self.settings().backups_dir.clone(), self.settings().work_dir.clone()];
        let room = tokio::task::spawn_blocking(move || places.iter().all(|place| has_room(place)));
        if !room.await.unwrap_or(false) {
            return Some("a disk of this server is full, or cannot be written");
        }
        match self.records().opens_secrets().await {
            Ok(false) => Some("the key file of this server opens none of the migrations: copy it from the server that made them"),
            Ok(true) => None,
            Err(_) => Some("the database does not answer"),
        }
    }

    async fn trouble_with_store(&self) -> Option<&'static str> {
        match tokio::time::timeout(PATIENCE, self.records().ready()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "not ready");
                Some("the database does not answer, or has another schema than this program")
            }
            Err(_) => Some("the database does not answer in time"),
        }
    }

    /// From now on not ready: whoever distributes requests sends them elsewhere. Requests that come are still answered.
    pub fn stand_down(&self) {
        self.inner.operations.standing_down.store(true, Ordering::Release);
    }
}

/// Writes something there, and removes it.
fn has_room(place: &Path) -> bool {
    let trial = place.join(format!(".room-{}", uuid::Uuid::now_v7().simple()));
    let written = std::fs::create_dir_all(place).and_then(|()| std::fs::write(&trial, vec![0; TRIAL]));
    let removed = std::fs::remove_file(&trial);
    written.is_ok() && removed.is_ok()
}
