//! The way from one system to another for one file at a time: open, hash, write, look again, try again. Owned by tasks; it knows
//! no ledger and no observer.

use super::FilesMover;
use super::conflict::{Attempt, Guard};
use super::digest;
use super::intents::Intents;
use super::item::{Item, Outcome, Stat, What};
use super::object_facts;
use super::saved_content::ContentCheck;
use super::sides::{Fault, Watch, changed};
use super::told::{Flow, Told};
use super::whole::Whole;
use ports::files::{Body, Digest, DigestKind, Entry, EntryKind, FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Result};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
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
    /// Copy a file only as it was planned: what the source has changed since is none of it.
    pub(super) exact: bool,
    /// Copy a file as it is when it is read, though it is written to meanwhile.
    pub(super) snapshot: bool,
    /// Read what was written and compare it (backups).
    pub(super) read_back: bool,
    /// Save the metadata of objects beside their content (backups).
    pub(super) saves_metadata: bool,
    /// Replace only what the plan saw, or what this run has put there.
    pub(super) guarded: bool,
    /// Take for ours what an earlier try of this run has put there.
    pub(super) adopts: bool,
    /// Where what no plan knows is written down before it is put in place; `None` where nothing new is made.
    pub(super) intents: Option<Intents>,
    /// Batches travel as one stream.
    pub(super) whole: Option<Whole>,
    pub(super) flow: Arc<Flow>,
    /// Held while a directory is writable that should not be.
    pub(super) widening: tokio::sync::Mutex<()>,
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
    pub(super) fn own_hash(&self) -> Option<DigestKind> {
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
        self.carry_over(item, self.guard_of(item)).await
    }

    /// The same for what has just been put there by us, and is not as the source is any more.
    pub(super) async fn carry_again(&self, item: &Item) -> Result<Outcome> {
        self.carry_over(item, Guard::Anything).await
    }

    /// `guard`: what may be replaced.
    pub(super) async fn carry_over(&self, item: &Item, guard: Guard) -> Result<Outcome> {
        self.carry_on(item, Attempt::new(guard)).await
    }

    /// Goes on with what an attempt has done so far.
    pub(super) async fn carry_on(&self, item: &Item, attempt: Attempt) -> Result<Outcome> {
        let to = item.target();
        let result = match (&item.same, &item.stat.kind) {
            (Some(_), _) => self.retry(&item.path, 0, || self.adjust(item)).await,
            (None, EntryKind::Symlink { .. }) => self.in_writable_directory(to, || self.retry(&item.path, 0, || self.link(item, &attempt))).await,
            (None, EntryKind::Other(_)) => self.in_writable_directory(to, || self.retry(&item.path, 0, || self.node(item, &attempt))).await,
            (None, _) => self.in_writable_directory(to, || self.retry(&item.path, item.stat.size(), || self.file(item, &attempt))).await,
        };
        result.or_else(Fault::settle).map(|outcome| attempt.annotate(outcome))
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

    async fn node(&self, item: &Item, attempt: &Attempt) -> Result<Outcome, Fault> {
        if !self.make_way(item, attempt).await? {
            return Ok(Outcome::of(What::Spared));
        }
        self.target.make(&item.stat.entry(item.target())).await.map_err(Fault::target)?;
        Ok(Outcome::of(What::Made))
    }

    async fn link(&self, item: &Item, attempt: &Attempt) -> Result<Outcome, Fault> {
        if !self.make_way(item, attempt).await? {
            return Ok(Outcome::of(What::Spared));
        }
        self.target.make(&item.stat.entry(item.target())).await.map_err(Fault::target)?;
        Ok(Outcome::of(What::Linked))
    }

    /// Removes a file that stands where a link or a node is to be made; false when what stands there must stay.
    async fn make_way(&self, item: &Item, attempt: &Attempt) -> Result<bool, Fault> {
        let Some(found) = self.target.stat(item.target()).await.map_err(Fault::target)? else { return Ok(true) };
        let guarded = attempt.guard() != Guard::Anything;
        if found.kind == item.stat.kind {
            return Ok(true);
        }
        if guarded && matches!(found.kind, EntryKind::Directory) {
            return Ok(false);
        }
        if guarded && !self.is_known(item, &item.stat, &found, None).await? {
            return Ok(false);
        }
        if matches!(found.kind, EntryKind::File { .. }) {
            match self.target.remove_if(item.target(), &found).await {
                Err(e) if e.kind == ErrorKind::AlreadyExists => return Ok(false),
                other => other.map_err(Fault::target)?,
            }
        }
        Ok(true)
    }

    /// One try at a file, whole, as it is now.
    pub(super) async fn file(&self, item: &Item, attempt: &Attempt) -> Result<Outcome, Fault> {
        let began = Instant::now();
        let opened = self.source.open(&item.path, None).await.map_err(Fault::source)?;
        let EntryKind::File { size } = opened.entry.kind else {
            return Err(Fault::source(changed(&item.path.to_string(), "it is no file any more")));
        };
        let read = Stat::of(&opened.entry);
        if self.exact && !read.same_content(&item.stat) {
            return Ok(Outcome::of(What::Changed));
        }
        // What is appended meanwhile is left out.
        let body = if self.snapshot { self.source.open(&item.path, Some(0..size)).await.map_err(Fault::source)?.body } else { opened.body };
        if self.saves_metadata {
            object_facts::save(self.target.as_ref(), item.target(), &opened.entry, &self.staging).await.map_err(Fault::target)?;
        }
        let entry = match &item.to {
            None => opened.entry,
            // Backups: what the file was there, not what it is in its keeping.
            Some(to) => Entry { kind: opened.entry.kind, ..item.stat.entry(to) },
        };
        self.declare(item, &read).await?;
        let check = attempt.content_check(size, &item.path);
        let limit = self.target.traits().single_put_limit;
        let part_size = (size > limit).then(|| part_size(size, limit, self.chunk_size)).flatten();
        if (part_size.is_some() || attempt.guard() == Guard::Unknown) && !self.may_replace(item, &read, attempt, None).await? {
            return Ok(Outcome::of(What::Spared));
        }
        let digest = match part_size {
            Some(part_size) => {
                drop(body);
                match self.in_parts((item, &read), &entry, part_size, attempt, check.as_ref()).await? {
                    Some(digest) => digest,
                    None => return Ok(Outcome::of(What::Spared)),
                }
            }
            None => {
                let what = item.path.to_string();
                let body = ContentCheck::over(check.as_ref(), body);
                let (watch, body) = Watch::over(body, size, self.own_hash(), self.flow.clone(), what.clone());
                let guard = attempt.guard();
                match self.put(&entry, body, &guard).await {
                    Ok(taken) => watch.digest(size, &what, taken)?,
                    Err(e) if e.kind == ErrorKind::AlreadyExists && guard != Guard::Anything => return self.resolve(item, &read, attempt, e).await,
                    Err(e) => return Err(watch.blame(e)),
                }
            }
        };
        attempt.has_placed(&read, &digest, part_size);
        if self.look_again || size > ONE_PIECE && !self.snapshot {
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
    pub(super) fn not_kept(&self, item: &Item, written: &Entry) -> Option<String> {
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

    async fn put(&self, entry: &Entry, body: Body, guard: &Guard) -> Result<Option<Digest>> {
        match guard {
            Guard::Anything | Guard::Unknown => self.target.put(entry, &self.staging, body).await,
            Guard::Nothing => self.target.put_new(entry, &self.staging, body).await,
            Guard::Only(expected) => self.target.put_replacing(entry, &self.staging, body, expected).await,
        }
    }

    pub(super) fn tell_done(&self, item: &Item, size: u64, began: Instant, digest: &Digest) {
        if let Some(line) = Told::transferred(&item.path, size, began.elapsed(), Some(digest)) {
            let _ = self.told.send(line);
        }
    }

    /// Looks at the source again: it must be as it was when it was opened.
    pub(super) async fn unchanged_since(&self, item: &Item, read: &Stat) -> Result<(), Fault> {
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
            exact: false,
            snapshot: false,
            read_back: false,
            saves_metadata: false,
            guarded: false,
            adopts: true,
            intents: None,
            whole: self.whole.clone(),
            flow: Arc::default(),
            widening: tokio::sync::Mutex::default(),
            told,
        };
        (lane, heard)
    }
}
