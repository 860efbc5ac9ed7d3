//! The door to whatever runs virtual machines on one node.
//!
//! A machine is known by its id. Its disk, process and console belong to the host; what is wanted of it, and by whom, is somebody else's business.
//! Every call may be repeated: what is so already is no error. A machine goes on running when the process behind this door dies, and is found
//! again by the next one.

use crate::Result;
use domain::vms::VmSpec;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::io::AsyncWrite;

/// A machine's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub process: u32,
    pub accelerator: String,
    /// Why the guest does not run with the node's fastest one, where that is known.
    #[serde(default)]
    pub accelerator_reason: Option<String>,
    /// What keeps it from taking more than its share, or why nothing does.
    pub limits: String,
}

/// What a look has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Nothing is kept of it.
    Absent,
    Off(Ending),
    On {
        running: Running,
        paused: bool,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// In good order: the guest switched itself off, or was switched off.
    pub clean: bool,
    /// For people.
    pub reason: String,
}

/// What takes effect at once on a machine that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Pause,
    Resume,
    /// The reset button.
    Reset,
}

/// Which part of a console's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From this byte on, counted from the machine's first start.
    From(u64),
    /// The last bytes.
    Tail(u64),
}

/// A part of what a machine wrote on its serial console.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsoleText {
    /// Where `bytes` begins; later than asked for when the beginning is not kept any more.
    pub offset: u64,
    pub bytes: Vec<u8>,
    /// Where the log ends now.
    pub end: u64,
}

/// The door.
#[async_trait::async_trait]
pub trait VmHost: VmSnapshots {
    /// Ids of the machines of which something is kept, running or not.
    async fn machines(&self) -> Result<Vec<String>>;

    /// Makes the disk if there is none, and starts the process. A machine that runs already is left as it is. A failure leaves no process behind.
    async fn start(&self, id: &str, spec: &VmSpec) -> Result<Running>;

    /// Ends the process. With `patience` the guest is asked first (power button) and has that long; `None` pulls the plug. Says how it ended. A call
    /// without patience may come while one with patience waits: both end then.
    async fn stop(&self, id: &str, patience: Option<Duration>) -> Result<Ending>;

    /// [`crate::ErrorKind::NotFound`] when it does not run.
    async fn act(&self, id: &str, act: Act) -> Result<()>;

    /// What is there now.
    async fn observe(&self, id: &str) -> Result<Observed>;

    /// Waits until it does not run (any more).
    async fn ended(&self, id: &str) -> Result<Ending>;

    /// At most `limit` bytes; nothing for a machine that was never started.
    async fn console(&self, id: &str, part: Part, limit: u64) -> Result<ConsoleText>;

    /// Ends its process, if any, and removes everything that is kept of it.
    async fn remove(&self, id: &str) -> Result<()>;
}

/// Brings a file from elsewhere. Whoever implements it decides which addresses may be spoken to.
#[async_trait::async_trait]
pub trait Fetch: Send + Sync {
    /// Writes what is behind the address to `to`, redirects followed. Anything but a whole, good answer is an error; `to` then holds rubbish.
    async fn fetch(&self, url: &str, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<()>;
}

/// Moments of a machine to come back to: its disk, and its memory when it runs.
#[async_trait::async_trait]
pub trait VmSnapshots: Send + Sync {
    /// In the place of one with the same name. Says whether it holds the memory too.
    async fn save(&self, id: &str, name: &str) -> Result<bool>;

    /// Goes back. A running machine goes on from that moment, with its memory; one that is off gets its disk back.
    /// [`crate::ErrorKind::NotFound`] when there is no such snapshot, [`crate::ErrorKind::Invalid`] for a running machine and a snapshot without memory.
    async fn restore(&self, id: &str, name: &str) -> Result<()>;

    /// One that is gone is no error.
    async fn forget(&self, id: &str, name: &str) -> Result<()>;
}
