//! Use cases and rules: what may be asked of the product, whoever asks (REST, command line, later gRPC and the console).
//!
//! ```text
//! api, cli ──► Control ──► engine (durable runs)
//!                     └──► plans  (validation, dry run, backups, reports)
//! ```
//! Every call names its tenant. Answers are the shapes of document 3, ready to be encoded; errors are [`Error`]. No HTTP here,
//! and no connector: those arrive inside [`plans::Settings`].

pub mod analytics;
pub mod audit_log;
mod author;
pub mod backups;
pub mod batches;
pub mod caller;
pub mod deliveries;
pub mod error;
pub mod events;
pub mod health;
pub mod idempotency;
pub mod identity;
pub mod limits;
mod local_roots;
pub mod migrations;
pub mod notifications;
pub mod operations;
pub mod paging;
pub mod presets;
mod process;
mod query;
pub mod resources;
pub mod schedules;
pub mod system;
pub mod templates;
pub mod tenants;
pub mod time;
pub mod validation;
pub mod vms;
pub mod webhooks;
pub mod workloads;

/// Attempts and their entries in the audit log.
pub mod audit {
    pub use ports::records::AuditEntry;
    pub use ports::records::audit::attempt;
}

pub use caller::{Caller, Credentials};
pub use error::{Code, Error};
pub use query::Filter;

pub use engine::Trace;

use engine::Engine;
use ports::records::Records;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The tenant that is there from the start, and the only one where nobody has to log in.
pub const DEFAULT_TENANT: &str = "default";

/// How long the body of a request may take to arrive, unless the options say otherwise.
const BODY_TIME: Duration = Duration::from_mins(1);

/// What this process allows and is.
#[derive(Clone)]
pub struct Options {
    /// Directories below which local paths and SQLite files of a migration may lie. `None`: no limit, for the command line's
    /// embedded mode, where the user's own rights are the limit. `Some(vec![])`: no local path at all.
    pub local_roots: Option<Vec<PathBuf>>,
    /// The product's version, as `/health` and `/` show it.
    pub version: String,
    /// Where this process keeps its own data: its size is the `disk_usage` of the metrics.
    pub data_dir: PathBuf,
    /// Whether a worker is alive that will take up started runs. Asked by `/health`.
    pub worker_alive: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Which requests are recorded as traces.
    pub sampling: operations::Sampling,
    /// How long the body of a request may take to arrive.
    pub body_time: Duration,
    /// Whether anybody may register as a user with a tenant of its own (`/api/v1/auth/`).
    pub registration: bool,
    /// Requests of one caller; `None`: as many as it likes.
    pub request_rate: Option<limits::Rate>,
    /// Who carries webhooks, chat messages and e-mail to the outside.
    pub courier: Arc<dyn ports::Courier>,
    /// What runs virtual machines here.
    pub vms: vms::Setup,
}

impl Options {
    /// Version of this build, no local path allowed, a worker taken for granted.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            local_roots: Some(Vec::new()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data_dir: data_dir.into(),
            worker_alive: Arc::new(|| true),
            sampling: operations::Sampling::OFF,
            body_time: BODY_TIME,
            registration: true,
            request_rate: None,
            courier: Arc::new(ports::courier::NoCourier),
            vms: vms::Setup::default(),
        }
    }
}

/// Every use case of the product. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    records: Arc<dyn Records>,
    settings: plans::Settings,
    options: Options,
    process: process::Meter,
    identity: identity::Identity,
    limits: limits::Limits,
    operations: operations::Operations,
    vms: vms::Vms,
}

impl Control {
    /// Joins an engine (already open on its journal, with `plans::registry(settings.clone())` as its plans), the store of records, the
    /// same settings that the plans got, and what this process allows. Starts nothing: workers are the caller's.
    ///
    /// ```ignore
    /// let engine = Engine::new(store.clone(), plans::registry(settings.clone()));
    /// let control = Control::new(engine, store, settings, Options { local_roots: None, ..Options::new(data_dir) });
    /// let router = api::router(control);   // serve it, or call it in process with tower::ServiceExt::oneshot
    /// ```
    pub fn new(engine: Engine, records: Arc<dyn Records>, settings: plans::Settings, options: Options) -> Self {
        let process = process::Meter::new(options.data_dir.clone());
        Self {
            inner: Arc::new(Inner {
                engine,
                records,
                settings,
                options,
                process,
                limits: limits::Limits::default(),
                identity: identity::Identity::default(),
                operations: operations::Operations::default(),
                vms: vms::Vms::default(),
            }),
        }
    }

    /// The product's version.
    pub fn version(&self) -> &str {
        &self.inner.options.version
    }

    /// How long the body of a request may take to arrive.
    pub fn body_time(&self) -> Duration {
        self.inner.options.body_time
    }

    /// The meters of whoever answers requests.
    pub fn traffic(&self) -> &operations::Traffic {
        &self.inner.operations.traffic
    }

    fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    fn records(&self) -> &Arc<dyn Records> {
        &self.inner.records
    }

    fn settings(&self) -> &plans::Settings {
        &self.inner.settings
    }

    fn courier(&self) -> &dyn ports::Courier {
        self.inner.options.courier.as_ref()
    }

    fn options(&self) -> &Options {
        &self.inner.options
    }
}
