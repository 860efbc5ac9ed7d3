//! Both systems, a journal, and the processes of two nodes, each with a data directory of its own.

use super::model::Spot;
use super::places::Place;
use super::scenario::{Documents, FOREIGN_TABLE, Kind, PATHS, Scenario, Side, TABLES};
use super::stage::{Calls, RUN, Stage, TENANT};
use domain::spec::{DatabaseAt, FilesAt};
use engine::journal::Token;
use engine::journal::memory::MemoryJournal;
use engine::{Engine, Journal, NewRun, PlanRegistry, RunView, Worker, WorkerOptions};
use ports::databases::Database;
use ports::files::FileTarget;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const NODES: usize = 2;

/// Both systems, of whatever kind.
#[async_trait::async_trait]
pub trait Systems: Send + Sync {
    /// As people see them.
    async fn place(&self, side: Side) -> Place;

    /// As a document names them.
    fn documents(&self, scenario: &Scenario) -> Documents;

    /// As a process opens them. `None`: it is none of them.
    async fn files(&self, at: &FilesAt, calls: &Arc<Calls>) -> ports::Result<Option<Arc<dyn FileTarget>>>;

    async fn database(&self, at: &DatabaseAt, calls: &Arc<Calls>) -> ports::Result<Arc<dyn Database>>;

    /// Removes what lies on no disk of this machine.
    async fn clean(&self) {}
}

/// Makes fresh systems with this clock; what they need on a disk lies in the directory.
pub type Make = dyn Fn(&Scenario, &Arc<AtomicI64>, &Path) -> Arc<dyn Systems> + Sync;

pub struct World {
    pub stage: Arc<Stage>,
    systems: Arc<dyn Systems>,
    journal: Arc<dyn Journal>,
    processes: Vec<Process>,
    /// Their names, as runs are pinned to them.
    nodes: Vec<Option<String>>,
    started: u64,
    dir: TempDir,
    pub engine: Engine,
    /// Both sides before anything ran.
    pub files_before: Vec<String>,
    pub rows_before: Vec<String>,
}

struct Process {
    number: u64,
    node: usize,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory for the nodes")
}

const CONFIG: &str =
    "<?php\ndefine('DB_NAME', 'from');\ndefine('DB_USER', 'u');\ndefine('DB_PASSWORD', 'p');\ndefine('DB_HOST', 'from.memory');\n$table_prefix = 'wp_';\n";

impl World {
    pub async fn new(scenario: &Scenario, make: &Make) -> Self {
        let dir = scratch();
        let now = jiff::Timestamp::now().as_nanosecond() as i64;
        let clock = Arc::new(AtomicI64::new(now - 3_600_000_000_000));
        let systems = make(scenario, &clock, dir.path());
        let backups = (0..NODES).map(|node| node_dir(dir.path(), node).join("backups")).collect();
        let stage = Arc::new(Stage::new(systems.place(Side::Source).await, systems.place(Side::Destination).await, scenario.clone(), clock.clone(), backups));
        furnish(&stage).await;
        clock.store(now, Ordering::Relaxed);
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let calls = Arc::new(Calls { stage: stage.clone(), process: 0 });
        let nodes = (0..NODES).map(|node| plans::registry(settings(&systems, calls.clone(), dir.path(), node)).node().map(str::to_owned)).collect();
        let engine = Engine::new(journal.clone(), plans::registry(settings(&systems, calls, dir.path(), 0)));
        let (files_before, rows_before) = (stage.destination.files.state().await, stage.destination.rows.state().await);
        let world = Self { stage, systems, journal, processes: Vec::new(), nodes, started: 0, dir, engine, files_before, rows_before };
        // Without plans: those hold the stage, and it would hold itself.
        let engine = Engine::new(world.journal.clone(), PlanRegistry::default());
        assert!(world.stage.engine.set(engine).is_ok(), "the engine is set once");
        world.create(scenario).await;
        world
    }

    async fn create(&self, scenario: &Scenario) {
        let input = scenario.document(&self.systems.documents(scenario));
        let run = NewRun { id: RUN.to_owned(), tenant: TENANT.to_owned(), kind: plans::APPLICATION.to_owned(), input, labels: Value::Null, holds: None };
        self.engine.create(run).await.expect("the run is created");
        let options = json!({"auto_rollback": scenario.auto_rollback});
        self.engine.start(TENANT, RUN, options).await.expect("the run starts");
    }

    pub async fn view(&self) -> RunView {
        self.engine.get(TENANT, RUN).await.expect("the run is there")
    }

    /// Starts a process on a node.
    pub fn start(&mut self, node: usize) {
        self.started += 1;
        let number = self.started;
        self.stage.let_live(number);
        let calls = Arc::new(Calls { stage: self.stage.clone(), process: number });
        let registry = plans::registry(settings(&self.systems, calls, self.dir.path(), node));
        let options = WorkerOptions {
            name: format!("node-{node}"),
            concurrency: 1,
            lease: Duration::from_hours(1),
            poll: Duration::from_millis(2),
            sample: Duration::from_millis(5),
            attempts: 4,
            backoff: Duration::from_millis(1),
            backoff_max: Duration::from_millis(4),
            stop_grace: Duration::from_secs(5),
        };
        let stop = CancellationToken::new();
        let worker = Worker::new(self.journal.clone(), registry, options);
        let told = stop.clone();
        let worker = tokio::spawn(async move { worker.run(told).await.expect("a worker never fails") });
        self.processes.push(Process { number, node, stop, worker });
    }

    fn take(&mut self, number: u64) -> Option<Process> {
        let at = self.processes.iter().position(|process| process.number == number)?;
        Some(self.processes.remove(at))
    }

    /// The process vanishes, and its lease runs out.
    pub async fn kill(&mut self, number: u64) {
        self.stage.let_die(number);
        let Some(process) = self.take(number) else { return };
        process.worker.abort();
        let _aborted = process.worker.await;
        self.expire_lease().await;
    }

    /// The process ends as a service manager asks it to.
    pub async fn shut_down(&mut self, number: u64) {
        let Some(process) = self.take(number) else { return };
        process.stop.cancel();
        let mut worker = process.worker;
        let ended = tokio::time::timeout(Duration::from_secs(10), &mut worker).await.is_ok();
        self.stage.let_die(number);
        if !ended {
            // It was killed on the way.
            worker.abort();
            self.expire_lease().await;
        }
    }

    /// The journal gives the run to whoever asks next.
    pub async fn expire_lease(&self) {
        let view = self.view().await;
        let Some(owner) = view.owner else { return };
        let token = Token { run: RUN.to_owned(), tenant: TENANT.to_owned(), owner, epoch: view.epoch };
        let _fenced = self.journal.release(&token).await;
    }

    /// A node that a run waits for comes back, if it is away.
    pub fn bring_back(&mut self, name: &str) {
        let node = self.nodes.iter().position(|node| node.as_deref() == Some(name)).expect("a run waits for a node that there is");
        if self.processes.iter().all(|process| process.node != node) {
            self.start(node);
        }
    }

    /// Ends whatever runs.
    pub async fn end(mut self) {
        for process in std::mem::take(&mut self.processes) {
            self.stage.let_die(process.number);
            process.worker.abort();
            let _aborted = process.worker.await;
        }
        self.systems.clean().await;
    }
}

fn node_dir(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("node-{node}"))
}

fn settings(systems: &Arc<dyn Systems>, calls: Arc<Calls>, dir: &Path, node: usize) -> plans::Settings {
    let dir = node_dir(dir, node);
    plans::Settings {
        connectors: Arc::new(Connectors { systems: systems.clone(), calls }),
        backups_dir: dir.join("backups"),
        work_dir: dir.join("work"),
        machines: None,
        images: None,
    }
}

/// What stands on both sides at the beginning, and is recorded as written by people.
async fn furnish(stage: &Stage) {
    let scenario = &stage.scenario;
    for (index, path) in PATHS.iter().enumerate() {
        if scenario.source_files >> index & 1 == 1 {
            let text = stage.new_text(Side::Source, index % 3 == 1);
            stage.source.files.write(path, &text).await;
            stage.lock().model.source.files.insert((*path).to_owned(), text);
        }
        if scenario.destination_files >> index & 1 == 1 && scenario.has_files() {
            let text = stage.new_text(Side::Destination, index % 2 == 1);
            stage.destination.files.write(path, &text).await;
            stage.lock().model.put(Spot::File((*path).to_owned()), None, &text);
        }
    }
    if scenario.kind == Kind::WordPress {
        let core = if scenario.own_directory { "wp/wp-settings.php" } else { "wp-settings.php" };
        for (path, text) in [("wp-config.php", CONFIG), (core, "<?php // the core")] {
            stage.source.files.write(path, text).await;
            stage.lock().model.source.files.insert(path.to_owned(), text.to_owned());
        }
    }
    furnish_rows(stage).await;
    let model = &mut stage.lock().model;
    let begin = model.source.clone();
    model.history.push((0, begin));
}

async fn furnish_rows(stage: &Stage) {
    for (index, table) in TABLES.iter().enumerate() {
        for key in 0..4 + 3 * index as i64 {
            let text = stage.new_text(Side::Source, false);
            assert!(stage.source.rows.write(table, key, &text).await, "the source has its tables");
            stage.lock().model.source.tables.entry((*table).to_owned()).or_default().insert(key, text);
        }
    }
    if !stage.scenario.occupied {
        return;
    }
    for (table, rows) in [(TABLES[1], 3), (FOREIGN_TABLE, 2)] {
        for key in 0..rows {
            let text = stage.new_text(Side::Destination, false);
            assert!(stage.destination.rows.write(table, key, &text).await, "the destination has its tables");
            stage.lock().model.put(Spot::Row(table.to_owned(), key), None, &text);
        }
    }
}

/// Opens the systems for one process.
struct Connectors {
    systems: Arc<dyn Systems>,
    calls: Arc<Calls>,
}

#[async_trait::async_trait]
impl ports::Connectors for Connectors {
    async fn files(&self, at: &FilesAt, parallel: usize) -> ports::Result<Arc<dyn FileTarget>> {
        match self.systems.files(at, &self.calls).await? {
            Some(files) => Ok(files),
            None => connectors_files::open(at, parallel).await,
        }
    }

    async fn database(&self, at: &DatabaseAt, _parallel: usize) -> ports::Result<Arc<dyn Database>> {
        self.systems.database(at, &self.calls).await
    }
}
