//! Runs that hold others still, and runs that gave up their way back.

use super::{dropped, fence, state_of};
use crate::records::time;
use crate::sql::{Conn, params};
use engine::hold::{self, Hold, Stance};
use engine::journal::{Token, words};
use engine::state::Request;
use engine::view::Finalized;
use engine::{EngineError, RunState};

/// See [`engine::journal::Record::stand_still`]. The run's row is locked first, so that whoever looks at it meanwhile waits.
pub(super) async fn stand_still(conn: &mut Conn, token: Token, for_good: bool) -> Result<bool, EngineError> {
    fence(conn, &token).await?;
    let sql = "SELECT id FROM run WHERE holds = $1 AND tenant = $2 AND state = 'running' AND owner IS NOT NULL LIMIT 1";
    let held = conn.row(sql, params![&token.run, &token.tenant]).await?.is_some();
    let stance = if held { Some(Stance::Still) } else { Some(Stance::Going).filter(|_| !for_good) };
    let known = conn.row("SELECT stance FROM run WHERE id = $1", params![&token.run]).await?.map_or(Ok(None), |row| row.maybe_text(0))?;
    let word = stance.map(|s| s.word().to_owned());
    if known != word {
        conn.run("UPDATE run SET stance = $2 WHERE id = $1", params![&token.run, word]).await?;
    }
    Ok(held)
}

/// See [`engine::journal::Record::hold`].
pub(super) async fn look(conn: &mut Conn, token: Token) -> Result<Hold, EngineError> {
    fence(conn, &token).await?;
    let holds = conn.row("SELECT holds FROM run WHERE id = $1", params![&token.run]).await?.map_or(Ok(None), |row| row.maybe_text(0))?;
    let Some(held) = holds else { return Ok(Hold::Free) };
    let row = conn.row("SELECT state, stance FROM run WHERE id = $1 AND tenant = $2 {lock}", params![held, &token.tenant]).await?;
    let found = row.map(|row| Ok::<_, EngineError>((state_of(&row.text(0)?)?, row.maybe_text(1)?.as_deref().and_then(Stance::parse)))).transpose()?;
    Ok(hold::judge(found))
}

/// What a row says of the way back.
pub(super) fn finalized(at: Option<i64>, by: Option<String>) -> Result<Option<Finalized>, EngineError> {
    at.map(|at| Ok(Finalized { at: time(at)?, by })).transpose()
}

/// Refuses a rollback without means, or under the eyes of a reader. True: the request was fulfilled before.
pub(super) async fn settled_before(conn: &mut Conn, tenant: &str, id: &str, state: RunState, request: &Request) -> Result<bool, EngineError> {
    if !matches!(request, Request::Rollback { .. } | Request::Finalize { .. }) {
        return Ok(false);
    }
    let row = conn.row("SELECT final_at, final_by FROM run WHERE id = $1", params![id]).await?;
    let known = row.map_or(Ok(None), |row| finalized(row.maybe_int(0)?, row.maybe_text(1)?))?;
    match (request, known) {
        (Request::Finalize { .. }, known) => Ok(known.is_some()),
        (_, Some(known)) => Err(words::no_way_back(id, state, &known)),
        (_, None) => refuse_read(conn, tenant, id, state).await.map(|()| false),
    }
}

/// Refuses while a running run reads what this one has made.
pub(super) async fn refuse_read(conn: &mut Conn, tenant: &str, id: &str, state: RunState) -> Result<(), EngineError> {
    let sql = "SELECT id FROM run WHERE holds = $1 AND tenant = $2 AND state = 'running' LIMIT 1";
    match conn.row(sql, params![id, tenant]).await? {
        Some(row) => Err(words::read_by(id, state, &row.text(0)?)),
        None => Ok(()),
    }
}

/// Gives up the way back, and what only that needs.
pub(super) async fn finalize(conn: &mut Conn, id: &str, by: Option<&String>) -> Result<(), EngineError> {
    conn.run("UPDATE run SET final_at = {now}, final_by = $2 WHERE id = $1", params![id, by.cloned()]).await?;
    dropped::drop_chunks(conn, id).await?;
    conn.run("DELETE FROM memo WHERE run = $1", params![id]).await.map(drop)
}
