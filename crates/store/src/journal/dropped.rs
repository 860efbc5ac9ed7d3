//! Removing the chunks of a run that was deleted or finalised: a million rows go a part at a time, so that no other write waits for long.
//!
//! Which ledgers it is about is written down in the transaction that makes them useless. What a crash leaves is removed with the next ones.

use crate::Store;
use crate::reach::Reach;
use crate::sql::{Conn, params};
use engine::EngineError;

/// Chunks of one transaction.
const PART: u64 = 5_000;

/// Writes down that the chunks of a run are not needed any more.
pub(super) async fn drop_chunks(conn: &mut Conn, run: &str) -> Result<(), EngineError> {
    let sql = "INSERT INTO dropped_ledger (id) SELECT id FROM ledger WHERE run = $1 ON CONFLICT (id) DO NOTHING";
    conn.run(sql, params![run]).await.map(drop)
}

/// Removes a part of the chunks. False: there are none left.
async fn part(conn: &mut Conn) -> Result<bool, EngineError> {
    let Some(row) = conn.row("SELECT id FROM dropped_ledger ORDER BY id LIMIT 1", params![]).await? else { return Ok(false) };
    let id = row.int(0)?;
    let sql = "DELETE FROM chunk WHERE ledger = $1 AND seq IN (SELECT seq FROM chunk WHERE ledger = $1 ORDER BY seq LIMIT $2)";
    if conn.run(sql, params![id, PART]).await? < PART {
        conn.run("DELETE FROM dropped_ledger WHERE id = $1", params![id]).await?;
    }
    Ok(true)
}

impl Store {
    /// Removes what was dropped. An error is told to the log: what is left goes with the next call.
    pub(super) async fn remove_dropped(&self) {
        loop {
            match self.writers.write("dropped", Reach::All, |conn| Box::pin(part(conn))).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return tracing::warn!(%error, "chunks of ended migrations could not be removed; the next deletion does it"),
            }
        }
    }
}
