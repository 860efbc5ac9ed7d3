//! One moment for several sessions.
//!
//! While one session holds the database still (`LOCK TABLES … READ` on its own tables, or `FLUSH TABLES WITH READ LOCK` where that
//! is not allowed or takes too long), the others begin their transactions; then the lock is let go. Where neither is allowed, the view
//! has one session. Tables outside of transactions stay locked for reading by a session of their own where the caller wants them in the
//! same moment.
//!
//! The database's own tables come first, because a lock of everything waits for every other database of the server (MySQL: for each
//! statement that reads, and for each session that has locked a table) and makes all their writers wait behind it.

use super::pool::Pool;
use super::quote::ident;
use super::server::{Server, Use};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::{ConnectorError, Result};
use std::sync::Arc;

const BEGIN: &str = "START TRANSACTION /*!50605 WITH CONSISTENT SNAPSHOT, READ ONLY */";

/// How long everybody who writes to the database may have to wait for us to get the locks.
const LOCK_TABLES_SECONDS: u8 = 5;
/// The same for everybody who writes to the server.
const FLUSH_SECONDS: u8 = 10;

/// Opens a view on one moment with up to `connections` sessions. `lock`: tables outside of transactions take part in it by staying
/// locked for reading until the view is closed, as far as this user may lock them.
pub(super) async fn open(server: &Arc<Server>, connections: usize, lock: bool) -> Result<Arc<Pool>> {
    let mut sessions = Vec::with_capacity(connections.max(1));
    sessions.push(server.session(Use::Read).await?);
    let outside = outside_of_transactions(&mut sessions[0]).await.map_err(|e| failed(server, e))?;
    let lock = lock && !outside.is_empty();
    if connections > 1 || lock {
        while sessions.len() < connections {
            sessions.push(server.session(Use::Read).await?);
        }
        if let Some(held) = Held::take(server, if lock { &outside } else { &[] }).await? {
            begin(&mut sessions, server).await?;
            let locks = held.let_go(server).await?;
            return Ok(Pool::fixed(Arc::clone(server), sessions, outside, locks));
        }
        tracing::warn!(database = server.location(), "reading over one connection: the user may neither FLUSH TABLES (RELOAD) nor LOCK TABLES");
        for session in sessions.drain(1..) {
            session.disconnect().await.ok();
        }
    }
    begin(&mut sessions, server).await?;
    Ok(Pool::fixed(Arc::clone(server), sessions, outside, None))
}

/// Tables of engines without transactions (MyISAM, Aria, MEMORY …): a snapshot does not hold them.
pub(super) async fn outside_of_transactions(conn: &mut Conn) -> Result<Vec<String>, Error> {
    conn.query(
        "SELECT t.TABLE_NAME FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE=t.ENGINE \
         WHERE t.TABLE_SCHEMA=DATABASE() AND t.TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') AND t.ENGINE IS NOT NULL \
         AND IFNULL(e.TRANSACTIONS,'NO')<>'YES' ORDER BY t.TABLE_NAME",
    )
    .await
}

/// Nobody writes to the database while this is there.
struct Held {
    keeper: Conn,
    /// Holds the tables that were asked for also after [`Held::let_go`]; `None`: none was, or this user may not lock them.
    outside: Option<Conn>,
}

impl Held {
    /// `None`: this user is not allowed to hold anything still.
    async fn take(server: &Server, outside: &[String]) -> Result<Option<Self>> {
        let refused = match Self::take_tables(server, outside).await {
            Ok(Some(held)) => return Ok(Some(held)),
            Ok(None) => None,
            Err(e) => Some(e),
        };
        match (Self::take_server(server, outside).await?, refused) {
            (None, Some(e)) => Err(e),
            (held, _) => Ok(held),
        }
    }

    /// Locks the tables of this database. Those outside of transactions come first, and from a session of their own: with a writer
    /// waiting for one of them, a second lock for reading would wait behind it.
    async fn take_tables(server: &Server, outside: &[String]) -> Result<Option<Self>> {
        let mut keeper = patient(server, LOCK_TABLES_SECONDS).await?;
        let inside: Vec<String> = keeper.query(TRANSACTIONAL).await.map_err(|e| failed(server, e))?;
        let locks = lock_for_reading(server, outside).await?;
        if locks.is_none() && !outside.is_empty() {
            return Ok(None);
        }
        Ok(lock_tables(&mut keeper, server, &inside).await?.then_some(Self { keeper, outside: locks }))
    }

    /// Locks everything at the server.
    async fn take_server(server: &Server, outside: &[String]) -> Result<Option<Self>> {
        let mut keeper = patient(server, FLUSH_SECONDS).await?;
        if !allowed(keeper.query_drop("FLUSH TABLES WITH READ LOCK").await).map_err(|e| failed(server, e))? {
            return Ok(None);
        }
        let outside = lock_for_reading(server, outside).await?;
        Ok(Some(Self { keeper, outside }))
    }

    /// Others may write again, except to the tables that were asked for: the session that holds these.
    async fn let_go(mut self, server: &Server) -> Result<Option<Conn>> {
        self.keeper.query_drop("UNLOCK TABLES").await.map_err(|e| server.failed("unlock the tables of", e))?;
        self.keeper.disconnect().await.ok();
        Ok(self.outside)
    }
}

/// Whether this user can hold the database still for the moment in which a view begins.
///
/// # Errors
/// The locks cannot be had now: others hold them.
pub(super) async fn can_hold_still(server: &Server) -> Result<bool> {
    let Some(held) = Held::take(server, &[]).await? else { return Ok(false) };
    held.let_go(server).await?;
    Ok(true)
}

const TRANSACTIONAL: &str = "SELECT t.TABLE_NAME FROM information_schema.TABLES t JOIN information_schema.ENGINES e ON e.ENGINE=t.ENGINE \
     WHERE t.TABLE_SCHEMA=DATABASE() AND t.TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') AND e.TRANSACTIONS='YES' ORDER BY t.TABLE_NAME";

fn failed(server: &Server, error: Error) -> ConnectorError {
    server.failed("take a consistent snapshot of", error)
}

/// A session that waits so long for a lock.
async fn patient(server: &Server, seconds: u8) -> Result<Conn> {
    let mut session = server.session(Use::Read).await?;
    session.query_drop(format!("SET SESSION lock_wait_timeout={seconds}")).await.map_err(|e| failed(server, e))?;
    Ok(session)
}

/// A session that keeps these tables locked for reading; `None`: this user may not, or there are none.
async fn lock_for_reading(server: &Server, tables: &[String]) -> Result<Option<Conn>> {
    if tables.is_empty() {
        return Ok(None);
    }
    let mut session = patient(server, LOCK_TABLES_SECONDS).await?;
    Ok(lock_tables(&mut session, server, tables).await?.then_some(session))
}

/// Whether these tables are locked for reading now. False: this user is not allowed to.
async fn lock_tables(session: &mut Conn, server: &Server, tables: &[String]) -> Result<bool> {
    if tables.is_empty() {
        return Ok(true);
    }
    let list: Vec<_> = tables.iter().map(|t| format!("{}.{} READ", ident(server.database()), ident(t))).collect();
    allowed(session.query_drop(format!("LOCK TABLES {}", list.join(","))).await).map_err(|e| failed(server, e))
}

async fn begin(sessions: &mut [Conn], server: &Server) -> Result<()> {
    for session in sessions {
        session.query_drop(BEGIN).await.map_err(|e| server.failed("begin a snapshot of", e))?;
    }
    Ok(())
}

fn allowed(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Error::Server(e)) if matches!(e.code, 1044 | 1045 | 1142 | 1227) => Ok(false),
        Err(e) => Err(e),
    }
}
