//! Writing: staging file, content in pipelined pieces, mode and time, rename.

use super::read::{OpenFile, stat};
use super::root::Host;
use super::session::{Answer, Fault, Session};
use super::verbs::done;
use super::wire::{self, Attrs};
use crate::body::wrong_length;
use crate::{staging, tree};
use bytes::Bytes;
use futures::StreamExt;
use ports::files::{Body, Entry, EntryKind, FilePath, not_as_expected};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::VecDeque;

/// What may stand where a file is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over<'a> {
    Anything,
    Nothing,
    /// This, as it was seen; or nothing any more. SFTP cannot compare and replace in one step: it is looked at right before.
    Only(&'a Entry),
}

/// Bytes written without waiting for the server's word.
const AHEAD: usize = 4 << 20;

/// The absolute staging name beside `path`.
pub(super) fn beside(host: &Host, path: &FilePath, name: &str) -> Vec<u8> {
    let parent = path.parent().unwrap_or_default();
    host.absolute(&parent.join(name.as_bytes()))
}

pub(super) async fn put(host: &Host, entry: &Entry, staging: &str, body: Body, over: Over<'_>) -> Result<()> {
    let subject = host.subject(&entry.path);
    let name = beside(host, &entry.path, &staging::name(staging, &entry.path));
    let mut writer = match create(host, entry, &name).await {
        // The directory was removed since it was checked.
        Err(e) if e.kind == ErrorKind::NotFound => {
            host.forget_all();
            create(host, entry, &name).await?
        }
        other => other?,
    };
    let written = writer.write(body, entry.size()).await;
    let attrs = (!host.refusals.expects(&entry.path)).then(|| Attrs::of(entry, Some(tree::FILE_MODE)));
    let finished = match written {
        Ok(()) => writer.finish(attrs.map(|attrs| (attrs, &entry.path))).await,
        Err(e) => Err(e),
    };
    let over = match finished {
        Ok(()) => look_before(host, &entry.path, over).await,
        Err(e) => Err(e),
    };
    let placed = match over {
        Ok(over) => place(host, &writer.file.session, &name, &entry.path, over).await.map_err(|e| e.tell("put in place", &subject)),
        Err(e) => Err(e),
    };
    if placed.is_ok() {
        writer.discard = None;
        host.unsettled.placed(&entry.path);
    }
    placed
}

/// What may stand there, decided by what stands there now.
async fn look_before<'a>(host: &Host, path: &FilePath, over: Over<'a>) -> Result<Over<'a>> {
    let Over::Only(expected) = over else { return Ok(over) };
    match stat(host, path).await? {
        None => Ok(Over::Nothing),
        Some(now) if now.is_still(expected) => Ok(Over::Anything),
        Some(_) => Err(not_as_expected("write", path, host.location())),
    }
}

async fn create<'a>(host: &'a Host, entry: &Entry, name: &[u8]) -> Result<Writer<'a>> {
    let session = host.session().await?;
    host.ready(&session, &entry.path).await?;
    let subject = host.subject(&entry.path);
    let flags = wire::OPEN_WRITE | wire::OPEN_CREATE | wire::OPEN_EXCLUSIVE;
    // Where the mode cannot be set later, the file is made with it.
    let mode = if host.refusals.expects(&entry.path) { entry.mode.unwrap_or(tree::FILE_MODE) & 0o777 } else { 0o600 };
    let answer = session.send_open(name, flags, Some(mode)).await;
    let handle = Session::opened(answer).await.map_err(|e| e.tell("make the staging file of", &subject))?;
    let mut writer = Writer::new(host, OpenFile::new(session, handle), subject, 0);
    writer.discard = Some(name.to_vec());
    Ok(writer)
}

/// A file on the server that is being written.
pub(super) struct Writer<'a> {
    host: &'a Host,
    pub(super) file: OpenFile,
    subject: String,
    offset: u64,
    sent: VecDeque<(usize, Answer)>,
    sent_bytes: usize,
    /// Zeros are not written: the file has its full length and is empty.
    pub(super) holes: bool,
    /// Removed when this is dropped.
    discard: Option<Vec<u8>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(host: &'a Host, file: OpenFile, subject: String, offset: u64) -> Self {
        Self { host, file, subject, offset, sent: VecDeque::new(), sent_bytes: 0, holes: false, discard: None }
    }

    /// Writes a body of exactly `size` bytes.
    pub(super) async fn write(&mut self, mut body: Body, size: u64) -> Result<()> {
        let mut seen = 0;
        while let Some(piece) = body.next().await {
            let piece = piece?;
            seen += piece.len() as u64;
            if seen > size {
                break;
            }
            self.send(piece).await?;
        }
        if seen == size { Ok(()) } else { Err(wrong_length(&self.subject, size, seen)) }
    }

    async fn send(&mut self, mut piece: Bytes) -> Result<()> {
        let most = self.file.session.features.write as usize;
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(most));
            if self.holes && part.iter().all(|b| *b == 0) {
                self.offset += part.len() as u64;
                continue;
            }
            let answer = self.file.session.send_write(&self.file.handle, self.offset, &part).await;
            self.offset += part.len() as u64;
            self.sent_bytes += part.len();
            self.sent.push_back((part.len(), answer));
            while self.sent_bytes > AHEAD {
                self.confirm().await?;
            }
        }
        Ok(())
    }

    /// Waits for the oldest write.
    async fn confirm(&mut self) -> Result<()> {
        if let Some((length, answer)) = self.sent.pop_front() {
            self.sent_bytes -= length;
            if let Err(e) = answer.wait().await.and_then(done) {
                return Err(self.write_failed(e).await);
            }
        }
        Ok(())
    }

    /// Sets mode and time of the file that will be at that path, closes, and waits for every answer.
    pub(super) async fn finish(&mut self, attrs: Option<(Attrs, &FilePath)>) -> Result<()> {
        let dressed = match attrs {
            Some((attrs, path)) => Some((self.file.session.send_fsetstat(&self.file.handle, attrs).await, path)),
            None => None,
        };
        let closed = self.file.close().await;
        while !self.sent.is_empty() {
            self.confirm().await?;
        }
        if let Some((dressed, path)) = dressed {
            match dressed.wait().await.and_then(done) {
                Ok(()) => self.host.refusals.agreed(),
                Err(e) => return Err(refused_attributes(self.host, e, path, &self.subject)),
            }
        }
        match closed.wait().await.and_then(done) {
            Ok(()) => Ok(()),
            Err(e) => Err(self.write_failed(e).await),
        }
    }

    /// SFTP has no word for a full disk: look whether it is.
    async fn write_failed(&self, fault: Fault) -> ConnectorError {
        if fault.code() == Some(wire::FAILURE) {
            let root = self.host.absolute(&FilePath::default());
            if let Ok(Some(space)) = self.file.session.space(&root).await
                && space.free < 1 << 20
            {
                return ConnectorError::new(ErrorKind::NoSpace, "write", &self.subject, "the server's disk is full")
                    .advice("Free some space; the migration then goes on where it stopped");
            }
        }
        fault.tell("write", &self.subject)
    }
}

/// The server set neither mode nor time. The file is written once more, with its mode from the beginning.
fn refused_attributes(host: &Host, fault: Fault, path: &FilePath, subject: &str) -> ConnectorError {
    let refused = fault.is_refusal();
    let mut error = fault.tell("set mode and time of", subject);
    if refused {
        host.refusals.refused(path);
        error.temporary = true;
    }
    error
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.discard.take() {
            // What cannot be removed now is found by the sweep.
            self.file.session.send_and_forget(wire::REMOVE, |p| p.bytes(&name));
        }
    }
}

/// Renames over what may be there; an empty directory in the way is removed.
pub(super) async fn place(host: &Host, session: &Session, staged: &[u8], path: &FilePath, over: Over<'_>) -> Result<(), Fault> {
    let target = host.absolute(path);
    let rename = || async {
        match over {
            Over::Anything | Over::Only(_) => session.replace(staged, &target).await,
            Over::Nothing => session.rename(staged, &target).await,
        }
    };
    match rename().await {
        Err(fault @ Fault::Status { code: wire::FAILURE, .. }) => match session.lstat(&target).await {
            Ok(found) if found.is_directory() => {
                session.rmdir(&target).await?;
                rename().await
            }
            Ok(_) if over == Over::Nothing => Err(Fault::Status { code: wire::FILE_ALREADY_EXISTS, message: String::new() }),
            _ => Err(fault),
        },
        other => other,
    }
}

/// See [`ports::files::FileTarget::make`].
pub(super) async fn make(host: &Host, entry: &Entry) -> Result<()> {
    let session = host.session().await?;
    host.ready(&session, &entry.path).await?;
    let subject = host.subject(&entry.path);
    let name = host.absolute(&entry.path);
    match &entry.kind {
        EntryKind::Directory => make_directory(&session, &name, entry).await.map_err(|e| e.tell("make the directory", &subject)),
        EntryKind::Symlink { target } => {
            host.forget(&entry.path);
            make_link(host, &session, target, &entry.path).await.map_err(|e| e.tell("make the link", &subject))
        }
        EntryKind::File { .. } => dress(&session, &name, entry).await.map_err(|e| e.tell("set mode and time of", &subject)),
        EntryKind::Other(kind) => Err(ConnectorError::new(ErrorKind::Unsupported, "make", subject, format!("a {kind} is never made"))),
    }
}

async fn make_directory(session: &Session, name: &[u8], entry: &Entry) -> Result<(), Fault> {
    match session.mkdir(name, tree::PRIVATE_MODE).await {
        Ok(()) => {}
        Err(fault @ Fault::Status { .. }) => match session.lstat(name).await {
            Ok(found) if found.is_directory() => {}
            Ok(_) => {
                session.remove(name).await?;
                session.mkdir(name, tree::PRIVATE_MODE).await?;
            }
            Err(_) => return Err(fault),
        },
        Err(e) => return Err(e),
    }
    set_attributes(session, name, entry).await
}

/// A server that refuses is told as one that cannot do it, so that the path is named and the rest goes on.
async fn set_attributes(session: &Session, name: &[u8], entry: &Entry) -> Result<(), Fault> {
    let attrs = Attrs::of(entry, None);
    if attrs.is_empty() {
        return Ok(());
    }
    session.setstat(name, attrs).await.map_err(|e| if e.is_refusal() { Fault::Refused("mode and time") } else { e })
}

async fn make_link(host: &Host, session: &Session, target: &[u8], path: &FilePath) -> Result<(), Fault> {
    let staged = beside(host, path, &staging::name("link", path));
    session.symlink(target, &staged).await.map_err(|e| if e.is_refusal() { Fault::Refused("a symbolic link") } else { e })?;
    let placed = place(host, session, &staged, path, Over::Anything).await;
    if placed.is_err() {
        // The first error is the one to tell.
        let _ = session.remove(&staged).await;
    }
    placed
}

/// Sets mode and time, never through a link.
async fn dress(session: &Session, name: &[u8], entry: &Entry) -> Result<(), Fault> {
    let found = session.lstat(name).await?;
    if found.is_link() {
        return Err(Fault::Status { code: wire::FAILURE, message: "it is a symbolic link".to_owned() });
    }
    set_attributes(session, name, entry).await
}

pub(super) async fn remove(host: &Host, path: &FilePath) -> Result<()> {
    let is_root = path.as_bytes().is_empty();
    let kind = if is_root { Some(EntryKind::Directory) } else { stat(host, path).await?.map(|e| e.kind) };
    let Some(kind) = kind else { return Ok(()) };
    let directory = kind == EntryKind::Directory;
    let session = host.session().await?;
    let name = host.absolute(path);
    let removed = if directory { session.rmdir(&name).await } else { session.remove(&name).await };
    if is_root {
        host.forget_all();
    } else if !matches!(kind, EntryKind::File { .. }) {
        // Nothing lies below a file.
        host.forget(path);
    }
    match removed {
        Err(Fault::Status { code: wire::FAILURE, .. }) if directory => {
            Err(ConnectorError::new(ErrorKind::AlreadyExists, "remove", host.subject(path), "the directory is not empty").advice("Remove its content first"))
        }
        Err(e) if !e.is_absent() => Err(e.tell("remove", &host.subject(path))),
        _ => Ok(()),
    }
}
