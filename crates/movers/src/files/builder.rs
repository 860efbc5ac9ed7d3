//! Turns planned things into chunks and writes them to the ledger, one transaction per planning window. The transaction also
//! holds a marker that says how far planning came, so that planning goes on behind it after a crash.

use super::item::{Folder, Gone, Item, Large, Marker, PHASES, Phase, Spec, encode, seq};
use super::lane;
use super::report::FilesPlan;
use ports::ledger::NewChunk;
use ports::{Ledger, Result};

/// A batch of small files ends at the first of these two.
const BATCH_ITEMS: usize = 256;
const BATCH_BYTES: u64 = 8 << 20;
/// The same for batches that travel as one stream.
const PACK_ITEMS: usize = 2048;
const PACK_BYTES: u64 = 64 << 20;

pub(super) struct Builder<'a> {
    ledger: &'a dyn Ledger,
    round: u64,
    single_put_limit: u64,
    chunk_size: u64,
    next: [u64; PHASES],
    batch: Vec<Item>,
    batch_bytes: u64,
    /// Whole trees: batches travel as one stream, so they are larger.
    packed: bool,
    links: Vec<Item>,
    clears: Vec<Gone>,
    deletes: Vec<Gone>,
    folders: Vec<Folder>,
    chunks: Vec<NewChunk>,
}

impl<'a> Builder<'a> {
    /// `next`: the numbers to go on with.
    pub(super) fn new(ledger: &'a dyn Ledger, round: u64, next: [u64; PHASES], single_put_limit: u64, chunk_size: u64) -> Self {
        Self {
            ledger,
            round,
            single_put_limit,
            chunk_size,
            next,
            batch: Vec::new(),
            batch_bytes: 0,
            packed: false,
            links: Vec::new(),
            clears: Vec::new(),
            deletes: Vec::new(),
            folders: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Batches for streams of many files.
    #[must_use]
    pub(super) fn packed(mut self, packed: bool) -> Self {
        self.packed = packed;
        self
    }

    fn chunk(&mut self, phase: Phase, spec: &Spec, items: u64, bytes: u64) -> Result<()> {
        let n = &mut self.next[phase as usize];
        self.chunks.push(NewChunk { seq: seq(self.round, phase, *n), spec: encode(spec)?, items, bytes });
        *n += 1;
        Ok(())
    }

    /// Items come in path order, and so do their chunks.
    pub(super) fn item(&mut self, item: Item) -> Result<()> {
        if item.hard.is_some() {
            self.links.push(item);
            return Ok(());
        }
        let size = if item.same.is_some() { 0 } else { item.stat.size() };
        let mostly_holes = self.packed && item.stat.posix.as_ref().is_some_and(|p| p.stored < size / 2);
        if item.same.is_none()
            && !mostly_holes
            && let Some(part_size) = lane::part_size(size, self.single_put_limit, self.chunk_size)
        {
            self.close_batch()?;
            return self.large(item, size, part_size);
        }
        self.batch.push(item);
        self.batch_bytes += size;
        let (items, bytes) = if self.packed { (PACK_ITEMS, PACK_BYTES) } else { (BATCH_ITEMS, BATCH_BYTES) };
        if self.batch.len() >= items || self.batch_bytes >= bytes { self.close_batch() } else { Ok(()) }
    }

    fn large(&mut self, item: Item, size: u64, part_size: u64) -> Result<()> {
        let first = seq(self.round, Phase::Content, self.next[Phase::Content as usize]);
        let count = size.div_ceil(part_size) as u32;
        let large = Box::new(Large { item, first, count, part_size });
        for number in 1..=count {
            let range = large.range(number);
            self.chunk(Phase::Content, &Spec::Part { large: large.clone(), number }, 0, range.end - range.start)?;
        }
        self.chunk(Phase::Content, &Spec::Place(large), 1, 0)
    }

    fn close_batch(&mut self) -> Result<()> {
        let items = std::mem::take(&mut self.batch);
        let bytes = std::mem::take(&mut self.batch_bytes);
        let count = items.len() as u64;
        if count == 0 { Ok(()) } else { self.chunk(Phase::Content, &Spec::Batch(items), count, bytes) }
    }

    pub(super) fn clear(&mut self, gone: Gone) {
        self.clears.push(gone);
    }

    pub(super) fn delete(&mut self, gone: Gone) {
        self.deletes.push(gone);
    }

    pub(super) fn folder(&mut self, folder: Folder) {
        self.folders.push(folder);
    }

    /// Writes everything collected, in one transaction.
    pub(super) async fn commit(&mut self, through: &[u8], plan: &FilesPlan) -> Result<()> {
        self.close_batch()?;
        for some in std::mem::take(&mut self.links).chunks(BATCH_ITEMS) {
            self.chunk(Phase::Links, &Spec::Batch(some.to_vec()), some.len() as u64, 0)?;
        }
        for (phase, list) in [(Phase::Clear, std::mem::take(&mut self.clears)), (Phase::Delete, std::mem::take(&mut self.deletes))] {
            for some in list.chunks(BATCH_ITEMS) {
                self.chunk(phase, &Spec::Remove(some.to_vec()), 0, 0)?;
            }
        }
        for some in std::mem::take(&mut self.folders).chunks(BATCH_ITEMS) {
            self.chunk(Phase::Folders, &Spec::Folders(some.to_vec()), 0, 0)?;
        }
        let mut next = self.next;
        next[Phase::Marker as usize] += 1;
        let marker = Marker { through: through.to_vec(), next, plan: plan.clone() };
        self.chunk(Phase::Marker, &Spec::Marker(Box::new(marker)), 0, 0)?;
        self.ledger.plan(std::mem::take(&mut self.chunks)).await
    }
}

/// This machine's clock.
pub(super) fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
