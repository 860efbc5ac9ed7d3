//! A control plane in this process: journal, engine, rules, router, and workers when asked for. `serve` puts it on a port;
//! the embedded commands call its router directly.

use crate::connectors::Connectors;
use crate::failure::{Exit, Failure};
use crate::telling::Telling;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a control plane is made of.
pub struct Setup {
    pub data_dir: PathBuf,
    /// `None`: a SQLite file in the data directory.
    pub database_url: Option<String>,
    /// Where backups are kept. `None`: in the data directory.
    pub backup_store: Option<PathBuf>,
    /// Directories that migrations may touch on this machine. `None`: what the user may.
    pub local_roots: Option<Vec<PathBuf>>,
    /// Vouches for SSH servers whose keys no document names.
    pub known_hosts: Option<PathBuf>,
    /// Whether anybody may register as a user.
    pub registration: bool,
    /// How webhooks and e-mail reach the outside.
    pub telling: Telling,
    /// Requests of one caller. `None`: as many as it likes.
    pub request_rate: Option<control::limits::Rate>,
    /// How long the body of a request may take to arrive.
    pub body_time: Duration,
    /// What runs virtual machines; nothing by default.
    pub vms: control::vms::Setup,
    /// Which requests are recorded as traces.
    pub sampling: control::operations::Sampling,
}

/// An open control plane. Its workers, if any, stop with [`Plane::close`].
pub struct Plane {
    pub router: axum::Router,
    engine: engine::Engine,
    stop: CancellationToken,
    alive: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
    control: control::Control,
    tasks: Vec<JoinHandle<()>>,
}

/// How long a command waits at its end for receivers of notifications.
const LAST_NEWS: Duration = Duration::from_secs(15);
/// Longest that a start waits for sources of migrations whose process died.
const STAND_DOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a server forgets sessions that have expired.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// How often a server finds out whether its node can work.
const FITNESS_EVERY: Duration = Duration::from_secs(10);

/// How often a server removes the backups whose retention is over.
const RETENTION_EVERY: Duration = Duration::from_hours(1);

impl Plane {
    /// Opens the journal (making it at the first start) and joins the rooms. Starts no worker.
    pub async fn open(setup: Setup) -> Result<Self, Failure> {
        make_private(&setup.data_dir)?;
        let url = setup.database_url.unwrap_or_else(|| "sqlite:".to_owned());
        let store = store::open(&url, &setup.data_dir).await.map_err(|e| closed(&e.to_string(), &setup.data_dir))?;
        let settings = plans::Settings {
            connectors: Arc::new(Connectors::new(setup.local_roots.as_deref(), &setup.data_dir).knowing(setup.known_hosts).speaking(setup.telling.policy())),
            backups_dir: setup.backup_store.unwrap_or_else(|| setup.data_dir.join("backups")),
            work_dir: setup.data_dir.join("work"),
            machines: setup.vms.machines(store.clone()),
            images: crate::machines::images(&setup.vms.image_roots),
        };
        make_private(&settings.backups_dir)?;
        make_private(&settings.work_dir)?;
        let plans = plans::registry(settings.clone());
        store.on_node(plans.node());
        let alive = Arc::new(AtomicBool::new(false));
        let broken = Arc::new(AtomicBool::new(false));
        let (asked, whole) = (alive.clone(), broken.clone());
        let options = control::Options {
            local_roots: setup.local_roots,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker_alive: Arc::new(move || asked.load(Ordering::Relaxed) && !whole.load(Ordering::Relaxed)),
            courier: setup.telling.courier()?,
            registration: setup.registration,
            request_rate: setup.request_rate,
            vms: setup.vms,
            body_time: setup.body_time,
            sampling: setup.sampling,
            ..control::Options::new(setup.data_dir)
        };
        let engine = engine::Engine::new(store.clone(), plans);
        let control = control::Control::new(engine.clone(), store, settings, options);
        Ok(Self { router: api::router(control.clone()), engine, stop: CancellationToken::new(), alive, broken, control, tasks: Vec::new() })
    }

    /// Takes back what dead processes left standing, such as a site's maintenance mode, before anything else is done. What cannot be taken back in
    /// time is tried again by whoever goes on with the run.
    pub async fn stand_down_abandoned(&self) {
        let options = engine::WorkerOptions { attempts: 2, stop_grace: Duration::from_secs(5), ..engine::WorkerOptions::default() };
        let worker = engine::Worker::new(self.engine.journal().clone(), self.engine.plans().clone(), options);
        match tokio::time::timeout(STAND_DOWN_TIMEOUT, worker.stand_down_abandoned()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "what earlier processes left standing could not be looked for"),
            Err(_) => tracing::warn!("what earlier processes left standing could not be taken back in time; resume or roll back their migrations"),
        }
    }

    /// Starts a worker that drives up to `concurrency` migrations side by side.
    pub fn work(&mut self, concurrency: usize) {
        let options = engine::WorkerOptions { concurrency, ..engine::WorkerOptions::default() };
        let worker = engine::Worker::new(self.engine.journal().clone(), self.engine.plans().clone(), options).admitting(Arc::new(self.control.clone()));
        let control = self.control.clone();
        let worker = worker.while_allowed(Arc::new(move || control.may_work()));
        let (stop, alive) = (self.stop.clone(), self.alive.clone());
        alive.store(true, Ordering::Relaxed);
        self.keep(async move {
            if let Err(error) = worker.run(stop).await {
                tracing::error!(%error, "the worker ended");
            }
            alive.store(false, Ordering::Relaxed);
        });
    }

    /// Does `work` in the background. When it ends in a panic, this server is not ready any more.
    fn keep(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let guard = Guard(self.broken.clone());
        self.tasks.push(tokio::spawn(async move {
            let _guard = guard;
            work.await;
        }));
    }

    /// Finds out every few seconds whether this node can work, as long as the control plane is open.
    pub fn look_at_fitness(&mut self) {
        self.every(FITNESS_EVERY, |control| async move {
            let _known = control.look_at_fitness().await;
        });
    }

    /// Does `work` at once and then again after each `period`, as long as the control plane is open.
    fn every<F>(&mut self, period: Duration, mut work: impl FnMut(control::Control) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let (control, stop) = (self.control.clone(), self.stop.clone());
        self.keep(async move {
            let mut tick = tokio::time::interval(period);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                work(control.clone()).await;
            }
        });
    }

    /// Forgets migrations that ended more than so many days ago, at once and then once an hour, as long as the control plane is open.
    pub fn forget_finished(&mut self, days: u32) {
        self.every(RETENTION_EVERY, move |control| async move {
            match control.forget_finished(jiff::SignedDuration::from_hours(i64::from(days) * 24)).await {
                Ok(0) => {}
                Ok(gone) => tracing::info!(gone, days, "forgot migrations that ended long ago"),
                Err(error) => tracing::warn!(%error, "old migrations could not be forgotten; tried again in an hour"),
            }
        });
    }

    /// Thins old progress at once and then once an hour, as long as the control plane is open.
    pub fn thin_progress(&mut self) {
        let done = Arc::new(tokio::sync::Mutex::new(control::operations::Thinned::default()));
        self.every(RETENTION_EVERY, move |control| {
            let done = done.clone();
            async move {
                if let Err(error) = control.thin_progress(&mut *done.lock().await, None).await {
                    tracing::warn!(%error, "old progress could not be thinned; tried again in an hour");
                }
            }
        });
    }

    /// Tells webhooks and receivers of notifications what happens, as long as the control plane is open.
    pub fn tell_others(&mut self) {
        let (control, stop) = (self.control.clone(), self.stop.clone());
        self.keep(async move { control.tell_others(stop).await });
    }

    /// Gives what has just happened a first try, before a short-lived process ends. What does not arrive waits for the next one.
    pub async fn tell_the_last(&self) {
        let tried = tokio::time::timeout(LAST_NEWS, async {
            while self.control.tell_once(None).await? > 0 {}
            Ok::<_, control::Error>(())
        });
        match tried.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "not everybody could be told; tried again with the next command"),
            Err(_) => tracing::warn!("not everybody could be told in time; tried again with the next command"),
        }
    }

    /// Carries batches on, as long as the control plane is open.
    pub fn drive_batches(&mut self) {
        let (control, stop) = (self.control.clone(), self.stop.clone());
        self.keep(async move { control.drive_batches(stop).await });
    }

    /// Keeps this node's virtual machines, as long as the control plane is open; they go on running afterwards.
    pub fn keep_vms(&mut self) {
        let (control, stop) = (self.control.clone(), self.stop.clone());
        self.keep(async move { control.keep_vms(stop).await });
    }

    /// Keeps schedules, as long as the control plane is open.
    pub fn keep_schedules(&mut self) {
        let (control, stop) = (self.control.clone(), self.stop.clone());
        self.keep(async move { control.keep_schedules(stop).await });
    }

    /// Removes expired backups, and those of finalised migrations, at once and then once an hour, as long as the control plane is open.
    pub fn enforce_retention(&mut self) {
        self.every(RETENTION_EVERY, |control| async move {
            match control.enforce_retention().await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::info!(?removed, "removed backups whose retention is over"),
                Err(error) => tracing::warn!(%error, "expired backups could not be removed; tried again in an hour"),
            }
            match control.remove_backups_given_up().await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::info!(?removed, "removed backups of migrations that were finalised"),
                Err(error) => tracing::warn!(%error, "backups of finalised migrations could not be removed; tried again in an hour"),
            }
        });
    }

    /// The use cases, for what has to be settled before the first request.
    pub fn control(&self) -> &control::Control {
        &self.control
    }

    /// Forgets expired sessions, tokens, codes and kept answers, as long as the control plane is open.
    pub fn tidy_identity(&mut self) {
        self.every(TIDY_EVERY, |control| async move {
            if let Err(error) = control.tidy_identity().await {
                tracing::warn!(%error, "expired sessions could not be removed; tried again in ten minutes");
            }
            if let Err(error) = control.tidy_idempotency().await {
                tracing::warn!(%error, "old answers could not be removed; tried again in ten minutes");
            }
        });
    }

    /// Stops worker and housekeeping: the migrations stand down and give their leases back, and go on with the next start.
    pub async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task did not end well");
            }
        }
    }
}

/// Notes that a task ended in a panic.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The data directory holds keys and backups: it is its owner's alone.
pub fn make_private(dir: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
        Failure::new(Exit::Failed, "DATA_DIR", format!("The data directory {} cannot be made: {e}", dir.display()))
            .advice("Choose another with --data-dir, or set MIGRATION_ASSISTANT_DATA_DIR.")
    })
}

/// Code of the failure to open a data directory that another process holds.
pub const IN_USE: &str = "DATA_DIR_IN_USE";

fn closed(why: &str, data_dir: &Path) -> Failure {
    // The store's own words for a lock that another process holds.
    let code = if why.contains("is in use by") { IN_USE } else { "JOURNAL" };
    Failure::new(Exit::Failed, code, format!("The journal of migrations in {} could not be opened: {why}", data_dir.display()))
        .advice("If a control plane is running there, talk to it: add --server http://127.0.0.1:8000. If another command is at work there, look with `status`, and wait for its end or `pause` it. Otherwise choose another --data-dir.")
}

/// `--data-dir`, or the place where this user's programs keep their data.
pub fn data_dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return std::path::absolute(dir).map_err(|e| Failure::usage(format!("--data-dir {}: {e}", dir.display())));
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let base = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|h| h.join(".local/share")));
    base.map(|b| b.join("migration-assistant")).ok_or_else(|| Failure::usage("There is no home directory to keep data in; choose a place with --data-dir"))
}
