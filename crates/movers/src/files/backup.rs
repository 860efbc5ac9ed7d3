//! Saving what a plan would overwrite or delete. The destination is the source here and the backup the target; every file is read
//! back and compared before it counts as saved.

use super::builder::Builder;
use super::item::{Item, PHASES, Phase, SavedCopy, Spec, Stat, What, decode, encode, span};
use super::lane::Lane;
use super::pump::Pump;
use super::records::{Record, Records, Word, just_before, summary_of_backup};
use super::report::{FilesBackedUp, FilesPlan, ProblemKind};
use super::{FilesMover, is_tree, or_stop};
use ports::files::{DigestKind, EntryKind, FilePath, FileTarget};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Files planned in one transaction.
const STRETCH: usize = 4096;

pub(super) async fn run(
    mover: &FilesMover,
    ledger: &dyn Ledger,
    backup: Arc<dyn FileTarget>,
    own: &dyn Ledger,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<FilesBackedUp> {
    if !ledger.totals().await?.sealed {
        return Err(ConnectorError::new(ErrorKind::Internal, "back up", mover.destination.location(), "the plan is not complete"));
    }
    let to = backup.location();
    or_stop(stop, "prepare the backup", to.clone(), async { backup.prepare().await.map(drop) }).await?;
    if !own.totals().await?.sealed {
        or_stop(stop, "plan the backup", to.clone(), plan(mover, ledger, backup.as_ref(), own)).await?;
    }
    let (lane, told) = keeping_lane(mover, backup.clone());
    Pump::new(Arc::new(lane), told, mover.parallel(), own, observer, stop, "backup").run(span(0, Phase::Content)).await?;
    backup.sweep(&mover.options.staging).await?;
    let saved = summary_of_backup(own).await?;
    if let Some(problem) = saved.problems.listed.iter().find(|p| p.kind != ProblemKind::Vanished) {
        let subject = format!("{} of {}", problem.path, mover.destination.location());
        return Err(ConnectorError::new(ErrorKind::Changed, "back up", subject, problem.reason.clone())
            .permanent()
            .advice("Nothing was overwritten. Make the file readable and keep it still, or move it away, then go on."));
    }
    let details = json!({"files": saved.files, "bytes": saved.bytes});
    observer.log(Level::Info, "backup", format!("Backed up {} files ({}), each read back", saved.files, domain::units::size(saved.bytes)), details);
    Ok(FilesBackedUp { files: saved.files, bytes: saved.bytes, problems: saved.problems })
}

/// A lane from the destination into the backup.
fn keeping_lane(mover: &FilesMover, backup: Arc<dyn FileTarget>) -> (Lane, tokio::sync::mpsc::UnboundedReceiver<super::told::Told>) {
    let (mut lane, told) = mover.lane();
    lane.source = mover.destination.clone();
    lane.target = backup;
    lane.whole = None;
    lane.kind = DigestKind::Blake3;
    lane.look_again = true;
    lane.read_back = true;
    lane.saves_metadata = true;
    (lane, told)
}

/// The name of a file in the backup: its own, where the backup can hold all names of the destination side by side; else its hash.
pub(super) fn name_in(backup: &dyn FileTarget, destination: &dyn FileTarget, path: &FilePath) -> FilePath {
    if is_tree(destination) && backup.accepts(path).is_ok() {
        return path.clone();
    }
    let hash = blake3::hash(path.as_bytes()).to_hex();
    FilePath::from(format!(".by-hash/{}/{hash}", &hash[..2]).as_str())
}

/// The file that a planned copy overwrites.
pub(super) fn to_be_saved(record: &Record) -> Option<&Stat> {
    match &record.word {
        Word::Content { item: Item { same: None, before: Some(before), .. }, .. } if matches!(before.kind, EntryKind::File { .. }) => Some(before),
        _ => None,
    }
}

fn to_save(mover: &FilesMover, backup: &dyn FileTarget, path: FilePath, stat: Stat) -> Option<Item> {
    if !matches!(stat.kind, EntryKind::File { .. }) {
        return None;
    }
    let to = name_in(backup, mover.destination.as_ref(), &path);
    Some(Item { to: Some(to), ..Item::new(path, stat) })
}

async fn plan(mover: &FilesMover, ledger: &dyn Ledger, backup: &dyn FileTarget, own: &dyn Ledger) -> Result<()> {
    let builder = Builder::new(own, 0, [0; PHASES], backup.traits().single_put_limit, mover.options.chunk_size);
    let mut shelf = Shelf { mover, backup, builder, held: 0 };
    let mut records = Records::of(&[ledger]).await?;
    while let Some(record) = records.next().await? {
        if let Some(before) = to_be_saved(&record) {
            shelf.add(record.path.clone(), before.clone()).await?;
        }
    }
    for phase in [Phase::Clear, Phase::Delete] {
        let range = span(0, phase);
        let mut after = just_before(range.start);
        loop {
            let page = ledger.all(after, 32).await?;
            for chunk in page.iter().filter(|c| range.contains(&c.seq)) {
                let Spec::Remove(list) = decode(&chunk.spec)? else { continue };
                for gone in list {
                    shelf.add(gone.path, gone.before).await?;
                }
            }
            match page.last() {
                Some(chunk) if chunk.seq < range.end => after = Some(chunk.seq),
                _ => break,
            }
        }
    }
    shelf.commit().await?;
    own.seal().await
}

/// What is to be saved, on its way into the backup's ledger.
struct Shelf<'a> {
    mover: &'a FilesMover,
    backup: &'a dyn FileTarget,
    builder: Builder<'a>,
    held: usize,
}

impl Shelf<'_> {
    async fn add(&mut self, path: FilePath, before: Stat) -> Result<()> {
        let Some(item) = to_save(self.mover, self.backup, path, before) else { return Ok(()) };
        self.builder.item(item)?;
        self.held += 1;
        if self.held.is_multiple_of(STRETCH) { self.commit().await } else { Ok(()) }
    }

    async fn commit(&mut self) -> Result<()> {
        self.builder.commit(&[], &FilesPlan::default()).await
    }
}

/// What a pass is about to overwrite, as it is in the backup.
pub(super) struct Saved {
    pub(super) stat: Stat,
    pub(super) copy: SavedCopy,
}

/// Saves a single file that a pass behind the bulk one is about to overwrite, beside whatever the backup holds of that path. `None`: it
/// is not there any more. The inner error says why it cannot be saved.
pub(super) async fn save_one(
    mover: &FilesMover,
    backup: &Arc<dyn FileTarget>,
    path: &FilePath,
    stat: &Stat,
) -> Result<std::result::Result<Option<Saved>, String>> {
    let name = name_again(backup.as_ref(), mover.destination.as_ref(), path, stat)?;
    save_as(mover, backup, path, stat, name).await
}

/// The same under a given name.
pub(super) async fn save_as(
    mover: &FilesMover,
    backup: &Arc<dyn FileTarget>,
    path: &FilePath,
    stat: &Stat,
    name: FilePath,
) -> Result<std::result::Result<Option<Saved>, String>> {
    let item = Item { to: Some(name.clone()), ..Item::new(path.clone(), stat.clone()) };
    let (lane, _told) = keeping_lane(mover, backup.clone());
    let outcome = lane.carry(&item).await?;
    backup.settle().await?;
    Ok(match outcome.what {
        What::Copied => {
            let proof = outcome.proof();
            Ok(Some(Saved { stat: outcome.read.unwrap_or_else(|| stat.clone()), copy: SavedCopy { name, proof } }))
        }
        What::Vanished => Ok(None),
        _ => Err(outcome.note.unwrap_or_else(|| "it could not be saved".to_owned())),
    })
}

/// Another name for each state of a file, so that nothing that was saved is written over.
fn name_again(backup: &dyn FileTarget, destination: &dyn FileTarget, path: &FilePath, stat: &Stat) -> Result<FilePath> {
    let state = blake3::hash(&encode(stat)?).to_hex();
    let name = FilePath::from(".again").join(&state.as_bytes()[..16]).join(path.as_bytes());
    if is_tree(destination) && backup.accepts(&name).is_ok() {
        return Ok(name);
    }
    let hash = blake3::hash(&[path.as_bytes(), b"\0", state.as_bytes()].concat()).to_hex();
    Ok(FilePath::from(format!(".by-hash/{}/{hash}", &hash[..2]).as_str()))
}
