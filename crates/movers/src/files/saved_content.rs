//! What a backup says of the content of a file: the hash that was recorded when the file was saved, and the comparison with it while the
//! file is restored, before it takes the place of what stands at the destination.

use super::backup::to_be_saved;
use super::digest::Running;
use super::item::{Phase, Proof, What, span};
use super::records::{PAGE, Record, Records, Word, just_before, records_of};
use bytes::Bytes;
use futures::StreamExt;
use ports::files::{Body, FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The files of a backup, as an undo restores from them.
#[derive(Clone)]
pub struct FilesBackup<'a> {
    pub store: Arc<dyn FileTarget>,
    /// The backup's own ledger: the list of what it holds, with the hash of each file. An empty one tells no hash.
    pub ledger: &'a dyn Ledger,
}

/// Why a file whose backup has another content is not restored.
pub(super) const OTHER_CONTENT: &str = "the backup is damaged: the hash of its file is not the recorded one";

/// The recorded hash of a file that is being restored, and whether the backup was found to hold something else.
pub(super) struct SavedContent {
    proof: Proof,
    damaged: AtomicBool,
}

impl SavedContent {
    pub(super) fn new(proof: Proof) -> Self {
        Self { proof, damaged: AtomicBool::new(false) }
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// One reading of a saved file of `size` bytes, whole or part after part, in order.
pub(super) struct ContentCheck {
    saved: Arc<SavedContent>,
    size: u64,
    what: String,
    running: Mutex<Option<Running>>,
}

impl ContentCheck {
    pub(super) fn new(saved: Arc<SavedContent>, size: u64, what: String) -> Arc<Self> {
        let running = Running::new(saved.proof.digest.kind, saved.proof.part_size);
        Arc::new(Self { saved, size, what, running: Mutex::new(Some(running)) })
    }

    /// Passes `body` on. The piece that completes the file is passed on only when the whole is what was saved: without it no target puts
    /// anything in place. Without a check it is passed on as it is.
    pub(super) fn over(check: Option<&Arc<Self>>, body: Body) -> Body {
        let Some(check) = check.cloned() else { return body };
        body.map(move |piece| check.passed(piece?)).boxed()
    }

    fn passed(&self, piece: Bytes) -> Result<Bytes> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hash) = running.as_mut() {
            hash.update(&piece);
        }
        let complete = running.as_ref().is_some_and(|hash| hash.bytes >= self.size);
        let differs = |hash: Running| hash.finish() != self.saved.proof.digest;
        if complete && running.take().is_some_and(differs) {
            self.saved.damaged.store(true, Ordering::Relaxed);
            return Err(ConnectorError::new(ErrorKind::Corrupt, "read", self.what.clone(), OTHER_CONTENT).permanent());
        }
        Ok(piece)
    }
}

/// Reads the backup's ledger along with an undo, in the order in which the backup was planned: first what is overwritten, in the order of
/// records, then what is removed, in the order of its chunks.
pub(super) struct SavedHashes<'a> {
    /// `None`: nothing is recorded.
    ledger: Option<&'a dyn Ledger>,
    after: Option<u64>,
    buffer: VecDeque<Record>,
    /// How many records are of what is overwritten and were not read yet.
    overwritten: u64,
}

impl<'a> SavedHashes<'a> {
    pub(super) fn none() -> Self {
        Self { ledger: None, after: None, buffer: VecDeque::new(), overwritten: 0 }
    }

    /// `plan`: the ledger of the plan that the backup was made for.
    pub(super) async fn of(backup: Option<&FilesBackup<'a>>, plan: Option<&dyn Ledger>) -> Result<Self> {
        let (Some(backup), Some(plan)) = (backup, plan) else { return Ok(Self::none()) };
        if backup.ledger.totals().await?.chunks == 0 {
            return Ok(Self::none());
        }
        let mut overwritten = 0;
        let mut records = Records::of(&[plan]).await?;
        while let Some(record) = records.next().await? {
            overwritten += u64::from(to_be_saved(&record).is_some());
        }
        let after = just_before(span(0, Phase::Content).start);
        Ok(Self { ledger: Some(backup.ledger), after, buffer: VecDeque::new(), overwritten })
    }

    /// The hash of what was overwritten. To be asked in the order of records.
    pub(super) async fn overwritten(&mut self, key: &[u8]) -> Result<Option<Proof>> {
        while self.overwritten > 0 && self.fill().await? {
            match self.buffer.front() {
                Some(next) if next.key.as_slice() <= key => {}
                _ => return Ok(None),
            }
            self.overwritten -= 1;
            if let Some(found) = self.buffer.pop_front().filter(|r| r.key == key) {
                return Ok(proof_of(found));
            }
        }
        Ok(None)
    }

    /// The hash of what was removed. To be asked in the order of the plan, when all that was overwritten has been asked for.
    pub(super) async fn removed(&mut self, path: &FilePath) -> Result<Option<Proof>> {
        while self.fill().await? {
            let Some(next) = self.buffer.pop_front() else { continue };
            if self.overwritten > 0 {
                self.overwritten -= 1;
            } else if next.path == *path {
                return Ok(proof_of(next));
            }
        }
        Ok(None)
    }

    /// Whether there is another record.
    async fn fill(&mut self) -> Result<bool> {
        let range = span(0, Phase::Content);
        while let (true, Some(ledger)) = (self.buffer.is_empty(), self.ledger) {
            let page = ledger.all(self.after, PAGE).await?;
            match page.last() {
                Some(chunk) if chunk.seq < range.end => self.after = Some(chunk.seq),
                _ => self.ledger = None,
            }
            for chunk in page.into_iter().filter(|c| range.contains(&c.seq)) {
                self.buffer.extend(records_of(chunk)?);
            }
        }
        Ok(!self.buffer.is_empty())
    }
}

fn proof_of(record: Record) -> Option<Proof> {
    match record.word {
        Word::Content { outcome: Some(outcome), .. } if outcome.what == What::Copied => outcome.proof(),
        _ => None,
    }
}
