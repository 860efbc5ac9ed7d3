//! The way from one system to another for one file at a time: open, hash, write, look again, try again. Owned by tasks; it knows
//! no ledger and no observer.

use super::FilesMover;
use super::digest::{self, raw};
use super::intents::Intents;
use super::item::{Item, Large, Outcome, Sent, Stat, What};
use super::object_facts;
use super::sides::{Fault, Side, Watch, changed};
use super::told::{Flow, Told};
use super::whole::Whole;
use ports::files::{Body, Digest, DigestKind, Entry, EntryKind, FilePath, FileTarget, Part};
use ports::{ConnectorError, ErrorKind, Result};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// A file up to this size arrives in one piece; larger ones are looked at again after reading.
const ONE_PIECE: u64 = 64 << 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

pub(super) struct Lane {
    pub(super) source: Arc<dyn FileTarget>,
    pub(super) target: Arc<dyn FileTarget>,
    pub(super) staging: String,
    pub(super) chunk_size: u64,
    pub(super) attempts: u32,
    pub(super) retry_delay: Duration,
    pub(super) kind: DigestKind,
    /// Look at every file again after reading it, not only at those that take more than one read.
    pub(super) look_again: bool,
    /// Read what was written and compare it (backups).
    pub(super) read_back: bool,
    /// Save the metadata of objects beside their content (backups).
    pub(super) saves_metadata: bool,
    /// Leave alone what stands where the plan saw nothing.
    pub(super) sparing: bool,
    /// Where what no plan knows is written down before it is put in place; `None` where nothing new is made.
    pub(super) intents: Option<Intents>,
    /// Batches travel as one stream.
    pub(super) whole: Option<Whole>,
    pub(super) flow: Arc<Flow>,
    pub(super) told: UnboundedSender<Told>,
}

/// The part size for a large file, `None` for one that is written whole.
pub(super) fn part_size(size: u64, single_put_limit: u64, chunk_size: u64) -> Option<u64> {
    let chunk_size = chunk_size.max(1);
    (size > single_put_limit || size > chunk_size.saturating_mul(4)).then(|| chunk_size.max(size.div_ceil(10_000)))
}

impl Lane {
    /// Calls until it succeeds, fails for good, or the attempts are used up.
    pub(super) async fn retry<T, F, C>(&self, path: &FilePath, size: u64, mut call: C) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
        C: FnMut() -> F,
    {
        let mut attempt = 1;
        loop {
            let fault = match call().await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            if !fault.error.temporary || fault.error.kind == ErrorKind::Stopped || attempt >= self.attempts {
                return Err(fault);
            }
            attempt += 1;
            let _ = self.told.send(Told::retried(path, size, &fault.error, attempt, self.attempts));
            tokio::time::sleep(self.pause(attempt)).await;
        }
    }

    /// The kind to hash bodies in on their way; `None` where the target tells the hash of what it takes, in the kind that is wanted.
    fn own_hash(&self) -> Option<DigestKind> {
        (self.target.traits().stored_digest != Some(self.kind)).then_some(self.kind)
    }

    /// Doubling, jittered by half.
    fn pause(&self, attempt: u32) -> Duration {
        let full = self.retry_delay.saturating_mul(1 << (attempt - 2).min(10)).min(LONGEST_PAUSE);
        let jitter = RandomState::new().hash_one(attempt) % 1024;
        full / 2 + full.mul_f64(jitter as f64 / 2048.0)
    }

    /// Moves a file or a link. An error stops the migration; anything that concerns this path alone is an outcome.
    pub(super) async fn carry(&self, item: &Item) -> Result<Outcome> {
        self.carry_to(item, self.spares(item)).await
    }

    /// The same for what has just been put there by us, and is not as the source is any more.
    pub(super) async fn carry_again(&self, item: &Item) -> Result<Outcome> {
        self.carry_to(item, false).await
    }

    /// `spares`: whether it leaves alone what stands there.
    async fn carry_to(&self, item: &Item, spares: bool) -> Result<Outcome> {
        let result = match (&item.same, &item.stat.kind) {
            (Some(_), _) => self.retry(&item.path, 0, || self.adjust(item)).await,
            (None, EntryKind::Symlink { .. }) => self.retry(&item.path, 0, || self.link(item, spares)).await,
            (None, EntryKind::Other(_)) => self.retry(&item.path, 0, || self.node(item, spares)).await,
            (None, _) => {
                let yielding = AtomicBool::new(spares);
                self.retry(&item.path, item.stat.size(), || self.file(item, &yielding)).await
            }
        };
        result.or_else(Fault::settle)
    }

    /// The content is there; mode and time may not be.
    async fn adjust(&self, item: &Item) -> Result<Outcome, Fault> {
        let traits = self.target.traits();
        let (wanted, now) = (&item.stat, item.before.as_ref());
        let mode = traits.modes && wanted.mode.is_some() && now.is_none_or(|b| b.mode != wanted.mode);
        let time = traits.mtime_resolution_ns > 0 && wanted.modified_ns.is_some() && now.is_none_or(|b| b.modified_ns != wanted.modified_ns);
        let facts = now.is_none_or(|b| !b.same_facts(wanted));
        if mode || time || facts && wanted.posix.is_some() {
            self.target.make(&wanted.entry(item.target())).await.map_err(Fault::target)?;
        }
        let proof = item.same.clone();
        let part_size = proof.as_ref().and_then(|p| p.part_size);
        Ok(Outcome { digest: proof.map(|p| p.digest), part_size, ..Outcome::of(What::Same) })
    }

    async fn node(&self, item: &Item, spares: bool) -> Result<Outcome, Fault> {
        let now = self.target.stat(item.target()).await.map_err(Fault::target)?;
        if spares && now.is_some_and(|n| n.kind != item.stat.kind) {
            return Ok(Outcome::of(What::Spared));
        }
        self.target.make(&item.stat.entry(item.target())).await.map_err(Fault::target)?;
        Ok(Outcome::of(What::Made))
    }

    async fn link(&self, item: &Item, spares: bool) -> Result<Outcome, Fault> {
        let entry = item.stat.entry(item.target());
        if item.before.as_ref().is_some_and(|b| !matches!(b.kind, EntryKind::Symlink { .. })) {
            let now = self.target.stat(item.target()).await.map_err(Fault::target)?;
            if now.is_some_and(|n| matches!(n.kind, EntryKind::File { .. })) {
                self.target.remove(item.target()).await.map_err(Fault::target)?;
            }
        }
        if spares && self.target.stat(item.target()).await.map_err(Fault::target)?.is_some_and(|n| n.kind != item.stat.kind) {
            return Ok(Outcome::of(What::Spared));
        }
        self.target.make(&entry).await.map_err(Fault::target)?;
        Ok(Outcome::of(What::Linked))
    }

    /// One try at a file, whole, as it is now. `yielding`: to whatever stands there, until it is known to be ours.
    async fn file(&self, item: &Item, yielding: &AtomicBool) -> Result<Outcome, Fault> {
        let began = Instant::now();
        let opened = self.source.open(&item.path, None).await.map_err(Fault::source)?;
        let EntryKind::File { size } = opened.entry.kind else {
            return Err(Fault::source(changed(&item.path.to_string(), "it is no file any more")));
        };
        let read = Stat::of(&opened.entry);
        if self.saves_metadata {
            object_facts::save(self.target.as_ref(), item.target(), &opened.entry, &self.staging).await.map_err(Fault::target)?;
        }
        let entry = match &item.to {
            None => opened.entry,
            // Backups: what the file was there, not what it is in its keeping.
            Some(to) => Entry { kind: opened.entry.kind, ..item.stat.entry(to) },
        };
        self.declare(item, &read).await?;
        let limit = self.target.traits().single_put_limit;
        let part_size = (size > limit).then(|| part_size(size, limit, self.chunk_size)).flatten();
        if part_size.is_some() && yielding.load(Ordering::Relaxed) {
            if self.is_foreign(item, &read, None).await? {
                return Ok(Outcome::of(What::Spared));
            }
            yielding.store(false, Ordering::Relaxed);
        }
        let digest = match part_size {
            Some(part_size) => {
                drop(opened.body);
                self.in_parts(item, &entry, size, part_size).await?
            }
            None => {
                let what = item.path.to_string();
                let (watch, body) = Watch::over(opened.body, size, self.own_hash(), self.flow.clone(), what.clone());
                match self.put(&entry, body, yielding).await {
                    Ok(taken) => watch.digest(size, &what, taken)?,
                    Err(e) if e.kind == ErrorKind::AlreadyExists && yielding.load(Ordering::Relaxed) => return self.met(item, &read, yielding, e).await,
                    Err(e) => return Err(watch.blame(e)),
                }
            }
        };
        if self.look_again || size > ONE_PIECE {
            self.unchanged_since(item, &read).await?;
        }
        if self.read_back {
            self.compare(item, size, &digest, part_size).await?;
        }
        self.tell_done(item, size, began, &digest);
        let note = self.not_kept(item, &entry);
        Ok(Outcome { digest: Some(digest), part_size, read: (read != item.stat).then_some(read), note, ..Outcome::of(What::Copied) })
    }

    /// What the target could not keep of an entry, for the report. A backup keeps it in its own way.
    fn not_kept(&self, item: &Item, written: &Entry) -> Option<String> {
        let lost = if item.to.is_none() { self.target.unkept(written) } else { Vec::new() };
        (!lost.is_empty()).then(|| format!("the destination does not keep: {}", lost.join("; ")))
    }

    /// A large file as the source describes it when it is asked: a listing knows nothing of an object's metadata.
    pub(super) async fn described(&self, item: &Item) -> Result<Entry, Fault> {
        let planned = item.stat.entry(item.target());
        if item.to.is_some() && !self.saves_metadata {
            return Ok(planned);
        }
        let now = if item.follow { self.source.resolve(&item.path).await } else { self.source.stat(&item.path).await };
        Ok(match now.map_err(Fault::source)? {
            Some(now) if Stat::of(&now).same_content(&item.stat) => Entry { path: planned.path, ..now },
            _ => planned,
        })
    }

    async fn put(&self, entry: &Entry, body: Body, yielding: &AtomicBool) -> Result<Option<Digest>> {
        if !yielding.load(Ordering::Relaxed) {
            return self.target.put(entry, &self.staging, body).await;
        }
        let taken = self.target.put_new(entry, &self.staging, body).await?;
        yielding.store(false, Ordering::Relaxed);
        Ok(taken)
    }

    /// Something stands there. What an interrupted try of ours has left is written over, anything else is not.
    async fn met(&self, item: &Item, read: &Stat, yielding: &AtomicBool, error: ConnectorError) -> Result<Outcome, Fault> {
        if self.is_foreign(item, read, None).await? {
            return Ok(Outcome::failed(What::Spared, &error));
        }
        yielding.store(false, Ordering::Relaxed);
        Box::pin(self.file(item, yielding)).await
    }

    pub(super) fn tell_done(&self, item: &Item, size: u64, began: Instant, digest: &Digest) {
        if let Some(line) = Told::transferred(&item.path, size, began.elapsed(), Some(digest)) {
            let _ = self.told.send(line);
        }
    }

    /// Looks at the source again: it must be as it was when it was opened.
    async fn unchanged_since(&self, item: &Item, read: &Stat) -> Result<(), Fault> {
        let now = if item.follow { self.source.resolve(&item.path).await } else { self.source.stat(&item.path).await };
        match now.map_err(Fault::source)? {
            Some(entry) if Stat::of(&entry).same_content(read) => Ok(()),
            Some(_) => Err(Fault::source(changed(&item.path.to_string(), "it was written to while it was read"))),
            None => Err(Fault::source(ConnectorError::new(ErrorKind::NotFound, "read", item.path.to_string(), "it was removed while it was read"))),
        }
    }

    /// Reads back what was written.
    pub(super) async fn compare(&self, item: &Item, size: u64, digest: &Digest, part_size: Option<u64>) -> Result<(), Fault> {
        let opened = self.target.open(item.target(), None).await.map_err(Fault::target)?;
        let (stored, bytes) = digest::of_body(opened.body, digest.kind, part_size).await.map_err(Fault::target)?;
        if stored == *digest && bytes == size {
            return Ok(());
        }
        let reason = format!("{} was written, but {} is stored", digest::printed(digest), digest::printed(&stored));
        Err(Fault::target(ConnectorError::new(ErrorKind::Corrupt, "write", item.target().to_string(), reason)))
    }

    /// A large file in one task, part after part, with an upload that is given up on any error.
    async fn in_parts(&self, item: &Item, entry: &Entry, size: u64, part_size: u64) -> Result<Digest, Fault> {
        let parts = self.target.parts();
        let upload = parts.begin(entry, &self.staging, part_size).await.map_err(Fault::target)?;
        let stat = Stat::of(entry);
        let count = size.div_ceil(part_size) as u32;
        let large = Large { item: Item { stat, ..item.clone() }, first: 0, count, part_size };
        let sent = self.all_parts(&large, entry, &upload).await;
        if sent.is_err() {
            let _ = parts.abort(entry, &upload).await;
        }
        sent
    }

    async fn all_parts(&self, large: &Large, entry: &Entry, upload: &str) -> Result<Digest, Fault> {
        let mut sent = Vec::new();
        for number in 1..=large.count {
            sent.push(self.part_once(large, upload, number).await?);
        }
        self.put_in_place(entry, upload, &sent).await
    }

    async fn part_once(&self, large: &Large, upload: &str, number: u32) -> Result<Sent, Fault> {
        let item = &large.item;
        let range = large.range(number);
        let size = range.end - range.start;
        let opened = self.source.open(&item.path, Some(range.clone())).await.map_err(Fault::source)?;
        if !Stat::of(&opened.entry).same_content(&item.stat) {
            return Err(Fault::source(changed(&item.path.to_string(), "it is no longer the file that was planned")));
        }
        let what = format!("{} (part {number} of {})", item.path, large.count);
        let (watch, body) = Watch::over(opened.body, size, self.own_hash(), self.flow.clone(), what.clone());
        let entry = item.stat.entry(item.target());
        let mut part: Part = self.target.parts().put_part(&entry, upload, number, range, body).await.map_err(|e| watch.blame(e))?;
        let taken = part.hash.take().map(|hex| Digest { kind: self.kind, hex });
        Ok(Sent { part, hash: watch.digest(size, &what, taken)?.hex })
    }

    /// Sends one part of an upload that outlives us. `None`: the file changed or the upload is gone, so parts make no sense any more.
    pub(super) async fn part(&self, large: &Large, upload: &str, number: u32) -> Result<Option<Sent>> {
        let item = &large.item;
        match self.retry(&item.path, item.stat.size(), || self.part_once(large, upload, number)).await {
            Ok(sent) => Ok(Some(sent)),
            Err(Fault { side: Side::Target, error }) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(fault) => fault.settle().map(|_| None),
        }
    }

    /// Whether nothing was planned to be overwritten here, and nothing may be.
    pub(super) fn spares(&self, item: &Item) -> bool {
        (self.sparing || item.new) && item.before.is_none()
    }

    async fn put_in_place(&self, entry: &Entry, upload: &str, sent: &[Sent]) -> Result<Digest, Fault> {
        let parts: Vec<Part> = sent.iter().map(|s| s.part.clone()).collect();
        self.target.parts().complete(entry, upload, &parts).await.map_err(Fault::target)?;
        self.over(sent)
    }

    /// The hash of a file that was sent in parts.
    #[expect(clippy::result_large_err, reason = "a fault is a connector's error, which is as large")]
    fn over(&self, sent: &[Sent]) -> Result<Digest, Fault> {
        let hashes = sent.iter().map(|s| raw(&s.hash)).collect::<Result<Vec<_>>>().map_err(Fault::target)?;
        Ok(digest::over_parts(self.kind, &hashes))
    }

    /// Puts a large file in place from its parts. When that cannot be done any more, the file is sent anew, as it is now.
    pub(super) async fn place(&self, large: &Large, upload: Option<&str>, sent: Option<Vec<Sent>>) -> Result<Outcome> {
        let item = &large.item;
        let began = Instant::now();
        let entry = match self.retry(&item.path, 0, || self.described(item)).await {
            Ok(entry) => entry,
            Err(fault) => return fault.settle(),
        };
        if let (Some(upload), Some(sent)) = (upload, &sent) {
            let placed = self.retry(&item.path, item.stat.size(), || self.placed(large, &entry, upload, sent)).await;
            match placed {
                Ok(None) => {
                    self.give_up(large, &entry, upload).await?;
                    return Ok(Outcome::of(What::Spared));
                }
                Ok(Some(digest)) => {
                    self.tell_done(item, item.stat.size(), began, &digest);
                    let note = self.not_kept(item, &entry);
                    return Ok(Outcome { digest: Some(digest), part_size: Some(large.part_size), note, ..Outcome::of(What::Copied) });
                }
                Err(Fault { side: Side::Source, .. }) => {}
                Err(Fault { error, .. }) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Corrupt) => {}
                Err(fault) => return fault.settle(),
            }
        }
        if let Some(upload) = upload {
            self.give_up(large, &entry, upload).await?;
        }
        self.carry(item).await
    }

    async fn give_up(&self, large: &Large, entry: &Entry, upload: &str) -> Result<()> {
        let abort = async || self.target.parts().abort(entry, upload).await.map_err(Fault::target);
        self.retry(&large.item.path, 0, abort).await.map_err(|f| f.error)
    }

    /// `None` when something stands there that is not ours.
    async fn placed(&self, large: &Large, entry: &Entry, upload: &str, sent: &[Sent]) -> Result<Option<Digest>, Fault> {
        if self.spares(&large.item) && self.is_foreign(&large.item, &large.item.stat, Some((&self.over(sent)?, large.part_size))).await? {
            return Ok(None);
        }
        if self.saves_metadata {
            object_facts::save(self.target.as_ref(), large.item.target(), entry, &self.staging).await.map_err(Fault::target)?;
        }
        let digest = self.put_in_place(entry, upload, sent).await?;
        self.unchanged_since(&large.item, &large.item.stat).await?;
        if self.read_back {
            self.compare(&large.item, large.item.stat.size(), &digest, Some(large.part_size)).await?;
        }
        Ok(Some(digest))
    }

    /// Whether `system` stores exactly this at a path now; otherwise what it stores. What a system reports may be a hash of another
    /// form (written whole instead of in parts, encrypted), so before a difference is claimed the content itself decides.
    pub(super) async fn differing(system: &dyn FileTarget, path: &FilePath, size: u64, digest: &Digest, part_size: Option<u64>) -> Result<Option<Digest>> {
        let (reported, read) = Self::stored(system, path, digest.kind, part_size).await?;
        if reported == *digest && read.is_none_or(|bytes| bytes == size) {
            return Ok(None);
        }
        if read.is_some() {
            return Ok(Some(reported));
        }
        let opened = system.open(path, None).await?;
        let (found, bytes) = digest::of_body(opened.body, digest.kind, part_size).await?;
        Ok((found != *digest || bytes != size).then_some(found))
    }

    /// The hash of what is stored at a path of `system` now: as it reports it, or read back.
    pub(super) async fn stored(system: &dyn FileTarget, path: &FilePath, kind: DigestKind, part_size: Option<u64>) -> Result<(Digest, Option<u64>)> {
        if let Some(digest) = system.stored_digest(path, part_size).await?
            && digest.kind == kind
        {
            return Ok((digest, None));
        }
        let opened = system.open(path, None).await?;
        let (digest, bytes) = digest::of_body(opened.body, kind, part_size).await?;
        Ok((digest, Some(bytes)))
    }
}

impl FilesMover {
    /// A lane from source to destination, and what its tasks tell.
    pub(super) fn lane(&self) -> (Lane, UnboundedReceiver<Told>) {
        let (told, heard) = tokio::sync::mpsc::unbounded_channel();
        let lane = Lane {
            source: self.source.clone(),
            target: self.destination.clone(),
            staging: self.options.staging.clone(),
            chunk_size: self.options.chunk_size,
            attempts: self.options.retries.max(1),
            retry_delay: self.retry_delay,
            kind: self.digest_kind(),
            look_again: false,
            read_back: false,
            saves_metadata: false,
            sparing: false,
            intents: None,
            whole: self.whole.clone(),
            flow: Arc::default(),
            told,
        };
        (lane, heard)
    }
}
