//! Whether one more run of a tenant may become active: counted and decided in the transaction that makes it so.

use crate::sql::{Conn, params};
use engine::EngineError;

/// For the condition of a statement over `run`: its tenant has no room. Only a first look; [`make`] decides.
pub(super) const FULL: &str = "EXISTS (SELECT 1 FROM run_limit WHERE run_limit.tenant = run.tenant AND run_limit.active <= \
    (SELECT count(*) FROM run AS busy WHERE busy.tenant = run.tenant AND busy.state IN ('running', 'rolling_back')))";

/// Refuses when the tenant has as many active runs as it may. Its limit stays locked until the end of the transaction, so that of two for one
/// place the second counts the first. Always asked with the run's own row locked already.
pub(super) async fn make(conn: &mut Conn, tenant: &str, id: &str) -> Result<(), EngineError> {
    let Some(row) = conn.row("SELECT active FROM run_limit WHERE tenant = $1 {lock}", params![tenant]).await? else { return Ok(()) };
    let limit = row.count(0)?;
    let busy = conn.row("SELECT count(*) FROM run WHERE tenant = $1 AND state IN ('running', 'rolling_back')", params![tenant]).await?;
    let used = busy.map_or(Ok(0), |row| row.count(0))?;
    if used < limit { Ok(()) } else { Err(EngineError::Full { id: id.to_owned(), limit, used }) }
}

/// Sets the limit; `None`: as many as it likes.
pub(crate) async fn limit(conn: &mut Conn, tenant: &str, active: Option<u32>) -> Result<(), EngineError> {
    match active {
        Some(active) => {
            let sql = "INSERT INTO run_limit (tenant, active) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET active = excluded.active";
            conn.run(sql, params![tenant, active]).await?;
        }
        None => {
            conn.run("DELETE FROM run_limit WHERE tenant = $1", params![tenant]).await?;
        }
    }
    Ok(())
}
