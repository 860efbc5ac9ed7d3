//! Reading the ledgers back: the newest word about every path, in path order, merged from several ledgers and rounds in memory
//! that does not grow with the number of files.

use super::conflict::EarlierCopy;
use super::item::{Folder, Gone, Item, Marker, Outcome, Phase, Results, SavedCopy, Spec, Stat, What, decode, round_of, seq, span};
use super::order::key;
use super::report::{FilesCopied, ProblemKind};
use ports::files::{EntryKind, FilePath};
use ports::ledger::Chunk;
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

pub(super) const PAGE: usize = 32;

/// `after` for a range that starts at `start`.
pub(super) fn just_before(start: u64) -> Option<u64> {
    start.checked_sub(1)
}

/// How far planning of a round came; `None` when nothing of it is planned.
pub(super) async fn last_marker(ledger: &dyn Ledger, round: u64) -> Result<Option<Marker>> {
    let range = span(round, Phase::Marker);
    let mut after = just_before(range.start);
    let mut last = None;
    loop {
        let page = ledger.all(after, PAGE).await?;
        for chunk in page.iter().filter(|c| range.contains(&c.seq)) {
            last = Some(chunk.spec.clone());
        }
        match page.last() {
            Some(chunk) if chunk.seq < range.end => after = Some(chunk.seq),
            _ => break,
        }
    }
    match last.map(|spec| decode::<Spec>(&spec)).transpose()? {
        Some(Spec::Marker(marker)) => Ok(Some(*marker)),
        _ => Ok(None),
    }
}

/// The rounds that a ledger holds, ascending.
pub(super) async fn rounds(ledger: &dyn Ledger) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    let mut after = None;
    while let Some(chunk) = ledger.all(after, 1).await?.first() {
        let round = round_of(chunk.seq);
        found.push(round);
        after = just_before(seq(round + 1, Phase::Clear, 0));
    }
    Ok(found)
}

/// What the ledgers say last about one path.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all words are about content")]
pub(super) enum Word {
    Content {
        item: Item,
        outcome: Option<Outcome>,
    },
    Folder {
        folder: Folder,
    },
    /// Put there by us, and removed again by a final pass.
    Removed,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) path: FilePath,
    pub(super) word: Word,
    /// What stood there before the migration, by the first ledger that knows the path.
    pub(super) original: Option<Stat>,
    /// Where the backup holds that, if not under its usual name.
    pub(super) saved: Option<SavedCopy>,
    /// A try was begun that may have changed something there.
    pub(super) begun: bool,
    /// The ledger (by its place among those that are read) and the round that had the last word.
    pub(super) by: (usize, u64),
    /// The copy of ours that was confirmed last: what stands there when later tries have put nothing in its place.
    pub(super) placed: Option<EarlierCopy>,
}

impl Record {
    fn new(path: FilePath, directory: bool, word: Word) -> Self {
        Self { key: key(&path, directory), path, word, original: None, saved: None, begun: true, by: (0, 0), placed: None }
    }

    fn content(item: Item, outcome: Option<Outcome>) -> Self {
        let (original, saved) = (item.before.clone(), item.saved_copy());
        let confirmed = outcome.as_ref().filter(|o| o.is_confirmed());
        let placed = confirmed.map_or_else(|| item.stands.as_deref().cloned(), |outcome| EarlierCopy::recorded(&item, Some(outcome)));
        Self { original, saved, placed, ..Self::new(item.path.clone(), false, Word::Content { item, outcome }) }
    }

    /// Whether nothing of ours was put there, because something stood there that the plan did not see.
    pub(super) fn is_spared(&self) -> bool {
        matches!(&self.word, Word::Content { outcome: Some(outcome), .. } if outcome.what == What::Spared && outcome.read.is_none())
    }

    /// Whether it is known what the last try has put there.
    fn is_confirmed(&self) -> bool {
        matches!(&self.word, Word::Content { outcome: Some(outcome), .. } if outcome.is_confirmed())
    }

    fn folder(folder: Folder) -> Self {
        Self { original: folder.before.clone(), ..Self::new(folder.path.clone(), true, Word::Folder { folder }) }
    }
}

/// One phase of one round of one ledger, in the order of paths.
struct Cursor<'a> {
    ledger: &'a dyn Ledger,
    by: (usize, u64),
    phase: Phase,
    range: Range<u64>,
    after: Option<u64>,
    buffer: VecDeque<Record>,
    /// The key that came last.
    last: Vec<u8>,
    ended: bool,
}

impl<'a> Cursor<'a> {
    fn new(ledger: &'a dyn Ledger, by: (usize, u64), phase: Phase) -> Self {
        let range = span(by.1, phase);
        let after = just_before(range.start);
        Self { ledger, by, phase, range, after, buffer: VecDeque::new(), last: Vec::new(), ended: false }
    }

    async fn fill(&mut self) -> Result<()> {
        while self.buffer.is_empty() && !self.ended {
            let page = self.ledger.all(self.after, PAGE).await?;
            self.ended = page.last().is_none_or(|c| c.seq >= self.range.end);
            self.after = page.last().map(|c| c.seq);
            let range = self.range.clone();
            for chunk in page.into_iter().filter(|c| range.contains(&c.seq)) {
                for record in records_of(chunk)? {
                    self.take(record)?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, mut record: Record) -> Result<()> {
        record.by = self.by;
        if record.key >= self.last {
            self.last.clone_from(&record.key);
            self.buffer.push_back(record);
            return Ok(());
        }
        // Removals are planned in another order: those that come late are known already, see `Records::removed`.
        if matches!(self.phase, Phase::Clear | Phase::Delete) {
            return Ok(());
        }
        let reason = format!("the records are out of order at {}", record.path);
        Err(ConnectorError::new(ErrorKind::Internal, "read", "the files ledger", reason))
    }
}

pub(super) fn records_of(chunk: Chunk) -> Result<Vec<Record>> {
    let begun = chunk.attempts > 0 || chunk.result.is_some();
    let mut records = decoded(chunk)?;
    for record in &mut records {
        record.begun = begun;
    }
    Ok(records)
}

fn decoded(chunk: Chunk) -> Result<Vec<Record>> {
    let results = chunk.result.as_deref().map(decode::<Results>).transpose()?;
    let (mut outcomes, left) = match results {
        Some(Results::Items(outcomes)) => (outcomes.into_iter().map(Some).collect(), Vec::new()),
        Some(Results::Left(left)) => (Vec::new(), left.into_iter().map(|(at, _)| at).collect()),
        _ => (Vec::new(), Vec::new()),
    };
    let mut outcomes = outcomes.drain(..);
    Ok(match decode::<Spec>(&chunk.spec)? {
        Spec::Batch(items) => items.into_iter().map(|item| Record::content(item, outcomes.next().flatten())).collect(),
        Spec::Place(large) => vec![Record::content(large.item, outcomes.next().flatten())],
        Spec::Folders(folders) => folders.into_iter().map(Record::folder).collect(),
        // Directories are not in the order of records here: see `Records::removed`.
        Spec::Remove(list) => list
            .into_iter()
            .enumerate()
            .filter(|(_, gone)| !matches!(gone.before.kind, EntryKind::Directory))
            .map(|(at, gone)| Record::new(gone.path.clone(), false, removal(gone, left.contains(&(at as u32)))))
            .collect(),
        Spec::Part { .. } | Spec::Marker(_) => Vec::new(),
    })
}

/// The last word about something that was to be removed. `left`: it was not, because somebody had changed it.
fn removal(gone: Gone, left: bool) -> Word {
    if left { Word::Content { item: Item::new(gone.path, gone.before), outcome: Some(Outcome::of(What::Spared)) } } else { Word::Removed }
}

/// All paths that the ledgers speak of, in order. A later ledger or round has the last word.
pub(super) struct Records<'a> {
    cursors: Vec<Cursor<'a>>,
    /// What final passes removed and planned behind something that comes later in the order of records (directories, and a file `a` that
    /// was held back while `a.txt` passed), with the cursor that knows it.
    removed: HashMap<Vec<u8>, (usize, Word)>,
}

impl<'a> Records<'a> {
    /// Content, directories, and what final passes removed.
    pub(super) async fn of(ledgers: &[&'a dyn Ledger]) -> Result<Self> {
        let mut cursors = Vec::new();
        let mut removed = HashMap::new();
        for (place, ledger) in ledgers.iter().enumerate() {
            for round in rounds(*ledger).await? {
                let phases: &[Phase] = if round == 0 {
                    &[Phase::Content, Phase::Links, Phase::Folders]
                } else {
                    &[Phase::Clear, Phase::Content, Phase::Links, Phase::Delete, Phase::Folders]
                };
                for phase in phases {
                    if matches!(phase, Phase::Clear | Phase::Delete) {
                        removed_late(*ledger, span(round, *phase), cursors.len(), &mut removed).await?;
                    }
                    cursors.push(Cursor::new(*ledger, (place, round), *phase));
                }
            }
        }
        Ok(Self { cursors, removed })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Record>> {
        for cursor in &mut self.cursors {
            cursor.fill().await?;
        }
        let Some(least) = self.cursors.iter().filter_map(|c| c.buffer.front()).map(|r| &r.key).min().cloned() else { return Ok(None) };
        let mut newest: Option<Record> = None;
        let removed = self.removed.get(&least);
        for (rank, cursor) in self.cursors.iter_mut().enumerate() {
            if cursor.buffer.front().is_some_and(|r| r.key == least)
                && let Some(mut record) = cursor.buffer.pop_front()
            {
                if let Some(older) = newest.take() {
                    record.begun |= older.begun;
                    if !older.is_spared() {
                        (record.original, record.saved) = (older.original, older.saved);
                    }
                    let removed = matches!(record.word, Word::Removed);
                    // An unconfirmed record carries what its plan took to stand there; the records know better.
                    if !removed && !record.is_confirmed() {
                        record.placed = older.placed.or(record.placed);
                    }
                }
                if let Some((_, word)) = removed.filter(|(late, _)| *late > rank) {
                    record.word = word.clone();
                    record.placed = None;
                }
                newest = Some(record);
            }
        }
        Ok(newest)
    }
}

async fn removed_late(ledger: &dyn Ledger, range: Range<u64>, rank: usize, removed: &mut HashMap<Vec<u8>, (usize, Word)>) -> Result<()> {
    let mut after = just_before(range.start);
    let mut last = Vec::new();
    loop {
        let page = ledger.all(after, PAGE).await?;
        for chunk in page.iter().filter(|c| range.contains(&c.seq)) {
            let Spec::Remove(list) = decode(&chunk.spec)? else { continue };
            let left = match chunk.result.as_deref().map(decode::<Results>).transpose()? {
                Some(Results::Left(left)) => left,
                _ => Vec::new(),
            };
            for (at, gone) in list.into_iter().enumerate() {
                let directory = matches!(gone.before.kind, EntryKind::Directory);
                let key = key(&gone.path, directory);
                if directory || key < last {
                    let stays = !directory && left.iter().any(|(place, _)| *place as usize == at);
                    removed.insert(key, (rank, removal(gone, stays)));
                } else {
                    last = key;
                }
            }
        }
        match page.last() {
            Some(chunk) if chunk.seq < range.end => after = Some(chunk.seq),
            _ => return Ok(()),
        }
    }
}

/// Counts what a ledger says was done.
pub(super) async fn summary(ledger: &dyn Ledger) -> Result<FilesCopied> {
    let mut sum = FilesCopied::default();
    let mut records = Records::of(&[ledger]).await?;
    while let Some(record) = records.next().await? {
        match record.word {
            Word::Content { item, outcome: Some(outcome) } => count(&mut sum, &item, outcome),
            Word::Folder { folder } if folder.stat.is_some() => sum.directories += 1,
            _ => {}
        }
    }
    for round in rounds(ledger).await? {
        for phase in [Phase::Clear, Phase::Delete, Phase::Folders] {
            count_removals(&mut sum, ledger, span(round, phase)).await?;
        }
    }
    Ok(sum)
}

/// The same for a backup's own ledger, whose content is in the order of planning: no path is in it twice, so nothing is merged.
pub(super) async fn summary_of_backup(ledger: &dyn Ledger) -> Result<FilesCopied> {
    let mut sum = FilesCopied::default();
    let range = span(0, Phase::Content);
    let mut after = just_before(range.start);
    loop {
        let page = ledger.all(after, PAGE).await?;
        let last = page.last().map(|chunk| chunk.seq);
        for chunk in page.into_iter().filter(|c| range.contains(&c.seq)) {
            for record in records_of(chunk)? {
                if let Word::Content { item, outcome: Some(outcome) } = record.word {
                    count(&mut sum, &item, outcome);
                }
            }
        }
        match last {
            Some(seq) if seq < range.end => after = Some(seq),
            _ => return Ok(sum),
        }
    }
}

fn count(sum: &mut FilesCopied, item: &Item, outcome: Outcome) {
    let (kind, reason) = match outcome.what {
        What::Copied => {
            sum.files += 1;
            sum.bytes += outcome.read.as_ref().unwrap_or(&item.stat).size();
            if let Some(note) = outcome.note {
                sum.problems.note(&item.path, ProblemKind::NotKept, note);
            }
            return;
        }
        What::Same => {
            sum.unchanged += 1;
            return;
        }
        What::Linked => {
            sum.symlinks += 1;
            return;
        }
        What::Named => {
            sum.hard_links += 1;
            return;
        }
        What::Made => {
            sum.nodes += 1;
            return;
        }
        What::Changed => (ProblemKind::Changed, "it kept changing while it was copied"),
        What::Vanished => (ProblemKind::Vanished, "it vanished before it was copied"),
        What::Unreadable => (ProblemKind::Unreadable, "the source does not let us read it"),
        What::Spared => (ProblemKind::Spared, "something was put in its place after the plan was made"),
        What::Refused => (ProblemKind::Refused, "the destination refused it"),
    };
    sum.problems.note(&item.path, kind, outcome.note.unwrap_or_else(|| reason.to_owned()));
}

async fn count_removals(sum: &mut FilesCopied, ledger: &dyn Ledger, range: Range<u64>) -> Result<()> {
    let mut after = just_before(range.start);
    loop {
        let page = ledger.all(after, PAGE).await?;
        for chunk in page.iter().filter(|c| range.contains(&c.seq)) {
            let Some(Results::Left(left)) = chunk.result.as_deref().map(decode).transpose()? else { continue };
            let paths: Vec<FilePath> = match decode::<Spec>(&chunk.spec)? {
                Spec::Remove(list) => {
                    sum.removed += (list.len() - left.len()) as u64;
                    list.into_iter().map(|g| g.path).collect()
                }
                Spec::Folders(list) => list.into_iter().map(|f| f.path).collect(),
                _ => Vec::new(),
            };
            for (place, reason) in left {
                if let Some(path) = paths.get(place as usize) {
                    sum.problems.note(path, ProblemKind::Refused, reason);
                }
            }
        }
        match page.last() {
            Some(chunk) if chunk.seq < range.end => after = Some(chunk.seq),
            _ => return Ok(()),
        }
    }
}
