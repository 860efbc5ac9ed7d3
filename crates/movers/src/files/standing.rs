//! Whose is what stands in a place that is to be filled: an earlier try's of ours, or somebody else's.

use super::digest;
use super::item::{Item, Stat};
use super::lane::Lane;
use super::sides::Fault;
use super::whole::Whole;
use ports::files::{Digest, Entry, EntryKind, FilePath};

impl Lane {
    /// Whether something stands there that no earlier try of ours has left. Ours has the time that we gave it; where the target keeps no times, it
    /// has the content of the source. `proof`: its hash, where it is known.
    pub(super) async fn is_foreign(&self, item: &Item, read: &Stat, proof: Option<(&Digest, u64)>) -> Result<bool, Fault> {
        match self.target.stat(item.target()).await.map_err(Fault::target)? {
            Some(found) => self.is_foreign_as(item, read, &found, proof).await,
            None => Ok(false),
        }
    }

    /// The same of many things of a whole tree, with one look at all of them: after a crash everything of a stream may stand there unrecorded.
    pub(super) async fn foreign_among(&self, whole: &Whole, met: &[(&Item, Stat)]) -> Result<Vec<bool>, Fault> {
        let paths: Vec<FilePath> = met.iter().map(|(item, _)| item.target().clone()).collect();
        let found = whole.target.stats(&paths).await.map_err(Fault::target)?;
        let mut foreign = Vec::with_capacity(met.len());
        for ((item, read), found) in met.iter().zip(found) {
            foreign.push(match (found, &item.stat.kind) {
                (None, _) => false,
                (Some(found), EntryKind::File { .. }) => self.is_foreign_as(item, read, &found, None).await?,
                (Some(found), kind) => found.kind != *kind,
            });
        }
        Ok(foreign)
    }

    /// `found`: what stands there.
    async fn is_foreign_as(&self, item: &Item, read: &Stat, found: &Entry, proof: Option<(&Digest, u64)>) -> Result<bool, Fault> {
        let EntryKind::File { size } = found.kind else { return Ok(!matches!(found.kind, EntryKind::Directory)) };
        let resolution = self.target.traits().mtime_resolution_ns as i64;
        let as_given = |wanted: &Stat| match (wanted.modified_ns, found.modified_ns) {
            (Some(a), Some(b)) if resolution > 0 => Some(wanted.size() == size && a.div_euclid(resolution) == b.div_euclid(resolution)),
            _ => None,
        };
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

    /// Writes down a file that is put where nothing stood, when it is not as it was planned.
    pub(super) async fn declare(&self, item: &Item, read: &Stat) -> Result<(), Fault> {
        match &self.intents {
            Some(intents) if item.before.is_none() && !read.same_content(&item.stat) => intents.declare(&item.path, read).await.map_err(Fault::target),
            _ => Ok(()),
        }
    }

    async fn is_declared(&self, item: &Item, found: &Stat) -> Result<bool, Fault> {
        let Some(intents) = &self.intents else { return Ok(false) };
        let resolution = self.target.traits().mtime_resolution_ns as i64;
        Ok(intents.of(&item.path).await.map_err(Fault::target)?.iter().any(|i| i.is(found, resolution)))
    }
}
