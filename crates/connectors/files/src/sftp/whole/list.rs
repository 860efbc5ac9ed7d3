//! Listings with all facts, and the facts of named things.

use super::SshTree;
use super::exec::{self, Ended, Fed, NO_ROOT};
use super::facts::{self, Facts};
use crate::sftp::walk;
use futures::stream::{self, BoxStream, StreamExt};
use ports::files::{Entry, EntryKind, FilePath, Prune};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Names of the whole tree (on this device, unless mount points are to be entered) in our order, then the facts of a stretch of names at a time.
fn script(tree: &SshTree) -> String {
    let facts = String::from_utf8_lossy(&exec::quoted(facts::script(tree.tools.getfattr).as_bytes())).into_owned();
    let (device, only) = if tree.across_mounts { (":", "") } else { (facts::DEVICE, "-xdev ") };
    let closed = format!(r"-type d \( ! -readable -o ! -executable \) -prune -printf '%p{}\0'", facts::NOT_ENTERED);
    let names = format!(r"find . {only}-mindepth 1 \( {closed} -o -type d -printf '%p/\0' -o -printf '%p\0' \) | sort -z");
    format!("{device}; {names} | xargs -0 -r sh -c {facts} sh")
}

pub(super) fn stream(tree: Arc<SshTree>) -> BoxStream<'static, Result<Entry>> {
    let opening = async move {
        let listing = match exec::start_alone(&tree.host, &script(&tree)).await {
            Ok(running) => Ok(Listing { tree, fed: running.fed(Vec::new()), facts: Facts::new() }),
            Err(e) => Err(e),
        };
        stream::unfold(Some(listing), |state| async move {
            let mut listing = match state? {
                Ok(listing) => listing,
                Err(e) => return Some((stream::iter(vec![Err(e)]), None)),
            };
            match listing.step().await {
                Ok(Some(entries)) => Some((stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()), Some(Ok(listing)))),
                Ok(None) => None,
                Err(e) => Some((stream::iter(vec![Err(e)]), None)),
            }
        })
        .flatten()
    };
    stream::once(opening).flatten().boxed()
}

/// The same without what lies below directories that are left out.
pub(super) fn pruned(tree: Arc<SshTree>, prune: Prune) -> BoxStream<'static, Result<Entry>> {
    let mut above: Option<Vec<u8>> = None;
    let mut stays = move |entry: &mut Entry| {
        if above.as_ref().is_some_and(|above| entry.path.as_bytes().starts_with(above)) {
            return false;
        }
        if entry.kind == EntryKind::Directory && prune(&entry.path) {
            above = Some(entry.path.join(b"").as_bytes().to_vec());
            entry.unlisted = None;
        }
        true
    };
    stream(tree)
        .filter_map(move |listed| {
            let kept = match listed {
                Ok(mut entry) => stays(&mut entry).then_some(Ok(entry)),
                Err(e) => Some(Err(e)),
            };
            std::future::ready(kept)
        })
        .boxed()
}

struct Listing {
    tree: Arc<SshTree>,
    fed: Fed,
    facts: Facts,
}

impl Listing {
    /// Some entries (maybe none); `None` at the end.
    async fn step(&mut self) -> Result<Option<Vec<Entry>>> {
        if let Some(piece) = self.fed.output.next().await? {
            return self.facts.push(&piece).map(Some).ok_or_else(|| odd("list", self.tree.host.location()));
        }
        let ended = self.fed.output.ended()?;
        if ended.status == NO_ROOT {
            return Err(no_root(&self.tree).await);
        }
        check(&ended, "list", self.tree.host.location())?;
        if self.facts.is_whole() { Ok(None) } else { Err(odd("list", self.tree.host.location())) }
    }
}

/// Things that vanish are no trouble (`find` says so, and `xargs` passes it on as 123); everything else is.
fn check(ended: &Ended, operation: &str, subject: &str) -> Result<()> {
    if matches!(ended.status, 0 | 1 | 123) && ended.complaint().is_none() { Ok(()) } else { Err(ended.letter(operation, subject)) }
}

pub(super) fn odd(operation: &str, subject: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Protocol, operation, subject, "the programs on the server print something that is not understood")
        .advice("Check that the user's shell prints nothing of its own when a command is run")
}

/// Why the root cannot be entered, in the words of plain SFTP.
pub(super) async fn no_root(tree: &SshTree) -> ConnectorError {
    let mut plain = walk::stream(tree.host.clone(), None);
    match plain.next().await {
        Some(Err(e)) => e,
        _ => ConnectorError::new(ErrorKind::Permission, "enter", tree.host.location(), "this user may not enter the directory")
            .advice("Give the SSH user access to it"),
    }
}

/// The facts of the things at `paths`, in their order; the empty path is the root.
pub(super) async fn stats(tree: &SshTree, paths: &[FilePath]) -> Result<Vec<Option<Entry>>> {
    let input = names(paths.iter().filter(|p| p.is_plain() || p.as_bytes().is_empty()));
    if input.is_empty() {
        return Ok(vec![None; paths.len()]);
    }
    let facts = String::from_utf8_lossy(&exec::quoted(facts::script(tree.tools.getfattr).as_bytes())).into_owned();
    let device = if tree.across_mounts { ":" } else { facts::DEVICE };
    let script = format!("{device}; xargs -0 -r sh -c {facts} sh");
    let (said, ended) = exec::start(&tree.host, &script).await?.answer(input).await?;
    if ended.status == NO_ROOT {
        return Ok(vec![None; paths.len()]);
    }
    let location = tree.host.location();
    // A name below what is a file now does not exist; neither does one that is too long.
    let harmless = |line: &str| line.contains("Not a directory") || line.contains("File name too long");
    if ended.complaint().is_some_and(|line| !harmless(line)) {
        return Err(ended.letter("look at files of", location));
    }
    let mut taking = Facts::new();
    let found = taking.push(&said).filter(|_| taking.is_whole()).ok_or_else(|| odd("look at files of", location))?;
    let mut found: HashMap<FilePath, Entry> = found.into_iter().map(|e| (e.path.clone(), e)).collect();
    Ok(paths.iter().map(|p| found.remove(p)).collect())
}

/// Names as programs take them: relative to the root, never an option, each ended by a NUL.
pub(super) fn names<'a>(paths: impl Iterator<Item = &'a FilePath>) -> Vec<u8> {
    let mut out = Vec::new();
    for path in paths {
        out.extend_from_slice(b"./");
        out.extend_from_slice(path.as_bytes());
        out.push(0);
    }
    out
}
