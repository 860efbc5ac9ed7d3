//! Planning the bulk pass: one merge of both listings, in constant memory.

use super::builder::{Builder, now_ns};
use super::chain::{Blocker, Chain, Dir, Removal};
use super::exclude::Exclude;
use super::item::{Folder, Gone, Item, PHASES, Stat};
use super::order::{Sorted, is_below};
use super::report::{FilesPlan, ProblemKind};
use super::told::Teller;
use super::whole::Names;
use super::window::Window;
use super::{FilesMover, is_tree, records};
use domain::spec::Symlinks;
use ports::files::posix::{BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, MOUNT_POINT};
use ports::files::{Entry, EntryKind, FilePath, FileTraits};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;

/// Where the finished plan is kept in the ledger.
const PLAN: &str = "plan";

pub(super) async fn run(mover: &FilesMover, ledger: Option<&dyn Ledger>, observer: &dyn Observer) -> Result<FilesPlan> {
    let mut start = None;
    if let Some(ledger) = ledger {
        if ledger.totals().await?.sealed
            && let Some(plan) = ledger.recall(PLAN).await?
        {
            return serde_json::from_value(plan).map_err(|e| ConnectorError::new(ErrorKind::Internal, "read the plan of", "the files ledger", e.to_string()));
        }
        start = records::last_marker(ledger, 0).await?;
    }
    let (through, next, plan) = start.map_or((None, [0; PHASES], FilesPlan::default()), |m| (Some(m.through), m.next, m.plan));
    let traits = mover.destination.traits();
    let builder = ledger.map(|l| Builder::new(l, 0, next, traits.single_put_limit, mover.options.chunk_size).packed(mover.whole.is_some()));
    let window = Window::new(mover, builder, plan, through);
    let mut planner = Planner::new(mover, window)?;
    planner.merge(observer).await?;
    let mut plan = planner.window.plan;
    mover.refuse_too_many_deletes(plan.deletes)?;
    plan.excluded = planner.exclude.counts;
    plan.notes.clone_from(&mover.notes);
    if let Some(ledger) = ledger {
        let value =
            serde_json::to_value(&plan).map_err(|e| ConnectorError::new(ErrorKind::Internal, "store the plan in", "the files ledger", e.to_string()))?;
        ledger.remember(PLAN, Some(value)).await?;
        ledger.seal().await?;
    }
    tell(&plan, observer);
    Ok(plan)
}

fn tell(plan: &FilesPlan, observer: &dyn Observer) {
    let details = json!({"files": plan.files, "bytes": plan.bytes, "directories": plan.directories, "symlinks": plan.symlinks,
        "overwrites": plan.overwrites, "deletes": plan.deletes, "unchanged": plan.unchanged, "problems": plan.problems.count});
    let message = format!("Planned {} files ({}), {} already there", plan.files, domain::units::size(plan.bytes), plan.unchanged);
    observer.log(Level::Info, "planning", message, details);
    for problem in &plan.problems.listed {
        observer.log(Level::Warning, "planning", format!("{}: {}", problem.path, problem.reason), json!({"path": problem.path, "kind": problem.kind}));
    }
}

/// What a symbolic link of the source becomes.
pub(super) enum Linked {
    Keep,
    /// A file with the content of what it points to.
    Follow(Entry),
    Problem(ProblemKind, String),
}

/// Why something is never moved.
fn left_out(kind: &str) -> (ProblemKind, String) {
    if kind == MOUNT_POINT {
        return (ProblemKind::Mounted, "another file system is mounted here; its content does not belong to this one".to_owned());
    }
    (ProblemKind::Device, format!("a {kind} is never moved"))
}

/// How many names a thing of a whole tree has.
fn links(stat: &Stat) -> Option<u64> {
    stat.posix.as_ref().map(|p| p.links)
}

impl FilesMover {
    /// An empty source is more often a disk that is not mounted than a wish to empty the destination.
    fn refuse_empty_source(&self) -> Result<()> {
        if !self.options.delete_extraneous || self.options.allow_empty_source {
            return Ok(());
        }
        let reason = format!("it is empty, and delete_extraneous would remove everything at {}", self.destination.location());
        Err(ConnectorError::new(ErrorKind::Invalid, "plan the files of", self.source.location(), reason)
            .advice("Check that the source is mounted; if it is meant to be empty, say so with allow_empty_source (--allow-empty-source)"))
    }

    fn refuse_too_many_deletes(&self, deletes: u64) -> Result<()> {
        match self.options.max_delete {
            Some(most) if deletes > most => {
                let reason = format!("{deletes} things would be deleted there, and max_delete allows {most}");
                Err(ConnectorError::new(ErrorKind::Invalid, "plan the files for", self.destination.location(), reason)
                    .advice("Look at the deletions with a dry run; raise max_delete if they are meant"))
            }
            _ => Ok(()),
        }
    }

    /// Whether this kind of thing, no file, directory or link, is made again at the destination.
    pub(super) fn remakes(&self, kind: &str) -> bool {
        self.whole.as_ref().is_some_and(|w| [FIFO, CHARACTER_DEVICE, BLOCK_DEVICE].contains(&kind) && (kind == FIFO || w.target.keeps().owners))
    }

    /// Decides about a link by option and by what the destination can hold.
    pub(super) async fn link(&self, entry: &Entry) -> Result<Linked> {
        let holds = self.destination.traits().symlinks;
        match self.options.symlinks {
            None | Some(Symlinks::Keep) if holds => Ok(Linked::Keep),
            None | Some(Symlinks::Keep) => Ok(Linked::Problem(ProblemKind::SkippedLink, "the destination cannot hold symbolic links".to_owned())),
            Some(Symlinks::Skip) => Ok(Linked::Problem(ProblemKind::SkippedLink, "symbolic links are to be skipped".to_owned())),
            Some(Symlinks::Follow) => Ok(match self.source.resolve(&entry.path).await? {
                Some(target) if matches!(target.kind, EntryKind::File { .. }) => Linked::Follow(Entry { path: entry.path.clone(), ..target }),
                Some(_) => Linked::Problem(ProblemKind::UnfollowedLink, "it leads to a directory or a device, and only links to files are followed".to_owned()),
                None => Linked::Problem(ProblemKind::UnfollowedLink, "it leads nowhere, or out of the root".to_owned()),
            }),
        }
    }
}

/// Whether a link's text leads out of the root; an absolute one may lead back in.
fn leads_out(path: &FilePath, target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut depth = path.segments().count().saturating_sub(1);
    for part in target.split(|b| *b == b'/') {
        match part {
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            b"" | b"." => {}
            _ => depth += 1,
        }
    }
    false
}

pub(super) struct Planner<'a> {
    pub(super) mover: &'a FilesMover,
    pub(super) window: Window<'a>,
    pub(super) chain: Chain,
    pub(super) exclude: Exclude,
    traits: FileTraits,
    pub(super) tree: bool,
    pub(super) names: Names,
    /// What was planned and done before; empty in a first plan.
    pub(super) known: &'a [&'a dyn Ledger],
    /// Nothing is planned but files that are doubted; see [`super::send_again`].
    pub(super) only_doubted: bool,
    /// The last directory below which nothing may be removed: the source could not list its own, or the destination has something of
    /// another kind there.
    closed: Option<Vec<u8>>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(mover: &'a FilesMover, window: Window<'a>) -> Result<Self> {
        let tree = is_tree(mover.destination.as_ref());
        let exclude = Exclude::new(&mover.options.exclude)?;
        Ok(Self {
            mover,
            window,
            chain: Chain::new(tree),
            exclude,
            traits: mover.destination.traits(),
            tree,
            names: Names::default(),
            known: &[],
            only_doubted: false,
            closed: None,
        })
    }

    async fn merge(&mut self, observer: &dyn Observer) -> Result<()> {
        let mover = self.mover;
        let mut source = Sorted::new(mover.source.list_pruned(self.exclude.prune()), mover.source.location());
        let mut destination = Sorted::new(mover.destination.list_pruned(self.exclude.prune()), mover.destination.location());
        let mut teller = Teller::new(observer, "planning", mover.source.location(), mover.destination.location());
        let mut last = Vec::new();
        let now = now_ns();
        loop {
            let (one, other) = futures::join!(source.fill(false), destination.fill(true));
            one.and(other)?;
            if last.is_empty() && source.peek().is_none() && destination.peek().is_some() {
                mover.refuse_empty_source()?;
            }
            let (ours, theirs) = match (source.peek(), destination.peek()) {
                (None, None) => break,
                (Some(_), None) => (source.take(), None),
                (None, Some(_)) => (None, destination.take()),
                (Some(a), Some(b)) if a < b => (source.take(), None),
                (Some(a), Some(b)) if a > b => (None, destination.take()),
                _ => (source.take(), destination.take()),
            };
            let Some(key) = ours.as_ref().or(theirs.as_ref()).map(|(key, _)| key.clone()) else { break };
            self.window.arrive(Some(&key));
            self.chain.advance(Some(&key), &mut self.window);
            if self.window.is_full() {
                self.window.flush(&last).await?;
            }
            if let Some((_, entry)) = ours.as_ref().or(theirs.as_ref()) {
                teller.at(&entry.path);
            }
            self.window.plan.saw_time(ours.as_ref().and_then(|(_, entry)| entry.modified_ns), now);
            match (ours, theirs) {
                (Some((_, entry)), theirs) => self.source_entry(&key, entry, theirs.map(|(_, e)| e)).await?,
                (None, Some((_, entry))) => self.extra(&key, entry, true),
                (None, None) => {}
            }
            last = key;
        }
        self.window.arrive(None);
        self.chain.advance(None, &mut self.window);
        self.window.flush(&last).await
    }

    async fn source_entry(&mut self, key: &[u8], entry: Entry, theirs: Option<Entry>) -> Result<()> {
        let directory = matches!(entry.kind, EntryKind::Directory);
        if self.exclude.leaves_out(&entry.path, entry.size()) || self.collides(key, &entry.path) || !self.acceptable(&entry) {
            self.stays(key, theirs);
            return Ok(());
        }
        if directory {
            self.clear_way(key);
            self.directory(&entry, theirs);
            return Ok(());
        }
        let (stat, follow) = match &entry.kind {
            EntryKind::Other(kind) if !self.mover.remakes(kind) => {
                let (problem, reason) = left_out(kind);
                self.window.problem(&entry.path, problem, reason);
                self.stays(key, theirs);
                return Ok(());
            }
            EntryKind::Symlink { .. } => match self.mover.link(&entry).await? {
                Linked::Keep => {
                    self.name_link_out(&entry).await?;
                    (Stat::of(&entry), false)
                }
                Linked::Follow(target) => (Stat::of(&target), true),
                Linked::Problem(kind, reason) => {
                    self.window.problem(&entry.path, kind, reason);
                    self.stays(key, theirs);
                    return Ok(());
                }
            },
            _ => (Stat::of(&entry), false),
        };
        self.clear_way(key);
        self.above(key);
        self.chain.fill(key, &mut self.window);
        let before = theirs.as_ref().map(Stat::of);
        let look_alike = before.as_ref().is_some_and(|b| self.looks_alike(&stat, b));
        self.chain.block(Blocker::Source { path: entry.path.clone(), told: false });
        let hard = self.names.first_of(&entry.path, &stat);
        let look_alike = look_alike && hard.is_none() && links(&stat) == before.as_ref().and_then(links);
        self.window.item(Item { before, follow, hard, ..Item::new(entry.path, stat) }, look_alike);
        Ok(())
    }

    /// A link that is kept while what it points to stays behind is named.
    pub(super) async fn name_link_out(&mut self, entry: &Entry) -> Result<()> {
        if self.mover.options.name_links_out
            && let EntryKind::Symlink { target } = &entry.kind
            && leads_out(&entry.path, target)
            && self.mover.source.resolve(&entry.path).await?.is_none()
        {
            let reason = format!(
                "it points to '{}', outside of the source's root, which is not moved: name a directory of uploads as source.paths.uploads, move \
                 anything else by itself, or leave the link out with transfer.options.exclude",
                FilePath::new(target.clone())
            );
            self.window.problem(&entry.path, ProblemKind::LinkOut, reason);
        }
        Ok(())
    }

    /// Equal size, and an equal time or a destination that knows the hash: worth the proof.
    fn looks_alike(&self, source: &Stat, stored: &Stat) -> bool {
        let sizes = matches!((&source.kind, &stored.kind), (EntryKind::File { size: a }, EntryKind::File { size: b }) if a == b);
        let resolution = self.traits.mtime_resolution_ns.max(1) as i64;
        let times = match (source.modified_ns, stored.modified_ns) {
            (Some(a), Some(b)) => a.div_euclid(resolution) == b.div_euclid(resolution),
            _ => false,
        };
        sizes && (times || self.traits.stored_digest.is_some())
    }

    /// An object store's `a` and `a/b`: a tree can hold only the first.
    pub(super) fn collides(&mut self, key: &[u8], path: &FilePath) -> bool {
        let mut blocked = None;
        for blocker in self.chain.blockers_of(key) {
            if let Blocker::Source { path: file, told } = blocker {
                *told = true;
                blocked = Some(file.clone());
            }
        }
        let Some(file) = blocked else { return false };
        self.window.problem(path, ProblemKind::Collision, format!("'{file}' is a file of the source, and the destination cannot hold anything below it"));
        true
    }

    pub(super) fn acceptable(&mut self, entry: &Entry) -> bool {
        let directory = matches!(entry.kind, EntryKind::Directory);
        match self.mover.destination.accepts(&tidy(&entry.path, directory && self.tree)) {
            Ok(()) => true,
            Err(error) => {
                self.window.problem(&entry.path, ProblemKind::Name, error.reason);
                false
            }
        }
    }

    /// A file of the destination where the source has a directory is removed first.
    pub(super) fn clear_way(&mut self, key: &[u8]) {
        for gone in self.chain.unblock(key) {
            self.chain.touch(gone.path.as_bytes(), &mut self.window);
            self.window.clear(gone);
        }
    }

    /// Plans the directories above that neither side listed.
    fn above(&mut self, key: &[u8]) {
        for path in self.chain.unlisted(key) {
            self.chain.touch(path.as_bytes(), &mut self.window);
            let mut dir = Dir::new(&path, None);
            dir.folder = Some(self.window.folder(Folder { path, stat: None, before: None, leaf: false }));
            self.chain.enter(dir);
        }
    }

    /// A directory of the source that could not be listed: it is named, and what the destination has below it stays.
    pub(super) fn note_unlisted(&mut self, entry: &Entry) {
        if let Some(reason) = &entry.unlisted {
            self.window.problem(&entry.path, ProblemKind::Unreadable, format!("nothing below it could be listed: {reason}"));
            self.close_below(&entry.path);
        }
    }

    fn close_below(&mut self, path: &FilePath) {
        let directory = tidy(path, true);
        if !self.is_closed(directory.as_bytes()) {
            self.closed = Some(directory.as_bytes().to_vec());
        }
    }

    /// Whether `key` lies below a directory of which not everything is known.
    pub(super) fn is_closed(&self, key: &[u8]) -> bool {
        self.closed.as_ref().is_some_and(|dir| is_below(key, dir))
    }

    fn directory(&mut self, entry: &Entry, theirs: Option<Entry>) {
        self.note_unlisted(entry);
        let path = tidy(&entry.path, self.tree);
        self.above(path.as_bytes());
        self.chain.fill(path.as_bytes(), &mut self.window);
        let before = theirs.as_ref().map(Stat::of);
        let mut dir = Dir::new(&path, before.clone());
        let leaf = before.is_none();
        dir.folder = Some(self.window.folder(Folder { path: tidy(&path, true), stat: Some(Stat::of(entry)), before, leaf }));
        dir.keep = true;
        self.chain.enter(dir);
    }

    /// The source's entry stays behind; so does what the destination has there.
    fn stays(&mut self, key: &[u8], theirs: Option<Entry>) {
        if let Some(entry) = theirs {
            self.extra(key, entry, false);
        }
    }

    /// Something that only the destination has, or that must be left alone there.
    fn extra(&mut self, key: &[u8], entry: Entry, removable: bool) {
        let wanted = removable && self.mover.options.delete_extraneous && !self.exclude.covers(&entry.path) && !self.is_closed(key);
        let untouchable = untouchable(self.mover, &entry);
        if let Some((kind, reason)) = untouchable.clone().filter(|_| wanted) {
            self.window.problem(&entry.path, kind, reason);
        }
        if untouchable.is_some() {
            self.close_below(&entry.path);
        }
        let removable = wanted && untouchable.is_none();
        self.surplus(key, Gone { path: entry.path.clone(), before: Stat::of(&entry), ours: false, stands: None }, removable);
    }

    /// Removes what is too many at the destination, once nothing says that it stays.
    pub(super) fn surplus(&mut self, key: &[u8], gone: Gone, removable: bool) {
        let in_the_way = self.in_the_way(key, removable);
        if !removable {
            self.chain.keep_above(gone.path.as_bytes());
        }
        let removal = if in_the_way { Removal::Clear } else { Removal::Delete };
        if matches!(gone.before.kind, EntryKind::Directory) && self.tree {
            let mut dir = Dir::new(&gone.path, (!gone.ours).then(|| gone.before.clone()));
            dir.removal = removable.then_some((removal, gone));
            self.chain.enter(dir);
        } else if self.tree && !in_the_way {
            self.chain.block(Blocker::Destination { gone, delete: removable });
        } else if removable {
            self.chain.touch(key, &mut self.window);
            match removal {
                Removal::Clear => self.window.clear(gone),
                Removal::Delete => self.window.delete(gone),
            }
        }
    }

    /// Whether `key` of the destination lies below a file of the source. Told once when it cannot be removed.
    fn in_the_way(&mut self, key: &[u8], removable: bool) -> bool {
        let mut found = false;
        let mut untold = Vec::new();
        for blocker in self.chain.blockers_of(key) {
            if let Blocker::Source { path, told } = blocker {
                found = true;
                if !removable && !std::mem::replace(told, true) {
                    untold.push(path.clone());
                }
            }
        }
        for path in untold {
            let reason = "a directory of the destination is in its place, and removing it was not asked for";
            self.window.problem(&path, ProblemKind::Collision, reason);
        }
        found
    }
}

/// Why something that only the destination has is not removed, whatever was asked for.
fn untouchable(mover: &FilesMover, entry: &Entry) -> Option<(ProblemKind, String)> {
    let mounted = "another file system is mounted here at the destination, and is left alone";
    match &entry.kind {
        _ if entry.mounted => Some((ProblemKind::Mounted, mounted.to_owned())),
        EntryKind::Other(kind) if kind == MOUNT_POINT => Some((ProblemKind::Mounted, mounted.to_owned())),
        EntryKind::Directory if entry.unlisted.is_some() => {
            Some((ProblemKind::Mounted, "the destination does not let us list it, so it is left alone".to_owned()))
        }
        EntryKind::Other(kind) if !mover.remakes(kind) => {
            Some((ProblemKind::Device, format!("the source does not have it, but a {kind} is never deleted, because nothing could restore it")))
        }
        _ => None,
    }
}

/// The name of a directory without its final `/`, where the destination is a tree.
pub(super) fn tidy(path: &FilePath, tree: bool) -> FilePath {
    match path.as_bytes().strip_suffix(b"/") {
        Some(rest) if tree && !rest.is_empty() => FilePath::new(rest),
        _ => path.clone(),
    }
}
