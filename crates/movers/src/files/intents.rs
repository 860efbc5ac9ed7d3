//! What a task is about to put in place though no plan knows it: a file that has changed since it was planned. It is written down first, so that
//! after a crash what stands there is known as ours, and neither spared nor left behind by an undo.

use super::item::Stat;
use ports::files::{EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// How many are kept for one path: each try of a file that never rests adds one.
const KEPT: usize = 16;

/// A file as it was read: enough to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    size: u64,
    modified_ns: i64,
}

impl Intent {
    /// `None` for what is no file, or has no time to be known by.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        let EntryKind::File { size } = stat.kind else { return None };
        stat.modified_ns.map(|modified_ns| Self { size, modified_ns })
    }

    /// Whether `found` is this file. `resolution_ns`: of the times that the destination keeps; 0 when it keeps none.
    pub(super) fn is(self, found: &Stat, resolution_ns: i64) -> bool {
        resolution_ns > 0
            && Self::of(found).is_some_and(|f| f.size == self.size && f.modified_ns.div_euclid(resolution_ns) == self.modified_ns.div_euclid(resolution_ns))
    }
}

struct Ask {
    path: FilePath,
    add: Option<Intent>,
    answer: oneshot::Sender<Result<Vec<Intent>>>,
}

/// The tasks' end; whoever owns the ledger serves the other one.
#[derive(Clone)]
pub(super) struct Intents(UnboundedSender<Ask>);

pub(super) fn channel() -> (Intents, Asked) {
    let (asks, asked) = unbounded_channel();
    (Intents(asks), Asked(asked))
}

impl Intents {
    /// Written down when it returns.
    pub(super) async fn declare(&self, path: &FilePath, read: &Stat) -> Result<()> {
        match Intent::of(read) {
            Some(intent) => self.ask(path, Some(intent)).await.map(drop),
            None => Ok(()),
        }
    }

    /// What was declared for the path, now or before a crash.
    pub(super) async fn of(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.ask(path, None).await
    }

    async fn ask(&self, path: &FilePath, add: Option<Intent>) -> Result<Vec<Intent>> {
        let (answer, heard) = oneshot::channel();
        let gone = || ConnectorError::new(ErrorKind::Stopped, "write down what is put at", path.to_string(), "the migration has stopped");
        self.0.send(Ask { path: path.clone(), add, answer }).map_err(|_| gone())?;
        heard.await.map_err(|_| gone())?
    }
}

/// The questions of the tasks.
pub(super) struct Asked(UnboundedReceiver<Ask>);

impl Asked {
    /// Answers from the ledger, and from those of the passes before, as long as it is polled; never ends.
    pub(super) async fn serve(mut self, ledger: &dyn Ledger, known: &[&dyn Ledger]) -> Result<()> {
        while let Some(Ask { path, add, answer }) = self.0.recv().await {
            // Nobody waits any more when its task has ended.
            let _ = answer.send(answered(ledger, known, &path, add).await);
        }
        std::future::pending().await
    }
}

async fn answered(ledger: &dyn Ledger, known: &[&dyn Ledger], path: &FilePath, add: Option<Intent>) -> Result<Vec<Intent>> {
    let asked = add.is_none();
    let mut found = written(ledger, path, add).await?;
    for ledger in known.iter().filter(|_| asked) {
        found.extend(declared(*ledger, path).await?);
    }
    Ok(found)
}

async fn written(ledger: &dyn Ledger, path: &FilePath, add: Option<Intent>) -> Result<Vec<Intent>> {
    let mut known = declared(ledger, path).await?;
    if let Some(intent) = add
        && !known.contains(&intent)
    {
        known.push(intent);
        let from = known.len().saturating_sub(KEPT);
        ledger.remember(&memo(path), Some(json!(known[from..]))).await?;
    }
    Ok(known)
}

/// Whether one of the ledgers knows `found` to have been on its way to the path.
pub(super) async fn is_declared(ledgers: &[&dyn Ledger], path: &FilePath, found: &Stat, resolution_ns: i64) -> Result<bool> {
    for ledger in ledgers {
        if declared(*ledger, path).await?.iter().any(|i| i.is(found, resolution_ns)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn declared(ledger: &dyn Ledger, path: &FilePath) -> Result<Vec<Intent>> {
    Ok(ledger.recall(&memo(path)).await?.and_then(|v| serde_json::from_value(v).ok()).unwrap_or_default())
}

fn memo(path: &FilePath) -> String {
    format!("intent:{}", &blake3::hash(path.as_bytes()).to_hex()[..32])
}
