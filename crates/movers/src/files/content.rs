//! Doing one round of a ledger: clear the way, move the content, remove what is extraneous, then set the directories right.

use super::intents;
use super::item::{Folder, Gone, PHASES, Phase, Results, Spec, Stat, decode, encode, round_of, span};
use super::lane::Lane;
use super::pump::Pump;
use super::records::{just_before, last_marker};
use super::sides::{Fault, Side};
use super::told::Told;
use super::{FilesMover, is_tree, or_stop};
use futures::{StreamExt, TryStreamExt};
use ports::files::{Entry, EntryKind, FilePath, not_as_expected};
use ports::ledger::{Chunk, ChunkDone};
use ports::{ErrorKind, Ledger, Observer, Result};
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

/// How closely the source is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// A final pass follows.
    Bulk,
    /// Nothing follows: every file is looked at again after it was read.
    Final,
    /// The same, and only what is as it was planned is copied: the source lives again.
    Again,
    /// Nothing follows, and the files are never at rest: each is copied as it is when it is read.
    Snapshot,
}

const PAGE: usize = 16;

/// Does everything that is pending in `round` of a ledger. `known`: the ledgers of the passes before. Resumable.
pub(super) async fn run_round(
    mover: &FilesMover,
    (ledger, known): (&dyn Ledger, &[&dyn Ledger]),
    round: u64,
    care: Care,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<()> {
    let (mut lane, told) = mover.lane();
    let (intents, asked) = intents::channel();
    lane.intents = Some(intents);
    lane.look_again = matches!(care, Care::Final | Care::Again);
    lane.exact = care == Care::Again;
    lane.snapshot = care == Care::Snapshot;
    lane.guarded = true;
    let done = Round { mover, ledger, number: round, observer, lane: Arc::new(lane), told };
    tokio::select! {
        ended = all_phases(done, care, stop) => ended,
        ended = asked.serve(ledger, known) => ended,
    }
}

async fn all_phases(mut done: Round<'_>, care: Care, stop: &CancellationToken) -> Result<()> {
    let (mover, ledger, round, observer) = (done.mover, done.ledger, done.number, done.observer);
    let what = || mover.destination.location();
    or_stop(stop, "clear the way at", what(), done.removals(Phase::Clear)).await?;
    let (lane, told) = (done.lane.clone(), std::mem::replace(&mut done.told, tokio::sync::mpsc::unbounded_channel().1));
    done.told = Pump::new(lane, told, mover.parallel(), ledger, observer, stop, "file_transfer").run(span(round, Phase::Content)).await?;
    if mover.whole.is_some() {
        let (lane, told) = (done.lane.clone(), std::mem::replace(&mut done.told, tokio::sync::mpsc::unbounded_channel().1));
        done.told = Pump::new(lane, told, mover.parallel(), ledger, observer, stop, "file_transfer").run(span(round, Phase::Links)).await?;
    }
    or_stop(stop, "remove extraneous files at", what(), done.removals(Phase::Delete)).await?;
    if mover.whole.is_some() || care != Care::Bulk {
        // What a crash left half-written goes before its directory gets its time, and before anything is called transferred.
        or_stop(stop, "remove what is unfinished at", what(), mover.sweep()).await?;
    }
    or_stop(stop, "finish the directories at", what(), done.folders()).await?;
    if let Some(whole) = &mover.whole {
        or_stop(stop, "finish the root of", what(), whole.finish_root(ledger)).await?;
    }
    done.markers().await
}

struct Round<'a> {
    mover: &'a FilesMover,
    ledger: &'a dyn Ledger,
    number: u64,
    observer: &'a dyn Observer,
    lane: Arc<Lane>,
    told: UnboundedReceiver<Told>,
}

impl Round<'_> {
    fn drain(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            told.tell(self.observer, "file_transfer");
        }
    }

    async fn count(&self, phase: Phase) -> Result<u64> {
        Ok(last_marker(self.ledger, self.number).await?.map_or([0; PHASES], |m| m.next)[phase as usize])
    }

    /// Pending chunks of a phase, by pages of numbers.
    async fn page(&self, phase: Phase, page: u64) -> Result<Vec<Chunk>> {
        let range = span(self.number, phase);
        let from = range.start + page * PAGE as u64;
        let to = from + PAGE as u64;
        let chunks = self.ledger.pending(just_before(from), PAGE).await?;
        Ok(chunks.into_iter().filter(|c| c.seq < to && round_of(c.seq) == self.number && range.contains(&c.seq)).collect())
    }

    /// Removals are planned children first.
    async fn removals(&mut self, phase: Phase) -> Result<()> {
        for page in 0..self.count(phase).await?.div_ceil(PAGE as u64) {
            let mut done = Vec::new();
            for chunk in self.page(phase, page).await? {
                let Spec::Remove(mut list) = decode(&chunk.spec)? else { continue };
                for gone in list.iter_mut().filter(|gone| is_directory(gone)) {
                    gone.path = self.mover.folder_path(&gone.path);
                }
                let left = self.in_groups(&list, deepest_first(&list, |gone| &gone.path, is_directory), remove).await?;
                done.push(ChunkDone { seq: chunk.seq, result: encode(&Results::Left(left))?, items: 0, bytes: 0 });
            }
            self.record(done).await?;
        }
        Ok(())
    }

    /// Directories are planned parents first, and finished children first.
    async fn folders(&mut self) -> Result<()> {
        let pages = self.count(Phase::Folders).await?.div_ceil(PAGE as u64);
        if is_tree(self.mover.destination.as_ref()) {
            for page in 0..pages {
                for chunk in self.page(Phase::Folders, page).await? {
                    let Spec::Folders(mut list) = decode(&chunk.spec)? else { continue };
                    list.retain(|f| f.leaf);
                    self.in_groups(&list, deepest_first(&list, |f| &f.path, |_| false), bare).await?;
                }
            }
        }
        for page in (0..pages).rev() {
            let mut chunks = Vec::new();
            for chunk in self.page(Phase::Folders, page).await?.into_iter().rev() {
                if let Spec::Folders(list) = decode(&chunk.spec)? {
                    chunks.push((chunk.seq, list));
                }
            }
            let whole = self.all_at_once(chunks.iter().flat_map(|(_, list)| list)).await?;
            let mut done = Vec::new();
            for (seq, list) in chunks {
                let left = if whole { Vec::new() } else { self.one_by_one(&list).await? };
                done.push(ChunkDone { seq, result: encode(&Results::Left(left))?, items: 0, bytes: 0 });
            }
            self.record(done).await?;
        }
        Ok(())
    }

    /// Finishes the directories of a chunk, the deepest first. Gives what was left alone and why, by its place in the chunk.
    async fn one_by_one(&mut self, all: &[Folder]) -> Result<Vec<(u32, String)>> {
        let modes = self.mover.destination.traits().modes;
        let list: Vec<Folder> = all.iter().filter(|f| finished(f, modes).is_some()).cloned().collect();
        let left = self.in_groups(&list, deepest_first(&list, |f| &f.path, |_| true), finish).await?;
        let place = |path: &FilePath| all.iter().position(|f| f.path == *path).unwrap_or_default() as u32;
        Ok(left.into_iter().map(|(at, reason)| (place(&list[at as usize].path), reason)).collect())
    }

    /// Gives the directories of a whole tree all their facts in one call; false when they must go one by one.
    async fn all_at_once(&self, list: impl Iterator<Item = &Folder>) -> Result<bool> {
        let entries: Vec<Entry> = list.filter_map(|f| finished(f, true)).collect();
        let (Some(whole), Some(first)) = (&self.mover.whole, entries.first()) else { return Ok(false) };
        let made = self.lane.retry(&first.path, 0, async || whole.target.make_directories(&entries).await.map_err(Fault::target)).await;
        match made {
            Ok(()) => Ok(true),
            Err(Fault { error, .. }) if error.kind == ErrorKind::AlreadyExists => Ok(false),
            Err(fault) => Err(fault.error),
        }
    }

    /// Acts on every thing, side by side, one group of [`deepest_first`] after the other. Gives what was left alone and why.
    async fn in_groups<T, F>(&mut self, list: &[T], groups: Vec<Vec<usize>>, act: impl Fn(Arc<Lane>, T) -> F) -> Result<Vec<(u32, String)>>
    where
        T: Clone,
        F: Future<Output = Result<(), Fault>>,
    {
        let mut left = Vec::new();
        for group in groups {
            let calls: Vec<_> = group.into_iter().map(|at| outcome(at, act(self.lane.clone(), list[at].clone()))).collect();
            let answers: Vec<Option<(u32, String)>> = futures::stream::iter(calls).buffer_unordered(self.mover.parallel()).try_collect().await?;
            left.extend(answers.into_iter().flatten());
            self.drain();
        }
        Ok(left)
    }

    async fn record(&self, done: Vec<ChunkDone>) -> Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        self.lane.target.settle().await?;
        self.ledger.done(done).await
    }

    /// Markers have nothing to do; they are done with their round.
    async fn markers(&self) -> Result<()> {
        let count = self.count(Phase::Marker).await?;
        for page in 0..count.div_ceil(PAGE as u64) {
            let mut done = Vec::new();
            for chunk in self.page(Phase::Marker, page).await? {
                done.push(ChunkDone { seq: chunk.seq, result: encode(&Results::Left(Vec::new()))?, items: 0, bytes: 0 });
            }
            self.record(done).await?;
        }
        Ok(())
    }
}

/// Positions in the order of acting: those of which `late` is true come after the others, the deepest first, one group per depth.
fn deepest_first<T>(list: &[T], path: impl Fn(&T) -> &FilePath, late: impl Fn(&T) -> bool) -> Vec<Vec<usize>> {
    let rank = |thing: &T| if late(thing) { usize::MAX - path(thing).segments().count() } else { 0 };
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_by_key(|at| rank(&list[*at]));
    order.chunk_by(|a, b| rank(&list[*a]) == rank(&list[*b])).map(<[usize]>::to_vec).collect()
}

/// What a call came to: done, left alone and why, or an error that ends the migration.
async fn outcome(at: usize, call: impl Future<Output = Result<(), Fault>>) -> Result<Option<(u32, String)>> {
    match call.await {
        Ok(()) => Ok(None),
        Err(Fault { side: Side::Target, error }) if concerns_one_path(error.kind) => Ok(Some((at as u32, error.reason))),
        Err(fault) => Err(fault.error),
    }
}

/// Whether the rest can go on.
fn concerns_one_path(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Permission | ErrorKind::Unsupported | ErrorKind::Name)
}

fn is_directory(gone: &Gone) -> bool {
    matches!(gone.before.kind, EntryKind::Directory)
}

/// Removes what still is what the plan saw, or what we put there.
async fn remove(lane: Arc<Lane>, gone: Gone) -> Result<(), Fault> {
    let once = || async {
        let expected = match &gone.stands {
            _ if is_directory(&gone) => bare_entry(gone.path.clone()),
            Some(copy) => match lane.target.stat(&gone.path).await? {
                None => return Ok(()),
                Some(found) if copy.is(lane.target.as_ref(), &found).await? => found,
                Some(_) => return Err(not_as_expected("remove", &gone.path, &lane.target.location())),
            },
            None => gone.before.entry(&gone.path),
        };
        lane.target.remove_if(&gone.path, &expected).await
    };
    lane.in_writable_directory(&gone.path, || lane.retry(&gone.path, 0, || async { once().await.map_err(Fault::target) })).await
}

fn bare_entry(path: FilePath) -> Entry {
    Stat::of_directory().entry(&path)
}

/// Makes a directory, without the mode that might forbid filling it.
async fn bare(lane: Arc<Lane>, folder: Folder) -> Result<(), Fault> {
    make(lane, bare_entry(folder.path)).await
}

/// The usual mode of a directory.
const DIRECTORY_MODE: u32 = 0o755;

/// What a directory is to be in the end; `None` when it stays as it is. Where the source tells no mode, one that we made gets the usual
/// one: while it is filled it is open to nobody else. `modes`: whether the destination has any.
fn finished(folder: &Folder, modes: bool) -> Option<Entry> {
    let usual = (modes && folder.before.is_none()).then_some(DIRECTORY_MODE);
    match &folder.stat {
        Some(stat) => {
            let entry = stat.entry(&folder.path);
            Some(Entry { mode: entry.mode.or(usual), ..entry })
        }
        None => usual.map(|mode| Entry { mode: Some(mode), ..Entry::new(folder.path.clone(), EntryKind::Directory) }),
    }
}

/// Gives a directory its mode and time.
async fn finish(lane: Arc<Lane>, folder: Folder) -> Result<(), Fault> {
    match finished(&folder, lane.target.traits().modes) {
        Some(entry) => make(lane, entry).await,
        None => Ok(()),
    }
}

async fn make(lane: Arc<Lane>, entry: Entry) -> Result<(), Fault> {
    lane.retry(&entry.path, 0, || async { lane.target.make(&entry).await.map_err(Fault::target) }).await
}
