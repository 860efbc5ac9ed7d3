//! Whole trees: when both sides can keep owners, links and attributes, the mover works on those doors instead of the plain ones.

use super::FilesMover;
use super::item::Stat;
use ports::files::posix::Keeps;
use ports::files::{Entry, EntryKind, FilePath, PosixTree};
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Both sides with everything.
#[derive(Clone)]
pub(super) struct Whole {
    pub(super) source: Arc<dyn PosixTree>,
    pub(super) target: Arc<dyn PosixTree>,
}

/// Where the ledger remembers what the destination's root was like.
const ROOT: &str = "root";

impl FilesMover {
    /// Moves everything that a POSIX file system knows: owners, further names, holes, attributes and access lists, FIFOs and device nodes, times to
    /// the nanosecond; many small files travel as one stream. Where a side cannot do that, it stays at content, modes and times; [`Self::notes`]
    /// then says why. Connects to both sides.
    pub async fn whole(mut self) -> Result<Self> {
        let (source, target) = futures::try_join!(self.source.posix(), self.destination.posix())?;
        match (source, target) {
            (Ok(source), Ok(target)) => {
                let sides = [("source", source.keeps()), ("destination", target.keeps())];
                self.notes = sides.iter().flat_map(|(side, keeps)| keeps.notes.iter().map(move |note| format!("{side}: {note}"))).collect();
                self.source = source.clone();
                self.destination = target.clone();
                self.whole = Some(Whole { source, target });
            }
            (source, target) => {
                let sides = [("source", source.err()), ("destination", target.err())];
                let reasons = sides.into_iter().filter_map(|(side, why)| why.map(|why| format!("{side}: {why}")));
                self.notes = reasons.map(|why| format!("owners, links and attributes are not kept. {why}")).collect();
            }
        }
        Ok(self)
    }

    /// The same for a move of files that is no move of a file system, where both sides are trees in which owners may be set: mount points are
    /// entered. Elsewhere it stays at content, modes and times; [`Self::notes`] then says why.
    pub async fn with_owners(mut self) -> Result<Self> {
        if !self.source.traits().modes || !self.destination.traits().modes {
            return Ok(self);
        }
        let (source, target) = futures::try_join!(self.source.posix_across_mounts(), self.destination.posix_across_mounts())?;
        match (source, target) {
            (Ok(source), Ok(target)) => {
                self.source = source.clone();
                self.destination = target.clone();
                self.whole = Some(Whole { source, target });
            }
            (source, target) => {
                let sides = [("source", source.err()), ("destination", target.err())];
                let reasons: Vec<String> = sides.into_iter().filter_map(|(side, why)| why.map(|why| format!("{side}: {why}"))).collect();
                self.notes = vec![format!("owners, groups, access lists, extended attributes, hard links and holes are not kept ({})", reasons.join("; "))];
            }
        }
        Ok(self)
    }

    /// What cannot be kept and why, for the report. Empty: everything is kept, or [`Self::whole`] was not asked for.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether everything is moved that both sides know.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }
}

impl Whole {
    /// Gives the destination's root the facts of the source's. What it was like is remembered in the ledger, once.
    pub(super) async fn finish_root(&self, ledger: &dyn Ledger) -> Result<()> {
        let top = FilePath::default();
        let Some(wanted) = self.source.stats(std::slice::from_ref(&top)).await?.pop().flatten() else { return Ok(()) };
        let now = self.target.stats(std::slice::from_ref(&top)).await?.pop().flatten();
        if ledger.recall(ROOT).await?.is_none() {
            let value =
                serde_json::to_value(&now).map_err(|e| ConnectorError::new(ErrorKind::Internal, "store the root in", "the files ledger", e.to_string()))?;
            ledger.remember(ROOT, Some(value)).await?;
        }
        let differs = |now: &Entry| {
            let (a, b) = (Stat::of(&wanted), Stat::of(now));
            a.other_mode(&b) || !a.same_facts(&b) || a.modified_ns != b.modified_ns
        };
        if now.as_ref().is_none_or(differs) { self.target.make_directories(std::slice::from_ref(&wanted)).await } else { Ok(()) }
    }

    /// Puts back what [`Self::finish_root`] has changed.
    pub(super) async fn restore_root(&self, ledgers: &[&dyn Ledger]) -> Result<()> {
        for ledger in ledgers {
            let Some(value) = ledger.recall(ROOT).await? else { continue };
            if let Ok(Some(before)) = serde_json::from_value::<Option<Entry>>(value)
                && self.target.stats(std::slice::from_ref(&before.path)).await?.iter().any(Option::is_some)
            {
                return self.target.make_directories(std::slice::from_ref(&before)).await;
            }
        }
        Ok(())
    }
}

/// Which names of the source are one file: the first in the order of the listing carries the content.
#[derive(Default)]
pub(super) struct Names {
    /// By device and inode: the first name, and how many are still to come.
    first: HashMap<(u64, u64), (FilePath, u64)>,
}

impl Names {
    /// The first name of this file, unless this is it.
    pub(super) fn first_of(&mut self, path: &FilePath, stat: &Stat) -> Option<FilePath> {
        let identity = stat.identity()?;
        if let Some((first, left)) = self.first.get_mut(&identity) {
            let first = first.clone();
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.first.remove(&identity);
            }
            return Some(first);
        }
        let left = stat.posix.as_ref().map_or(0, |p| p.links.saturating_sub(1));
        self.first.insert(identity, (path.clone(), left));
        None
    }
}

/// What of the facts is not as it should be: what differs, what was wanted, what is there.
pub(super) fn difference(wanted: &Stat, found: &Entry, keeps: &Keeps) -> Option<(&'static str, String, String)> {
    let link = matches!(wanted.kind, EntryKind::Symlink { .. });
    if let (Some(a), Some(b)) = (wanted.mode, found.mode)
        && a != b
        && !link
    {
        return Some(("the mode differs", format!("{a:o}"), format!("{b:o}")));
    }
    if wanted.modified_ns != found.modified_ns {
        let told = |ns: Option<i64>| ns.map_or_else(|| "none".to_owned(), |ns| format!("{ns} ns"));
        return Some(("the time differs", told(wanted.modified_ns), told(found.modified_ns)));
    }
    let (Some(a), Some(b)) = (&wanted.posix, &found.posix) else { return None };
    if keeps.owners && (a.owner, a.group) != (b.owner, b.group) {
        return Some(("owner or group differ", format!("{}:{}", a.owner, a.group), format!("{}:{}", b.owner, b.group)));
    }
    if keeps.owners && a.node != b.node {
        return Some(("the device numbers differ", format!("{:?}", a.node), format!("{:?}", b.node)));
    }
    let kept = |name: &&String| *name != "security.selinux" && (keeps.owners || name.starts_with("user.") || name.starts_with("system.posix_acl_"));
    let names = a.attributes.keys().chain(b.attributes.keys()).filter(kept);
    let different = names.filter(|_| keeps.attributes).find(|name| a.attributes.get(*name) != b.attributes.get(*name))?;
    let told = |value: Option<&Vec<u8>>| value.map_or_else(|| "none".to_owned(), hex::encode);
    Some(("an extended attribute differs", format!("{different}={}", told(a.attributes.get(different))), told(b.attributes.get(different))))
}

/// Whether a directory of the source is, in all that is moved, as `recorded`.
pub(super) fn same_folder(recorded: &Stat, now: &Stat) -> bool {
    !recorded.other_mode(now) && recorded.modified_ns == now.modified_ns && recorded.same_facts(now)
}
