//! What makes a request that is done once leave its mark in its own first transaction.

use crate::reach::{self, Reach};
use crate::sql::{Conn, params};
use engine::EngineError;
use ports::records::once::{AT_WORK, CHANGED, KIND, Mark};

/// Says in the request's record that `made` was written. Refused when the record is another attempt's by now: then that one does the work.
pub(crate) async fn append(conn: &mut Conn, mark: &Mark, made: &str) -> Result<(), EngineError> {
    reach::move_on(conn, &Reach::of(&mark.tenant)).await?;
    let sql = "UPDATE record SET state = $6, parent = $5, version = version + 1, updated_at = {now} WHERE tenant = $1 AND kind = $2 AND id = $3 AND key = $4";
    match conn.run(sql, params![&mark.tenant, KIND, &mark.id, &mark.attempt, made, CHANGED]).await? {
        0 => Err(EngineError::Unavailable("the request took too long and is another server's by now; nothing was changed by this one".to_owned())),
        _ => Ok(()),
    }
}

/// Whoever did a request on an embedded database is gone when it is opened: what is kept of it holds for nobody any more.
pub(crate) async fn forsake(conn: &mut Conn) -> Result<(), EngineError> {
    conn.run("UPDATE record SET due_at = 0 WHERE kind = $1 AND state IN ($2, $3)", params![KIND, AT_WORK, CHANGED]).await.map(|_| ())
}
