//! Looking at files and reading them, many requests in flight.

use super::pool::Lent;
use super::root::Host;
use super::session::{Answer, Fault, Session};
use super::wire::{self, Attrs};
use crate::body::shrunk;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ports::files::{Body, Entry, EntryKind, FilePath, Opened};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::VecDeque;
use std::ops::Range;

/// Bytes asked for ahead of the reader.
const AHEAD: u64 = 4 << 20;

fn missing(host: &Host, path: &FilePath) -> ConnectorError {
    ConnectorError::new(ErrorKind::NotFound, "read", host.subject(path), "it does not exist").advice("Check the path")
}

/// The directory of `path` does not exist, so neither does `path`.
fn absent_is_none<T>(error: ConnectorError) -> Result<Option<T>> {
    if error.kind == ErrorKind::NotFound { Ok(None) } else { Err(error) }
}

pub(super) async fn stat(host: &Host, path: &FilePath) -> Result<Option<Entry>> {
    if !path.is_plain() {
        return Ok(None);
    }
    let session = host.session().await?;
    if let Err(e) = host.guard(&session, path).await {
        return absent_is_none(e);
    }
    let name = host.absolute(path);
    let told = |e: Fault| e.tell("look at", &host.subject(path));
    let found = match session.lstat(&name).await {
        Ok(found) => found,
        Err(e) if e.is_absent() || e.code() == Some(wire::BAD_MESSAGE) => return Ok(None),
        Err(e) => return Err(told(e)),
    };
    let target = match found.is_link().then(|| session.readlink(&name)) {
        None => None,
        Some(reading) => match reading.await {
            Ok(target) => Some(target),
            Err(e) if e.is_absent() => return Ok(None),
            Err(e) => return Err(told(e)),
        },
    };
    Ok(Some(found.entry(path.clone(), target)))
}

pub(super) async fn resolve(host: &Host, path: &FilePath) -> Result<Option<Entry>> {
    if !path.is_plain() {
        return Ok(None);
    }
    let session = host.session().await?;
    let told = |e: Fault| e.tell("follow", &host.subject(path));
    let found = match session.stat(&host.absolute(path)).await {
        Ok(found) => found,
        // A loop is told as a plain failure, and is as good as dangling.
        Err(Fault::Status { code: wire::NO_SUCH_FILE | wire::FAILURE | wire::BAD_MESSAGE, .. }) => return Ok(None),
        Err(e) => return Err(told(e)),
    };
    let inside = host.is_inside(&session, path).await.map_err(told)?;
    Ok(inside.then(|| found.entry(path.clone(), None)))
}

/// An open file on the server; closed when dropped.
pub(super) struct OpenFile {
    pub(super) session: Lent,
    pub(super) handle: Bytes,
    open: bool,
}

impl OpenFile {
    pub(super) fn new(session: Lent, handle: Bytes) -> Self {
        Self { session, handle, open: true }
    }

    /// Sends the close; its answer tells late write errors.
    pub(super) async fn close(&mut self) -> Answer {
        self.open = false;
        self.session.send_close(&self.handle).await
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.open {
            let handle = self.handle.clone();
            self.session.send_and_forget(wire::CLOSE, |p| p.bytes(&handle));
        }
    }
}

pub(super) async fn open(host: &Host, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
    if !path.is_plain() {
        return Err(missing(host, path));
    }
    let session = host.session().await?;
    host.guard(&session, path).await?;
    let subject = host.subject(path);
    let name = host.absolute(path);
    // Both at once: the answer to the first tells whether the second may be used. (The mover never opens a FIFO, which would wait.)
    let looking = session.send_path(wire::LSTAT, &name).await;
    let opening = session.send_open(&name, wire::OPEN_READ, None).await;
    let looked = looking.wait().await.and_then(super::verbs::attrs);
    let opened = Session::opened(opening).await;
    let no_file = || ConnectorError::new(ErrorKind::Changed, "read", subject.clone(), "it is not a file").permanent();
    let handle = match opened {
        Ok(handle) => handle,
        Err(_) if looked.as_ref().is_ok_and(|found| found.is_directory()) => return Err(no_file()),
        Err(e) => return Err(e.tell("open", &subject)),
    };
    let file = OpenFile::new(session, handle);
    let facts = settle(host, &file.session, path, looked.map_err(|e| e.tell("look at", &subject))?, &subject).await?;
    let entry = facts.entry(path.clone(), None);
    let EntryKind::File { size } = entry.kind else {
        return Err(no_file());
    };
    let range = range.unwrap_or(0..size);
    let start = range.start.min(size);
    let mut reader = Reader { file, subject, next: start, end: range.end.clamp(start, size), asked: VecDeque::new(), asked_bytes: 0 };
    reader.ask().await;
    if reader.next < reader.end {
        return Ok(Opened { entry, body: reader.body() });
    }
    // All is asked for already: take it, and give the session back.
    let closed = reader.file.close().await;
    let mut pieces = Vec::new();
    while let Some(piece) = reader.piece().await? {
        pieces.push(Ok(piece));
    }
    closed.wait().await.map_err(|e| e.tell("read", &reader.subject))?;
    Ok(Opened { entry, body: stream::iter(pieces).boxed() })
}

/// Facts of the file itself; a link is followed when it stays in the root.
async fn settle(host: &Host, session: &Session, path: &FilePath, found: Attrs, subject: &str) -> Result<Attrs> {
    if !found.is_link() {
        return Ok(found);
    }
    let told = |e: Fault| e.tell("follow", subject);
    if !host.is_inside(session, path).await.map_err(told)? {
        return Err(host.leads_out(path));
    }
    session.stat(&host.absolute(path)).await.map_err(told)
}

struct Reader {
    file: OpenFile,
    subject: String,
    /// What was not asked for yet.
    next: u64,
    end: u64,
    asked: VecDeque<(u64, u32, Answer)>,
    asked_bytes: u64,
}

impl Reader {
    /// Keeps requests under way.
    async fn ask(&mut self) {
        while self.next < self.end && self.asked_bytes < AHEAD {
            let length = (self.end - self.next).min(u64::from(self.file.session.features.read)) as u32;
            let answer = self.file.session.send_read(&self.file.handle, self.next, length).await;
            self.asked.push_back((self.next, length, answer));
            self.asked_bytes += u64::from(length);
            self.next += u64::from(length);
        }
    }

    /// The next piece; a server may give less than was asked for.
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let Some((offset, length, answer)) = self.asked.pop_front() else { return Ok(None) };
        let data = Session::read(answer).await.map_err(|e| e.tell("read", &self.subject))?;
        let got = data.len() as u32;
        if got == 0 || got > length {
            return Err(shrunk(&self.subject, offset));
        }
        if got < length {
            let (offset, length) = (offset + u64::from(got), length - got);
            let answer = self.file.session.send_read(&self.file.handle, offset, length).await;
            self.asked.push_front((offset, length, answer));
        }
        self.asked_bytes -= u64::from(got);
        Ok(Some(data))
    }

    fn body(self) -> Body {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            reader.ask().await;
            match reader.piece().await {
                Ok(Some(data)) => Some((Ok(data), Some(reader))),
                Ok(None) => None,
                Err(e) => Some((Err(e), None)),
            }
        })
        .boxed()
    }
}
