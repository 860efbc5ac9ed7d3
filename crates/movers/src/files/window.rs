//! A stretch of planned things, held back until its look-alikes are proven equal or not, then counted and chunked together.

use super::FilesMover;
use super::builder::Builder;
use super::item::{Folder, Gone, Item, Proof, Stat};
use super::lane::{self, Lane};
use super::object_facts::same_metadata;
use super::report::{FilesPlan, ProblemKind};
use super::sides::Fault;
use super::whole::Whole;
use super::{digest, is_tree};
use futures::{StreamExt, TryStreamExt};
use ports::files::{EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};

/// Things in one window; one ledger transaction each.
const WINDOW: usize = 16_384;
/// Files hashed by one call in whole trees.
const PROVEN: usize = 1024;

enum Planned {
    /// `look_alike`: the destination's file may be equal already.
    Item {
        item: Item,
        look_alike: bool,
    },
    /// `open`: its end was not seen yet when the window was flushed.
    Folder {
        folder: Folder,
        open: bool,
    },
    Clear(Gone),
    Delete(Gone),
}

pub(super) struct Window<'a> {
    mover: &'a FilesMover,
    builder: Option<Builder<'a>>,
    planned: Vec<Planned>,
    /// Things flushed before the first of `planned`.
    flushed: usize,
    pub(super) plan: FilesPlan,
    /// Up to here everything is in the ledger already: nothing is noted again.
    replay_through: Option<Vec<u8>>,
    replaying: bool,
    tree: bool,
    /// Both sides hold keys, so a key that ends with `/` is a thing of its own.
    keys: bool,
    empty_directories: bool,
}

impl<'a> Window<'a> {
    pub(super) fn new(mover: &'a FilesMover, builder: Option<Builder<'a>>, plan: FilesPlan, replay_through: Option<Vec<u8>>) -> Self {
        let tree = is_tree(mover.destination.as_ref());
        let keys = !tree && !is_tree(mover.source.as_ref());
        let empty_directories = mover.destination.traits().empty_directories;
        Self { mover, builder, planned: Vec::new(), flushed: 0, plan, replaying: replay_through.is_some(), replay_through, tree, keys, empty_directories }
    }

    /// Says which key is being looked at.
    pub(super) fn arrive(&mut self, key: Option<&[u8]>) {
        self.replaying = match (&self.replay_through, key) {
            (Some(through), Some(key)) => key <= through.as_slice(),
            _ => false,
        };
    }

    /// Nothing was planned since the beginning.
    pub(super) fn is_empty(&self) -> bool {
        self.flushed == 0 && self.planned.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.planned.len() >= WINDOW
    }

    fn push(&mut self, planned: Planned) -> usize {
        if !self.replaying {
            self.planned.push(planned);
        }
        (self.flushed + self.planned.len()).saturating_sub(1)
    }

    pub(super) fn item(&mut self, item: Item, look_alike: bool) {
        self.push(Planned::Item { item, look_alike });
    }

    /// Gives the place under which [`Self::has_child`] and [`Self::close`] find it.
    pub(super) fn folder(&mut self, folder: Folder) -> usize {
        self.push(Planned::Folder { folder, open: true })
    }

    pub(super) fn clear(&mut self, gone: Gone) {
        self.push(Planned::Clear(gone));
    }

    pub(super) fn delete(&mut self, gone: Gone) {
        self.push(Planned::Delete(gone));
    }

    pub(super) fn problem(&mut self, path: &FilePath, kind: ProblemKind, reason: impl Into<String>) {
        if !self.replaying {
            self.plan.problems.note(path, kind, reason);
        }
    }

    fn folder_at(&mut self, place: usize) -> Option<(&mut Folder, &mut bool)> {
        match self.planned.get_mut(place.checked_sub(self.flushed)?)? {
            Planned::Folder { folder, open } => Some((folder, open)),
            _ => None,
        }
    }

    /// Something will be written below the folder, so it needs no making of its own.
    pub(super) fn has_child(&mut self, place: usize, path: &[u8]) {
        if let Some((folder, _)) = self.folder_at(place)
            && folder.path.as_bytes() == path
        {
            folder.leaf = false;
        }
    }

    /// Nothing more will come below the folder.
    pub(super) fn close(&mut self, place: usize, path: &[u8]) {
        if let Some((folder, open)) = self.folder_at(place)
            && folder.path.as_bytes() == path
        {
            *open = false;
        }
    }

    /// Proves the look-alikes, counts, and writes the chunks of everything up to `through`.
    pub(super) async fn flush(&mut self, through: &[u8]) -> Result<()> {
        let mut planned = std::mem::take(&mut self.planned);
        self.flushed += planned.len();
        self.prove(&mut planned).await?;
        for thing in planned {
            self.count_and_chunk(thing)?;
        }
        let replayed = self.flushed == 0 && self.replay_through.is_some();
        match &mut self.builder {
            Some(builder) if !replayed => builder.commit(through, &self.plan).await,
            _ => Ok(()),
        }
    }

    async fn prove(&self, planned: &mut [Planned]) -> Result<()> {
        let (lane, _told) = self.mover.lane();
        let lane = &lane;
        let candidates: Vec<(usize, Item)> = planned
            .iter()
            .enumerate()
            .filter_map(|(i, p)| if let Planned::Item { item, look_alike: true } = p { Some((i, item.clone())) } else { None })
            .collect();
        if let Some(whole) = &self.mover.whole {
            for some in candidates.chunks(PROVEN) {
                for ((place, _), proof) in some.iter().zip(proofs(whole, lane, some).await?) {
                    if let Planned::Item { item, .. } = &mut planned[*place] {
                        item.same = proof;
                    }
                }
            }
            return Ok(());
        }
        let proofs: Vec<(usize, Option<Proof>)> = futures::stream::iter(candidates)
            .map(|(place, item)| async move { Ok::<_, ConnectorError>((place, proof(lane, &item).await?)) })
            .buffer_unordered(self.mover.parallel())
            .try_collect()
            .await?;
        for (place, proof) in proofs {
            if let Planned::Item { item, .. } = &mut planned[place] {
                item.same = proof;
            }
        }
        Ok(())
    }

    fn count_and_chunk(&mut self, thing: Planned) -> Result<()> {
        match thing {
            Planned::Item { item, .. } => {
                self.count(&item);
                if let Some(builder) = &mut self.builder {
                    builder.item(item)?;
                }
            }
            Planned::Folder { folder, open } => self.chunk_folder(folder, open),
            Planned::Clear(gone) => {
                if !gone.ours {
                    self.plan.overwrites(&gone.path, gone.before.size());
                }
                if let Some(builder) = &mut self.builder {
                    builder.clear(gone);
                }
            }
            Planned::Delete(gone) => {
                self.plan.deletes(&gone.path, gone.before.size());
                if let Some(builder) = &mut self.builder {
                    builder.delete(gone);
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, item: &Item) {
        let link = matches!(item.stat.kind, EntryKind::Symlink { .. });
        if item.same.is_some() {
            self.plan.unchanged += 1;
            self.plan.unchanged_bytes += item.stat.size();
            return;
        }
        if link {
            self.plan.symlinks += 1;
        } else {
            self.plan.copies(&item.path, item.stat.size());
        }
        if let Some(before) = &item.before
            && !(link && before.kind == item.stat.kind)
        {
            self.plan.overwrites(&item.path, before.size());
        }
    }

    fn chunk_folder(&mut self, folder: Folder, open: bool) {
        let empty = folder.leaf && !open;
        if folder.stat.is_some() {
            if empty && !self.empty_directories && folder.before.is_none() {
                self.plan.problems.note(&folder.path, ProblemKind::EmptyDirectory, "the destination cannot hold an empty directory");
                return;
            }
            self.plan.directories += 1;
        }
        if !self.tree && !(self.empty_directories && (empty || self.keys || folder.before.is_some())) {
            return;
        }
        if let Some(builder) = &mut self.builder {
            builder.folder(folder);
        }
    }
}

/// Has both sides of a whole tree hash many files at once, where they are.
async fn proofs(whole: &Whole, lane: &Lane, some: &[(usize, Item)]) -> Result<Vec<Option<Proof>>> {
    let paths: Vec<FilePath> = some.iter().map(|(_, item)| item.path.clone()).collect();
    let Some(first) = paths.first() else { return Ok(Vec::new()) };
    let once = || async {
        let (read, stored) = futures::join!(whole.source.digests(&paths), whole.target.digests(&paths));
        Ok((read.map_err(Fault::source)?, stored.map_err(Fault::target)?, whole.source.stats(&paths).await.map_err(Fault::source)?))
    };
    let (read, stored, now) = lane.retry(first, 0, once).await.map_err(|f| f.error)?;
    let mut found = Vec::with_capacity(some.len());
    for ((((_, item), read), stored), now) in some.iter().zip(read).zip(stored).zip(now) {
        let equal = read == stored && now.is_some_and(|now| Stat::of(&now).same_content(&item.stat));
        found.push(read.filter(|_| equal).map(|digest| Proof { digest, part_size: None }));
    }
    Ok(found)
}

/// Hashes both sides; equal content is the only proof that counts.
async fn proof(lane: &Lane, item: &Item) -> Result<Option<Proof>> {
    let size = item.stat.size();
    let part_size = lane::part_size(size, lane.target.traits().single_put_limit, lane.chunk_size);
    let once = || async {
        let (stored, bytes) = Lane::stored(lane.target.as_ref(), &item.path, lane.kind, part_size).await.map_err(Fault::target)?;
        if bytes.is_some_and(|b| b != size) {
            return Ok(None);
        }
        let opened = lane.source.open(&item.path, None).await.map_err(Fault::source)?;
        if !Stat::of(&opened.entry).same_content(&item.stat) {
            return Ok(None);
        }
        if lane.target.keeps_object_metadata() && (opened.entry.object.is_some() || opened.entry.content_type.is_some()) {
            let there = lane.target.stat(&item.path).await.map_err(Fault::target)?;
            if !there.is_some_and(|there| same_metadata(&Stat::of(&opened.entry), &Stat::of(&there))) {
                return Ok(None);
            }
        }
        let (read, bytes) = digest::of_body(opened.body, lane.kind, part_size).await.map_err(Fault::source)?;
        Ok((read == stored && bytes == size).then_some(Proof { digest: read, part_size }))
    };
    match lane.retry(&item.path, size, once).await {
        Ok(proof) => Ok(proof),
        Err(f) if matches!(f.error.kind, ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Changed) => Ok(None),
        Err(f) => Err(f.error),
    }
}
