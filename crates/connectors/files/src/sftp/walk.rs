//! The sorted walk, and the sweep of unfinished files.
//!
//! One directory per level is in memory. The directories that come next are read while this one is handed out, so that a long line
//! does not cost its delay for each of them.

use super::read::OpenFile;
use super::root::Host;
use super::session::{Fault, Session};
use super::wire::{self, Attrs};
use crate::staging;
use crate::tree::Names;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ports::files::{Entry, FilePath, Prune};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Directories read ahead per level, and by a sweep side by side.
const AHEAD: usize = 8;
const BATCH: usize = 256;

/// What a server tells of a name, and whether a directory is to be left out.
#[derive(Clone, Copy)]
struct Named {
    attrs: Attrs,
    pruned: bool,
}

impl Named {
    fn is_entered(self) -> bool {
        self.attrs.is_directory() && !self.pruned
    }
}

/// `None`: the directory vanished.
type Reading = JoinHandle<Result<Option<Names<Named>>>>;

struct Level {
    path: FilePath,
    names: Names<Named>,
    /// Subdirectories in order that are being read already.
    ahead: VecDeque<(Vec<u8>, Reading)>,
    /// How far in `names` we have looked for subdirectories.
    looked: usize,
}

impl Drop for Level {
    fn drop(&mut self) {
        for (_, reading) in &self.ahead {
            reading.abort();
        }
    }
}

struct Walk {
    host: Arc<Host>,
    prune: Option<Prune>,
    levels: Vec<Level>,
    started: bool,
}

pub(super) fn stream(host: Arc<Host>, prune: Option<Prune>) -> BoxStream<'static, Result<Entry>> {
    let walk = Walk { host, prune, levels: Vec::new(), started: false };
    stream::unfold(Some(walk), |walk| async move {
        let mut walk = walk?;
        let mut batch = Vec::new();
        match walk.step(&mut batch).await {
            Ok(true) => Some((stream::iter(batch), Some(walk))),
            Ok(false) if batch.is_empty() => None,
            Ok(false) => Some((stream::iter(batch), None)),
            Err(e) => {
                batch.push(Err(e));
                Some((stream::iter(batch), None))
            }
        }
    })
    .flatten()
    .boxed()
}

impl Walk {
    /// Fills a batch; false at the end of the walk.
    async fn step(&mut self, batch: &mut Vec<Result<Entry>>) -> Result<bool> {
        if !self.started {
            self.started = true;
            let names = read_directory(&self.host, &FilePath::default(), self.prune.as_ref()).await?;
            let names =
                names.ok_or_else(|| ConnectorError::new(ErrorKind::NotFound, "list", self.host.location(), "it does not exist").advice("Check the path"))?;
            self.levels.push(Level { path: FilePath::default(), names, ahead: VecDeque::new(), looked: 0 });
        }
        while batch.len() < BATCH {
            let Some(level) = self.levels.last_mut() else { return Ok(false) };
            level.read_ahead(&self.host, self.prune.as_ref());
            let Some((name, named)) = level.names.take() else {
                self.levels.pop();
                continue;
            };
            let path = level.path.join(&name);
            let below = match level.ahead.front() {
                Some((first, _)) if named.is_entered() && *first == name => level.ahead.pop_front().map(|(_, reading)| reading),
                _ => None,
            };
            let Some(mut entry) = self.look(path.clone(), named.attrs).await? else { continue };
            let names = if named.is_entered() { self.enter(&path, below).await } else { Ok(None) };
            match names {
                Err(e) if matches!(e.kind, ErrorKind::Permission | ErrorKind::Invalid) => entry.unlisted = Some(e.reason.into()),
                Err(e) => return Err(e),
                Ok(None) => {}
                Ok(Some(names)) => self.levels.push(Level { path, names, ahead: VecDeque::new(), looked: 0 }),
            }
            batch.push(Ok(entry));
        }
        Ok(true)
    }

    async fn enter(&self, path: &FilePath, reading: Option<Reading>) -> Result<Option<Names<Named>>> {
        match reading {
            None => read_directory(&self.host, path, self.prune.as_ref()).await,
            Some(reading) => match reading.await {
                Ok(names) => names,
                Err(e) => Err(ConnectorError::new(ErrorKind::Internal, "list the directory", self.host.subject(path), "the listing task ended").because(e)),
            },
        }
    }

    /// `None`: it vanished.
    async fn look(&self, path: FilePath, attrs: Attrs) -> Result<Option<Entry>> {
        if !attrs.is_link() {
            return Ok(Some(attrs.entry(path, None)));
        }
        let session = self.host.session().await?;
        match session.readlink(&self.host.absolute(&path)).await {
            Ok(target) => Ok(Some(attrs.entry(path, Some(target)))),
            Err(e) if e.is_absent() => Ok(None),
            Err(e) => Err(e.tell("read the link", &self.host.subject(&path))),
        }
    }
}

impl Level {
    /// Starts to read the next subdirectories.
    fn read_ahead(&mut self, host: &Arc<Host>, prune: Option<&Prune>) {
        while self.ahead.len() < AHEAD {
            let Some((at, name)) = self.names.next_where(self.looked, Named::is_entered) else { return };
            self.looked = at + 1;
            let (host, path, prune) = (host.clone(), self.path.join(&name), prune.cloned());
            self.ahead.push_back((name, tokio::spawn(async move { read_directory(&host, &path, prune.as_ref()).await })));
        }
    }
}

/// All names of a directory in order, unfinished files left out; `None` when it is not there (any more).
async fn read_directory(host: &Host, path: &FilePath, prune: Option<&Prune>) -> Result<Option<Names<Named>>> {
    let mut names = Names::new();
    let mut empty = true;
    let found = each_name(host, path, |name, attrs| {
        empty = false;
        if !staging::is_staging(name) {
            let pruned = attrs.is_directory() && prune.is_some_and(|prune| prune(&path.join(name)));
            names.push(name, attrs.is_directory(), Named { attrs, pruned });
        }
    });
    if !found.await? {
        return Ok(None);
    }
    if empty {
        may_be_looked_at(host, path).await?;
    }
    names.sort();
    Ok(Some(names))
}

/// A server leaves out of a listing what it may not look at, so a directory that may be read but not entered seems to be empty.
async fn may_be_looked_at(host: &Host, path: &FilePath) -> Result<()> {
    let session = host.session().await?;
    match session.lstat(&host.absolute(&path.join(b"."))).await {
        Err(e) if e.code() == Some(wire::PERMISSION_DENIED) => Err(e.tell("list the directory", &host.subject(path))),
        _ => Ok(()),
    }
}

/// Calls `each` for every name in a directory, two requests under way; false when it is not there.
async fn each_name(host: &Host, path: &FilePath, mut each: impl FnMut(&[u8], Attrs)) -> Result<bool> {
    let session = host.session().await?;
    let subject = host.subject(path);
    let told = |e: Fault| e.tell("list the directory", &subject);
    let name = host.absolute(path);
    let handle = match session.opendir(&name).await {
        Ok(handle) => handle,
        Err(e) if e.is_absent() => return not_a_directory(host, &session, path).await,
        Err(e) => return Err(told(e)),
    };
    let mut directory = OpenFile::new(session, handle);
    let handle = directory.handle.clone();
    let mut first = directory.session.send_path(wire::READDIR, &handle).await;
    loop {
        let second = directory.session.send_path(wire::READDIR, &handle).await;
        let Some(names) = Session::readdir(first).await.map_err(told)? else { break };
        for (name, attrs) in names {
            if &name[..] != b"." && &name[..] != b".." {
                let attrs = complete(&directory.session, host, path, &name, attrs).await.map_err(told)?;
                each(&name, attrs);
            }
        }
        first = second;
    }
    directory.close().await.wait().await.map_err(told)?;
    Ok(true)
}

/// OpenSSH says "no such file" for a file in place of a directory too; for the root that deserves its own words.
async fn not_a_directory(host: &Host, session: &Session, path: &FilePath) -> Result<bool> {
    if path.as_bytes().is_empty() && session.stat(&host.absolute(path)).await.is_ok() {
        return Err(ConnectorError::new(ErrorKind::Invalid, "list", host.location(), "it is not a directory").advice("Give the path of a directory"));
    }
    Ok(false)
}

/// Few servers leave the type out of a listing.
async fn complete(session: &Session, host: &Host, path: &FilePath, name: &Bytes, attrs: Attrs) -> Result<Attrs, Fault> {
    if attrs.mode.is_some() {
        return Ok(attrs);
    }
    match session.lstat(&host.absolute(&path.join(name))).await {
        Err(e) if e.is_absent() => Ok(attrs),
        other => other,
    }
}

/// Removes every staging file of one run, several directories side by side.
pub(super) async fn sweep(host: &Arc<Host>, prefix: &str) -> Result<()> {
    let mut level = vec![FilePath::default()];
    while !level.is_empty() {
        level = stream::iter(level)
            .map(|directory| sweep_one(host, directory, prefix))
            .buffer_unordered(AHEAD)
            .try_fold(Vec::new(), |mut all, below| async move {
                all.extend(below);
                Ok(all)
            })
            .await?;
    }
    Ok(())
}

/// Sweeps one directory and gives its subdirectories.
async fn sweep_one(host: &Host, directory: FilePath, prefix: &str) -> Result<Vec<FilePath>> {
    let (mut below, mut leftovers) = (Vec::new(), Vec::new());
    let listed = each_name(host, &directory, |name, attrs| {
        if attrs.is_directory() {
            below.push(directory.join(name));
        } else if staging::is_leftover(name, prefix) {
            leftovers.push(directory.join(name));
        }
    });
    match listed.await {
        // A directory that we may not read holds nothing of ours.
        Err(e) if e.kind == ErrorKind::Permission => return Ok(Vec::new()),
        other => other?,
    };
    for path in leftovers {
        let session = host.session().await?;
        match session.remove(&host.absolute(&path)).await {
            Err(e) if !e.is_absent() => return Err(e.tell("remove the unfinished", &host.subject(&path))),
            _ => {}
        }
    }
    Ok(below)
}
