//! The root on the server: absolute names, and the promise that nothing leads out of it.

use super::connect;
use super::durability::Unsettled;
use super::pool::{Lent, Pool};
use super::refusals::Refusals;
use super::session::{Fault, Session};
use crate::tree;
use domain::spec::{FilesAt, SshAt};
use ports::files::FilePath;
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Directories that are remembered as checked; more are checked again.
const REMEMBERED: usize = 100_000;

pub(super) struct Host {
    pool: Pool,
    /// Absolute, without `/` at the end; empty: the server's root.
    root: Vec<u8>,
    location: String,
    server: String,
    root_login: bool,
    real_root: Mutex<Option<Vec<u8>>>,
    /// Directories below the root that were resolved and lie in it.
    checked: Mutex<HashSet<FilePath>>,
    pub(super) refusals: Refusals,
    pub(super) unsettled: Unsettled,
}

impl Host {
    pub(super) fn new(ssh: &SshAt, root: &str, parallel: usize) -> Self {
        Self {
            pool: Pool::new(ssh.clone(), parallel),
            root: root.trim_end_matches('/').as_bytes().to_vec(),
            location: FilesAt::Sftp { ssh: ssh.clone(), root: root.trim_end_matches('/').to_owned() }.describe(),
            server: connect::subject(ssh),
            root_login: ssh.login.username == "root",
            real_root: Mutex::default(),
            checked: Mutex::default(),
            refusals: Refusals::default(),
            unsettled: Unsettled::default(),
        }
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// For people: the server without the directory.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Whether the user is called root; what the user may do is asked of the server.
    pub(super) fn is_root_login(&self) -> bool {
        self.root_login
    }

    pub(super) fn subject(&self, path: &FilePath) -> String {
        if path.as_bytes().is_empty() { self.location.clone() } else { format!("{}/{path}", self.location) }
    }

    pub(super) async fn session(&self) -> Result<Lent> {
        self.pool.get().await
    }

    /// For a stream that may have to wait for its reader: what waits on a connection holds up everything else on it.
    pub(super) async fn session_alone(&self) -> Result<Lent> {
        self.pool.alone().await
    }

    /// The absolute name on the server; of the root itself for the empty path.
    pub(super) fn absolute(&self, path: &FilePath) -> Vec<u8> {
        let mut name = self.root.clone();
        if !path.as_bytes().is_empty() || name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(path.as_bytes());
        name
    }

    /// Bytes that a path below the root may have (PATH_MAX, and room for a staging name).
    pub(super) fn room(&self) -> usize {
        4096_usize.saturating_sub(self.root.len() + 130)
    }

    fn checked(&self) -> MutexGuard<'_, HashSet<FilePath>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, directory: &FilePath) {
        let mut checked = self.checked();
        if checked.len() >= REMEMBERED {
            checked.clear();
        }
        checked.insert(directory.clone());
    }

    /// Something at or above `path` changed: what was checked there is checked again.
    pub(super) fn forget(&self, path: &FilePath) {
        let below: Vec<u8> = path.join(b"").as_bytes().to_vec();
        self.checked().retain(|known| known != path && !known.as_bytes().starts_with(&below));
    }

    /// Everything is checked again.
    pub(super) fn forget_all(&self) {
        self.checked().clear();
        *self.real_root.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The root with all links resolved.
    async fn real_root(&self, session: &Session) -> Result<Vec<u8>, Fault> {
        let known = self.real_root.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(root) = known {
            return Ok(root);
        }
        let name = self.absolute(&FilePath::default());
        session.stat(&name).await?;
        let root = session.realpath(&name).await?;
        *self.real_root.lock().unwrap_or_else(PoisonError::into_inner) = Some(root.clone());
        Ok(root)
    }

    /// Whether what this path points to, all links followed, lies in the root.
    pub(super) async fn is_inside(&self, session: &Session, path: &FilePath) -> Result<bool, Fault> {
        let root = self.real_root(session).await?;
        let real = session.realpath(&self.absolute(path)).await?;
        Ok(match real.strip_prefix(root.as_slice()) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/"),
            None => false,
        })
    }

    /// Makes sure that the directory of `path` lies in the root.
    pub(super) async fn guard(&self, session: &Session, path: &FilePath) -> Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if self.checked().contains(&parent) {
            return Ok(());
        }
        let name = self.absolute(&parent);
        let (inside, standing) = futures::join!(self.must_be_inside(session, path, &parent), session.stat(&name));
        inside?;
        // The real name is told of what does not exist yet, too.
        if standing.is_ok_and(|found| found.is_directory()) {
            self.remember(&parent);
        }
        Ok(())
    }

    /// `parent`: the directory of `path`.
    async fn must_be_inside(&self, session: &Session, path: &FilePath, parent: &FilePath) -> Result<()> {
        match self.is_inside(session, parent).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.leads_out(path)),
            Err(e) => Err(e.tell("look at the directory of", &self.subject(path))),
        }
    }

    pub(super) fn leads_out(&self, path: &FilePath) -> ConnectorError {
        ConnectorError::new(ErrorKind::Permission, "follow", self.subject(path), "a symbolic link in it leads out of the root directory")
            .advice("Links out of the root are never followed; copy what it points to, or skip links")
    }

    /// Makes the directory of `path` where it is missing, for us alone until it gets its mode, and makes sure that it lies in the root.
    pub(super) async fn ready(&self, session: &Session, path: &FilePath) -> Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        if self.checked().contains(&parent) {
            return Ok(());
        }
        let told = |e: Fault| e.tell("make the directory of", &self.subject(path));
        let name = self.absolute(&parent);
        match session.stat(&name).await {
            Ok(found) if found.is_directory() => {
                self.must_be_inside(session, path, &parent).await?;
                self.remember(&parent);
                return Ok(());
            }
            Ok(_) => {
                return Err(ConnectorError::new(ErrorKind::Invalid, "make the directory of", self.subject(path), "a file is where a directory is needed")
                    .advice("Move the file away first"));
            }
            Err(e) if e.is_absent() => {}
            Err(e) => return Err(told(e)),
        }
        Box::pin(self.ready(session, &parent)).await?;
        match session.mkdir(&name, tree::PRIVATE_MODE).await {
            Ok(()) => {
                self.remember(&parent);
                Ok(())
            }
            // Another transfer was faster.
            Err(Fault::Status { .. }) if session.stat(&name).await.is_ok_and(|found| found.is_directory()) => self.guard(session, path).await,
            Err(e) => Err(told(e)),
        }
    }

    /// Makes the root with its parents; true when it was missing.
    pub(super) async fn prepare(&self) -> Result<bool> {
        let session = self.session().await?;
        let root = self.absolute(&FilePath::default());
        let told = |e: Fault| e.tell("make the directory", &self.location);
        match session.stat(&root).await {
            Ok(found) if found.is_directory() => return Ok(false),
            Ok(_) => {
                return Err(
                    ConnectorError::new(ErrorKind::Invalid, "make the directory", &self.location, "a file is in its place").advice("Choose another directory")
                );
            }
            Err(e) if e.is_absent() => {}
            Err(e) => return Err(told(e)),
        }
        let ends = (1..=root.len()).filter(|i| *i == root.len() || root[*i] == b'/');
        for end in ends {
            let directory = &root[..end];
            match session.mkdir(directory, tree::DIRECTORY_MODE).await {
                Ok(()) => {}
                Err(Fault::Status { .. }) if session.stat(directory).await.is_ok_and(|found| found.is_directory()) => {}
                Err(e) => return Err(told(e)),
            }
        }
        self.forget_all();
        Ok(true)
    }

    /// Of the file system of the root, or of the nearest directory above it that exists.
    pub(super) async fn free_space(&self) -> Result<Option<u64>> {
        let session = self.session().await?;
        let nearest = self.nearest(&session).await?;
        let space = session.space(&nearest).await.map_err(|e| e.tell("ask for the free space of", &self.location))?;
        Ok(space.map(|s| s.free))
    }

    /// The root, or the nearest directory above it that exists.
    pub(super) async fn nearest(&self, session: &Session) -> Result<Vec<u8>> {
        let mut name = self.absolute(&FilePath::default());
        loop {
            match session.stat(&name).await {
                Ok(_) => return Ok(name),
                Err(e) if e.is_absent() && name.len() > 1 => {
                    let cut = name.iter().rposition(|b| *b == b'/').unwrap_or(0);
                    name.truncate(cut.max(1));
                }
                Err(e) => return Err(e.tell("look at", &self.location)),
            }
        }
    }
}
