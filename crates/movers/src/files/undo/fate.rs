//! What becomes of one path: decided by comparing what stands there with what we wrote and with what was there before.

use super::{Guard, Ours, Undo, What};
use crate::files::backup::{self, name_in};
use crate::files::conflict::{Attempt, same_time};
use crate::files::digest;
use crate::files::intents;
use crate::files::item::{Item, Stat};
use crate::files::lane::Lane;
use crate::files::object_facts;
use crate::files::report::ProblemKind;
use crate::files::saved_content::{OTHER_CONTENT, SavedContent};
use crate::files::sides::Fault;
use crate::files::suspects::COARSE_NS;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

const CHANGED_SINCE: &str = "it was changed at the destination after the migration wrote it";
const REPLACED_SINCE: &str = "something else was put there after the migration removed it";

/// What became of one path.
pub(super) enum Fate {
    /// As it was before already, or never touched by us.
    AsBefore,
    Removed,
    Restored,
    /// Somebody changed it since.
    Kept(String),
    Lost(ProblemKind, String),
    /// Somebody changed it since; that was saved, and then this became of it.
    Discarded(Box<Fate>),
}

/// Whether an error concerns the path alone, so that the rest can go on.
fn concerns_one_path(kind: ErrorKind) -> bool {
    use ErrorKind::{AlreadyExists, Changed, Corrupt, Internal, Invalid, Name, NotFound, Permission, Unsupported};
    matches!(kind, AlreadyExists | Changed | Corrupt | Internal | Invalid | Name | NotFound | Permission | Unsupported)
}

impl Undo<'_> {
    /// `now`: what stands there.
    pub(super) async fn fate(&self, ours: &Ours, now: Option<Entry>) -> Result<Fate> {
        named(self.decide(ours, now).await)
    }

    async fn decide(&self, ours: &Ours, now: Option<Entry>) -> Result<Fate> {
        let outcome = ours.outcome.as_ref();
        let spared = outcome.is_some_and(|o| o.what == What::Spared && o.read.is_none());
        if spared || !ours.begun {
            return Ok(Fate::AsBefore);
        }
        let Some(original) = &ours.original else { return self.take_away(ours, now).await };
        let Some(now) = now else {
            // Files are replaced in one step, so whoever removed it was not us, unless that is recorded.
            let replaced = matches!((&ours.item.stat.kind, &original.kind), (EntryKind::File { .. }, EntryKind::File { .. }));
            let untouched = replaced && !ours.removed && outcome.is_none_or(|o| !o.is_there() && o.read.is_none());
            return if untouched { Ok(Fate::AsBefore) } else { self.restore(ours, original, Guard::Nothing).await };
        };
        let found = Stat::of(&now);
        let same_version = found.version.is_some() && found.kind == original.kind && found.version == original.version;
        if same_version && !self.other_metadata(ours, original, &found).await? {
            return self.set_mode(&ours.item.path, original, &found).await;
        }
        if outcome.is_some_and(|o| o.what == What::Same) && found.kind == original.kind {
            return self.set_right(ours, original, &now).await;
        }
        if !ours.removed && self.is_ours(&now, ours).await? {
            return self.restore_ours(ours, original, now).await;
        }
        if self.is_original(ours, original, &now).await? {
            return self.set_mode(&ours.item.path, original, &found).await;
        }
        if self.again && self.shows_time_of(original, &now) {
            // What an earlier try restored, and a loss of power took the content of.
            return self.restore(ours, original, Guard::Only(Box::new(now))).await;
        }
        let reason = if ours.removed { REPLACED_SINCE } else { CHANGED_SINCE };
        self.keep_or_discard(ours, &now, reason).await
    }

    /// Something stands where nothing stood before us.
    async fn take_away(&self, ours: &Ours, now: Option<Entry>) -> Result<Fate> {
        match now {
            None => Ok(Fate::AsBefore),
            Some(now) if self.is_ours(&now, ours).await? => self.remove_ours(ours, &now).await,
            Some(now) => self.keep_or_discard(ours, &now, CHANGED_SINCE).await,
        }
    }

    /// Puts back what stood there over a file of ours; see [`Self::remove_ours`] for why it may have to be looked at again.
    async fn restore_ours(&self, ours: &Ours, original: &Stat, now: Entry) -> Result<Fate> {
        let version = now.version.clone();
        let fate = self.restore(ours, original, Guard::Only(Box::new(now))).await?;
        if !matches!(fate, Fate::Kept(_)) {
            return Ok(fate);
        }
        match self.mover.destination.stat(&ours.item.path).await? {
            Some(again) if again.version != version && self.is_ours(&again, ours).await? => self.restore(ours, original, Guard::Only(Box::new(again))).await,
            _ => Ok(fate),
        }
    }

    /// Removes a file of ours. Removing one of its names changes the version of a file's other names: what was seen before is looked at again then.
    async fn remove_ours(&self, ours: &Ours, now: &Entry) -> Result<Fate> {
        let path = &ours.item.path;
        let fate = self.remove(path, now).await?;
        if !matches!(fate, Fate::Kept(_)) {
            return Ok(fate);
        }
        match self.mover.destination.stat(path).await? {
            None => Ok(Fate::AsBefore),
            Some(again) if again.version != now.version && self.is_ours(&again, ours).await? => self.remove(path, &again).await,
            Some(_) => Ok(fate),
        }
    }

    async fn remove(&self, path: &FilePath, now: &Entry) -> Result<Fate> {
        if self.look {
            return Ok(Fate::Removed);
        }
        let remove = || async { self.mover.destination.remove_if(path, now).await.map_err(Fault::target) };
        match self.lane.in_writable_directory(path, || self.lane.retry(path, 0, remove)).await {
            Ok(()) => Ok(Fate::Removed),
            Err(f) if f.error.kind == ErrorKind::AlreadyExists => Ok(Fate::Kept(CHANGED_SINCE.to_owned())),
            Err(f) => Err(f.error),
        }
    }

    /// What somebody changed stays, or is saved first and then taken back where that was asked for.
    async fn keep_or_discard(&self, ours: &Ours, now: &Entry, reason: &str) -> Result<Fate> {
        let Some(later) = &self.mover.later else { return Ok(Fate::Kept(reason.to_owned())) };
        let path = &ours.item.path;
        match now.kind {
            EntryKind::File { .. } => {
                if let Err(why) =
                    backup::save_as(self.mover, later, path, &Stat::of(now), name_in(later.as_ref(), self.mover.destination.as_ref(), path)).await?
                {
                    return Ok(Fate::Kept(format!("{reason}, and it could not be saved: {why}")));
                }
            }
            EntryKind::Symlink { .. } => {
                let name = name_in(later.as_ref(), self.mover.destination.as_ref(), path);
                if let Err(why) = later.make(&Entry { path: name, ..now.clone() }).await {
                    return Ok(Fate::Kept(format!("{reason}, and it could not be saved: {why}")));
                }
            }
            _ => return Ok(Fate::Kept(reason.to_owned())),
        }
        let fate = match &ours.original {
            Some(original) => self.restore(ours, original, Guard::Only(Box::new(now.clone()))).await,
            None => self.remove(path, now).await,
        };
        Ok(Fate::Discarded(Box::new(named(fate)?)))
    }

    /// The content was left alone; mode and time are put back, unless somebody has written to it since.
    async fn set_right(&self, ours: &Ours, original: &Stat, now: &Entry) -> Result<Fate> {
        let resolution = self.mover.destination.traits().mtime_resolution_ns as i64;
        let known = [original, &ours.item.stat].into_iter().any(|stat| same_time(stat, now, resolution) != Some(false));
        if !known || now.mode == original.mode && now.modified_ns == original.modified_ns {
            return Ok(Fate::AsBefore);
        }
        self.make(&ours.item.path, original).await?;
        Ok(Fate::Restored)
    }

    async fn set_mode(&self, path: &FilePath, original: &Stat, found: &Stat) -> Result<Fate> {
        if !found.other_mode(original) {
            return Ok(Fate::AsBefore);
        }
        self.make(path, original).await?;
        Ok(Fate::Restored)
    }

    pub(super) async fn make(&self, path: &FilePath, stat: &Stat) -> Result<()> {
        if self.look {
            return Ok(());
        }
        let entry = stat.entry(path);
        let make = || async { self.mover.destination.make(&entry).await.map_err(Fault::target) };
        self.lane.in_writable_directory(path, || self.lane.retry(path, 0, make)).await.map_err(|f| f.error)
    }

    /// Puts back what stood there, and proves it. `guard`: what may be replaced by it.
    async fn restore(&self, ours: &Ours, original: &Stat, guard: Guard) -> Result<Fate> {
        let path = &ours.item.path;
        let EntryKind::File { size } = original.kind else { return self.make_again(path, original, guard).await };
        let Some(backup) = &self.backup else {
            return Ok(Fate::Lost(ProblemKind::NoBackup, "it was overwritten or removed, and no backup was made".to_owned()));
        };
        let name = self.saved_name(backup, ours);
        match backup.stat(&name).await? {
            Some(kept) if kept.size() == size => {}
            Some(kept) => {
                let reason = format!("the backup is damaged: it holds {} bytes of the file, which had {size}", kept.size());
                return Ok(Fate::Lost(ProblemKind::BackupDamaged, reason));
            }
            None => return Ok(missing_from_backup()),
        }
        if self.look {
            return Ok(Fate::Restored);
        }
        let stat = match self.described(&name, original).await {
            Err(e) if e.kind == ErrorKind::Corrupt => {
                return Ok(Fate::Lost(ProblemKind::BackupDamaged, format!("the backup is damaged: the metadata of the object: {}", e.reason)));
            }
            described => described?,
        };
        let item = Item { to: Some(path.clone()), ..Item::new(name, stat) };
        let saved = ours.proof.clone().map(|proof| Arc::new(SavedContent::new(proof)));
        let outcome = self.lane.carry_on(&item, Attempt::restoring(guard, saved.clone())).await;
        if saved.is_some_and(|saved| saved.is_damaged()) {
            return Ok(Fate::Lost(ProblemKind::BackupDamaged, OTHER_CONTENT.to_owned()));
        }
        let outcome = outcome?;
        Ok(match outcome.what {
            What::Copied => Fate::Restored,
            What::Vanished => missing_from_backup(),
            What::Spared => Fate::Kept(CHANGED_SINCE.to_owned()),
            _ => Fate::Lost(ProblemKind::Refused, outcome.note.unwrap_or_default()),
        })
    }

    fn saved_name(&self, backup: &Arc<dyn FileTarget>, ours: &Ours) -> FilePath {
        ours.saved.clone().unwrap_or_else(|| name_in(backup.as_ref(), self.mover.destination.as_ref(), &ours.item.path))
    }

    /// A file that stood here, with the metadata that the backup holds of it.
    async fn described(&self, name: &FilePath, original: &Stat) -> Result<Stat> {
        match &self.backup {
            Some(backup) if self.mover.destination.keeps_object_metadata() => object_facts::with_saved(backup.as_ref(), name, original).await,
            _ => Ok(original.clone()),
        }
    }

    /// Whether an object with the content of `original` has other headers, user metadata or tags.
    async fn other_metadata(&self, ours: &Ours, original: &Stat, now: &Stat) -> Result<bool> {
        let Some(backup) = self.backup.as_ref().filter(|_| self.mover.destination.keeps_object_metadata()) else { return Ok(false) };
        let saved = match self.described(&self.saved_name(backup, ours), original).await {
            // Not known: it is not taken for the original by its version alone.
            Err(e) if e.kind == ErrorKind::Corrupt => return Ok(true),
            described => described?,
        };
        let known = saved.object.is_some() || saved.content_type.is_some();
        Ok(known && !object_facts::same_metadata(&saved, now))
    }

    /// A link, or what else is no file.
    async fn make_again(&self, path: &FilePath, original: &Stat, guard: Guard) -> Result<Fate> {
        if let Guard::Only(now) = guard {
            if now.kind == original.kind && now.modified_ns == original.modified_ns {
                return Ok(Fate::AsBefore);
            }
            if matches!(now.kind, EntryKind::File { .. }) {
                match self.remove(path, &now).await? {
                    Fate::Removed => {}
                    other => return Ok(other),
                }
            }
        }
        self.make(path, original).await?;
        Ok(Fate::Restored)
    }

    /// Whether what stands there is what stood there before us: never touched, or put back already.
    async fn is_original(&self, ours: &Ours, original: &Stat, now: &Entry) -> Result<bool> {
        if now.kind != original.kind {
            return Ok(false);
        }
        let EntryKind::File { size } = now.kind else { return Ok(true) };
        let resolution = self.mover.destination.traits().mtime_resolution_ns as i64;
        let by_time = same_time(original, now, resolution);
        match by_time {
            Some(false) => return Ok(false),
            // A try that broke off may have lost what it wrote, and not the time that it set.
            Some(true) if !self.again => return Ok(true),
            _ => {}
        }
        let Some(backup) = &self.backup else { return Ok(by_time == Some(true)) };
        let (path, name) = (&ours.item.path, self.saved_name(backup, ours));
        let destination = self.mover.destination.as_ref();
        match (backup.open(&name, None).await, &ours.proof) {
            (Ok(opened), proof) => {
                let (kept, bytes) = digest::of_body(opened.body, self.lane.kind, None).await?;
                if bytes == size && Lane::differing(destination, path, size, &kept, None).await?.is_none() {
                    return Ok(true);
                }
                // What differs from the backup may be the original all the same: the backup may be damaged.
                let Some(proof) = proof else { return Ok(false) };
                Ok(Lane::differing(destination, path, size, &proof.digest, proof.part_size).await?.is_none())
            }
            (Err(e), Some(proof)) if e.kind == ErrorKind::NotFound => {
                Ok(Lane::differing(destination, path, size, &proof.digest, proof.part_size).await?.is_none())
            }
            // Never saved, so never replaced.
            (Err(e), None) if e.kind == ErrorKind::NotFound => Ok(by_time == Some(true)),
            (Err(e), _) => Err(e),
        }
    }

    async fn is_earlier_copy(&self, ours: &Ours, now: &Entry) -> Result<bool> {
        match ours.placed.as_ref().or(ours.item.stands.as_deref()) {
            Some(copy) => copy.is(self.mover.destination.as_ref(), now).await,
            None => Ok(false),
        }
    }

    /// Whether a try that was interrupted has put it there: by the time that it was to be given.
    async fn is_unconfirmed(&self, ours: &Ours, now: &Entry) -> Result<bool> {
        let (found, resolution) = (Stat::of(now), self.mover.destination.traits().mtime_resolution_ns as i64);
        if ours.original.as_ref().is_some_and(|original| found.same_content(original)) {
            return Ok(false);
        }
        let planned = intents::Intent::of(&ours.item.stat).is_some_and(|planned| planned.is(&found, resolution));
        Ok(planned || intents::is_declared(self.ledgers, &ours.item.path, &found, resolution).await?)
    }

    fn shows_time_of(&self, original: &Stat, now: &Entry) -> bool {
        let resolution = self.mover.destination.traits().mtime_resolution_ns as i64;
        now.kind == original.kind && same_time(original, now, resolution) == Some(true)
    }

    /// Whether what stands there is what we wrote (or were about to write when we were interrupted).
    async fn is_ours(&self, now: &Entry, ours: &Ours) -> Result<bool> {
        let (item, outcome) = (&ours.item, ours.outcome.as_ref());
        if outcome.is_some_and(|o| !o.is_there() && o.read.is_none()) {
            // Nothing was put there by the last try that is known of: the copy of an earlier one may stand there, or what it put there before a crash.
            let spared = outcome.is_some_and(|o| o.what == What::Spared);
            return Ok(self.is_earlier_copy(ours, now).await? || (!spared && self.is_unconfirmed(ours, now).await?));
        }
        let written = outcome.and_then(|o| o.read.as_ref()).unwrap_or(&item.stat);
        if !matches!(written.kind, EntryKind::File { .. }) {
            return Ok(now.kind == written.kind);
        }
        let EntryKind::File { size } = now.kind else { return Ok(false) };
        let resolution = self.mover.destination.traits().mtime_resolution_ns as i64;
        let digest = outcome.and_then(|o| o.digest.as_ref().map(|d| (d, o.part_size)));
        // Times in whole seconds do not tell an edit of the same second.
        let doubtful = !self.look && resolution >= COARSE_NS as i64;
        // A whole tree tells more than the protocol does: a time that is equal below the second is no chance.
        let exact = now.modified_ns.is_some_and(|ns| ns % 1_000_000_000 != 0) && now.modified_ns == written.modified_ns;
        let same = exact || same_time(written, now, resolution) == Some(true) && (digest.is_none() || !doubtful);
        if now.kind == written.kind && same {
            return Ok(true);
        }
        if intents::is_declared(self.ledgers, &item.path, &Stat::of(now), resolution).await? && (digest.is_none() || !doubtful) {
            return Ok(true);
        }
        match digest {
            Some(_) if now.kind != written.kind => Ok(false),
            Some((digest, part_size)) => Ok(Lane::differing(self.mover.destination.as_ref(), &item.path, size, digest, part_size).await?.is_none()),
            None if same_time(written, now, resolution).is_some() => Ok(false),
            None if self.is_earlier_copy(ours, now).await? => Ok(true),
            // As long as the earlier copy of ours, and not it: somebody else's, as far as anybody can tell.
            None if item.stands.as_ref().is_some_and(|copy| copy.stat.kind == now.kind) => Ok(false),
            // Without a source to compare with: it is as long as what we were writing, and not what we planned to replace.
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
}

fn missing_from_backup() -> Fate {
    Fate::Lost(ProblemKind::BackupDamaged, "the backup is damaged: it does not hold the file any more".to_owned())
}

/// What one path suffers is its fate; anything else ends the undo, which may be called again.
pub(super) fn named(decided: Result<Fate>) -> Result<Fate> {
    match decided {
        Err(error) if concerns_one_path(error.kind) => Ok(Fate::Lost(ProblemKind::Refused, told(&error))),
        other => other,
    }
}

fn told(error: &ConnectorError) -> String {
    error.to_string()
}
