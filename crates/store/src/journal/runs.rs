//! Runs as users see them.

use super::record::keep_memo;
use super::{ROWS, RUN, append, complete, dropped, enter, holds, lines, room, run_of, state_of, tell, view};
use crate::Store;
use crate::keys::Keyring;
use crate::reach::Reach;
use crate::records::{json, time};
use crate::sql::{Conn, params, values};
use engine::admission;
use engine::journal::{Runs, StepPin, Wanted, words};
use engine::state::{self, Next, Request};
use engine::{EngineError, NewRun, RunFilter, RunLine, RunState, RunView};
use jiff::Timestamp;
use serde_json::Value;

#[async_trait::async_trait]
impl Runs for Store {
    async fn create(&self, run: &NewRun, steps: &[StepPin]) -> Result<Timestamp, EngineError> {
        let input = self.keys.seal(&run.tenant, &run.id, run.input.to_string().as_bytes())?;
        let [id, tenant, kind] = [&run.id, &run.tenant, &run.kind].map(String::clone);
        let (row, steps) = (params![&id, &tenant, &kind, run.labels.to_string(), input, steps.len() as u64, run.holds.clone()], steps.to_vec());
        self.commit(&run.id, Reach::of(&run.tenant), move |conn| {
            Box::pin(async move {
                let sql = "INSERT INTO run (id, tenant, kind, state, labels, input, options, created_at, last_event, steps, holds) \
                           VALUES ($1, $2, $3, 'created', $4, $5, 'null', {now}, 1, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING created_at";
                let added = conn.row(sql, row).await?.ok_or_else(|| EngineError::Invalid(format!("a run with id {id} exists already")))?;
                insert_steps(conn, &id, &steps).await?;
                tell(conn, &id, &tenant, 0, added.int(0)?, vec![words::created(&kind)]).await?;
                time(added.int(0)?)
            })
        })
        .await
    }

    async fn view(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        let (reach, tenant, id) = (Reach::of(tenant), tenant.to_owned(), id.to_owned());
        self.read(reach, move |conn| Box::pin(async move { view(conn, &tenant, &id).await })).await
    }

    async fn input(&self, tenant: &str, id: &str) -> Result<Value, EngineError> {
        let (of, run) = (tenant.to_owned(), id.to_owned());
        let sealed = self.read(Reach::of(tenant), move |conn| {
            Box::pin(async move {
                let row = conn.row("SELECT input FROM run WHERE id = $1 AND tenant = $2", params![&run, of]).await?;
                row.ok_or(EngineError::NotFound(run))?.blob(0)
            })
        });
        let text = self.keys.unseal(tenant, id, &sealed.await?)?;
        serde_json::from_slice(&text).map_err(|e| EngineError::Internal(format!("the input of run {id} cannot be read: {e}")))
    }

    async fn forget_secrets(&self, tenant: &str, id: &str, input: &Value) -> Result<(), EngineError> {
        let sealed = self.keys.seal(tenant, id, input.to_string().as_bytes())?;
        let (of, run) = (tenant.to_owned(), id.to_owned());
        self.commit(id, Reach::of(tenant), move |conn| {
            Box::pin(async move {
                let sql = "UPDATE run SET input = $3 WHERE id = $1 AND tenant = $2 AND final_at IS NOT NULL";
                conn.run(sql, params![&run, &of, sealed]).await.map(drop)
            })
        })
        .await
    }

    async fn list(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunView>, EngineError> {
        let (sql, values) = lines::page(RUN, tenant, filter);
        self.read(Reach::of(tenant), move |conn| {
            Box::pin(async move {
                let mut views = conn.rows(&sql, values).await?.iter().map(run_of).collect::<Result<Vec<_>, _>>()?;
                complete(conn, &mut views, false).await?;
                Ok(views)
            })
        })
        .await
    }

    async fn lines(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunLine>, EngineError> {
        let page = lines::page(lines::LINE, tenant, filter);
        self.read(Reach::of(tenant), move |conn| Box::pin(lines::read(conn, page))).await
    }

    async fn count(&self, tenant: &str, filter: &RunFilter) -> Result<u64, EngineError> {
        let (wheres, values) = lines::filtered(tenant, filter);
        let sql = format!("SELECT count(*) FROM run WHERE {wheres}");
        self.read_much(Reach::of(tenant), move |conn| Box::pin(async move { conn.row(&sql, values).await?.map_or(Ok(0), |row| row.count(0)) })).await
    }

    async fn request(&self, tenant: &str, id: &str, request: &Request) -> Result<RunView, EngineError> {
        let (reach, tenant, run, request) = (Reach::of(tenant), tenant.to_owned(), id.to_owned(), request.clone());
        let keys = self.keys.clone();
        let gives_up = matches!(request, Request::Finalize { .. });
        let view = self.commit(id, reach, move |conn| Box::pin(async move { apply(conn, &keys, &tenant, &run, &request).await })).await?;
        if gives_up {
            self.remove_dropped().await;
        }
        Ok(view)
    }

    async fn delete(&self, tenant: &str, id: &str) -> Result<(), EngineError> {
        let (reach, tenant, run) = (Reach::of(tenant), tenant.to_owned(), id.to_owned());
        self.commit(id, reach, move |conn| Box::pin(async move { delete(conn, &tenant, &run).await })).await?;
        self.remove_dropped().await;
        Ok(())
    }
}

/// Replaces the pinned steps.
pub(super) async fn pin(conn: &mut Conn, run: &str, steps: &[StepPin]) -> Result<(), EngineError> {
    conn.run("DELETE FROM step WHERE run = $1", params![run]).await?;
    insert_steps(conn, run, steps).await
}

async fn insert_steps(conn: &mut Conn, run: &str, steps: &[StepPin]) -> Result<(), EngineError> {
    let indexed: Vec<_> = steps.iter().enumerate().collect();
    for batch in indexed.chunks(ROWS) {
        let row: Vec<_> = batch.iter().flat_map(|(i, s)| params![run, *i as u64, &s.name, &s.title, s.version]).collect();
        let sql = format!("INSERT INTO step (run, idx, name, title, version) VALUES {}", values(batch.len(), 5));
        conn.run(&sql, row).await?;
    }
    Ok(())
}

async fn apply(conn: &mut Conn, keys: &Keyring, tenant: &str, id: &str, request: &Request) -> Result<RunView, EngineError> {
    let row = conn.row("SELECT state, owner, wanted, options FROM run WHERE id = $1 AND tenant = $2 {lock}", params![id, tenant]).await?;
    let row = row.ok_or_else(|| EngineError::NotFound(id.to_owned()))?;
    let (now, held, wanted) = (state_of(&row.text(0)?)?, row.maybe_text(1)?.is_some(), row.maybe_text(2)?);
    let touched = conn.row("SELECT idx FROM step WHERE run = $1 AND state <> 'pending' LIMIT 1", params![id]).await?.is_some();
    let next = state::request(now, request, held || touched).map_err(|refusal| words::refused(id, now, refusal))?;
    if holds::settled_before(conn, tenant, id, now, request).await? {
        return view(conn, tenant, id).await;
    }
    if matches!(next, Next::Enter(state) if state.is_active()) && !now.is_active() {
        room::make(conn, tenant, id).await?;
    }
    match request {
        Request::Rollback { options } if options.is_null() => {
            conn.run("UPDATE run SET by_itself = 0 WHERE id = $1", params![id]).await?;
        }
        Request::Start { options } | Request::Rollback { options } => {
            conn.run("UPDATE run SET options = $2, by_itself = 0 WHERE id = $1", params![id, options.to_string()]).await?;
        }
        Request::Schedule { at, options } => {
            conn.run("UPDATE run SET options = $2, start_at = $3 WHERE id = $1", params![id, options.to_string(), at.as_microsecond()]).await?;
        }
        Request::Unschedule => {
            conn.run("UPDATE run SET start_at = NULL WHERE id = $1", params![id]).await?;
        }
        Request::Resume => {
            let options = admission::asked_for_now(json(&row.text(3)?)?).to_string();
            conn.run("UPDATE run SET error = NULL, options = $2 WHERE id = $1", params![id, options]).await?;
        }
        Request::Ask { name } => keep_memo(conn, keys, tenant, id, "", &words::asked(name), &Value::Bool(true)).await?,
        Request::Finalize { by } => holds::finalize(conn, id, by.as_ref()).await?,
        Request::Refuse { error } => {
            conn.run("UPDATE run SET error = $2 WHERE id = $1", params![id, super::error_text(error)?]).await?;
        }
        Request::Pause | Request::Cancel | Request::Resolve => {}
    }
    match next {
        Next::Enter(state) => enter(conn, id, state).await?,
        Next::Want(new) => {
            let wish = wanted.as_deref().and_then(Wanted::parse).max(Some(new)).unwrap_or(new);
            conn.run("UPDATE run SET wanted = $2 WHERE id = $1", params![id, wish.word()]).await?;
        }
        Next::Note => {}
    }
    append(conn, id, vec![words::requested(request, next)]).await?;
    view(conn, tenant, id).await
}

async fn delete(conn: &mut Conn, tenant: &str, id: &str) -> Result<(), EngineError> {
    let row = conn.row("SELECT state FROM run WHERE id = $1 AND tenant = $2 {lock}", params![id, tenant]).await?;
    let state: RunState = state_of(&row.ok_or_else(|| EngineError::NotFound(id.to_owned()))?.text(0)?)?;
    if state.is_active() {
        return Err(words::undeletable(id, state));
    }
    holds::refuse_read(conn, tenant, id, state).await?;
    dropped::drop_chunks(conn, id).await?;
    conn.run("DELETE FROM event WHERE run = $1", params![id]).await?;
    conn.run("DELETE FROM run WHERE id = $1", params![id]).await?;
    conn.told = true;
    Ok(())
}
