//! One moment for several sessions.
//!
//! While one session holds everything still (`FLUSH TABLES WITH READ LOCK`, or `LOCK TABLES … READ` where that is not allowed),
//! the others begin their transactions; then the lock is let go. Where neither is allowed, the view has one session. Tables outside
//! of transactions stay locked for reading by a session of their own where the caller wants them in the same moment.

use super::pool::Pool;
use super::quote::ident;
use super::server::{Server, Use};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::Result;
use std::sync::Arc;

const BEGIN: &str = "START TRANSACTION /*!50605 WITH CONSISTENT SNAPSHOT, READ ONLY */";

/// Opens a view on one moment with up to `connections` sessions. `lock`: tables outside of transactions take part in it by staying
/// locked for reading until the view is closed, as far as this user may lock them.
pub(super) async fn open(server: &Arc<Server>, connections: usize, lock: bool) -> Result<Arc<Pool>> {
    let failed = |e| server.failed("take a consistent snapshot of", e);
    let mut sessions = Vec::with_capacity(connections.max(1));
    sessions.push(server.session(Use::Read).await?);
    let outside = outside_of_transactions(&mut sessions[0]).await.map_err(failed)?;
    let lock = lock && !outside.is_empty();
    if connections > 1 || lock {
        let mut keeper = server.session(Use::Read).await?;
        if hold_still(&mut keeper, server).await.map_err(failed)? {
            while sessions.len() < connections {
                sessions.push(server.session(Use::Read).await?);
            }
            let locks = if lock { lock_for_reading(server, &outside).await? } else { None };
            begin(&mut sessions, server).await?;
            keeper.query_drop("UNLOCK TABLES").await.map_err(|e| server.failed("unlock the tables of", e))?;
            keeper.disconnect().await.ok();
            return Ok(Pool::fixed(Arc::clone(server), sessions, outside, locks));
        }
        tracing::warn!(database = server.location(), "reading over one connection: the user may neither FLUSH TABLES (RELOAD) nor LOCK TABLES");
        keeper.disconnect().await.ok();
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

/// A session that keeps these tables locked for reading; `None`: this user may not.
async fn lock_for_reading(server: &Server, tables: &[String]) -> Result<Option<Conn>> {
    let failed = |e| server.failed("lock the tables of", e);
    let mut session = server.session(Use::Read).await?;
    session.query_drop("SET SESSION lock_wait_timeout=15").await.map_err(failed)?;
    if allowed(session.query_drop(lock_statement(server, tables)).await).map_err(failed)? {
        return Ok(Some(session));
    }
    session.disconnect().await.ok();
    Ok(None)
}

fn lock_statement(server: &Server, tables: &[String]) -> String {
    let list: Vec<_> = tables.iter().map(|t| format!("{}.{} READ", ident(server.database()), ident(t))).collect();
    format!("LOCK TABLES {}", list.join(","))
}

async fn begin(sessions: &mut [Conn], server: &Server) -> Result<()> {
    for session in sessions {
        session.query_drop(BEGIN).await.map_err(|e| server.failed("begin a snapshot of", e))?;
    }
    Ok(())
}

/// Whether writes are held back now. False: this user is not allowed to.
pub(super) async fn hold_still(keeper: &mut Conn, server: &Server) -> Result<bool, Error> {
    // A statement that runs for minutes would make the lock wait, and every writer of the source behind it.
    keeper.query_drop("SET SESSION lock_wait_timeout=15").await?;
    if allowed(keeper.query_drop("FLUSH TABLES WITH READ LOCK").await)? {
        return Ok(true);
    }
    let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')";
    let tables: Vec<String> = keeper.query(sql).await?;
    if tables.is_empty() {
        return Ok(true);
    }
    allowed(keeper.query_drop(lock_statement(server, &tables)).await)
}

fn allowed(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Error::Server(e)) if matches!(e.code, 1044 | 1045 | 1142 | 1227) => Ok(false),
        Err(e) => Err(e),
    }
}
