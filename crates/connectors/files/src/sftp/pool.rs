//! A few sessions, each on a connection of its own (one connection is one cipher stream on one core, here and there).
//!
//! Sessions are made when they are needed, one at a time, and replaced when they have died: the call that met the broken
//! connection fails as interrupted, the next one connects again.

use super::connect;
use super::session::Session;
use domain::spec::SshAt;
use ports::{ConnectorError, Result};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Calls on one session before another one is opened.
const BUSY: usize = 4;

pub(super) struct Pool {
    at: SshAt,
    most: usize,
    open: Mutex<Vec<Arc<Session>>>,
    /// Held while connecting: a wrong password is tried once, not by every waiting call.
    connecting: tokio::sync::Mutex<Option<ConnectorError>>,
    attempts: AtomicU64,
}

/// A session in use.
pub(super) struct Lent(Arc<Session>);

impl Deref for Lent {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(at: SshAt, parallel: usize) -> Self {
        Self { at, most: parallel.div_ceil(BUSY).clamp(1, 4), open: Mutex::default(), connecting: tokio::sync::Mutex::default(), attempts: AtomicU64::new(0) }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session on a connection that nobody else uses and that ends with it.
    pub(super) async fn alone(&self) -> Result<Lent> {
        let session = connect::session(&self.at).await?;
        session.users.fetch_add(1, Ordering::Relaxed);
        Ok(Lent(Arc::new(session)))
    }

    /// The least busy session, or a new one while all are busy and there may be more.
    pub(super) async fn get(&self) -> Result<Lent> {
        if let Some(lent) = self.lend(BUSY) {
            return Ok(lent);
        }
        let before = self.attempts.load(Ordering::Acquire);
        let mut last = self.connecting.lock().await;
        if self.attempts.load(Ordering::Acquire) != before
            && let Some(error) = &*last
        {
            return Err(copy(error));
        }
        if let Some(lent) = self.lend(BUSY) {
            return Ok(lent);
        }
        let made = connect::session(&self.at).await;
        self.attempts.fetch_add(1, Ordering::Release);
        match made {
            Ok(session) => {
                *last = None;
                self.open().push(Arc::new(session));
            }
            Err(e) => {
                *last = Some(copy(&e));
                // A server that limits connections still has those that are open.
                return self.lend(usize::MAX).ok_or(e);
            }
        }
        drop(last);
        match self.lend(usize::MAX) {
            Some(lent) => Ok(lent),
            None => Err(super::session::Fault::Lost.tell("connect to", &connect::subject(&self.at))),
        }
    }

    /// The least busy living session, if it has less than `busy` users or no more may be opened.
    fn lend(&self, busy: usize) -> Option<Lent> {
        let mut open = self.open();
        open.retain(|s| !s.is_dead());
        let best = open.iter().min_by_key(|s| s.users.load(Ordering::Relaxed))?;
        if open.len() < self.most && best.users.load(Ordering::Relaxed) >= busy {
            return None;
        }
        best.users.fetch_add(1, Ordering::Relaxed);
        Some(Lent(best.clone()))
    }
}

fn copy(error: &ConnectorError) -> ConnectorError {
    let mut copy = ConnectorError::new(error.kind, &error.operation, &error.subject, &error.reason).advice(&error.advice);
    copy.temporary = error.temporary;
    copy
}
