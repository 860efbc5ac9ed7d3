//! Who works on a run.

use super::room::{self, FULL};
use super::{append, enter, fence, holder, json, view};
use crate::Store;
use crate::reach::{self, Reach};
use crate::set_aside::{self, not_set_aside};
use crate::sql::{Conn, Param, marks, params};
use crate::writer::Pool;
use engine::EngineError;
use engine::journal::{Claim, ClaimRequest, Leases, Token, Wanted, words};
use engine::{RunState, RunView};
use ports::records::set_aside::RUN;
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[async_trait::async_trait]
impl Leases for Store {
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>, EngineError> {
        self.claim_which(request, Which::Due).await
    }

    async fn claim_abandoned(&self, request: &ClaimRequest) -> Result<Option<Claim>, EngineError> {
        self.claim_which(request, Which::Abandoned).await
    }

    async fn renew(&self, token: &Token, lease: Duration) -> Result<(), EngineError> {
        let (token, run, reach) = (token.clone(), token.run.clone(), Reach::of(&token.tenant));
        self.commit(&run, reach, move |conn| {
            Box::pin(async move {
                let mut values = holder(&token);
                values.push(micros(lease));
                let sql = "UPDATE run SET lease_until = {now} + $4 WHERE id = $1 AND owner = $2 AND epoch = $3";
                if conn.run(sql, values).await? == 0 { Err(EngineError::Fenced(token.run)) } else { Ok(()) }
            })
        })
        .await?;
        self.renewals.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn wanted(&self, token: &Token) -> Result<Option<Wanted>, EngineError> {
        let token = token.clone();
        self.read(Reach::of(&token.tenant), move |conn| {
            Box::pin(async move {
                let row = conn.row("SELECT wanted FROM run WHERE id = $1 AND owner = $2 AND epoch = $3", holder(&token)).await?;
                let wanted = row.ok_or(EngineError::Fenced(token.run))?.maybe_text(0)?;
                Ok(wanted.as_deref().and_then(Wanted::parse))
            })
        })
        .await
    }

    async fn release(&self, token: &Token) -> Result<(), EngineError> {
        let (token, run, reach) = (token.clone(), token.run.clone(), Reach::of(&token.tenant));
        self.commit(&run, reach, move |conn| {
            Box::pin(async move {
                fence(conn, &token).await?;
                conn.run("UPDATE run SET owner = NULL, lease_until = {now} WHERE id = $1", params![&token.run]).await?;
                if conn.is_postgres() {
                    conn.rows("SELECT pg_notify($1, $2)", params![crate::postgres::CHANNEL, &token.run]).await?;
                }
                conn.told = true;
                Ok(())
            })
        })
        .await
    }

    async fn announce(&self, node: &str, lease: Option<Duration>) -> Result<(), EngineError> {
        // An embedded database has one process, and nobody else asks.
        let Pool::Postgres(_) = self.write else { return Ok(()) };
        let (sql, values) = match lease {
            Some(lease) => (
                "INSERT INTO node (name, present_until) VALUES ($1, {now} + $2) ON CONFLICT (name) DO UPDATE SET present_until = excluded.present_until",
                vec![node.into(), micros(lease)],
            ),
            None => ("DELETE FROM node WHERE name = $1", params![node]),
        };
        self.writers.write(node, Reach::All, move |conn| Box::pin(async move { conn.run(sql, values).await.map(drop) })).await
    }

    async fn is_present(&self, node: &str) -> Result<bool, EngineError> {
        let values = params![node];
        let sql = "SELECT 1 FROM node WHERE name = $1 AND present_until > {now}";
        self.read(Reach::All, move |conn| Box::pin(async move { Ok(conn.row(sql, values).await?.is_some()) })).await
    }

    async fn unpin(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        let (reach, tenant, run) = (Reach::of(tenant), tenant.to_owned(), id.to_owned());
        self.commit(id, reach, move |conn| Box::pin(async move { unpin(conn, &tenant, &run).await })).await
    }
}

/// See [`Leases::unpin`].
async fn unpin(conn: &mut Conn, tenant: &str, id: &str) -> Result<RunView, EngineError> {
    let sql = "SELECT state, pinned_to, CAST(CASE WHEN owner IS NOT NULL AND lease_until > {now} THEN 1 ELSE 0 END AS BIGINT) \
               FROM run WHERE id = $1 AND tenant = $2 {lock}";
    let row = conn.row(sql, params![id, tenant]).await?.ok_or_else(|| EngineError::NotFound(id.to_owned()))?;
    let (state, node, is_held) = (super::state_of(&row.text(0)?)?, row.maybe_text(1)?, row.int(2)? != 0);
    let Some(node) = node.clone().filter(|_| !is_held) else { return Err(words::not_unpinned(id, state, node.is_some())) };
    conn.run("UPDATE run SET pinned_to = NULL WHERE id = $1", params![id]).await?;
    append(conn, id, vec![words::unpinned(&node)]).await?;
    view(conn, tenant, id).await
}

/// Which runs are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Active ones, and scheduled ones whose time has come.
    Due,
    /// Active ones that somebody held before.
    Abandoned,
}

impl Store {
    async fn claim_which(&self, request: &ClaimRequest, which: Which) -> Result<Option<Claim>, EngineError> {
        if request.kinds.is_empty() {
            return Ok(None);
        }
        loop {
            // Most looks find nothing: they must not cost a write.
            let looked = request.clone();
            let found = self.read(Reach::All, move |conn| Box::pin(async move { Ok(find(conn, &looked, which, "").await?.is_some()) })).await?;
            if !found {
                return Ok(None);
            }
            let asked = request.clone();
            let Some(taken) = self.commit(&request.owner, Reach::All, move |conn| Box::pin(take(conn, asked, which))).await? else { return Ok(None) };
            match taken {
                Taken::Read(read) => match self.opened(*read) {
                    Ok(claim) => return Ok(Some(claim)),
                    Err((token, reason)) => self.pass_over(&token, request, &reason).await?,
                },
                Taken::Unreadable(token, reason) => self.pass_over(&token, request, &reason).await?,
            }
        }
    }
}

fn micros(lease: Duration) -> Param {
    Param::from(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX / 4))
}

/// The oldest run that is free, active or due, and fits the worker: id, state and tenant.
async fn find(conn: &mut Conn, request: &ClaimRequest, which: Which, lock: &str) -> Result<Option<(String, RunState, String)>, EngineError> {
    let kinds = marks(1, request.kinds.len());
    let mut values: Vec<Param> = request.kinds.iter().map(Param::from).collect();
    let mut except = String::new();
    if !request.except.is_empty() {
        except = format!("AND id NOT IN ({})", marks(values.len() + 1, request.except.len()));
        values.extend(request.except.iter().map(Param::from));
    }
    values.push(request.node.clone().unwrap_or_default().into());
    let node = values.len();
    let readable = not_set_aside("'run'", "run.id", "run.tenant", node);
    let states = match which {
        Which::Due => format!("state IN ('running', 'rolling_back', 'scheduled') AND (state <> 'scheduled' OR (start_at <= {{now}} AND NOT {FULL}))"),
        Which::Abandoned => "state IN ('running', 'rolling_back') AND epoch > 0".to_owned(),
    };
    let sql = format!(
        "SELECT id, state, tenant FROM run WHERE {states} \
         AND (owner IS NULL OR lease_until <= {{now}}) AND kind IN ({kinds}) {except} \
         AND (pinned_to IS NULL OR pinned_to = ${node}) AND {readable} ORDER BY created_at, id LIMIT 1 {lock}"
    );
    match conn.row(&sql, values).await? {
        Some(row) => Ok(Some((row.text(0)?, super::state_of(&row.text(1)?)?, row.text(2)?))),
        None => Ok(None),
    }
}

/// A run that was taken: all of its row could be read, or not.
enum Taken {
    Read(Box<Read>),
    Unreadable(Token, String),
}

struct Read {
    token: Token,
    view: RunView,
    /// Sealed.
    input: Vec<u8>,
    options: Value,
    wanted: Option<Wanted>,
}

async fn take(conn: &mut Conn, request: ClaimRequest, which: Which) -> Result<Option<Taken>, EngineError> {
    let Some((id, state, tenant)) = find(conn, &request, which, "{skip}").await? else { return Ok(None) };
    reach::move_on(conn, &Reach::of(&tenant)).await?;
    if state == RunState::Scheduled {
        match room::make(conn, &tenant, &id).await {
            // Another one of the tenant was faster.
            Err(EngineError::Full { .. }) => return Ok(None),
            other => other?,
        }
        enter(conn, &id, RunState::Running).await?;
        append(conn, &id, vec![words::due()]).await?;
    }
    let sql = "UPDATE run SET owner = $2, epoch = epoch + 1, lease_until = {now} + $3 WHERE id = $1 RETURNING input, options, wanted, epoch";
    let row = conn.row(sql, vec![(&id).into(), (&request.owner).into(), micros(request.lease)]).await?;
    let row = row.ok_or_else(|| EngineError::NotFound(id.clone()))?;
    let token = Token { run: id.clone(), tenant: tenant.clone(), owner: request.owner, epoch: row.count(3)? };
    let wanted = row.maybe_text(2)?.as_deref().and_then(Wanted::parse);
    let read = async { Ok::<_, EngineError>((json(&row.text(1)?)?, view(conn, &tenant, &id).await?)) };
    Ok(Some(match read.await {
        Ok((options, view)) => Taken::Read(Box::new(Read { token, view, input: row.blob(0)?, options, wanted })),
        Err(EngineError::Internal(reason)) => Taken::Unreadable(token, reason),
        Err(error) => return Err(error),
    }))
}

impl Store {
    /// The run with its input, or why that cannot be read here.
    fn opened(&self, read: Read) -> Result<Claim, (Token, String)> {
        let Read { token, view, input, options, wanted } = read;
        let text = self.keys.unseal(&view.tenant, &view.id, &input).map_err(|e| (token.clone(), format!("its input cannot be opened: {e}")))?;
        let input = serde_json::from_slice(&text).map_err(|e| (token.clone(), format!("its input cannot be read: {e}")))?;
        Ok(Claim { token, view, input, options, wanted })
    }

    /// Gives a run back that this node cannot read, and has the node pass it over from now on.
    async fn pass_over(&self, token: &Token, request: &ClaimRequest, reason: &str) -> Result<(), EngineError> {
        tracing::error!(run = token.run, reason, "a run was set aside: this server cannot read it, and tries it again in some minutes");
        let (token, node, reason) = (token.clone(), request.node.clone().unwrap_or_default(), reason.to_owned());
        let run = token.run.clone();
        self.commit(&run, Reach::of(&token.tenant), move |conn| {
            Box::pin(async move {
                fence(conn, &token).await?;
                conn.run("UPDATE run SET owner = NULL, lease_until = NULL WHERE id = $1", params![&token.run]).await?;
                let item = set_aside::Item { kind: RUN, tenant: &token.tenant, id: &token.run, node: &node, reason: &reason };
                if set_aside::note(conn, &item).await? {
                    append(conn, &token.run, vec![words::set_aside(&node, &reason)]).await?;
                }
                Ok(())
            })
        })
        .await
    }
}
