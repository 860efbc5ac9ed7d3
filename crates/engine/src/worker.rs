//! Claims runs and drives them, several at a time. How one run is driven is in `drive`.

use crate::drive::{self, Task};
use crate::journal::{Claim, ClaimRequest, Journal};
use crate::{Admission, EngineError, PlanRegistry};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Shortest time between two looks for work, however many changes there are.
const BREATH: Duration = Duration::from_millis(20);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Name of this worker; made unique per process start by a suffix.
    pub name: String,
    /// How many runs it drives at a time.
    pub concurrency: usize,
    /// How long a claim holds without being renewed. Renewed after a third; the worker stops by itself after two thirds.
    pub lease: Duration,
    /// How often it looks for work and for wishes of users.
    pub poll: Duration,
    /// How often changed counters become a sample.
    pub sample: Duration,
    /// Attempts of a step, an undo or a probe before a temporary error counts as permanent. Counted anew when chunks got done.
    pub attempts: u32,
    /// First back-off; doubles up to `backoff_max`, jittered.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// How long a step may take to end after the stop signal, before it is dropped.
    pub stop_grace: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: "worker".to_owned(),
            concurrency: 4,
            lease: Duration::from_secs(15),
            poll: Duration::from_millis(500),
            sample: Duration::from_secs(1),
            attempts: 6,
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            stop_grace: Duration::from_secs(30),
        }
    }
}

/// Drives runs until it is told to stop.
pub struct Worker {
    shared: Arc<Shared>,
    owner: String,
}

/// What the worker and the runs in its hands share.
pub(crate) struct Shared {
    pub journal: Arc<dyn Journal>,
    pub plans: PlanRegistry,
    pub options: WorkerOptions,
    /// Judges starts that were asked for before their time; without it none of them begins.
    pub admission: Option<Arc<dyn Admission>>,
    /// Nothing is claimed while it says no.
    pub may_work: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Cancelled when the worker is to stop.
    pub shutdown: CancellationToken,
    /// Runs whose pinned steps this worker does not know.
    foreign: Mutex<BTreeSet<String>>,
}

impl Shared {
    /// Never claim this run again.
    pub fn leave(&self, run: &str) {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner).insert(run.to_owned());
    }

    fn left(&self) -> Vec<String> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Worker {
    pub fn new(journal: Arc<dyn Journal>, plans: PlanRegistry, options: WorkerOptions) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let owner = format!("{}-{}", options.name, &id[id.len() - 12..]);
        let shared =
            Shared { journal, plans, options, admission: None, may_work: Arc::new(|| true), shutdown: CancellationToken::new(), foreign: Mutex::default() };
        Self { shared: Arc::new(shared), owner }
    }

    /// Has starts that were asked for before their time judged. Call it before [`Worker::run`].
    #[must_use]
    pub fn admitting(mut self, admission: Arc<dyn Admission>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.admission = Some(admission);
        }
        self
    }

    /// Claims nothing while `may_work` says no; what it has in its hands goes on. Call it before [`Worker::run`].
    #[must_use]
    pub fn while_allowed(mut self, may_work: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.may_work = may_work;
        }
        self
    }

    /// The name that stands in the journal beside the runs it holds.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Works until `stop` is cancelled; then stops its runs, stands them down and gives their leases back, so that another worker goes
    /// on at once. Errors of the journal are waited out; they never end a worker.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EngineError> {
        let mut drives = JoinSet::new();
        let mut changes = self.shared.journal.changes();
        let left = CancellationToken::new();
        // Ends with this call, also when that is cut off: it holds the journal.
        let presence = AbortOnDropHandle::new(tokio::spawn(announce(self.shared.clone(), left.clone())));
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            self.fill(&mut drives).await;
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = drives.join_next() => note(ended),
                () = tokio::time::sleep(self.shared.options.poll) => {}
                Ok(()) = changes.changed() => tokio::time::sleep(BREATH).await,
            }
        }
        self.shared.shutdown.cancel();
        while let Some(ended) = drives.join_next().await {
            note(ended);
        }
        left.cancel();
        note(presence.await);
        Ok(())
    }

    /// Takes back what dead workers left standing, such as a site's maintenance mode, without going on with their runs: each is claimed, stood
    /// down and free again. Gives how many there were. What fails is in the run's log, and is tried again by whoever drives the run.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] when the journal cannot be read; the rest of the runs is as it was.
    ///
    /// # Cancel safety
    /// A run that is being stood down stays claimed until its lease ends.
    pub async fn stand_down_abandoned(&self) -> Result<usize, EngineError> {
        let mut seen = Vec::new();
        loop {
            let request = ClaimRequest {
                owner: self.owner.clone(),
                kinds: self.shared.plans.kinds(),
                except: seen.clone(),
                lease: self.shared.options.lease,
                node: self.shared.plans.node().map(str::to_owned),
            };
            let asked = tokio::time::Instant::now();
            let Some(claim) = self.shared.journal.claim_abandoned(&request).await? else { return Ok(seen.len()) };
            seen.push(claim.view.id.clone());
            drive_one(self.shared.clone(), claim, asked, Task::StandDown).await;
        }
    }

    /// Claims as many runs as there are hands free.
    async fn fill(&self, drives: &mut JoinSet<()>) {
        while drives.len() < self.shared.options.concurrency && (self.shared.may_work)() {
            let request = ClaimRequest {
                owner: self.owner.clone(),
                kinds: self.shared.plans.kinds(),
                except: self.shared.left(),
                lease: self.shared.options.lease,
                node: self.shared.plans.node().map(str::to_owned),
            };
            let asked = tokio::time::Instant::now();
            match self.shared.journal.claim(&request).await {
                Ok(Some(claim)) => {
                    let shared = self.shared.clone();
                    drives.spawn(drive_one(shared, claim, asked, Task::Drive));
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "could not look for work; trying again soon");
                    return;
                }
            }
        }
    }
}

/// Says that this node is there until `left`, and that it leaves then.
async fn announce(shared: Arc<Shared>, left: CancellationToken) {
    let Some(node) = shared.plans.node() else { return };
    loop {
        if let Err(error) = shared.journal.announce(node, Some(shared.options.lease)).await {
            tracing::warn!(%error, "could not tell that this node is there; trying again soon");
        }
        tokio::select! {
            () = left.cancelled() => break,
            () = tokio::time::sleep(shared.options.lease / 3) => {}
        }
    }
    if let Err(error) = shared.journal.announce(node, None).await {
        tracing::warn!(%error, "could not tell that this node leaves; others see it when its lease ends");
    }
}

async fn drive_one(shared: Arc<Shared>, claim: Claim, asked: tokio::time::Instant, task: Task) {
    let (trace, span) = drive::spans::run(&claim);
    let work = async {
        match drive::drive(shared, claim, asked, task).await {
            Ok(()) => {}
            Err(EngineError::Fenced(_)) => tracing::warn!("stopped: the lease on the run was lost, another worker goes on"),
            Err(error) => tracing::error!(%error, "stopped working on a run; it will be claimed again"),
        }
    };
    trace.around(work.instrument(span)).await;
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "driving a run ended in a defect; the run will be claimed again when its lease ends");
    }
}
