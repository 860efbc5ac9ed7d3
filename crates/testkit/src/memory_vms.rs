//! Virtual machines in memory behind [`ports::vms`]: what a host promises, with no guest in it. Its guests say that they are up as soon as they
//! start, and obey the power button when they have a kernel or an image.

use domain::vms::VmSpec;
use ports::vms::{Act, ConsoleText, Ending, Observed, Part, Running, VmHost, VmSnapshots};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// What a guest writes when it is up.
pub const GREETING: &str = "guest is up\n";

#[derive(Default)]
struct Machine {
    process: Option<u32>,
    paused: bool,
    obeys: bool,
    ending: Option<Ending>,
    console: Vec<u8>,
    /// Whether each has the memory too.
    snapshots: BTreeMap<String, bool>,
}

#[derive(Default)]
struct State {
    machines: BTreeMap<String, Machine>,
    last_process: u32,
    broken: Option<String>,
}

/// See the module.
#[derive(Default)]
pub struct MemoryVms {
    state: Mutex<State>,
    changed: Notify,
}

fn missing(operation: &str, id: &str, what: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::NotFound, operation, id, what)
}

impl MemoryVms {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on every start fails for that reason; `None`: no more.
    pub fn break_starts(&self, why: Option<&str>) {
        self.state().broken = why.map(str::to_owned);
    }

    /// Somebody kills the process, or the guest switches itself off (`clean`).
    pub fn end(&self, id: &str, clean: bool) {
        let reason = if clean { "the guest switched itself off" } else { "it was killed" };
        self.finish(id, Ending { clean, reason: reason.to_owned() });
    }

    fn finish(&self, id: &str, ending: Ending) {
        if let Some(machine) = self.state().machines.get_mut(id).filter(|m| m.process.is_some()) {
            (machine.process, machine.paused, machine.ending) = (None, false, Some(ending));
        }
        self.changed.notify_waiters();
    }

    fn on<T>(&self, id: &str, operation: &str, then: impl FnOnce(&mut Machine) -> T) -> Result<T> {
        let mut state = self.state();
        let machine = state.machines.get_mut(id).filter(|m| m.process.is_some());
        machine.map(then).ok_or_else(|| missing(operation, id, "the machine does not run"))
    }

    fn kept<T>(&self, id: &str, operation: &str, then: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
        self.state().machines.get_mut(id).map_or_else(|| Err(missing(operation, id, "there is no such machine")), then)
    }
}

fn running(process: u32) -> Running {
    Running { process, accelerator: "none".to_owned(), accelerator_reason: None, limits: "none: it exists in memory only".to_owned() }
}

#[async_trait::async_trait]
impl VmHost for MemoryVms {
    async fn machines(&self) -> Result<Vec<String>> {
        Ok(self.state().machines.keys().cloned().collect())
    }

    async fn start(&self, id: &str, spec: &VmSpec) -> Result<Running> {
        let mut state = self.state();
        if let Some(why) = &state.broken {
            return Err(ConnectorError::new(ErrorKind::Unsupported, "start", id, why.clone()).advice("Install it"));
        }
        state.last_process += 1;
        let new = state.last_process;
        let machine = state.machines.entry(id.to_owned()).or_default();
        if machine.process.is_none() {
            (machine.process, machine.obeys, machine.ending) = (Some(new), spec.has_system(), None);
            if machine.obeys {
                machine.console.extend_from_slice(GREETING.as_bytes());
            }
        }
        Ok(running(machine.process.unwrap_or(new)))
    }

    async fn stop(&self, id: &str, patience: Option<Duration>) -> Result<Ending> {
        let obeys = self.state().machines.get(id).is_some_and(|m| m.obeys && !m.paused);
        if let Some(patience) = patience {
            if obeys {
                self.end(id, true);
            }
            // Deaf: wait, unless somebody pulls the plug meanwhile.
            let _ended_or_not = tokio::time::timeout(patience, self.ended(id)).await;
        }
        self.finish(id, Ending { clean: true, reason: "the plug was pulled".to_owned() });
        self.ended(id).await
    }

    async fn act(&self, id: &str, act: Act) -> Result<()> {
        self.on(id, "reach", |machine| match act {
            Act::Pause => machine.paused = true,
            Act::Resume => machine.paused = false,
            Act::Reset if machine.obeys => machine.console.extend_from_slice(GREETING.as_bytes()),
            Act::Reset => {}
        })
    }

    async fn observe(&self, id: &str) -> Result<Observed> {
        let state = self.state();
        Ok(match state.machines.get(id) {
            None => Observed::Absent,
            Some(Machine { process: Some(process), paused, .. }) => Observed::On { running: running(*process), paused: *paused },
            Some(machine) => Observed::Off(machine.ending.clone().unwrap_or(Ending { clean: true, reason: "it was never started".to_owned() })),
        })
    }

    async fn ended(&self, id: &str) -> Result<Ending> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.observe(id).await? {
                Observed::On { .. } => changed.await,
                Observed::Off(ending) => return Ok(ending),
                Observed::Absent => return Ok(Ending { clean: true, reason: "nothing is kept of it".to_owned() }),
            }
        }
    }

    async fn console(&self, id: &str, part: Part, limit: u64) -> Result<ConsoleText> {
        let state = self.state();
        let Some(machine) = state.machines.get(id) else { return Ok(ConsoleText::default()) };
        let end = machine.console.len() as u64;
        let offset = match part {
            Part::From(offset) => offset.min(end),
            Part::Tail(bytes) => end - bytes.min(end),
        };
        let bytes = machine.console[offset as usize..].iter().take(limit as usize).copied().collect();
        Ok(ConsoleText { offset, bytes, end })
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.state().machines.remove(id);
        self.changed.notify_waiters();
        Ok(())
    }
}

#[async_trait::async_trait]
impl VmSnapshots for MemoryVms {
    async fn save(&self, id: &str, name: &str) -> Result<bool> {
        self.kept(id, "save", |machine| {
            machine.snapshots.insert(name.to_owned(), machine.process.is_some());
            Ok(machine.process.is_some())
        })
    }

    async fn restore(&self, id: &str, name: &str) -> Result<()> {
        self.kept(id, "restore", |machine| match machine.snapshots.get(name) {
            None => Err(missing("restore", id, "there is no such snapshot")),
            Some(false) if machine.process.is_some() => {
                Err(ConnectorError::new(ErrorKind::Invalid, "restore", id, "the snapshot has no memory, and the machine runs").advice("Stop it first"))
            }
            Some(_) => Ok(()),
        })
    }

    async fn forget(&self, id: &str, name: &str) -> Result<()> {
        self.kept(id, "forget", |machine| {
            machine.snapshots.remove(name);
            Ok(())
        })
    }
}
