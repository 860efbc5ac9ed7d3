//! Taking a copy back. Every decision is made from what the ledgers say was done, and from what the destination holds now, so undo can be
//! repeated and goes on after a crash. What one path suffers is named, and the rest goes on.

mod fate;
mod folders;

use super::FilesMover;
use super::conflict::{EarlierCopy, Guard};
use super::item::{Item, Outcome, Phase, Proof, Results, Spec, Stat, What, decode, span};
use super::lane::Lane;
use super::records::{Record, Records, Word, just_before, rounds};
use super::report::{FilesUndone, ProblemKind};
use super::saved_content::{FilesBackup, SavedHashes};
use super::told::{Teller, Told};
use fate::Fate;
use futures::{StreamExt, TryStreamExt};
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::observe::Level;
use ports::{ConnectorError, Ledger, Observer, Result};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

const BEHIND_LINK: &str = "a link was put in the place of a directory above it, so what stands there is not what the migration wrote";
/// Paths decided about side by side.
const STRETCH: usize = 1024;

pub(super) async fn run(mover: &FilesMover, ledgers: &[&dyn Ledger], backup: Option<FilesBackup<'_>>, observer: &dyn Observer) -> Result<FilesUndone> {
    let (mut lane, told) = mover.lane();
    lane.read_back = true;
    lane.adopts = false;
    if let Some(backup) = &backup {
        lane.source = backup.store.clone();
    }
    if let Some(later) = &mover.later {
        later.prepare().await?;
    }
    let teller = Teller::new(observer, "rollback", mover.destination.location(), mover.destination.location());
    let again = begin(ledgers).await?;
    let hashes = SavedHashes::of(backup.as_ref(), ledgers.first().copied()).await?;
    let store = backup.map(|b| b.store);
    let mut undo = Undo { hashes, again, ..Undo::new(mover, ledgers, store, observer, (lane, told), teller) };
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
    mover.destination.settle().await?;
    end(ledgers).await?;
    let done = undo.done;
    let details = json!({"removed": done.removed, "restored": done.restored, "kept": done.kept.count, "not_restored": done.not_restored.count,
        "saved_later": done.saved_later.count});
    observer.log(Level::Info, "rollback", format!("Removed {} and restored {} files and directories", done.removed, done.restored), details);
    Ok(done)
}

/// Note: an undo has begun, and has not ended.
const UNDOING: &str = "undo.begun";

/// Whether an earlier try has begun and not ended.
async fn begin(ledgers: &[&dyn Ledger]) -> Result<bool> {
    let Some(first) = ledgers.first() else { return Ok(false) };
    let again = first.recall(UNDOING).await?.is_some();
    first.remember(UNDOING, Some(json!(true))).await?;
    Ok(again)
}

async fn end(ledgers: &[&dyn Ledger]) -> Result<()> {
    match ledgers.first() {
        Some(first) => first.remember(UNDOING, None).await,
        None => Ok(()),
    }
}

/// What [`run`] would do to files and links, by their sizes, times and versions: nothing is hashed where times are kept. Reads only.
pub(super) async fn preview(mover: &FilesMover, ledgers: &[&dyn Ledger], backup: Option<FilesBackup<'_>>, observer: &dyn Observer) -> Result<FilesUndone> {
    let (lane, told) = mover.lane();
    let teller = Teller::new(observer, "rollback_preview", mover.destination.location(), mover.destination.location());
    let hashes = SavedHashes::of(backup.as_ref(), ledgers.first().copied()).await?;
    let store = backup.map(|b| b.store);
    let mut undo = Undo { hashes, look: true, ..Undo::new(mover, ledgers, store, observer, (lane, told), teller) };
    undo.content(ledgers).await?;
    for ledger in ledgers {
        undo.removed(*ledger).await?;
    }
    Ok(undo.done)
}

struct Undo<'a> {
    mover: &'a FilesMover,
    ledgers: &'a [&'a dyn Ledger],
    observer: &'a dyn Observer,
    lane: Lane,
    told: UnboundedReceiver<Told>,
    teller: Teller<'a>,
    backup: Option<Arc<dyn FileTarget>>,
    /// What the backup recorded of the files in it.
    hashes: SavedHashes<'a>,
    /// Nothing is changed: what would become of the paths is told.
    look: bool,
    /// An earlier try was interrupted.
    again: bool,
    done: FilesUndone,
    /// Directories by path: what they were before, if anything.
    folders: Vec<(FilePath, Option<Stat>)>,
    /// Directories that were looked at: whether a link stands in the place of one, or of one above.
    links: HashMap<FilePath, bool>,
}

impl<'a> Undo<'a> {
    /// An undo that changes things, for the first time.
    fn new(
        mover: &'a FilesMover,
        ledgers: &'a [&'a dyn Ledger],
        backup: Option<Arc<dyn FileTarget>>,
        observer: &'a dyn Observer,
        (lane, told): (Lane, UnboundedReceiver<Told>),
        teller: Teller<'a>,
    ) -> Self {
        let (done, folders, links, hashes) = (FilesUndone::default(), Vec::new(), HashMap::new(), SavedHashes::none());
        Self { mover, ledgers, observer, lane, told, teller, backup, hashes, look: false, again: false, done, folders, links }
    }
}

/// A file or link of ours, by the last word of the ledgers.
struct Ours {
    item: Item,
    outcome: Option<Outcome>,
    original: Option<Stat>,
    /// Where the backup holds that, if not under its usual name.
    saved: Option<FilePath>,
    /// The hash of what the backup holds; `None` where none was recorded.
    proof: Option<Proof>,
    begun: bool,
    /// The copy of ours that was confirmed last.
    placed: Option<EarlierCopy>,
    /// We have taken our copy away again.
    removed: bool,
}

impl Ours {
    fn of(record: Record) -> Option<Self> {
        let Record { path, word, original, saved, begun, placed, .. } = record;
        let (saved, proof) = saved.map_or((None, None), |copy| (Some(copy.name), copy.proof));
        match word {
            Word::Content { item, outcome } => Some(Self { item, outcome, original, saved, proof, begun, placed, removed: false }),
            Word::Removed => {
                let item = Item::new(path, original.clone()?);
                Some(Self { item, outcome: None, original, saved, proof, begun: true, placed: None, removed: true })
            }
            Word::Folder { .. } => None,
        }
    }

    /// `recorded`: the hash of what the backup holds under the usual name.
    fn with_recorded(self, recorded: Option<Proof>) -> Self {
        if self.saved.is_some() { self } else { Self { proof: recorded, ..self } }
    }

    /// Something that the plan removed.
    fn gone(path: FilePath, before: Stat, proof: Option<Proof>) -> Self {
        let item = Item::new(path, before.clone());
        Self { item, outcome: None, original: Some(before), saved: None, proof, begun: true, placed: None, removed: true }
    }
}

impl Undo<'_> {
    async fn content(&mut self, ledgers: &[&dyn Ledger]) -> Result<()> {
        let mut records = Records::of(ledgers).await?;
        let mut stretch = Vec::new();
        loop {
            let record = records.next().await?;
            let ended = record.is_none();
            match record {
                Some(Record { word: Word::Folder { folder }, original, .. }) => self.folders.push((folder.path, original)),
                Some(record) => {
                    let recorded = self.hashes.overwritten(&record.key).await?;
                    stretch.extend(Ours::of(record).map(|ours| ours.with_recorded(recorded)));
                }
                None => {}
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
        self.look_above(stretch.iter().map(|ours| &ours.item.path)).await?;
        let mut straight = Vec::new();
        for ours in stretch {
            if self.is_behind_link(&ours.item.path) {
                self.note(&ours.item.path, Fate::Kept(BEHIND_LINK.to_owned()));
            } else {
                straight.push(ours);
            }
        }
        let stretch = straight;
        let this = &*self;
        let paths: Vec<FilePath> = stretch.iter().map(|ours| ours.item.path.clone()).collect();
        let now = self.stats(paths).await?;
        let fates: Vec<(FilePath, Fate)> = futures::stream::iter(stretch.into_iter().zip(now))
            .map(|(ours, now)| async move { Ok::<_, ConnectorError>((ours.item.path.clone(), this.fate(&ours, now).await?)) })
            .buffered(self.mover.parallel())
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

    /// Learns which of the directories above these paths are links by now.
    async fn look_above(&mut self, paths: impl Iterator<Item = &FilePath> + Send) -> Result<()> {
        if !self.mover.tree() {
            return Ok(());
        }
        let unknown: BTreeSet<FilePath> = paths.flat_map(directories_above).filter(|above| !self.links.contains_key(above)).collect();
        let unknown: Vec<FilePath> = unknown.into_iter().collect();
        let found = self.stats(unknown.clone()).await?;
        let is_link = |entry: Option<Entry>| entry.is_some_and(|e| matches!(e.kind, EntryKind::Symlink { .. }));
        self.links.extend(unknown.into_iter().zip(found.into_iter().map(is_link)));
        Ok(())
    }

    /// Whether somebody has put a link where one of the directories above was: what is behind it is not ours.
    fn is_behind_link(&self, path: &FilePath) -> bool {
        directories_above(path).any(|above| self.links.get(&above) == Some(&true))
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
            Fate::Lost(kind, reason) => {
                self.done.backup_damaged += u64::from(kind == ProblemKind::BackupDamaged);
                self.done.not_restored.note(path, kind, reason);
            }
            Fate::Discarded(fate) => {
                self.done.saved_later.note(path, ProblemKind::Foreign, "it was changed at the destination after the migration wrote it");
                self.note(path, *fate);
            }
        }
    }

    /// What the plan removed: files and links now, directories with the others at the end.
    async fn removed(&mut self, ledger: &dyn Ledger) -> Result<()> {
        for round in rounds(ledger).await? {
            for phase in [Phase::Clear, Phase::Delete] {
                let range = span(round, phase);
                let mut after = just_before(range.start);
                loop {
                    let page = ledger.all(after, 32).await?;
                    for chunk in page.iter().filter(|c| range.contains(&c.seq) && (c.attempts > 0 || c.result.is_some())) {
                        let Spec::Remove(list) = decode(&chunk.spec)? else { continue };
                        let left = match chunk.result.as_deref().map(decode::<Results>).transpose()? {
                            Some(Results::Left(left)) => left,
                            _ => Vec::new(),
                        };
                        let done = |at: usize| !left.iter().any(|(place, _)| *place as usize == at);
                        let gone = list.into_iter().enumerate().filter(|(at, gone)| !gone.ours && done(*at)).map(|(_, gone)| gone);
                        let (folders, files): (Vec<_>, Vec<_>) = gone.partition(|gone| matches!(gone.before.kind, EntryKind::Directory));
                        self.folders.extend(folders.into_iter().map(|gone| (gone.path, Some(gone.before))));
                        let mut stretch = Vec::with_capacity(files.len());
                        for gone in files {
                            let proof = match gone.before.kind {
                                EntryKind::File { .. } => self.hashes.removed(&gone.path).await?,
                                _ => None,
                            };
                            stretch.push(Ours::gone(gone.path, gone.before, proof));
                        }
                        self.take_back(stretch).await?;
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
}

fn directories_above(path: &FilePath) -> impl Iterator<Item = FilePath> + '_ {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| FilePath::new(&bytes[..at]))
}
