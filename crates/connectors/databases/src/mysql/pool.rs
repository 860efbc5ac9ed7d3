//! The sessions of one view or one writer: a fixed number, handed out one at a time.

use super::server::{Server, Use};
use mysql_async::Conn;
use ports::{ConnectorError, ErrorKind, Result};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug)]
pub(super) struct Pool {
    server: Arc<Server>,
    purpose: Use,
    /// Sessions of a snapshot cannot be replaced by new ones: those would see another moment.
    fixed: bool,
    /// Tables that this view does not hold at one moment.
    outside: Vec<String>,
    /// The session that keeps tables locked for reading.
    locks: Mutex<Option<Conn>>,
    idle: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    /// Opens sessions when they are asked for, `size` at most.
    pub fn growing(server: Arc<Server>, purpose: Use, size: usize) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(size.max(1)));
        Arc::new(Self { server, purpose, fixed: false, outside: Vec::new(), locks: Mutex::default(), idle: Mutex::default(), permits })
    }

    /// Exactly these sessions, on one moment. `outside`: tables that have no part in it unless `locks` keeps them from changing.
    pub fn fixed(server: Arc<Server>, sessions: Vec<Conn>, outside: Vec<String>, locks: Option<Conn>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(sessions.len()));
        let outside = if locks.is_some() { Vec::new() } else { outside };
        Arc::new(Self { server, purpose: Use::Read, fixed: true, outside, locks: Mutex::new(locks), idle: Mutex::new(sessions), permits })
    }

    pub fn outside(&self) -> &[String] {
        &self.outside
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Waits for a free session.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease> {
        let closed = || ConnectorError::new(ErrorKind::Stopped, "use", self.server.location(), "its connections are closed");
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None if self.fixed => {
                let reason = "the connection that held the snapshot was lost";
                return Err(
                    ConnectorError::new(ErrorKind::Interrupted, "read", self.server.location(), reason).advice("Open a new snapshot and go on from there")
                );
            }
            None => self.server.session(self.purpose).await?,
        };
        Ok(Lease { conn: Some(conn), busy: false, pool: Arc::clone(self), _permit: permit })
    }

    /// Ends all idle sessions; later calls fail.
    pub async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner).take();
        for conn in idle.into_iter().chain(locks) {
            conn.disconnect().await.ok();
        }
    }
}

/// A session on loan. It goes back when dropped, unless a statement was cut off in the middle.
pub(super) struct Lease {
    conn: Option<Conn>,
    busy: bool,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// From here until [`Lease::calm`] the session is in the middle of something that cannot be picked up again.
    pub fn begin(&mut self) {
        self.busy = true;
    }

    pub fn calm(&mut self) {
        self.busy = false;
    }
}

impl Deref for Lease {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("a lease has its session until it is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a lease has its session until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take()
            && !self.busy
            && !conn.is_disconnected()
            && !self.pool.permits.is_closed()
        {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}
