//! One moment for several sessions.
//!
//! While one session holds everything still (`FLUSH TABLES WITH READ LOCK`, or `LOCK TABLES … READ` where that is not allowed),
//! the others begin their transactions; then the lock is let go. Where neither is allowed, the view has one session.

use super::pool::Pool;
use super::quote::ident;
use super::server::{Server, Use};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use ports::Result;
use std::sync::Arc;

const BEGIN: &str = "START TRANSACTION /*!50605 WITH CONSISTENT SNAPSHOT, READ ONLY */";

/// Opens a view on one moment with up to `connections` sessions.
pub(super) async fn open(server: &Arc<Server>, connections: usize) -> Result<Arc<Pool>> {
    let mut sessions = Vec::with_capacity(connections.max(1));
    sessions.push(server.session(Use::Read).await?);
    if connections > 1 {
        let mut keeper = server.session(Use::Read).await?;
        if hold_still(&mut keeper, server).await.map_err(|e| server.failed("take a consistent snapshot of", e))? {
            while sessions.len() < connections {
                sessions.push(server.session(Use::Read).await?);
            }
            begin(&mut sessions, server).await?;
            keeper.query_drop("UNLOCK TABLES").await.map_err(|e| server.failed("unlock the tables of", e))?;
            keeper.disconnect().await.ok();
            return Ok(Pool::fixed(Arc::clone(server), sessions));
        }
        tracing::warn!(database = server.location(), "reading over one connection: the user may neither FLUSH TABLES (RELOAD) nor LOCK TABLES");
        keeper.disconnect().await.ok();
    }
    begin(&mut sessions, server).await?;
    Ok(Pool::fixed(Arc::clone(server), sessions))
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
    let list: Vec<_> = tables.iter().map(|t| format!("{}.{} READ", ident(server.database()), ident(t))).collect();
    allowed(keeper.query_drop(format!("LOCK TABLES {}", list.join(","))).await)
}

fn allowed(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Error::Server(e)) if matches!(e.code, 1044 | 1045 | 1142 | 1227) => Ok(false),
        Err(e) => Err(e),
    }
}
