//! Virtual machines with QEMU, spoken to over QMP.
//!
//! ```text
//! <directory>/<id>/  disk.qcow2   over a base image that is never written to
//!                    qemu.pid     QEMU's own: gone after an end in good order, still there after a crash
//!                    process.json which process that is, and when it began
//!                    qmp.sock     what it obeys
//!                    console.log  what the guest wrote on its serial port
//!                    stderr.log   what QEMU said
//!                    moving-<run>/ files of a migration on their way out or in
//! ```
//! A machine's process has its own session and goes on when ours dies. The next one finds it by its process id and start time, and by the answer
//! of its QMP socket. One process at a time may work in the directory: a lock says so.

mod accelerator;
mod arguments;
mod console;
mod disk;
mod exports;
mod images;
mod limits;
mod offline;
mod place;
mod process;
mod qmp;
mod signs_of_life;
mod snapshots;
mod start;
mod stop;

pub use accelerator::Accelerator;

use crate::qemu::place::Place;
use crate::qemu::process::Process;
use domain::vms::VmSpec;
use ports::vms::{Act, ConsoleText, Ending, Fetch, Observed, Part, Running, VmHost};
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a running machine's console log is looked at for its size.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// See the module.
pub struct Qemu {
    directory: PathBuf,
    /// Where images, kernels and initial ramdisks may lie.
    image_roots: Vec<PathBuf>,
    fetch: Option<Arc<dyn Fetch>>,
    limits: limits::Limits,
    lock: Mutex<Option<place::Taken>>,
    accelerator: Accelerator,
    /// Each machine's conversation: one at a time, and what cuts a start off.
    turns: Mutex<HashMap<String, Turn>>,
}

#[derive(Clone, Default)]
struct Turn {
    /// Held by whoever starts it or speaks to it.
    talk: Arc<tokio::sync::Mutex<()>>,
    /// The start at work.
    start: CancellationToken,
}

impl Qemu {
    /// Machines below `directory`, which is made when it is needed. `fetch` brings images from elsewhere.
    pub fn new(directory: impl Into<PathBuf>, image_roots: Vec<PathBuf>, fetch: Option<Arc<dyn Fetch>>) -> Self {
        Self {
            directory: directory.into(),
            image_roots,
            fetch,
            limits: limits::Limits::of_this_machine(),
            lock: Mutex::default(),
            accelerator: Accelerator::default(),
            turns: Mutex::default(),
        }
    }

    /// The operator's wish for what runs the guests.
    #[must_use]
    pub fn accelerated_by(self, accelerator: Accelerator) -> Self {
        Self { accelerator, ..self }
    }

    fn place(&self, id: &str) -> Result<Place> {
        Place::new(&self.directory, id)
    }

    fn turn(&self, id: &str) -> Turn {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default().clone()
    }

    /// A start that begins now can be cut off by a stop that comes later.
    fn new_start(&self, id: &str) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(id.to_owned()).or_default();
        turn.start = CancellationToken::new();
        turn.clone()
    }

    /// The directory, with its lock held by this process. Callers come one after the other: the lock is the open file's, so a second one of the same
    /// process would be refused like another process.
    fn locked(&self) -> Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            *lock = Some(place::lock(&self.directory)?);
        }
        Ok(())
    }

    /// Says one thing to a machine that runs.
    async fn tell(&self, place: &Place, command: &str, arguments: Value) -> Result<Value> {
        let turn = self.turn(&place.id);
        let _mine = turn.talk.lock().await;
        let mut talk = qmp::Talk::open(place).await?;
        talk.execute(command, arguments).await
    }
}

#[async_trait::async_trait]
impl VmHost for Qemu {
    async fn machines(&self) -> Result<Vec<String>> {
        place::all(&self.directory)
    }

    async fn start(&self, id: &str, spec: &VmSpec) -> Result<Running> {
        let place = self.place(id)?;
        self.locked()?;
        let turn = self.new_start(id);
        let _mine = turn.talk.lock().await;
        tokio::select! {
            started = self.start_in(&place, spec) => started,
            () = turn.start.cancelled() => {
                process::end_quietly(&place).await;
                Err(ConnectorError::new(ErrorKind::Stopped, "start", id, "it was powered off meanwhile"))
            }
        }
    }

    async fn stop(&self, id: &str, patience: Option<Duration>) -> Result<Ending> {
        let place = self.place(id)?;
        match patience {
            Some(patience) => self.power_down(&place, patience).await,
            None => self.pull_plug(&place).await,
        }
    }

    async fn act(&self, id: &str, act: Act) -> Result<()> {
        let place = self.place(id)?;
        if Process::of(&place)?.is_none() {
            return Err(ConnectorError::new(ErrorKind::NotFound, "reach", id, "the machine does not run"));
        }
        let command = match act {
            Act::Pause => "stop",
            Act::Resume => "cont",
            Act::Reset => "system_reset",
        };
        self.tell(&place, command, json!({})).await.map(drop)
    }

    async fn observe(&self, id: &str) -> Result<Observed> {
        let place = self.place(id)?;
        if !place.exists() {
            return Ok(Observed::Absent);
        }
        let Some(process) = Process::of(&place)? else { return Ok(Observed::Off(process::ending(&place))) };
        // A machine that is too busy to answer is still there.
        let paused = match self.tell(&place, "query-status", json!({})).await {
            Ok(status) => status["running"] == json!(false),
            Err(_) if Process::of(&place)?.is_none() => return Ok(Observed::Off(process::ending(&place))),
            Err(error) => {
                tracing::warn!(%error, vm = id, "a virtual machine does not say how it is");
                false
            }
        };
        Ok(Observed::On { running: process.running, paused })
    }

    async fn ended(&self, id: &str) -> Result<Ending> {
        let place = self.place(id)?;
        while let Some(process) = Process::of(&place)? {
            tokio::select! {
                ended = process.ended() => ended?,
                () = tokio::time::sleep(TIDY_EVERY) => console::tidy(&place)?,
            }
        }
        self.limits.lift(id);
        Ok(process::ending(&place))
    }

    async fn console(&self, id: &str, part: Part, limit: u64) -> Result<ConsoleText> {
        console::read(&self.place(id)?, part, limit)
    }

    async fn remove(&self, id: &str) -> Result<()> {
        let place = self.place(id)?;
        self.pull_plug(&place).await?;
        self.limits.lift(id);
        place.remove()?;
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }
}
