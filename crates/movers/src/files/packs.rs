//! A batch of a whole tree in one stream: packed by the source, hashed as it passes, unpacked by the target. What does not arrive that way
//! (it vanished, changed meanwhile, or something stands in its place) goes its own way, one by one.

use super::conflict::Guard;
use super::digest::Running;
use super::intents::Intents;
use super::item::{Item, Outcome, Stat, What};
use super::lane::Lane;
use super::sides::Fault;
use super::told::Flow;
use super::whole::Whole;
use futures::{StreamExt, TryStreamExt};
use ports::files::posix::{Pack, Packed};
use ports::files::{Digest, DigestKind, Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Holes are hashed as the zeros that they read as.
const ZEROS: &[u8] = &[0; 64 << 10];

impl Lane {
    /// Moves all items of a batch. An error stops the migration; what concerns one path is its outcome.
    pub(super) async fn carry_batch(&self, whole: &Whole, items: &[Item]) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = items.iter().map(|_| None).collect();
        let mut stale = vec![false; items.len()];
        self.names(whole, items, &mut outcomes).await?;
        let streamed: Vec<usize> = (0..items.len()).filter(|at| items[*at].same.is_none() && items[*at].hard.is_none() && !items[*at].follow).collect();
        let replaces = |item: &Item| matches!(self.guard_of(item), Guard::Only(_) | Guard::Unknown);
        let streamed = self.without_foreign(whole, items, streamed, replaces, &mut outcomes).await?;
        let chosen: Vec<(&Item, bool)> = streamed.iter().map(|at| (&items[*at], self.guard_of(&items[*at]) == Guard::Nothing)).collect();
        let found = self.stream_and_settle(whole, &chosen).await?;
        for (at, arrived) in streamed.iter().zip(found) {
            stale[*at] = matches!(arrived, Arrived::Stale);
            outcomes[*at] = arrived.outcome();
        }
        let mut all = Vec::with_capacity(items.len());
        for ((item, outcome), stale) in items.iter().zip(outcomes).zip(stale) {
            all.push(match outcome {
                Some(outcome) => outcome,
                None if stale => self.carry_again(item).await?,
                None => self.carry(item).await?,
            });
        }
        Ok(all)
    }

    /// Leaves out what would replace something that neither the plan saw nor this run has put there: one look at all of them, right before
    /// they are written.
    async fn without_foreign(
        &self,
        whole: &Whole,
        items: &[Item],
        chosen: Vec<usize>,
        doubtful: impl Fn(&Item) -> bool,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<Vec<usize>> {
        let (mut met, mut rest): (Vec<usize>, Vec<usize>) = chosen.into_iter().partition(|at| self.guarded && doubtful(&items[*at]));
        let Some(first) = met.first() else { return Ok(rest) };
        let looked: Vec<(&Item, Stat)> = met.iter().map(|at| (&items[*at], items[*at].stat.clone())).collect();
        let foreign = self.retry(&items[*first].path, 0, || self.foreign_among(whole, &looked)).await.map_err(|f| f.error)?;
        for (at, _) in met.iter().zip(&foreign).filter(|(_, foreign)| **foreign) {
            outcomes[*at] = Some(Outcome::of(What::Spared));
        }
        met.retain(|at| outcomes[*at].is_none());
        rest.extend(met);
        rest.sort_unstable();
        Ok(rest)
    }

    /// A stream, and a second one for what met something of our own: a try that was interrupted has left it. `chosen`: each with whether it spares
    /// what stands there.
    async fn stream_and_settle(&self, whole: &Whole, chosen: &[(&Item, bool)]) -> Result<Vec<Arrived>> {
        let mut found = self.stream_patiently(whole, chosen).await?;
        let met: Vec<usize> = (0..found.len()).filter(|at| matches!(found[*at], Arrived::Occupied(_))).collect();
        if met.is_empty() {
            return Ok(found);
        }
        let mut looked = Vec::with_capacity(met.len());
        for at in &met {
            if let Arrived::Occupied(read) = std::mem::replace(&mut found[*at], Arrived::Not) {
                looked.push((chosen[*at].0, *read));
            }
        }
        let foreign = self.retry(&looked[0].0.path, 0, || self.foreign_among(whole, &looked)).await.map_err(|f| f.error)?;
        let mut again = Vec::new();
        for (at, foreign) in met.into_iter().zip(foreign) {
            if foreign {
                found[at] = Arrived::Whole(Box::new(Outcome::of(What::Spared)));
            } else {
                again.push(at);
            }
        }
        let ours: Vec<(&Item, bool)> = again.iter().map(|at| (chosen[*at].0, false)).collect();
        for (at, arrived) in again.into_iter().zip(self.stream_patiently(whole, &ours).await?) {
            found[at] = arrived;
        }
        Ok(found)
    }

    /// Tries a stream until it passes, or cannot: then each thing is to go its own way.
    async fn stream_patiently(&self, whole: &Whole, chosen: &[(&Item, bool)]) -> Result<Vec<Arrived>> {
        let Some((first, _)) = chosen.first() else { return Ok(Vec::new()) };
        let bytes = chosen.iter().map(|(i, _)| i.stat.size()).sum();
        match self.retry(&first.path, bytes, || self.stream(whole, chosen)).await {
            Ok(found) => Ok(found),
            // One thing may have spoiled it for all.
            Err(fault) if matches!(fault.error.kind, ErrorKind::Invalid | ErrorKind::Permission | ErrorKind::Changed | ErrorKind::Name) => {
                Ok(chosen.iter().map(|_| Arrived::Not).collect())
            }
            Err(fault) => Err(fault.error),
        }
    }

    /// Further names of files that are there.
    async fn names(&self, whole: &Whole, items: &[Item], outcomes: &mut [Option<Outcome>]) -> Result<()> {
        let places: Vec<usize> = (0..items.len()).filter(|at| items[*at].hard.is_some()).collect();
        // A link replaces whatever stands there, so all of them are looked at.
        let places = self.without_foreign(whole, items, places, |_| true, outcomes).await?;
        let Some(first) = places.first().copied() else { return Ok(()) };
        let pairs: Vec<(FilePath, FilePath)> = places.iter().filter_map(|at| items[*at].hard.clone().map(|leader| (leader, items[*at].path.clone()))).collect();
        let named = self.retry(&items[first].path, 0, async || whole.target.link(&self.staging, &pairs).await.map_err(Fault::target)).await;
        for (at, result) in places.into_iter().zip(named.map_err(|f| f.error)?) {
            // Without the first name there is still the content.
            outcomes[at] = result.is_ok().then(|| Outcome::of(What::Named));
        }
        Ok(())
    }

    /// One try at a stream.
    async fn stream(&self, whole: &Whole, chosen: &[(&Item, bool)]) -> Result<Vec<Arrived>, Fault> {
        let items: Vec<&Item> = chosen.iter().map(|(item, _)| *item).collect();
        let paths: Vec<FilePath> = items.iter().map(|i| i.path.clone()).collect();
        let pack = whole.source.pack(paths.clone()).await.map_err(Fault::source)?;
        let fresh = chosen.iter().map(|(_, spares)| *spares).collect();
        let planned = items.iter().map(|item| item.stat.clone()).collect();
        let watch = Watch::new(&paths, fresh, planned, self.kind, self.flow.clone());
        let unpacked = whole.target.unpack(&self.staging, watch.over(pack, self.intents.clone())).await.map_err(|e| watch.blame(e))?;
        let seen = watch.seen();
        let now = self.looked_at_again(whole, &items, &seen).await.map_err(Fault::source)?;
        let mut all: Vec<Arrived> = items.iter().map(|_| Arrived::Not).collect();
        for ((seen, result), now) in seen.into_iter().zip(unpacked).zip(now) {
            let at = seen.at;
            all[at] = match result {
                Ok(()) => now.and_then(|now| arrived(items[at], seen, &now)).map_or(Arrived::Stale, |o| Arrived::Whole(Box::new(o))),
                Err(e) if e.kind == ErrorKind::AlreadyExists && chosen[at].1 => Arrived::Occupied(Box::new(Stat::of(&seen.entry))),
                Err(_) => Arrived::Not,
            };
        }
        Ok(all)
    }

    /// What the source has now of the things that passed, in their order. One that passed as it was planned is looked at again in a last pass
    /// only: behind every other one there is a listing that finds what was written to while it was read.
    async fn looked_at_again(&self, whole: &Whole, items: &[&Item], seen: &[Seen]) -> Result<Vec<Option<Stat>>> {
        let as_planned: Vec<bool> = seen.iter().map(|s| !self.look_again && is_as_read(&Stat::of(&s.entry), &items[s.at].stat)).collect();
        let doubtful: Vec<FilePath> = seen.iter().zip(&as_planned).filter(|(_, as_planned)| !**as_planned).map(|(s, _)| items[s.at].path.clone()).collect();
        let mut looked = if doubtful.is_empty() { Vec::new() } else { whole.source.stats(&doubtful).await? }.into_iter();
        let now =
            |(seen, as_planned): (&Seen, bool)| if as_planned { Some(items[seen.at].stat.clone()) } else { looked.next().flatten().map(|e| Stat::of(&e)) };
        Ok(seen.iter().zip(as_planned).map(now).collect())
    }
}

/// What a stream has made of a thing.
enum Arrived {
    Whole(Box<Outcome>),
    /// It is there, but the source is not as it was read.
    Stale,
    /// Something stands in its place; as it was read.
    Occupied(Box<Stat>),
    Not,
}

impl Arrived {
    fn outcome(self) -> Option<Outcome> {
        if let Self::Whole(outcome) = self { Some(*outcome) } else { None }
    }
}

/// What became of a thing that was written: `None` when the source is not as it was read.
fn arrived(item: &Item, seen: Seen, now: &Stat) -> Option<Outcome> {
    if !is_as_read(&Stat::of(&seen.entry), now) {
        return None;
    }
    let what = match now.kind {
        EntryKind::File { .. } => What::Copied,
        EntryKind::Symlink { .. } => What::Linked,
        _ => What::Made,
    };
    Some(Outcome { digest: seen.digest, read: (*now != item.stat).then(|| now.clone()), ..Outcome::of(what) })
}

fn is_as_read(read: &Stat, now: &Stat) -> bool {
    read.kind == now.kind && read.modified_ns == now.modified_ns && !read.other_mode(now) && same_owner(read, now)
}

/// Attributes are left to the comparison of listings: an archive may hold fewer of them than a listing tells.
fn same_owner(read: &Stat, now: &Stat) -> bool {
    match (&read.posix, &now.posix) {
        (Some(a), Some(b)) => (a.owner, a.group) == (b.owner, b.group),
        _ => true,
    }
}

/// A thing that passed.
struct Seen {
    /// Its place among the items.
    at: usize,
    entry: Box<Entry>,
    digest: Option<Digest>,
}

/// The file that is passing now.
struct Passing {
    running: Running,
    size: u64,
    /// Where its bytes are, the next ones first in reverse order.
    data: Vec<Range<u64>>,
    /// How far it is hashed.
    hashed: u64,
}

struct Passed {
    places: HashMap<FilePath, usize>,
    fresh: Vec<bool>,
    /// As they were planned.
    planned: Vec<Stat>,
    kind: DigestKind,
    seen: Vec<Seen>,
    passing: Option<Passing>,
    fault: Option<ConnectorError>,
}

/// Watches a pack: hashes every file, and knows whose fault an error is.
struct Watch {
    passed: Arc<Mutex<Passed>>,
    flow: Arc<Flow>,
}

impl Watch {
    fn new(paths: &[FilePath], fresh: Vec<bool>, planned: Vec<Stat>, kind: DigestKind, flow: Arc<Flow>) -> Self {
        let places = paths.iter().cloned().enumerate().map(|(at, path)| (path, at)).collect();
        Self { passed: Arc::new(Mutex::new(Passed { places, fresh, planned, kind, seen: Vec::new(), passing: None, fault: None })), flow }
    }

    fn over(&self, pack: Pack, intents: Option<Intents>) -> Pack {
        let (passed, flow) = (self.passed.clone(), self.flow.clone());
        let watched = pack.map(move |packed| passed.lock().unwrap_or_else(PoisonError::into_inner).pass(packed, &flow));
        let Some(intents) = intents else { return watched.boxed() };
        let passed = self.passed.clone();
        let declared = watched.and_then(move |packed| {
            let new = passed.lock().unwrap_or_else(PoisonError::into_inner).unplanned(&packed);
            let intents = intents.clone();
            async move {
                if let Some((path, read)) = new {
                    intents.declare(&path, &read).await?;
                }
                Ok(packed)
            }
        });
        declared.boxed()
    }

    fn blame(&self, target: ConnectorError) -> Fault {
        match self.passed.lock().unwrap_or_else(PoisonError::into_inner).fault.take() {
            Some(source) => Fault::source(source),
            None => Fault::target(target),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.finish();
        std::mem::take(&mut passed.seen)
    }
}

impl Passed {
    fn pass(&mut self, packed: Result<Packed>, flow: &Flow) -> Result<Packed> {
        match packed {
            Ok(Packed::Begin { entry, data, .. }) => {
                self.finish();
                let Some(at) = self.places.remove(&entry.path) else {
                    return Err(ConnectorError::new(ErrorKind::Protocol, "read", entry.path.to_string(), "the pack holds something that was not asked for"));
                };
                if let EntryKind::File { size } = entry.kind {
                    let data = data.iter().rev().cloned().collect();
                    self.passing = Some(Passing { running: Running::new(self.kind, None), size, data, hashed: 0 });
                }
                self.seen.push(Seen { at, entry: entry.clone(), digest: None });
                Ok(Packed::Begin { entry, data, fresh: self.fresh[at] })
            }
            Ok(Packed::Piece(piece)) => {
                flow.count(piece.len() as u64);
                if let Some(passing) = &mut self.passing {
                    passing.piece(&piece);
                }
                Ok(Packed::Piece(piece))
            }
            Err(error) => {
                let passed_on = ConnectorError::new(error.kind, error.operation.clone(), error.subject.clone(), error.reason.clone());
                self.fault = Some(error);
                Err(passed_on)
            }
        }
    }

    /// What begins to pass, when it is not as it was planned.
    fn unplanned(&self, packed: &Packed) -> Option<(FilePath, Stat)> {
        let (Packed::Begin { entry, .. }, Some(last)) = (packed, self.seen.last()) else { return None };
        let (planned, read) = (&self.planned[last.at], Stat::of(entry));
        (!read.same_content(planned)).then(|| (entry.path.clone(), read))
    }

    /// The file that was passing has ended.
    fn finish(&mut self) {
        if let (Some(passing), Some(last)) = (self.passing.take(), self.seen.last_mut()) {
            last.digest = Some(passing.finish());
        }
    }
}

impl Passing {
    fn piece(&mut self, mut piece: &[u8]) {
        while let Some(range) = self.data.last().cloned()
            && !piece.is_empty()
        {
            self.zeros(range.start);
            let length = (range.end - self.hashed).min(piece.len() as u64) as usize;
            self.running.update(&piece[..length]);
            self.hashed += length as u64;
            piece = &piece[length..];
            if self.hashed == range.end {
                self.data.pop();
            }
        }
    }

    fn zeros(&mut self, up_to: u64) {
        while self.hashed < up_to {
            let length = (up_to - self.hashed).min(ZEROS.len() as u64);
            self.running.update(&ZEROS[..length as usize]);
            self.hashed += length;
        }
    }

    fn finish(mut self) -> Digest {
        self.zeros(self.size);
        self.running.finish()
    }
}
