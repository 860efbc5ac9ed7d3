//! Taking a copy back. Every decision is made from the ledgers and from what the destination holds now, so undo can be repeated
//! and goes on after a crash.

use super::FilesMover;
use super::backup::name_in;
use super::digest;
use super::intents;
use super::item::{Item, Outcome, Phase, Spec, Stat, What, decode, span};
use super::lane::Lane;
use super::object_facts;
use super::order::key;
use super::records::{Records, Word, just_before, rounds};
use super::report::{FilesUndone, ProblemKind};
use super::sides::Fault;
use super::told::{Teller, Told};
use futures::{StreamExt, TryStreamExt};
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// Paths decided about side by side.
const STRETCH: usize = 1024;

pub(super) async fn run(mover: &FilesMover, ledgers: &[&dyn Ledger], backup: Option<Arc<dyn FileTarget>>, observer: &dyn Observer) -> Result<FilesUndone> {
    let (mut lane, told) = mover.lane();
    lane.read_back = true;
    if let Some(backup) = &backup {
        lane.source = backup.clone();
    }
    let teller = Teller::new(observer, "rollback", mover.destination.location(), mover.destination.location());
    let mut undo = Undo { mover, ledgers, observer, lane, told, teller, backup, done: FilesUndone::default(), folders: Vec::new() };
    mover.destination.sweep(&mover.options.staging).await?;
    undo.content(ledgers).await?;
    undo.remove_folders().await?;
    for ledger in ledgers {
        undo.removed(*ledger).await?;
    }
    undo.restore_folders().await?;
    if let Some(whole) = &mover.whole {
        whole.restore_root(ledgers).await?;
    }
    mover.destination.sweep(&mover.options.staging).await?;
    let done = undo.done;
    let details = json!({"removed": done.removed, "restored": done.restored, "kept": done.kept.count, "not_restored": done.not_restored.count});
    let level = if done.is_complete() { Level::Info } else { Level::Warning };
    observer.log(level, "rollback", format!("Removed {} and restored {} files and directories", done.removed, done.restored), details);
    Ok(done)
}

/// What became of one path.
enum Fate {
    /// As it was before already.
    AsBefore,
    Removed,
    Restored,
    Kept(String),
    Lost(ProblemKind, String),
}

struct Undo<'a> {
    mover: &'a FilesMover,
    ledgers: &'a [&'a dyn Ledger],
    observer: &'a dyn Observer,
    lane: Lane,
    told: UnboundedReceiver<Told>,
    teller: Teller<'a>,
    backup: Option<Arc<dyn FileTarget>>,
    done: FilesUndone,
    /// Directories by path: what they were before, if anything.
    folders: Vec<(FilePath, Option<Stat>)>,
}

/// A file or link of ours, by the last word of the ledgers.
struct Ours {
    item: Item,
    outcome: Option<Outcome>,
    original: Option<Stat>,
    was_there: bool,
    removed: bool,
}

impl Undo<'_> {
    async fn content(&mut self, ledgers: &[&dyn Ledger]) -> Result<()> {
        let mut records = Records::of(ledgers).await?;
        let mut stretch = Vec::new();
        loop {
            let record = records.next().await?;
            let ended = record.is_none();
            if let Some(record) = record {
                let (original, was_there) = (record.original, record.was_there);
                match record.word {
                    Word::Folder { folder } => self.folders.push((folder.path, original)),
                    Word::Content { item, outcome } => stretch.push(Ours { item, outcome, original, was_there, removed: false }),
                    Word::Removed => {
                        if let Some(stat) = original.clone() {
                            let item = Item { path: record.path, stat, before: None, same: None, follow: false, hard: None, to: None, new: false };
                            stretch.push(Ours { item, outcome: None, original, was_there: true, removed: true });
                        }
                    }
                }
            }
            if stretch.len() >= STRETCH || ended {
                self.take_back(std::mem::take(&mut stretch)).await?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    async fn take_back(&mut self, stretch: Vec<Ours>) -> Result<()> {
        if let Some(first) = stretch.first() {
            self.teller.at(&first.item.path);
        }
        let this = &*self;
        let paths: Vec<FilePath> = stretch.iter().map(|ours| ours.item.path.clone()).collect();
        let now = self.stats(paths).await?;
        let fates: Vec<(FilePath, Fate)> = futures::stream::iter(stretch.into_iter().zip(now))
            .map(|(ours, now)| async move { Ok::<_, ConnectorError>((ours.item.path.clone(), this.fate(&ours, now.map(|e| Stat::of(&e))).await?)) })
            .buffer_unordered(self.mover.parallel())
            .try_collect()
            .await?;
        for (path, fate) in fates {
            self.note(&path, fate);
        }
        while let Ok(told) = self.told.try_recv() {
            told.tell(self.observer, "rollback");
        }
        Ok(())
    }

    /// What stands at the paths, in their order.
    async fn stats(&self, paths: Vec<FilePath>) -> Result<Vec<Option<Entry>>> {
        let mover = self.mover;
        match &mover.whole {
            Some(whole) => whole.target.stats(&paths).await,
            None => futures::stream::iter(paths).map(|path| async move { mover.destination.stat(&path).await }).buffered(mover.parallel()).try_collect().await,
        }
    }

    fn note(&mut self, path: &FilePath, fate: Fate) {
        match fate {
            Fate::AsBefore => {}
            Fate::Removed => self.done.removed += 1,
            Fate::Restored => self.done.restored += 1,
            Fate::Kept(reason) => self.done.kept.note(path, ProblemKind::Foreign, reason),
            Fate::Lost(kind, reason) => self.done.not_restored.note(path, kind, reason),
        }
    }

    /// `now`: what stands there.
    async fn fate(&self, ours: &Ours, now: Option<Stat>) -> Result<Fate> {
        if ours.outcome.as_ref().is_some_and(|o| o.what == What::Spared) {
            return Ok(Fate::AsBefore);
        }
        let path = &ours.item.path;
        let Some(original) = &ours.original else {
            return match now {
                None => Ok(Fate::AsBefore),
                Some(now) if self.is_ours(&now, ours).await? => {
                    self.lane.retry(path, 0, || async { self.mover.destination.remove(path).await.map_err(Fault::target) }).await.map_err(|f| f.error)?;
                    Ok(Fate::Removed)
                }
                Some(_) => Ok(Fate::Kept("it was changed at the destination after the migration wrote it".to_owned())),
            };
        };
        let unconfirmed = ours.outcome.is_some() && !ours.was_there;
        let untouched = unconfirmed && now.as_ref().is_some_and(|n| n.same_content(original));
        let as_before = |n: &Stat| n.version.is_some() && n.kind == original.kind && n.version == original.version && !n.other_mode(original);
        if let Some(now) = now.as_ref().filter(|n| untouched || as_before(n))
            && !self.other_metadata(path, original, now).await?
        {
            return Ok(Fate::AsBefore);
        }
        if ours.outcome.as_ref().is_some_and(|o| o.what == What::Same) && now.as_ref().is_some_and(|n| n.kind == original.kind) {
            return self.set_right(path, original, now.as_ref()).await;
        }
        self.restore(path, original).await
    }

    /// The content was left alone; mode and time are put back.
    async fn set_right(&self, path: &FilePath, original: &Stat, now: Option<&Stat>) -> Result<Fate> {
        if now.is_some_and(|n| n.mode == original.mode && n.modified_ns == original.modified_ns) {
            return Ok(Fate::AsBefore);
        }
        self.make(path, original).await?;
        Ok(Fate::Restored)
    }

    async fn make(&self, path: &FilePath, stat: &Stat) -> Result<()> {
        let entry = stat.entry(path);
        self.lane.retry(path, 0, || async { self.mover.destination.make(&entry).await.map_err(Fault::target) }).await.map_err(|f| f.error)
    }

    /// Puts back what stood there, and proves it.
    async fn restore(&self, path: &FilePath, original: &Stat) -> Result<Fate> {
        if !matches!(original.kind, EntryKind::File { .. }) {
            let now = self.mover.destination.stat(path).await?;
            if now.as_ref().is_some_and(|n| n.kind == original.kind && n.modified_ns == original.modified_ns) {
                return Ok(Fate::AsBefore);
            }
            if now.is_some_and(|n| matches!(n.kind, EntryKind::File { .. })) {
                self.mover.destination.remove(path).await?;
            }
            self.make(path, original).await?;
            return Ok(Fate::Restored);
        }
        let Some(backup) = &self.backup else {
            return Ok(Fate::Lost(ProblemKind::NoBackup, "it was overwritten or removed, and no backup was made".to_owned()));
        };
        let name = name_in(backup.as_ref(), self.mover.destination.as_ref(), path);
        // The backup has a version of its own.
        let stat = Stat { version: None, ..self.described(&name, original).await? };
        let item = Item { path: name, stat, before: None, same: None, follow: false, hard: None, to: Some(path.clone()), new: false };
        let outcome = self.lane.carry(&item).await?;
        Ok(match outcome.what {
            What::Copied => Fate::Restored,
            What::Vanished => Fate::Lost(ProblemKind::NoBackup, "the backup does not hold it".to_owned()),
            _ => Fate::Lost(ProblemKind::Refused, outcome.note.unwrap_or_default()),
        })
    }

    /// A file that stood here, with the metadata that the backup holds of it.
    async fn described(&self, name: &FilePath, original: &Stat) -> Result<Stat> {
        match &self.backup {
            Some(backup) if self.mover.destination.keeps_object_metadata() => object_facts::with_saved(backup.as_ref(), name, original).await,
            _ => Ok(original.clone()),
        }
    }

    /// Whether an object with the content of `original` has other headers, user metadata or tags.
    async fn other_metadata(&self, path: &FilePath, original: &Stat, now: &Stat) -> Result<bool> {
        let Some(backup) = self.backup.as_ref().filter(|_| self.mover.destination.keeps_object_metadata()) else { return Ok(false) };
        let saved = self.described(&name_in(backup.as_ref(), self.mover.destination.as_ref(), path), original).await?;
        let known = saved.object.is_some() || saved.content_type.is_some();
        Ok(known && !object_facts::same_metadata(&saved, now))
    }

    /// Whether what stands there is what we wrote (or were about to write when we were interrupted).
    async fn is_ours(&self, now: &Stat, ours: &Ours) -> Result<bool> {
        let item = &ours.item;
        let written = ours.outcome.as_ref().and_then(|o| o.read.as_ref()).unwrap_or(&item.stat);
        if !matches!(written.kind, EntryKind::File { .. }) || ours.removed {
            return Ok(now.kind == written.kind);
        }
        let EntryKind::File { size } = now.kind else { return Ok(false) };
        let resolution = self.mover.destination.traits().mtime_resolution_ns as i64;
        if let (Some(a), Some(b)) = (now.modified_ns, written.modified_ns)
            && now.kind == written.kind
            && resolution > 0
            && a.div_euclid(resolution) == b.div_euclid(resolution)
        {
            return Ok(true);
        }
        if intents::is_declared(self.ledgers, &item.path, now, resolution).await? {
            return Ok(true);
        }
        match ours.outcome.as_ref().and_then(|o| o.digest.as_ref().map(|d| (d, o.part_size))) {
            Some(_) if now.kind != written.kind => Ok(false),
            Some((digest, part_size)) => Ok(Lane::differing(self.mover.destination.as_ref(), &item.path, size, digest, part_size).await?.is_none()),
            // Without a source to compare with: it was not there when we planned, and it is as long as what we were writing.
            None if self.mover.source.location() == self.mover.destination.location() => Ok(now.kind == item.stat.kind),
            None => self.equals_source(item, size).await,
        }
    }

    /// In doubt: a file that was in flight when we were interrupted is ours when it equals the source.
    async fn equals_source(&self, item: &Item, size: u64) -> Result<bool> {
        let opened = match self.mover.source.open(&item.path, None).await {
            Ok(opened) => opened,
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        if opened.entry.size() != size {
            return Ok(false);
        }
        let kind = self.mover.digest_kind();
        let (read, _) = digest::of_body(opened.body, kind, None).await?;
        let (stored, _) = Lane::stored(self.mover.destination.as_ref(), &item.path, kind, None).await?;
        Ok(read == stored)
    }

    /// Directories that we made, the deepest first. One that holds something foreign stays.
    async fn remove_folders(&mut self) -> Result<()> {
        self.folders.sort_by_cached_key(|(path, _)| std::cmp::Reverse(key(path, true)));
        self.folders.dedup_by(|a, b| a.0 == b.0);
        let made = self.folders.iter().filter(|(_, before)| before.is_none());
        let made: Vec<FilePath> = made.map(|(path, _)| self.mover.folder_path(path)).collect();
        for some in made.chunks(STRETCH) {
            for (path, now) in some.iter().zip(self.stats(some.to_vec()).await?) {
                if now.is_some_and(|e| !self.mover.tree() || matches!(e.kind, EntryKind::Directory)) {
                    self.remove_folder(path).await?;
                }
            }
        }
        self.folders.retain(|(_, before)| before.is_some());
        Ok(())
    }

    async fn remove_folder(&mut self, path: &FilePath) -> Result<()> {
        match self.lane.retry(path, 0, || async { self.mover.destination.remove(path).await.map_err(Fault::target) }).await {
            Ok(()) => self.note(path, Fate::Removed),
            // In an object store a directory is but a shadow of the keys below it.
            Err(f) if f.error.kind == ErrorKind::AlreadyExists && !self.mover.destination.traits().modes => {}
            Err(f) if f.error.kind == ErrorKind::AlreadyExists => {
                self.note(path, Fate::Kept("the directory holds something that is not of the migration".to_owned()));
            }
            Err(f) => return Err(f.error),
        }
        Ok(())
    }

    /// What the plan removed: files and links now, directories with the others at the end.
    async fn removed(&mut self, ledger: &dyn Ledger) -> Result<()> {
        for round in rounds(ledger).await? {
            for phase in [Phase::Clear, Phase::Delete] {
                let range = span(round, phase);
                let mut after = just_before(range.start);
                loop {
                    let page = ledger.all(after, 32).await?;
                    for chunk in page.iter().filter(|c| range.contains(&c.seq)) {
                        let Spec::Remove(list) = decode(&chunk.spec)? else { continue };
                        for gone in list.into_iter().filter(|g| !g.ours) {
                            self.put_back(gone.path, gone.before).await?;
                        }
                    }
                    match page.last() {
                        Some(chunk) if chunk.seq < range.end => after = Some(chunk.seq),
                        _ => break,
                    }
                }
            }
        }
        Ok(())
    }

    async fn put_back(&mut self, path: FilePath, before: Stat) -> Result<()> {
        if matches!(before.kind, EntryKind::Directory) {
            self.folders.push((path, Some(before)));
            return Ok(());
        }
        let now = self.mover.destination.stat(&path).await?.map(|e| Stat::of(&e));
        let fate = match now {
            Some(now) if now.kind == before.kind && now.same_content(&before) => Fate::AsBefore,
            Some(now) if now.kind == before.kind && now.modified_ns == before.modified_ns && now.modified_ns.is_some() => Fate::AsBefore,
            Some(_) => Fate::Kept("something else was put there after the migration removed it".to_owned()),
            None => self.restore(&path, &before).await?,
        };
        self.note(&path, fate);
        Ok(())
    }

    /// Makes the removed directories again and puts modes and times back, the deepest first.
    async fn restore_folders(&mut self) -> Result<()> {
        self.folders.sort_by_cached_key(|(path, _)| std::cmp::Reverse(key(path, true)));
        // Directories that have another time since something was made in them.
        let mut stirred = HashSet::new();
        for some in std::mem::take(&mut self.folders).chunks(STRETCH) {
            let now = self.stats(some.iter().map(|(path, _)| self.mover.folder_path(path)).collect()).await?;
            for ((path, before), now) in some.iter().zip(now) {
                let Some(before) = before.as_ref().filter(|_| now.is_none() || self.mover.tree()) else { continue };
                if stirred.contains(path) || now.as_ref().is_none_or(|n| n.mode != before.mode || n.modified_ns != before.modified_ns) {
                    self.make(path, before).await?;
                }
                if now.is_none() {
                    self.done.restored += 1;
                    stirred.extend(path.parent());
                }
            }
        }
        Ok(())
    }
}
