//! Resolves a conflict: the destination path is not empty. What stands there may be replaced when it is what the plan saw (and the backup
//! saved), what an earlier pass or an interrupted attempt of this run has put there, and nothing else.

use super::digest;
use super::item::{Item, Outcome, Proof, Stat, What};
use super::lane::Lane;
use super::saved_content::{ContentCheck, SavedContent};
use super::sides::Fault;
use super::whole::Whole;
use ports::files::{Digest, Entry, EntryKind, FilePath, FileTarget};
use ports::{ConnectorError, Result};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a replacement that somebody interferes with is begun anew before it is left for a later pass.
const MAX_CONFLICTS: u32 = 3;

/// What may be replaced by the next write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guard {
    Anything,
    Nothing,
    /// Only what was seen like this.
    Only(Box<Entry>),
    /// What is allowed is not known before the destination was asked.
    Unknown,
}

/// A copy of ours at the destination: by the records of an earlier pass, by a try that was never confirmed, or by this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EarlierCopy {
    #[serde(rename = "s")]
    pub(super) stat: Stat,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<Proof>,
}

impl EarlierCopy {
    /// What the records say that was put there last; `None` when nothing was.
    pub(super) fn recorded(item: &Item, outcome: Option<&Outcome>) -> Option<Self> {
        let Some(outcome) = outcome else { return Some(Self { stat: item.stat.clone(), proof: None }) };
        let known = outcome.is_there() || outcome.read.is_some() || outcome.what != What::Spared;
        known.then(|| Self { stat: outcome.read.clone().unwrap_or_else(|| item.stat.clone()), proof: outcome.proof() })
    }

    /// How a destination that keeps times of this resolution shows it; `None` where only the content can tell.
    fn expected(&self, path: &FilePath, resolution_ns: i64) -> Option<Entry> {
        if !matches!(self.stat.kind, EntryKind::File { .. }) || resolution_ns == 0 {
            return None;
        }
        let modified_ns = self.stat.modified_ns?;
        let shown = modified_ns.div_euclid(resolution_ns).saturating_mul(resolution_ns);
        Some(Entry { modified_ns: Some(shown), version: None, ..self.stat.entry(path) })
    }

    /// Whether `found` is it. The time that we gave it decides, else the hash.
    pub(super) async fn is(&self, target: &dyn FileTarget, found: &Entry) -> Result<bool> {
        let EntryKind::File { size } = found.kind else { return Ok(found.kind == self.stat.kind) };
        if found.kind != self.stat.kind {
            return Ok(false);
        }
        let resolution = target.traits().mtime_resolution_ns as i64;
        if same_time(&self.stat, found, resolution) == Some(true) {
            return Ok(true);
        }
        let Some(Proof { digest, part_size }) = &self.proof else { return Ok(false) };
        if target.listed_digest(found).as_ref() == Some(digest) {
            return Ok(true);
        }
        Ok(Lane::differing(target, &found.path, size, digest, *part_size).await?.is_none())
    }
}

/// `None` where a time is not known.
pub(super) fn same_time(wanted: &Stat, found: &Entry, resolution_ns: i64) -> Option<bool> {
    match (wanted.modified_ns, found.modified_ns) {
        (Some(a), Some(b)) if resolution_ns > 0 => Some(a.div_euclid(resolution_ns) == b.div_euclid(resolution_ns)),
        _ => None,
    }
}

/// One item on its way, over all its tries.
pub(super) struct Attempt {
    state: Mutex<AttemptState>,
    /// What a file that comes from a backup must be.
    saved: Option<Arc<SavedContent>>,
}

struct AttemptState {
    guard: Guard,
    /// What this attempt has put there.
    placed: Option<EarlierCopy>,
    conflicts: u32,
}

impl Attempt {
    pub(super) fn new(guard: Guard) -> Self {
        Self { state: Mutex::new(AttemptState { guard, placed: None, conflicts: 0 }), saved: None }
    }

    /// Of a file that is restored from a backup: it is put in place only while it is what was saved, where that is known.
    pub(super) fn restoring(guard: Guard, saved: Option<Arc<SavedContent>>) -> Self {
        Self { saved, ..Self::new(guard) }
    }

    /// Compares one reading of the source with what it must be; `None` where nothing is known of that. `what` names it in errors.
    pub(super) fn content_check(&self, size: u64, what: &FilePath) -> Option<Arc<ContentCheck>> {
        self.saved.clone().map(|saved| ContentCheck::new(saved, size, what.to_string()))
    }

    fn lock(&self) -> MutexGuard<'_, AttemptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn guard(&self) -> Guard {
        self.lock().guard.clone()
    }

    pub(super) fn allow(&self, guard: Guard) {
        self.lock().guard = guard;
    }

    fn placed(&self) -> Option<EarlierCopy> {
        self.lock().placed.clone()
    }

    /// It was put in place. A further try must find it there.
    pub(super) fn has_placed(&self, read: &Stat, digest: &Digest, part_size: Option<u64>) {
        let mut state = self.lock();
        state.placed = Some(EarlierCopy { stat: read.clone(), proof: Some(Proof { digest: digest.clone(), part_size }) });
        if state.guard != Guard::Anything {
            state.guard = Guard::Unknown;
        }
    }

    /// Whether another conflict may be resolved.
    fn goes_on(&self) -> bool {
        let mut state = self.lock();
        state.conflicts += 1;
        state.conflicts <= MAX_CONFLICTS
    }

    /// An outcome that is no success says what was put there all the same.
    pub(super) fn annotate(&self, outcome: Outcome) -> Outcome {
        match self.lock().placed.take() {
            Some(EarlierCopy { stat, proof: Some(proof) }) if !outcome.is_there() => {
                Outcome { read: Some(stat), digest: Some(proof.digest), part_size: proof.part_size, ..outcome }
            }
            _ => outcome,
        }
    }
}

impl Lane {
    /// What an item may replace, as far as it is known before the destination is asked.
    pub(super) fn guard_of(&self, item: &Item) -> Guard {
        if !self.guarded {
            return Guard::Anything;
        }
        let resolution = self.target.traits().mtime_resolution_ns as i64;
        match (&item.stands, &item.before) {
            (Some(copy), _) => copy.expected(item.target(), resolution).map_or(Guard::Unknown, |e| Guard::Only(Box::new(e))),
            (None, Some(before)) => Guard::Only(Box::new(before.entry(item.target()))),
            (None, None) => Guard::Nothing,
        }
    }

    /// Whether the path of `item` may be written to now; the attempt's guard then names exactly what stands there. `proof`: the hash of
    /// the file, where it is known.
    pub(super) async fn may_replace(&self, item: &Item, read: &Stat, attempt: &Attempt, proof: Option<(&Digest, u64)>) -> Result<bool, Fault> {
        if attempt.guard() == Guard::Anything {
            return Ok(true);
        }
        let guard = match self.target.stat(item.target()).await.map_err(Fault::target)? {
            None => Guard::Nothing,
            // The write itself says what is wrong with it.
            Some(found) if matches!(found.kind, EntryKind::Directory) => Guard::Anything,
            Some(found) if self.is_replaceable(item, read, &found, attempt, proof).await? => Guard::Only(Box::new(found)),
            Some(_) => return Ok(false),
        };
        attempt.allow(guard);
        Ok(true)
    }

    /// The write found something else than it was allowed to replace. What is ours is written over, anything else is left for a later pass.
    pub(super) async fn resolve(&self, item: &Item, read: &Stat, attempt: &Attempt, error: ConnectorError) -> Result<Outcome, Fault> {
        if attempt.goes_on() && self.may_replace(item, read, attempt, None).await? {
            return Box::pin(self.file(item, attempt)).await;
        }
        Ok(Outcome::failed(What::Spared, &error))
    }

    async fn is_replaceable(&self, item: &Item, read: &Stat, found: &Entry, attempt: &Attempt, proof: Option<(&Digest, u64)>) -> Result<bool, Fault> {
        if let Some(placed) = attempt.placed()
            && placed.is(self.target.as_ref(), found).await.map_err(Fault::target)?
        {
            return Ok(true);
        }
        if self.adopts {
            self.is_known(item, read, found, proof).await
        } else {
            Ok(matches!(attempt.guard(), Guard::Only(expected) if found.is_still(&expected)))
        }
    }

    /// Whether `found` is what the plan saw, or what this run has put there.
    pub(super) async fn is_known(&self, item: &Item, read: &Stat, found: &Entry, proof: Option<(&Digest, u64)>) -> Result<bool, Fault> {
        if item.before.as_ref().is_some_and(|before| found.is_still(&before.entry(item.target()))) {
            return Ok(true);
        }
        if let Some(copy) = &item.stands
            && copy.is(self.target.as_ref(), found).await.map_err(Fault::target)?
        {
            return Ok(true);
        }
        Ok(!self.is_foreign_as(item, read, found, proof).await?)
    }

    /// The same of many things of a whole tree, with one look at all of them: after a crash everything of a stream may stand there unrecorded.
    pub(super) async fn foreign_among(&self, whole: &Whole, met: &[(&Item, Stat)]) -> Result<Vec<bool>, Fault> {
        let paths: Vec<FilePath> = met.iter().map(|(item, _)| item.target().clone()).collect();
        let found = whole.target.stats(&paths).await.map_err(Fault::target)?;
        let mut foreign = Vec::with_capacity(met.len());
        for ((item, read), found) in met.iter().zip(found) {
            foreign.push(match found {
                None => false,
                Some(found) if matches!(found.kind, EntryKind::Directory) => !matches!(item.stat.kind, EntryKind::File { .. }),
                Some(found) if found.kind == item.stat.kind && !matches!(found.kind, EntryKind::File { .. }) => false,
                Some(found) => !self.is_known(item, read, &found, None).await?,
            });
        }
        Ok(foreign)
    }

    /// Whether `found` was left by no earlier try of ours. Ours has the time that we gave it; where the target keeps no times, it has the
    /// content of the source.
    async fn is_foreign_as(&self, item: &Item, read: &Stat, found: &Entry, proof: Option<(&Digest, u64)>) -> Result<bool, Fault> {
        let EntryKind::File { size } = found.kind else { return Ok(true) };
        if !matches!(item.stat.kind, EntryKind::File { .. }) {
            return Ok(true);
        }
        let resolution = self.target.traits().mtime_resolution_ns as i64;
        let as_given = |wanted: &Stat| same_time(wanted, found, resolution).map(|same| same && wanted.size() == size);
        if let (Some(now), Some(planned)) = (as_given(read), as_given(&item.stat)) {
            return Ok(!now && !planned && !self.is_declared(item, &Stat::of(found)).await?);
        }
        if size != read.size() {
            return Ok(true);
        }
        let (digest, part_size) = match proof {
            Some((digest, part_size)) => (digest.clone(), Some(part_size)),
            None => {
                let opened = self.source.open(&item.path, None).await.map_err(Fault::source)?;
                (digest::of_body(opened.body, self.kind, None).await.map_err(Fault::source)?.0, None)
            }
        };
        let differs = Self::differing(self.target.as_ref(), item.target(), size, &digest, part_size).await.map_err(Fault::target)?;
        Ok(differs.is_some())
    }

    /// Writes down a file that is not as it was planned before it is put in place: the plan could not tell it from somebody else's.
    pub(super) async fn declare(&self, item: &Item, read: &Stat) -> Result<(), Fault> {
        match &self.intents {
            Some(intents) if !read.same_content(&item.stat) => intents.declare(&item.path, read).await.map_err(Fault::target),
            _ => Ok(()),
        }
    }

    async fn is_declared(&self, item: &Item, found: &Stat) -> Result<bool, Fault> {
        let Some(intents) = &self.intents else { return Ok(false) };
        let resolution = self.target.traits().mtime_resolution_ns as i64;
        Ok(intents.of(&item.path).await.map_err(Fault::target)?.iter().any(|i| i.is(found, resolution)))
    }
}
