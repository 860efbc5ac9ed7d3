//! Where everything meets: every call of a process passes here, and here people act, faults happen and processes die.

use super::model::{Model, Spot};
use super::places::Place;
use super::scenario::{Anchor, Deed, Event, FOREIGN_TABLE, PATHS, Scenario, Side, TABLES};
use engine::{Engine, RunState, StepState};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use testkit::hook::{Call, Hook};
use tokio::sync::Notify;

pub const TENANT: &str = "adversary";
pub const RUN: &str = "run";
/// The name of the file that closes a WordPress.
pub const MAINTENANCE: &str = ".maintenance";

/// A run that makes more calls goes round in circles.
const MAX_CALLS: u64 = 12_000;

/// What the main loop is to do about processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Kill { process: u64, node: usize },
    Shutdown { process: u64, node: usize },
    LeaseLost { node: usize },
    Endless,
}

#[derive(Default)]
pub struct State {
    pub calls: u64,
    events: Vec<Event>,
    anchors: BTreeMap<Anchor, u64>,
    alive: BTreeSet<u64>,
    pub orders: Vec<Order>,
    texts: u64,
    pub model: Model,
    /// The call before which the step `files` began for the last time, and `verify` for the first.
    pub files_begun: u64,
    files_attempts: u32,
    pub verify_begun: Option<u64>,
    pub trace: Vec<String>,
}

pub struct Stage {
    pub source: Place,
    pub destination: Place,
    pub scenario: Scenario,
    pub clock: Arc<AtomicI64>,
    /// Of all nodes.
    pub backups: Vec<PathBuf>,
    pub bell: Notify,
    pub engine: OnceLock<Engine>,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

enum Verdict {
    Go,
    Fail(ErrorKind),
    Gone,
}

impl Stage {
    pub fn new(source: Place, destination: Place, scenario: Scenario, clock: Arc<AtomicI64>, backups: Vec<PathBuf>) -> Self {
        let state = State { events: scenario.events.clone(), anchors: BTreeMap::from([(Anchor::Start, 0)]), ..State::default() };
        let (bell, engine, turn) = (Notify::new(), OnceLock::new(), tokio::sync::Mutex::default());
        Self { source, destination, scenario, clock, backups, bell, engine, turn, state: Mutex::new(state) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the stage's lock")
    }

    pub fn let_live(&self, process: u64) {
        self.lock().alive.insert(process);
    }

    /// From now on no call of this process returns.
    pub fn let_die(&self, process: u64) {
        self.lock().alive.remove(&process);
    }

    fn let_all_die(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.lock().alive)
    }

    pub fn lose_power(&self, number: u64) {
        self.destination.files.lose_power(self.scenario.seed ^ number << 32);
    }

    fn order(&self, order: Order) {
        self.lock().orders.push(order);
        self.bell.notify_one();
    }

    async fn pass(&self, process: u64, call: &Call<'_>) -> Verdict {
        let number = {
            let mut state = self.lock();
            if !state.alive.contains(&process) {
                return Verdict::Gone;
            }
            state.calls += 1;
            let number = state.calls;
            state.trace.push(format!("{number} [{process}] {} {} {}", call.system, call.operation, call.subject));
            number
        };
        if number > MAX_CALLS {
            self.let_die(process);
            self.order(Order::Endless);
            return Verdict::Gone;
        }
        self.mark(number).await;
        self.look_at_standstill(number).await;
        let mut verdict = Verdict::Go;
        while let Some(event) = self.due(number) {
            self.lock().trace.push(format!("  {:?}", event.deed));
            match self.act(event.deed, process, number).await {
                Verdict::Go => {}
                Verdict::Gone => return Verdict::Gone,
                fail @ Verdict::Fail(_) => verdict = fail,
            }
        }
        verdict
    }

    fn due(&self, number: u64) -> Option<Event> {
        let mut state = self.lock();
        let State { events, anchors, .. } = &mut *state;
        let due = events.iter().position(|event| anchors.get(&event.from).is_some_and(|anchor| anchor + event.at <= number));
        due.map(|at| events.remove(at))
    }

    /// Notes which steps have begun.
    async fn mark(&self, number: u64) {
        let Some(engine) = self.engine.get() else { return };
        let Ok(view) = engine.get(TENANT, RUN).await else { return };
        let step = |name: &str| view.steps.iter().find(|step| step.name == name);
        let mut state = self.lock();
        if let Some(files) = step("files").filter(|step| step.attempts > state.files_attempts) {
            (state.files_attempts, state.files_begun) = (files.attempts, number);
        }
        if state.verify_begun.is_none() && step("verify").is_some_and(|step| step.state != StepState::Pending) {
            state.verify_begun = Some(number);
            state.anchors.entry(Anchor::Verify).or_insert(number);
        }
        if view.state == RunState::RollingBack {
            state.anchors.entry(Anchor::Rollback).or_insert(number);
        }
    }

    /// Where WordPress looks for it: in its own directory, which need not be the web root.
    pub fn maintenance_file(&self) -> &'static str {
        if self.scenario.own_directory { "wp/.maintenance" } else { MAINTENANCE }
    }

    pub async fn in_maintenance(&self) -> bool {
        self.source.files.read(self.maintenance_file()).await.is_some()
    }

    async fn look_at_standstill(&self, number: u64) {
        let stands = self.in_maintenance().await;
        let mut state = self.lock();
        if stands && !state.model.standing {
            state.anchors.entry(Anchor::Standstill).or_insert(number);
            let moment = state.model.source.clone();
            state.model.standstills.push(moment);
        }
        state.model.standing = stands;
    }

    /// Lets a deed happen outside of any call.
    pub async fn act_between(&self, deed: Deed) {
        let _turn = self.turn.lock().await;
        let number = self.lock().calls;
        self.act(deed, 0, number).await;
    }

    async fn act(&self, deed: Deed, process: u64, number: u64) -> Verdict {
        match deed {
            Deed::TimePasses { milliseconds } => {
                self.clock.fetch_add(milliseconds as i64 * 1_000_000, Ordering::Relaxed);
            }
            Deed::Pause | Deed::Cancel => self.request(deed).await,
            Deed::Kill { node } => {
                self.let_die(process);
                self.order(Order::Kill { process, node });
                return Verdict::Gone;
            }
            Deed::PowerLoss { node } => {
                for process in self.let_all_die() {
                    self.order(Order::Kill { process, node });
                }
                self.lose_power(number);
                return Verdict::Gone;
            }
            Deed::Shutdown { node } => self.order(Order::Shutdown { process, node }),
            Deed::LeaseLost { node } => self.order(Order::LeaseLost { node }),
            Deed::Fault { lasting: true } => return Verdict::Fail(ErrorKind::Permission),
            Deed::Fault { lasting: false } if number.is_multiple_of(2) => return Verdict::Fail(ErrorKind::TimedOut),
            Deed::Fault { lasting: false } => return Verdict::Fail(ErrorKind::Interrupted),
            Deed::DeleteBackups => self.delete_backups().await,
            Deed::Write { .. } | Deed::Delete { .. } | Deed::Rename { .. } | Deed::WriteRow { .. } | Deed::DeleteRow { .. } => {
                // A microsecond later, so that a fine clock shows it.
                self.clock.fetch_add(1000, Ordering::Relaxed);
                self.person(deed, number).await;
            }
        }
        Verdict::Go
    }

    async fn request(&self, deed: Deed) {
        let Some(engine) = self.engine.get() else { return };
        // Refused where it makes no sense, as every user's request.
        let _answer = if deed == Deed::Pause { engine.pause(TENANT, RUN).await } else { engine.cancel(TENANT, RUN).await };
    }

    async fn delete_backups(&self) {
        for entry in self.backups.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten()) {
            if entry.file_name().to_string_lossy().starts_with("backup-") {
                let _gone_meanwhile = std::fs::remove_dir_all(entry.path());
            }
        }
        let (files, tables) = (self.destination.files.files().await, self.destination.rows.tables().await);
        let model = &mut self.lock().model;
        model.backups_deleted = true;
        for (spot, owed) in &mut model.owed {
            let there = match spot {
                Spot::File(path) => files.get(path),
                Spot::Row(table, key) => tables.get(table).and_then(|rows| rows.get(key)),
            };
            owed.retain(|text| Some(text) == there);
        }
    }

    pub fn new_text(&self, side: Side, longer: bool) -> String {
        let mut state = self.lock();
        state.texts += 1;
        let side = if side == Side::Source { 'S' } else { 'D' };
        let text = format!("{side}{:04}", state.texts);
        if longer { format!("{text:.<40}") } else { format!("{text:.<12}") }
    }

    async fn person(&self, deed: Deed, number: u64) {
        match deed {
            Deed::Write { side: Side::Source, .. }
            | Deed::Delete { side: Side::Source, .. }
            | Deed::Rename { side: Side::Source, .. }
            | Deed::WriteRow { side: Side::Source, .. }
            | Deed::DeleteRow { side: Side::Source, .. } => {
                // A site in maintenance mode lets nobody write.
                if !self.in_maintenance().await {
                    self.at_source(deed, number).await;
                }
            }
            _ => self.at_destination(deed, number).await,
        }
    }

    async fn at_source(&self, deed: Deed, number: u64) {
        let (files, rows) = (&self.source.files, &self.source.rows);
        match deed {
            Deed::Write { path, longer, .. } => {
                let text = self.new_text(Side::Source, longer);
                files.write(PATHS[path], &text).await;
                self.lock().model.source_changed(number, |source| drop(source.files.insert(PATHS[path].to_owned(), text)));
            }
            Deed::Delete { path, .. } => {
                files.remove(PATHS[path]).await;
                self.lock().model.source_changed(number, |source| drop(source.files.remove(PATHS[path])));
            }
            Deed::Rename { from, to, .. } if from != to => {
                let Some(text) = files.read(PATHS[from]).await else { return };
                files.remove(PATHS[from]).await;
                files.write(PATHS[to], &text).await;
                self.lock().model.source_changed(number, |source| {
                    source.files.remove(PATHS[from]);
                    source.files.insert(PATHS[to].to_owned(), text);
                });
            }
            Deed::WriteRow { table, key, .. } if table < TABLES.len() => {
                let text = self.new_text(Side::Source, false);
                rows.write(TABLES[table], key, &text).await;
                self.lock().model.source_changed(number, |source| drop(source.tables.entry(TABLES[table].to_owned()).or_default().insert(key, text)));
            }
            Deed::DeleteRow { table, key, .. } if table < TABLES.len() => {
                rows.remove(TABLES[table], key).await;
                self.lock().model.source_changed(number, |source| drop(source.tables.entry(TABLES[table].to_owned()).or_default().remove(&key)));
            }
            _ => {}
        }
    }

    async fn at_destination(&self, deed: Deed, number: u64) {
        match deed {
            Deed::Write { path, longer, .. } if self.scenario.has_files() => {
                let text = self.new_text(Side::Destination, longer);
                self.put_file(path, &text, number).await;
            }
            Deed::Delete { path, .. } => drop(self.take_file(path, number).await),
            Deed::Rename { from, to, .. } if from != to => {
                if let Some(text) = self.take_file(from, number).await {
                    self.put_file(to, &text, number).await;
                }
            }
            Deed::WriteRow { table, key, .. } => {
                let (name, text) = (table_name(table), self.new_text(Side::Destination, false));
                let found = self.row(name, key).await;
                if self.destination.rows.write(name, key, &text).await {
                    let model = &mut self.lock().model;
                    model.put(Spot::Row(name.to_owned(), key), found.as_deref(), &text);
                    model.touch(Spot::Row(name.to_owned(), key), number);
                }
            }
            Deed::DeleteRow { table, key, .. } => {
                let name = table_name(table);
                let Some(found) = self.row(name, key).await else { return };
                self.destination.rows.remove(name, key).await;
                let (spot, model) = (Spot::Row(name.to_owned(), key), &mut self.lock().model);
                model.took(&spot, &found);
                model.touch(spot, number);
            }
            _ => {}
        }
    }

    async fn row(&self, table: &str, key: i64) -> Option<String> {
        self.destination.rows.tables().await.get(table)?.get(&key).cloned()
    }

    async fn put_file(&self, path: usize, text: &str, number: u64) {
        let found = self.destination.files.read(PATHS[path]).await;
        self.destination.files.write(PATHS[path], text).await;
        let (spot, model) = (Spot::File(PATHS[path].to_owned()), &mut self.lock().model);
        model.put(spot.clone(), found.as_deref(), text);
        model.touch(spot, number);
    }

    async fn take_file(&self, path: usize, number: u64) -> Option<String> {
        let found = self.destination.files.read(PATHS[path]).await?;
        self.destination.files.remove(PATHS[path]).await;
        let (spot, model) = (Spot::File(PATHS[path].to_owned()), &mut self.lock().model);
        model.took(&spot, &found);
        model.touch(spot, number);
        Some(found)
    }
}

fn table_name(table: usize) -> &'static str {
    TABLES.get(table).copied().unwrap_or(FOREIGN_TABLE)
}

/// The calls of one process.
pub struct Calls {
    pub stage: Arc<Stage>,
    pub process: u64,
}

#[async_trait::async_trait]
impl Hook for Calls {
    async fn before(&self, call: &Call<'_>) -> Result<()> {
        let verdict = {
            let _turn = self.stage.turn.lock().await;
            self.stage.pass(self.process, call).await
        };
        match verdict {
            Verdict::Go => Ok(()),
            Verdict::Fail(kind) => Err(ConnectorError::new(kind, call.operation, format!("{}/{}", call.system, call.subject), "a fault was asked for")),
            Verdict::Gone => std::future::pending().await,
        }
    }
}
