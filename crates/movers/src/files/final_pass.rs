//! The second pass: the source's listing against what the ledgers recorded, in rounds until nothing changed while it was copied.

use super::backup;
use super::builder::{Builder, now_ns};
use super::chain::{Blocker, Dir};
use super::conflict::EarlierCopy;
use super::content::{Care, run_round};
use super::intents::{Intent, is_declared};
use super::item::{Folder, Gone, Item, Outcome, PHASES, Phase, Results, SavedCopy, Spec, Stat, What, decode, span};
use super::order::Sorted;
use super::plan::{Linked, Planner, tidy};
use super::records::{Record, Records, Word, just_before, rounds, summary};
use super::report::{FilesCopied, FilesPlan, Lag, ProblemKind, Problems};
use super::whole::same_folder;
use super::window::Window;
use super::{FilesMover, or_stop, suspects};
use ports::files::{Entry, EntryKind, FilePath};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use std::collections::HashSet;
use tokio_util::sync::CancellationToken;

/// How often the source is listed again because files changed while they were copied.
pub(super) const ROUNDS: u64 = 3;

pub(super) async fn run(mover: &FilesMover, bulk: &dyn Ledger, last: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<FilesCopied> {
    let mut next = 1;
    for round in rounds(last).await? {
        run_round(mover, (last, &[bulk]), round, Care::Final, observer, stop).await?;
        next = round + 1;
    }
    let edited = or_stop(stop, "read again", mover.source.location(), suspects::edited(mover, &[bulk, last])).await?;
    let doubts = Doubts { edited, trusted_from: next, only: false };
    let mut restless = Problems::default();
    let mut notes = Problems::default();
    for round in next..=next + ROUNDS {
        let planned = or_stop(stop, "list again", mover.source.location(), plan_round(mover, &[bulk, last], Some((last, round)), &doubts)).await?;
        let (plan, empty) = planned;
        notes = plan.problems;
        if empty {
            restless = Problems::default();
            break;
        }
        let details = json!({"files": plan.files, "bytes": plan.bytes, "removed": plan.deletes});
        observer.log(Level::Info, "file_transfer", format!("Final pass: {} files changed since the first pass", plan.files), details);
        if round == next + ROUNDS {
            // What is never at rest is taken as it is at one moment, and stays named.
            run_round(mover, (last, &[bulk]), round, Care::Snapshot, observer, stop).await?;
            break;
        }
        run_round(mover, (last, &[bulk]), round, Care::Final, observer, stop).await?;
        restless = unsettled(last, round).await?;
        if restless.is_empty() {
            break;
        }
    }
    last.seal().await?;
    let mut copied = summary(last).await?;
    copied.problems.append(occupied(notes));
    copied.problems.append(restless);
    Ok(copied)
}

/// Files that may have changed though the listing does not show it.
#[derive(Default)]
pub(super) struct Doubts {
    pub(super) edited: HashSet<FilePath>,
    /// From this round of the last ledger on, everything was read in this very standstill.
    pub(super) trusted_from: u64,
    /// Whether nothing but these files is to be copied, and these only if the source has them as they were read.
    pub(super) only: bool,
}

impl Doubts {
    fn concern(&self, record: &Record) -> bool {
        let (ledger, round) = record.by;
        (ledger == 0 || round < self.trusted_from) && self.edited.contains(&record.path)
    }
}

/// One pass over what changed, while the source lives.
pub(super) async fn warm(mover: &FilesMover, bulk: &dyn Ledger, last: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<Lag> {
    let mut next = 1;
    for round in rounds(last).await? {
        run_round(mover, (last, &[bulk]), round, Care::Bulk, observer, stop).await?;
        next = round + 1;
    }
    let (plan, empty) = or_stop(stop, "list again", mover.source.location(), plan_round(mover, &[bulk, last], Some((last, next)), &Doubts::default())).await?;
    let found = lag_of(&plan);
    if !empty {
        let details = json!({"files": plan.files, "bytes": plan.bytes, "removed": plan.deletes});
        observer.log(Level::Info, "file_transfer", format!("Warm pass: {} files changed since the pass before", found.files), details);
        run_round(mover, (last, &[bulk]), next, Care::Bulk, observer, stop).await?;
    }
    Ok(found)
}

/// What a pass would find now.
pub(super) async fn lag(mover: &FilesMover, known: &[&dyn Ledger]) -> Result<Lag> {
    Ok(lag_of(&plan_round(mover, known, None, &Doubts::default()).await?.0))
}

fn lag_of(plan: &FilesPlan) -> Lag {
    Lag { files: plan.files + plan.symlinks, bytes: plan.bytes, removed: plan.deletes }
}

/// Problems that only a final pass can find; the others are in the plan already.
pub(super) fn occupied(mut notes: Problems) -> Problems {
    notes.listed.retain(|p| matches!(p.kind, ProblemKind::Occupied | ProblemKind::Unreadable));
    notes.count = notes.listed.len() as u64;
    notes.lasting = notes.count;
    notes
}

/// The files of this round that changed or vanished while they were copied, or whose place somebody took meanwhile.
pub(super) async fn unsettled(ledger: &dyn Ledger, round: u64) -> Result<Problems> {
    let mut found = Problems::default();
    each_outcome(ledger, round, |item, outcome| {
        if let Some((kind, reason)) = restlessness(outcome.what) {
            found.note(&item.path, kind, reason);
        }
    })
    .await?;
    Ok(found)
}

/// Looks at what became of every file and link of a round.
pub(super) async fn each_outcome(ledger: &dyn Ledger, round: u64, mut look: impl FnMut(&Item, &Outcome) + Send) -> Result<()> {
    let range = span(round, Phase::Content);
    let mut after = just_before(range.start);
    loop {
        let page = ledger.all(after, 32).await?;
        for chunk in page.iter().filter(|c| range.contains(&c.seq)) {
            let Some(Results::Items(outcomes)) = chunk.result.as_deref().map(decode).transpose()? else { continue };
            let items = match decode::<Spec>(&chunk.spec)? {
                Spec::Batch(items) => items,
                Spec::Place(large) => vec![large.item],
                _ => continue,
            };
            items.iter().zip(&outcomes).for_each(|(item, outcome)| look(item, outcome));
        }
        match page.last() {
            Some(chunk) if chunk.seq < range.end => after = Some(chunk.seq),
            _ => return Ok(()),
        }
    }
}

/// What it means when the last of several passes ends like this.
fn restlessness(what: What) -> Option<(ProblemKind, &'static str)> {
    match what {
        What::Changed => Some((ProblemKind::Changing, "it was written to all the time, in the last pass too; what was copied is its state at one moment")),
        What::Vanished => Some((ProblemKind::Unreadable, "the source lists it, but it cannot be opened")),
        What::Spared => Some((ProblemKind::Occupied, "somebody changed it at the destination again and again during the last pass, so it was left alone")),
        _ => None,
    }
}

/// Plans what differs between the source now and the records, into a round of a ledger or only to know it; true when nothing does.
pub(super) async fn plan_round(mover: &FilesMover, known: &[&dyn Ledger], into: Option<(&dyn Ledger, u64)>, doubts: &Doubts) -> Result<(FilesPlan, bool)> {
    let limit = mover.destination.traits().single_put_limit;
    let builder = into.map(|(last, round)| Builder::new(last, round, [0; PHASES], limit, mover.options.chunk_size).packed(mover.whole.is_some()));
    let mut planner = Planner::new(mover, Window::new(mover, builder, FilesPlan::default(), None))?;
    planner.known = known;
    planner.only_doubted = doubts.only;
    let now = now_ns();
    let mut source = Sorted::new(mover.source.list_pruned(planner.exclude.prune()), mover.source.location());
    let mut records = Records::of(known).await?;
    let mut record = records.next().await?;
    let mut through = Vec::new();
    loop {
        source.fill(false).await?;
        if through.is_empty() && into.is_some() && !doubts.only && source.peek().is_none() && record.is_some() {
            refuse_emptied(mover)?;
        }
        let (ours, word) = match (source.peek(), &record) {
            (None, None) => break,
            (Some(_), None) => (source.take(), None),
            (Some(a), Some(r)) if a < r.key.as_slice() => (source.take(), None),
            (Some(a), Some(r)) if a == r.key.as_slice() => (source.take(), record.take()),
            _ => (None, record.take()),
        };
        let Some(key) = ours.as_ref().map(|(k, _)| k.clone()).or_else(|| word.as_ref().map(|r| r.key.clone())) else { break };
        planner.window.arrive(Some(&key));
        planner.chain.advance(Some(&key), &mut planner.window);
        if planner.window.is_full() {
            planner.window.flush(&through).await?;
        }
        if record.is_none() && word.is_some() {
            record = records.next().await?;
        }
        match (ours, word) {
            (Some((_, entry)), word) => {
                planner.window.plan.saw_time(entry.modified_ns, now);
                let doubted = word.as_ref().is_some_and(|record| doubts.concern(record));
                planner.source_again(&key, entry, word, doubted).await?;
            }
            (None, Some(word)) if !doubts.only => planner.vanished(&key, word).await?,
            (None, _) => {}
        }
        through = key;
    }
    planner.window.arrive(None);
    planner.chain.advance(None, &mut planner.window);
    if planner.window.is_empty() {
        return Ok((planner.window.plan, true));
    }
    planner.window.flush(&through).await?;
    Ok((planner.window.plan, false))
}

/// A source that has become empty between the passes is more often a disk that is not mounted any more.
fn refuse_emptied(mover: &FilesMover) -> Result<()> {
    if mover.options.allow_empty_source {
        return Ok(());
    }
    let reason = "it is empty now, and everything that was copied would be removed again";
    Err(ConnectorError::new(ErrorKind::Invalid, "list again", mover.source.location(), reason)
        .advice("Check that the source is still mounted; if it was emptied on purpose, say so with allow_empty_source (--allow-empty-source)"))
}

impl Planner<'_> {
    /// `doubted`: its content is known to have changed, though the listing does not show it.
    async fn source_again(&mut self, key: &[u8], entry: Entry, word: Option<Record>, doubted: bool) -> Result<()> {
        if self.exclude.leaves_out(&entry.path, entry.size()) || self.collides(key, &entry.path) || !self.acceptable(&entry) {
            return Ok(());
        }
        let (stat, follow) = match &entry.kind {
            EntryKind::Directory => return self.directory_again(key, &entry, word).await,
            EntryKind::Other(kind) if !self.mover.remakes(kind) => return self.left_behind(key, word).await,
            EntryKind::Symlink { .. } => match self.mover.link(&entry).await? {
                Linked::Keep => {
                    if word.is_none() {
                        self.name_link_out(&entry).await?;
                    }
                    (Stat::of(&entry), false)
                }
                Linked::Follow(target) => (Stat::of(&target), true),
                Linked::Problem(..) => return self.left_behind(key, word).await,
            },
            EntryKind::File { .. } | EntryKind::Other(_) => (Stat::of(&entry), false),
        };
        let hard = self.names.first_of(&entry.path, &stat);
        if self.only_doubted && !(doubted && word.as_ref().is_some_and(|w| is_as_read(w, &stat))) {
            return Ok(());
        }
        self.clear_way(key);
        self.chain.inhabit(key, &mut self.window);
        self.chain.block(Blocker::Source { path: entry.path.clone(), told: false });
        if !doubted && word.as_ref().is_some_and(|w| is_current(w, &stat)) {
            return Ok(());
        }
        let stands = match &word {
            Some(record @ Record { word: Word::Content { item, outcome }, .. }) if !record.is_spared() => match outcome {
                Some(outcome) if outcome.is_confirmed() => EarlierCopy::recorded(item, Some(outcome)),
                _ => self.standing_copy(record, item).await?,
            },
            _ => None,
        };
        let Some((before, saved)) = self.before(&entry.path, &stat, word).await? else { return Ok(()) };
        self.new_parents(key).await?;
        self.chain.fill(key, &mut self.window);
        let stands = stands.map(Box::new);
        let item = Item { before, follow, hard, stands, ..Item::new(entry.path, stat) };
        self.window.item(item.with_saved_copy(saved), false);
        Ok(())
    }

    /// What stood at the destination before the migration, and where the backup holds it; `None` when it must not be overwritten.
    async fn before(&mut self, path: &FilePath, stat: &Stat, word: Option<Record>) -> Result<Option<(Option<Stat>, Option<SavedCopy>)>> {
        let standing = match word {
            Some(record @ Record { word: Word::Content { .. }, .. }) if !record.is_spared() => {
                let Word::Content { outcome, .. } = record.word else { return Ok(None) };
                let untouched = outcome.is_some_and(|o| o.what == What::Same) && record.original.is_some();
                if !untouched {
                    return Ok(Some((record.original, record.saved)));
                }
                record.original
            }
            _ => self.mover.destination.stat(path).await?.map(|e| Stat::of(&e)),
        };
        // A directory in the way is cleared where it is ours; where it is not, the write says so.
        let Some(standing) = standing.filter(|s| !matches!(s.kind, EntryKind::Directory)) else { return Ok(Some((None, None))) };
        let same_link = matches!(stat.kind, EntryKind::Symlink { .. }) && stat.kind == standing.kind;
        if same_link || !matches!(standing.kind, EntryKind::File { .. }) && !matches!(standing.kind, EntryKind::Symlink { .. }) {
            return Ok(Some((Some(standing), None)));
        }
        let Some(keeping) = &self.mover.backup else {
            if self.mover.overwriting {
                return Ok(Some((Some(standing), None)));
            }
            self.window.problem(path, ProblemKind::Occupied, "it changed during the migration, and what the destination holds there was not backed up");
            return Ok(None);
        };
        if !matches!(standing.kind, EntryKind::File { .. }) {
            return Ok(Some((Some(standing), None)));
        }
        match backup::save_one(self.mover, keeping, path, &standing).await? {
            Ok(saved) => Ok(Some(saved.map_or((None, None), |s| (Some(s.stat), Some(s.copy))))),
            Err(reason) => {
                let reason = format!("what the destination holds there could not be saved, so it was left alone: {reason}");
                self.window.problem(path, ProblemKind::Occupied, reason);
                Ok(None)
            }
        }
    }

    async fn directory_again(&mut self, key: &[u8], entry: &Entry, word: Option<Record>) -> Result<()> {
        self.note_unlisted(entry);
        if !self.only_doubted {
            self.clear_way(key);
        }
        let path = tidy(&entry.path, true);
        self.new_parents(path.as_bytes()).await?;
        self.chain.inhabit(path.as_bytes(), &mut self.window);
        let stat = Stat::of(entry);
        let (before, current) = match word {
            Some(Record { word: Word::Folder { folder }, original, .. }) => {
                let current = folder.stat.is_some_and(|s| same_folder(&s, &stat));
                (original, current)
            }
            _ if self.tree => (self.mover.destination.stat(&path).await?.map(|e| Stat::of(&e)), false),
            _ => (None, false),
        };
        let mut dir = Dir::new(&path, before.clone());
        dir.stat = Some(stat.clone());
        if !current && !self.only_doubted {
            self.chain.fill(path.as_bytes(), &mut self.window);
            let leaf = before.is_none();
            dir.folder = Some(self.window.folder(Folder { path, stat: Some(stat), before, leaf }));
        }
        self.chain.enter(dir);
        Ok(())
    }

    /// Plans the directories above that no ledger knows.
    async fn new_parents(&mut self, key: &[u8]) -> Result<()> {
        for path in self.chain.unlisted(key) {
            let before = self.mover.destination.stat(&path).await?.map(|e| Stat::of(&e));
            self.chain.touch(path.as_bytes(), &mut self.window);
            let mut dir = Dir::new(&path, before.clone());
            dir.folder = Some(self.window.folder(Folder { path, stat: None, before, leaf: false }));
            self.chain.enter(dir);
        }
        Ok(())
    }

    /// The source has something there now that is never moved.
    async fn left_behind(&mut self, key: &[u8], word: Option<Record>) -> Result<()> {
        match word {
            Some(word) if !self.only_doubted => self.vanished(key, word).await,
            _ => Ok(()),
        }
    }

    /// The source has it no more: what we had put there goes too.
    async fn vanished(&mut self, key: &[u8], record: Record) -> Result<()> {
        if self.is_closed(key) {
            self.chain.keep_above(record.path.as_bytes());
            if matches!(record.word, Word::Folder { .. }) {
                self.chain.enter(Dir::new(&record.path, record.original));
            }
            return Ok(());
        }
        let gone = match &record.word {
            Word::Removed => return Ok(()),
            // Left alone once; where nothing stood before, it may still be what an interrupted try of ours has put there.
            Word::Content { item, .. } if record.is_spared() => {
                let now = self.mover.destination.stat(&record.path).await?.map(|e| Stat::of(&e));
                match now.filter(|_| record.original.is_none()) {
                    Some(now) if self.is_ours(&record, item, &now).await? => Some(Gone { path: record.path.clone(), before: now, ours: true, stands: None }),
                    _ => return Ok(()),
                }
            }
            Word::Content { outcome: Some(outcome), .. } if outcome.what == What::Same && record.original.is_some() => return Ok(()),
            Word::Content { item, outcome: Some(outcome) } if outcome.is_confirmed() => {
                let stands = EarlierCopy::recorded(item, Some(outcome)).map(Box::new);
                Some(Gone { path: record.path.clone(), before: item.stat.clone(), ours: true, stands })
            }
            // Not confirmed: the copy of an earlier pass may still stand there, or what a try that was interrupted has put in its place.
            Word::Content { item, .. } => {
                let now = self.mover.destination.stat(&record.path).await?.map(|e| Stat::of(&e));
                let foreign = |now: &Stat| record.original.as_ref().is_some_and(|original| now.same_content(original));
                match now.filter(|now| !foreign(now)) {
                    Some(now) if self.is_ours(&record, item, &now).await? => Some(Gone { path: record.path.clone(), before: now, ours: true, stands: None }),
                    _ => None,
                }
            }
            Word::Folder { folder } => {
                let before = folder.stat.clone().unwrap_or_else(Stat::of_directory);
                match &record.original {
                    None => Some(Gone { path: record.path.clone(), before, ours: true, stands: None }),
                    // It was there before us: like all that the source does not have, it goes only where that was asked for.
                    Some(original) if self.mover.options.delete_extraneous => {
                        Some(Gone { path: record.path.clone(), before: original.clone(), ours: false, stands: None })
                    }
                    Some(_) => None,
                }
            }
        };
        match gone {
            Some(gone) => self.surplus(key, gone, true),
            None if matches!(record.word, Word::Folder { .. }) => {
                self.chain.keep_above(record.path.as_bytes());
                self.chain.enter(Dir::new(&record.path, record.original));
            }
            None => {}
        }
        Ok(())
    }

    /// The copy of ours that a path holds now, when the last try was not confirmed: an earlier one, or what was put there before a crash.
    async fn standing_copy(&self, record: &Record, item: &Item) -> Result<Option<EarlierCopy>> {
        if let Some(now) = self.mover.destination.stat(&record.path).await? {
            let stat = Stat::of(&now);
            let earlier = match &record.placed {
                Some(placed) => placed.is(self.mover.destination.as_ref(), &now).await?,
                None => false,
            };
            // Without times only the hash may tell what is replaced unseen.
            if !earlier && self.mover.destination.traits().mtime_resolution_ns > 0 && self.is_ours(record, item, &stat).await? {
                return Ok(Some(EarlierCopy { stat, proof: None }));
            }
        }
        Ok(record.placed.clone().or_else(|| EarlierCopy::recorded(item, None)))
    }

    /// Whether what stands there is the copy of an earlier pass, or was put there by a try of ours that was interrupted. Times decide where the
    /// destination keeps them.
    async fn is_ours(&self, record: &Record, item: &Item, now: &Stat) -> Result<bool> {
        if let Some(placed) = &record.placed
            && placed.is(self.mover.destination.as_ref(), &now.entry(&record.path)).await?
        {
            return Ok(true);
        }
        let resolution = self.mover.destination.traits().mtime_resolution_ns as i64;
        let planned = Intent::of(&item.stat).filter(|_| resolution > 0);
        match planned {
            Some(planned) => Ok(planned.is(now, resolution) || is_declared(self.known, &item.path, now, resolution).await?),
            None => Ok(now.kind == item.stat.kind),
        }
    }
}

/// Whether the destination holds what the source has now.
fn is_current(record: &Record, stat: &Stat) -> bool {
    matches!(&record.word, Word::Content { outcome: Some(outcome), .. } if outcome.is_there()) && is_as_read(record, stat)
}

/// Whether the source has what was read of it, or what was to be read.
fn is_as_read(record: &Record, stat: &Stat) -> bool {
    let Word::Content { item, outcome } = &record.word else { return false };
    let read = outcome.as_ref().and_then(|o| o.read.as_ref()).unwrap_or(&item.stat);
    read.same_content(stat) && !read.other_mode(stat) && read.same_facts(stat)
}
