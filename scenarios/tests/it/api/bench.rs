//! A router on a fresh journal, and a worker's hands to move a migration along.

use api::router;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use control::{Control, Options};
use couriers::{Couriers, Mailer, Policy};
use domain::spec::{DatabaseAt, FilesAt};
use engine::journal::{Change, ChunkDone, Chunks, ClaimRequest, Events, Leases, Level, NewChunk, NewEvent, Record, Runs, Token};
use engine::{Engine, RunState, Sample};
use http_body_util::BodyExt;
use ports::databases::Database;
use ports::files::FileTarget;
use ports::records::{Audit, AuditEntry, AuditFilter, Records, Write};
use ports::{ConnectorError, Connectors, ErrorKind};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tower::ServiceExt;

pub struct Bench {
    pub router: Router,
    pub control: Control,
    pub journal: Arc<Store>,
    /// Where the bench's virtual machines are; nobody keeps them unless a test does (`control.keep_vms`).
    pub vms: Arc<testkit::memory_vms::MemoryVms>,
    /// Holds the allowed root and the backups until the bench goes.
    dir: tempfile::TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    /// The fields that a 400 names.
    pub fn fields(&self) -> Vec<&str> {
        let errors = self.json["error"]["details"]["validation_errors"].as_array();
        errors.into_iter().flatten().filter_map(|e| e["field"].as_str()).collect()
    }
}

/// Nobody answers anywhere.
pub struct Nowhere;

#[async_trait::async_trait]
impl Connectors for Nowhere {
    async fn files(&self, at: &FilesAt, _parallel: usize) -> ports::Result<Arc<dyn FileTarget>> {
        Err(ConnectorError::new(ErrorKind::Unreachable, "connect to", at.describe(), "connection refused").advice("Check the host and the port"))
    }

    async fn database(&self, at: &DatabaseAt, _parallel: usize) -> ports::Result<Arc<dyn Database>> {
        Err(ConnectorError::new(ErrorKind::Unreachable, "connect to", at.describe(), "connection refused").advice("Check the host and the port"))
    }
}

/// A good body without local paths.
pub fn body() -> Value {
    json!({"name": "Site", "source": {"type": "static", "host": "old.example", "username": "u", "password": "hidden-word-1"},
        "destination": {"type": "aws-s3", "bucket": "new-site", "access_key_id": "AK", "secret_access_key": "hidden-word-2"}})
}

impl Bench {
    pub async fn new() -> Self {
        Self::telling(Policy::default(), None).await
    }

    /// One that may speak to addresses as `policy` says, and to that e-mail server.
    pub async fn telling(policy: Policy, mailer: Option<Mailer>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = plans::Settings {
            connectors: Arc::new(Nowhere),
            backups_dir: dir.path().join("backups"),
            work_dir: dir.path().join("work"),
            machines: None,
            images: None,
        };
        let journal = store::open("sqlite:", dir.path()).await.expect("a store");
        let engine = Engine::new(journal.clone(), plans::registry(settings.clone()));
        let root = dir.path().join("sites");
        std::fs::create_dir(&root).expect("the allowed root");
        let courier = Arc::new(Couriers::new(policy, mailer).expect("a courier"));
        let vms = Arc::new(testkit::memory_vms::MemoryVms::default());
        let host = control::vms::Setup { host: Some(vms.clone()), disks: None, node: "bench".to_owned(), image_roots: vec![root.clone()] };
        let options = Options { vms: host, local_roots: Some(vec![root]), courier, ..Options::new(dir.path()) };
        let control = Control::new(engine, journal.clone(), settings, options);
        Self { router: router(control.clone()), control, journal, vms, dir }
    }

    /// The directory in which local files may lie.
    pub fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("sites")
    }

    /// Everything in the data directory but the key file.
    pub fn stored_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.dir.path()).expect("the data directory").flatten().map(|e| e.path());
        files.filter(|p| p.is_file() && !p.ends_with("seal.keys")).flat_map(|p| std::fs::read(p).expect("a file")).collect()
    }

    /// The default tenant's entries of the audit log with that action, newest first.
    pub async fn audit(&self, action: &str) -> Vec<AuditEntry> {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        self.journal.entries("default", &filter).await.expect("the audit log").into_iter().map(|row| row.entry).collect()
    }

    /// Puts a record into the default tenant that no version of the product has written.
    pub async fn spoil(&self, kind: &str, id: &str) {
        let fields = ports::records::Fields::body(json!("nothing that can be read"));
        Records::apply(&*self.journal, vec![Write::insert("default", kind, id, fields)]).await.expect("the records");
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let text = String::from_utf8_lossy(&body.collect().await.expect("a body").to_bytes()).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, text, json }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.expect("a request")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Creates a migration; gives its id.
    pub async fn created(&self) -> String {
        let made = self.post("/migrations/", &body()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json["session_id"].as_str().expect("an id").to_owned()
    }

    /// Creates and starts one, and takes it up as its worker.
    pub async fn running(&self) -> Hands {
        let id = self.created().await;
        let started = self.post(&format!("/migrations/{id}/start?skip_validation=true"), &json!({"auto_rollback": false})).await;
        assert_eq!(started.status, StatusCode::OK, "{}", started.text);
        self.take_up().await
    }

    /// The document of a migration as it is stored, with its secrets.
    pub async fn document(&self, id: &str) -> Value {
        self.journal.input(control::DEFAULT_TENANT, id).await.expect("a document")
    }

    /// Waits until `what` is so; looks again whenever something changed.
    pub async fn until<F: Future<Output = Option<T>>, T>(&self, what: impl Fn() -> F) -> T {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut changes = self.journal.changes();
        loop {
            changes.mark_unchanged();
            if let Some(found) = what().await {
                return found;
            }
            assert!(tokio::time::Instant::now() < deadline, "it did not come to pass within 20 s");
            // Records change without an event of a run.
            let _woken_or_not = tokio::time::timeout(Duration::from_millis(100), changes.changed()).await;
        }
    }

    /// Claims the next run that waits for a worker, as soon as there is one.
    pub async fn next_started(&self) -> Hands {
        self.until(|| self.claim()).await
    }

    async fn claim(&self) -> Option<Hands> {
        let request = ClaimRequest {
            owner: "test".to_owned(),
            kinds: vec!["application".to_owned(), "workload".to_owned()],
            except: Vec::new(),
            lease: Duration::from_mins(5),
            node: None,
        };
        let claim = self.journal.claim(&request).await.expect("a journal")?;
        Some(Hands { journal: self.journal.clone(), id: claim.token.run.clone(), token: claim.token })
    }

    /// Claims the one run that waits for a worker.
    pub async fn take_up(&self) -> Hands {
        self.claim().await.expect("a run that waits")
    }
}

/// What a worker does to a run.
pub struct Hands {
    journal: Arc<Store>,
    pub id: String,
    token: Token,
}

impl Hands {
    pub fn path(&self, what: &str) -> String {
        format!("/migrations/{}/{what}", self.id)
    }

    pub async fn write(&self, changes: Vec<Change>, events: Vec<NewEvent>) {
        self.journal.write(&self.token, changes, events).await.expect("the lease holds");
    }

    pub async fn begin(&self, index: u32) {
        self.write(vec![Change::Begun { index }], vec![NewEvent::new("step.begun", Level::Info, "engine", "begun")]).await;
    }

    pub async fn done(&self, index: u32, output: Value) {
        self.write(vec![Change::Done { index, output }], vec![NewEvent::new("step.done", Level::Info, "engine", "done")]).await;
    }

    pub async fn log(&self, level: Level, message: &str, details: Value) {
        self.write(Vec::new(), vec![NewEvent::new("log", level, "file_transfer", message).details(details)]).await;
    }

    /// Plans chunks of `bytes` each with ten files, and completes the first `done` of them.
    pub async fn ledger(&self, name: &str, chunks: u64, bytes: u64, done: u64) {
        let new = (0..chunks).map(|seq| NewChunk { seq, spec: Vec::new(), items: 10, bytes }).collect();
        self.journal.plan(&self.token, name, new).await.expect("planned");
        let results = (0..done).map(|seq| ChunkDone { seq, result: Vec::new(), items: 10, bytes }).collect();
        self.journal.done(&self.token, name, results).await.expect("done");
    }

    pub async fn sample(&self, step: &str, rate: f64, bytes: u64) {
        let sample = Sample {
            at: self.journal.own_view(&self.token).await.expect("the run").now,
            step: step.to_owned(),
            bytes,
            items: 10,
            retries: 5,
            rate_current: rate,
            rate_average: rate / 2.0,
            rate_peak: rate * 2.0,
            operation: json!({"type": "file_transfer", "source": "/var/www/a/", "destination": "s3://new-site/a/", "progress": 78.2}),
        };
        self.write(vec![Change::Sample(sample)], vec![NewEvent::new("progress", Level::Debug, "engine", "")]).await;
    }

    /// As a step does that comes to a place where it can stand still: whether it is held.
    pub async fn stand_still(&self, for_good: bool) -> bool {
        self.journal.stand_still(&self.token, for_good).await.expect("the lease holds")
    }

    /// How the run stands that this one holds.
    pub async fn hold(&self) -> engine::Hold {
        self.journal.hold(&self.token).await.expect("the lease holds")
    }

    /// The run's new state, with the event that goes with it.
    pub async fn state(self, to: RunState) {
        let event = NewEvent::new(format!("run.{}", to.word()), Level::Info, "engine", to.word());
        self.write(vec![Change::State { to, error: None }], vec![event]).await;
    }
}
