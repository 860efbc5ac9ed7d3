//! Verification: what the ledgers say was read against what the destination stores now.

use super::FilesMover;
use super::conflict::EarlierCopy;
use super::digest::printed;
use super::item::{Item, Outcome, Stat, What};
use super::lane::Lane;
use super::order::Sorted;
use super::records::{Record, Records, Word};
use super::report::{FilesVerified, Mismatch};
use super::send_again::{self, Left};
use super::sides::Fault;
use super::told::{Teller, Told};
use super::whole::{Whole, difference};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ports::files::posix::Keeps;
use ports::files::{Digest, Entry, EntryKind, FilePath};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::AbortOnDropHandle;

pub(super) async fn run(mover: &FilesMover, ledgers: &[&dyn Ledger], observer: &dyn Observer) -> Result<FilesVerified> {
    let (lane, told) = mover.lane();
    let mut teller = Teller::new(observer, "verification", mover.source.location(), mover.destination.location());
    for ledger in ledgers {
        let totals = ledger.totals().await?;
        teller.total += totals.bytes + totals.items;
    }
    let mut check = Check {
        mover,
        observer,
        lane: Arc::new(lane),
        told,
        teller,
        running: FuturesUnordered::new(),
        found: FilesVerified::default(),
        firsts: HashMap::new(),
        together: Vec::new(),
        unsent: send_again::unsent(ledgers).await?,
    };
    check.all(ledgers).await?;
    let found = check.found;
    let details = json!({"files": found.files, "bytes": found.bytes, "mismatched": found.mismatched, "not_copied": found.not_copied});
    let level = if found.is_equal() { Level::Info } else { Level::Error };
    observer.log(level, "verification", format!("Verified {} files by hash, {} mismatches", found.files, found.mismatched), details);
    Ok(found)
}

type Verdict = Result<Vec<Mismatch>>;

/// Hashes of a whole tree asked for by one call: at most so many files, and about so many bytes.
const TOGETHER: usize = 4096;
const TOGETHER_BYTES: u64 = 256 << 20;
/// Such calls side by side.
const CALLS: usize = 2;

struct Check<'a> {
    mover: &'a FilesMover,
    observer: &'a dyn Observer,
    lane: Arc<Lane>,
    told: UnboundedReceiver<Told>,
    teller: Teller<'a>,
    running: FuturesUnordered<AbortOnDropHandle<Verdict>>,
    found: FilesVerified,
    /// The identity of files with several names, by the first of them.
    firsts: HashMap<FilePath, (u64, u64)>,
    /// Files of a whole tree whose hashes are asked for together.
    together: Vec<(FilePath, u64, Digest)>,
    /// What an earlier verification found, and could not be put right.
    unsent: HashMap<FilePath, Left>,
}

impl Check<'_> {
    async fn all(&mut self, ledgers: &[&dyn Ledger]) -> Result<()> {
        let mover = self.mover;
        let mut stored = Sorted::new(mover.destination.list(), mover.destination.location());
        let mut records = Records::of(ledgers).await?;
        while let Some(record) = records.next().await? {
            let entry = loop {
                stored.fill(true).await?;
                match stored.peek() {
                    Some(key) if key < record.key.as_slice() => drop(stored.take()),
                    Some(key) if key == record.key.as_slice() => break stored.take().map(|(_, entry)| entry),
                    _ => break None,
                }
            };
            self.teller.at(&record.path);
            self.record(record, entry).await?;
        }
        self.compare_together().await?;
        while !self.running.is_empty() {
            self.await_one().await?;
        }
        Ok(())
    }

    async fn record(&mut self, record: Record, entry: Option<Entry>) -> Result<()> {
        match record.word {
            Word::Removed if entry.is_some() => self.differs(&record.path, "it is still there, though the source has it no more", "nothing", "something"),
            Word::Removed => {}
            Word::Folder { folder } => {
                self.found.directories += u64::from(folder.stat.is_some());
                if let (Some(stat), Some(entry)) = (&folder.stat, &entry) {
                    self.facts(&record.path, stat, entry);
                }
                if folder.stat.is_some() && entry.is_none() {
                    self.differs(&record.path, "the directory is missing", "a directory", "nothing");
                }
            }
            Word::Content { item, outcome } => {
                if self.outlives(outcome.as_ref(), record.placed.as_ref(), entry.as_ref()).await? {
                    self.differs(&record.path, "it is still there, though the source has it no more", "nothing", "an earlier copy");
                    return Ok(());
                }
                self.content(item, outcome, entry).await?;
            }
        }
        Ok(())
    }

    /// Whether an earlier copy of ours stands there, and its source has vanished since, or its removal did not take it for ours.
    async fn outlives(&self, outcome: Option<&Outcome>, placed: Option<&EarlierCopy>, entry: Option<&Entry>) -> Result<bool> {
        let given_up = outcome.is_some_and(|o| matches!(o.what, What::Vanished | What::Spared));
        match (placed, entry) {
            (Some(placed), Some(entry)) if given_up => placed.is(self.mover.destination.as_ref(), entry).await,
            _ => Ok(false),
        }
    }

    fn differs(&mut self, path: &FilePath, reason: &str, expected: impl Into<String>, found: impl Into<String>) {
        self.report(Mismatch { path: path.clone(), reason: reason.to_owned(), expected: expected.into(), found: found.into() });
    }

    fn report(&mut self, mismatch: Mismatch) {
        if self.found.mismatches.len() < 20 {
            let details = json!({"path": mismatch.path, "expected": mismatch.expected, "found": mismatch.found});
            self.observer.log(Level::Error, "verification", format!("{}: {}", mismatch.path, mismatch.reason), details);
        }
        self.found.differs(mismatch);
    }

    /// What a whole tree knows beyond the content.
    fn facts(&mut self, path: &FilePath, wanted: &Stat, found: &Entry) {
        let Some(whole) = &self.mover.whole else { return };
        let (one, other) = (whole.source.keeps(), whole.target.keeps());
        let keeps = Keeps { attributes: one.attributes && other.attributes, ..other.clone() };
        if let Some((reason, expected, there)) = difference(wanted, found, &keeps) {
            self.differs(path, reason, expected, there);
        }
    }

    /// Whether this is a further name of the file at `first`.
    fn name(&mut self, path: &FilePath, first: Option<&FilePath>, found: &Entry) {
        self.found.hard_links += 1;
        let identity = Stat::of(found).identity();
        if identity.is_none() || first.and_then(|f| self.firsts.get(f)) != identity.as_ref() {
            self.differs(path, "it is not the same file as its other name", first.map_or_else(String::new, FilePath::to_string), "a file of its own");
        }
    }

    async fn content(&mut self, item: Item, outcome: Option<Outcome>, entry: Option<Entry>) -> Result<()> {
        let Some(outcome) = outcome else {
            self.differs(&item.path, "it was planned but never copied", "a copy", "nothing recorded");
            return Ok(());
        };
        let unsent = self.unsent.get(&item.path).filter(|left| left.newer || !outcome.is_there()).map(|left| left.reason.clone());
        if let Some(reason) = unsent {
            self.differs(&item.path, &reason, "what the source had when it stood still", "something else");
            return Ok(());
        }
        if !outcome.is_there() {
            self.found.not_copied += 1;
            return Ok(());
        }
        let link = matches!(outcome.what, What::Linked | What::Made);
        self.found.symlinks += u64::from(outcome.what == What::Linked);
        self.found.nodes += u64::from(outcome.what == What::Made);
        let Some(entry) = entry else {
            self.differs(&item.path, "it is missing at the destination", if link { "a link" } else { "a file" }, "nothing");
            return Ok(());
        };
        let read = outcome.read.as_ref().unwrap_or(&item.stat);
        if let Some(identity) = Stat::of(&entry).identity() {
            self.firsts.entry(item.path.clone()).or_insert(identity);
        }
        if outcome.what == What::Named {
            self.name(&item.path, item.hard.as_ref(), &entry);
            return Ok(());
        }
        if entry.kind == read.kind {
            self.facts(&item.path, read, &entry);
        }
        if link {
            if entry.kind != read.kind {
                self.differs(&item.path, "the link leads elsewhere", told_kind(&read.kind), told_kind(&entry.kind));
            }
            return Ok(());
        }
        self.found.files += 1;
        self.found.bytes += read.size();
        self.teller.done += read.size() + 1;
        if entry.kind != read.kind {
            self.differs(&item.path, "the stored size or type differs", told_kind(&read.kind), told_kind(&entry.kind));
            return Ok(());
        }
        match outcome.digest {
            Some(digest) if self.mover.destination.listed_digest(&entry).as_ref() == Some(&digest) => Ok(()),
            Some(digest) => self.compare(item.path, read.size(), digest, outcome.part_size).await,
            None => {
                self.differs(&item.path, "no hash of it was recorded", "a hash", "nothing recorded");
                Ok(())
            }
        }
    }

    async fn compare(&mut self, path: FilePath, size: u64, digest: Digest, part_size: Option<u64>) -> Result<()> {
        if self.mover.whole.is_some() && part_size.is_none() {
            self.together.push((path, size, digest));
            let bytes: u64 = self.together.iter().map(|(_, size, _)| size).sum();
            return if self.together.len() >= TOGETHER || bytes >= TOGETHER_BYTES { self.compare_together().await } else { Ok(()) };
        }
        while self.running.len() >= self.mover.parallel() {
            self.await_one().await?;
        }
        let lane = self.lane.clone();
        self.running.push(AbortOnDropHandle::new(tokio::spawn(async move { compare(&lane, path, size, digest, part_size).await })));
        Ok(())
    }

    /// Has the destination hash many files at once, where they are.
    async fn compare_together(&mut self) -> Result<()> {
        let some = std::mem::take(&mut self.together);
        let (Some(whole), false) = (self.mover.whole.clone(), some.is_empty()) else { return Ok(()) };
        while self.running.len() >= CALLS {
            self.await_one().await?;
        }
        let lane = self.lane.clone();
        self.running.push(AbortOnDropHandle::new(tokio::spawn(async move { compare_all(&lane, &whole, some).await })));
        Ok(())
    }

    async fn await_one(&mut self) -> Result<()> {
        while let Ok(told) = self.told.try_recv() {
            told.tell(self.observer, "verification");
        }
        let Some(ended) = self.running.next().await else { return Ok(()) };
        let verdict = ended.map_err(|e| ConnectorError::new(ErrorKind::Internal, "verify files at", self.mover.destination.location(), e.to_string()))?;
        verdict?.into_iter().for_each(|mismatch| self.report(mismatch));
        Ok(())
    }
}

fn told_kind(kind: &EntryKind) -> String {
    match kind {
        EntryKind::File { size } => format!("a file of {size} bytes"),
        EntryKind::Directory => "a directory".to_owned(),
        EntryKind::Symlink { target } => format!("a link to {}", FilePath::new(target.clone())),
        EntryKind::Other(kind) => format!("a {kind}"),
    }
}

async fn compare_all(lane: &Lane, whole: &Whole, some: Vec<(FilePath, u64, Digest)>) -> Verdict {
    let paths: Vec<FilePath> = some.iter().map(|(path, ..)| path.clone()).collect();
    let bytes = some.iter().map(|(_, size, _)| size).sum();
    let Some(first) = paths.first() else { return Ok(Vec::new()) };
    let stored = lane.retry(first, bytes, async || whole.target.digests(&paths).await.map_err(Fault::target)).await.map_err(|f| f.error)?;
    let mut found = Vec::new();
    for ((path, _, digest), stored) in some.into_iter().zip(stored) {
        if stored.as_ref() != Some(&digest) {
            let there = stored.map_or_else(|| "nothing that can be read".to_owned(), |d| printed(&d));
            found.push(Mismatch { path, reason: "the stored content differs".to_owned(), expected: printed(&digest), found: there });
        }
    }
    Ok(found)
}

async fn compare(lane: &Lane, path: FilePath, size: u64, digest: Digest, part_size: Option<u64>) -> Verdict {
    let once = || async { Lane::differing(lane.target.as_ref(), &path, size, &digest, part_size).await.map_err(Fault::target) };
    let differs = |reason: &str, found: String| Mismatch { path: path.clone(), reason: reason.to_owned(), expected: printed(&digest), found };
    match lane.retry(&path, size, once).await {
        Ok(None) => Ok(Vec::new()),
        Ok(Some(found)) => Ok(vec![differs("the stored content differs", printed(&found))]),
        Err(fault) if fault.error.kind == ErrorKind::NotFound => Ok(vec![differs("it is missing at the destination", "nothing".to_owned())]),
        Err(fault) => Err(fault.error),
    }
}
