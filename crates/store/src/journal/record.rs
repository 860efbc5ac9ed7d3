//! What a worker writes down while it drives a run.

use super::{append, enter, error_text, fence, holds, lines, runs, view};
use crate::Store;
use crate::keys::Keyring;
use crate::reach::Reach;
use crate::sql::{Conn, params};
use engine::hold::Hold;
use engine::journal::{Change, NewEvent, Record, Token};
use engine::{EngineError, RunState, RunView};
use serde_json::Value;
use std::sync::Arc;

#[async_trait::async_trait]
impl Record for Store {
    async fn write(&self, token: &Token, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), EngineError> {
        let (held, keys) = (token.clone(), self.keys.clone());
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| Box::pin(write(conn, keys, held, changes, events))).await
    }

    async fn recall(&self, token: &Token, scope: &str, key: &str) -> Result<Option<Value>, EngineError> {
        let values = params![&token.run, scope, key];
        let sealed = self.read(Reach::of(&token.tenant), move |conn| {
            Box::pin(async move {
                let row = conn.row("SELECT value FROM memo WHERE run = $1 AND scope = $2 AND key = $3", values).await?;
                row.map(|r| r.blob(0)).transpose()
            })
        });
        let Some(sealed) = sealed.await? else { return Ok(None) };
        let text = self.keys.unseal(&token.tenant, &token.run, &sealed)?;
        serde_json::from_slice(&text).map(Some).map_err(|e| EngineError::Internal(format!("the memo '{key}' of run {} cannot be read: {e}", token.run)))
    }

    async fn stand_still(&self, token: &Token, for_good: bool) -> Result<bool, EngineError> {
        let held = token.clone();
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| Box::pin(holds::stand_still(conn, held, for_good))).await
    }

    async fn hold(&self, token: &Token) -> Result<Hold, EngineError> {
        let held = token.clone();
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| Box::pin(holds::look(conn, held))).await
    }

    async fn own_view(&self, token: &Token) -> Result<RunView, EngineError> {
        let token = token.clone();
        self.read(Reach::of(&token.tenant), move |conn| Box::pin(async move { view(conn, &token.tenant, &token.run).await })).await
    }
}

/// Writes a memo, sealed, in the place of an earlier one.
pub(super) async fn keep_memo(conn: &mut Conn, keys: &Keyring, tenant: &str, run: &str, scope: &str, key: &str, value: &Value) -> Result<(), EngineError> {
    let sealed = keys.seal(tenant, run, value.to_string().as_bytes())?;
    let sql = "INSERT INTO memo (run, scope, key, value) VALUES ($1, $2, $3, $4) ON CONFLICT (run, scope, key) DO UPDATE SET value = excluded.value";
    conn.run(sql, params![run, scope, key, sealed]).await.map(drop)
}

async fn write(conn: &mut Conn, keys: Arc<Keyring>, token: Token, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), EngineError> {
    fence(conn, &token).await?;
    let counts =
        changes.iter().any(|c| matches!(c, Change::Pin(_) | Change::Begun { .. } | Change::Done { .. } | Change::Failed { .. } | Change::Undone { .. }));
    for change in changes {
        apply(conn, &keys, &token, change).await?;
    }
    if counts {
        lines::tally(conn, &token.run).await?;
    }
    append(conn, &token.run, events).await
}

async fn apply(conn: &mut Conn, keys: &Keyring, token: &Token, change: Change) -> Result<(), EngineError> {
    let run = &token.run;
    let touched = match change {
        Change::Pin(pins) => return runs::pin(conn, run, &pins).await,
        Change::Begun { index } => {
            let sql = "UPDATE step SET state = 'begun', attempts = attempts + 1, started_at = COALESCE(started_at, {now}), ended_at = NULL WHERE run = $1 AND idx = $2";
            conn.run(sql, params![run, index]).await?
        }
        Change::Done { index, output } => {
            let sql = "UPDATE step SET state = 'done', output = $3, error = NULL, ended_at = {now} WHERE run = $1 AND idx = $2";
            let touched = conn.run(sql, params![run, index, output.to_string()]).await?;
            crate::maintenance::add_step_time(conn, run, index).await?;
            touched
        }
        Change::Failed { index, error } => {
            let sql = "UPDATE step SET state = 'failed', error = $3, ended_at = {now} WHERE run = $1 AND idx = $2";
            conn.run(sql, params![run, index, error_text(&error)?]).await?
        }
        Change::Faltered { index, error } => {
            conn.run("UPDATE step SET error = $3 WHERE run = $1 AND idx = $2", params![run, index, error_text(&error)?]).await?
        }
        Change::Undone { index } => conn.run("UPDATE step SET state = 'undone', ended_at = {now} WHERE run = $1 AND idx = $2", params![run, index]).await?,
        Change::State { to, error } => {
            if let Some(error) = error {
                conn.run("UPDATE run SET error = $2 WHERE id = $1", params![run, error_text(&error)?]).await?;
            }
            if to == RunState::RollingBack {
                conn.run("UPDATE run SET by_itself = 1 WHERE id = $1", params![run]).await?;
            }
            return enter(conn, run, to).await;
        }
        Change::Sample(sample) => {
            let text = serde_json::to_string(&sample).map_err(|e| EngineError::Internal(format!("a sample could not be written down: {e}")))?;
            conn.run("UPDATE run SET sample = $2 WHERE id = $1", params![run, text]).await?
        }
        Change::PinTo { node } => conn.run("UPDATE run SET pinned_to = $2 WHERE id = $1", params![run, node]).await?,
        Change::Memo { scope, key, value: Some(value) } => {
            return keep_memo(conn, keys, &token.tenant, run, &scope, &key, &value).await;
        }
        Change::Memo { scope, key, value: None } => {
            conn.run("DELETE FROM memo WHERE run = $1 AND scope = $2 AND key = $3", params![run, scope, key]).await?;
            return Ok(());
        }
    };
    if touched == 1 { Ok(()) } else { Err(EngineError::Internal(format!("a change of run {run} touched {touched} rows instead of one"))) }
}
