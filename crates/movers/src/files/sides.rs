//! Whose fault an error is. A body that fails while the destination reads it is the source's error, however the destination
//! wraps it; and what a single file may suffer without stopping the migration.

use super::digest::Running;
use super::item::{Outcome, What};
use super::told::Flow;
use bytes::Bytes;
use futures::StreamExt;
use ports::files::{Body, Digest, DigestKind};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// An error and the side that it came from.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) side: Side,
    pub(super) error: ConnectorError,
}

impl Fault {
    pub(super) fn source(error: ConnectorError) -> Self {
        Self { side: Side::Source, error }
    }

    pub(super) fn target(error: ConnectorError) -> Self {
        Self { side: Side::Target, error }
    }

    /// What the fault means for one file: an outcome that the report names, or an error that stops the migration.
    pub(super) fn settle(self) -> Result<Outcome> {
        let what = match (self.side, self.error.kind) {
            (_, ErrorKind::Changed) => What::Changed,
            (Side::Source, ErrorKind::NotFound) => What::Vanished,
            (Side::Source, ErrorKind::Permission | ErrorKind::Name) => What::Unreadable,
            (Side::Target, ErrorKind::Name | ErrorKind::AlreadyExists) => What::Refused,
            _ => return Err(self.error),
        };
        Ok(Outcome::failed(what, &self.error))
    }
}

/// What was seen of a body so far.
struct Seen {
    bytes: u64,
    /// `None`: the destination gives the hash of what it takes.
    running: Option<Running>,
    fault: Option<ConnectorError>,
}

/// A body under watch: counted, hashed unless the destination does, and cut off as soon as it is not exactly as long as promised.
pub(super) struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    /// Wraps `body`, which must have `size` bytes. `hash`: the kind to hash it in. `what` names it in errors.
    pub(super) fn over(body: Body, size: u64, hash: Option<DigestKind>, flow: Arc<Flow>, what: String) -> (Self, Body) {
        let seen = Arc::new(Mutex::new(Seen { bytes: 0, running: hash.map(|kind| Running::new(kind, None)), fault: None }));
        let watch = Self(seen.clone());
        let end = futures::stream::once(async { None });
        let watched = body.map(Some).chain(end).filter_map(move |piece| {
            let step = step(&seen, piece, size, &flow, &what);
            async move { step }
        });
        (watch, watched.boxed())
    }

    /// The source's own error, if the body failed; `target`'s otherwise.
    pub(super) fn blame(&self, target: ConnectorError) -> Fault {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).fault.take() {
            Some(source) => Fault::source(source),
            None => Fault::target(target),
        }
    }

    /// The hash, when the body was read to its promised end; otherwise the destination took less than it was given. `taken`: what the
    /// destination says of what it took, which counts where the body was not hashed here.
    #[expect(clippy::result_large_err, reason = "a fault is a connector's error, which is as large")]
    pub(super) fn digest(self, size: u64, what: &str, taken: Option<Digest>) -> Result<Digest, Fault> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = seen.fault.take() {
            return Err(Fault::source(fault));
        }
        let broken = |reason: String| Fault::target(ConnectorError::new(ErrorKind::Protocol, "write", what, reason));
        if seen.bytes != size {
            return Err(broken(format!("only {} of {size} bytes were taken", seen.bytes)));
        }
        let own = seen.running.take().map(Running::finish);
        own.or(taken).ok_or_else(|| broken("the destination did not tell the hash of what it took".to_owned()))
    }
}

fn step(seen: &Mutex<Seen>, piece: Option<Result<Bytes>>, size: u64, flow: &Flow, what: &str) -> Option<Result<Bytes>> {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.fault.is_some() {
        return None;
    }
    let fault = match piece {
        Some(Ok(bytes)) if seen.bytes + bytes.len() as u64 <= size => {
            flow.count(bytes.len() as u64);
            seen.bytes += bytes.len() as u64;
            if let Some(running) = &mut seen.running {
                running.update(&bytes);
            }
            return Some(Ok(bytes));
        }
        None if seen.bytes == size => return None,
        Some(Ok(_)) => changed(what, format!("it has more than the {size} bytes that it had when it was opened")),
        None => changed(what, format!("it ended after {} of {size} bytes", seen.bytes)),
        Some(Err(error)) => error,
    };
    let passed_on = ConnectorError::new(fault.kind, fault.operation.clone(), fault.subject.clone(), fault.reason.clone());
    seen.fault = Some(fault);
    Some(Err(passed_on))
}

pub(super) fn changed(what: &str, reason: impl Into<String>) -> ConnectorError {
    ConnectorError::new(ErrorKind::Changed, "read", what, reason).advice("Keep the file still while it is copied, or leave it out.")
}
