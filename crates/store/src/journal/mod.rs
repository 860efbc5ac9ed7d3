//! The engine's journal in SQL. Here: what all parts share — the fence, events, and a run's view.

mod chunks;
mod dropped;
mod events;
mod holds;
mod leases;
mod lines;
mod record;
mod room;
mod runs;

use crate::records::{json, time};
use crate::sql::{Conn, Param, Row, marks, params, values};
use engine::hold::Stance;
use engine::journal::{NewEvent, Token};
use engine::view::{Sample, StepState};
use engine::{EngineError, LedgerTotals, RunState, RunView, StepError, StepView, Trace};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) use room::limit;

/// Rows of one INSERT.
const ROWS: usize = 200;

/// Refuses a worker that does not hold the run any more, and keeps the run's row locked until the end of the transaction.
async fn fence(conn: &mut Conn, token: &Token) -> Result<(), EngineError> {
    let held = conn.row("SELECT epoch FROM run WHERE id = $1 AND owner = $2 AND epoch = $3 {lock}", holder(token)).await?;
    held.map(|_| ()).ok_or_else(|| EngineError::Fenced(token.run.clone()))
}

fn holder(token: &Token) -> Vec<Param> {
    params![&token.run, &token.owner, token.epoch]
}

/// Appends events with the next numbers of the run.
async fn append(conn: &mut Conn, run: &str, events: Vec<NewEvent>) -> Result<(), EngineError> {
    if events.is_empty() {
        return Ok(());
    }
    let raised =
        conn.row("UPDATE run SET last_event = last_event + $2 WHERE id = $1 RETURNING last_event, {now}, tenant", params![run, events.len() as u64]).await?;
    let raised = raised.ok_or_else(|| EngineError::NotFound(run.to_owned()))?;
    let (seq, now, tenant) = (raised.count(0)? - events.len() as u64, raised.int(1)?, raised.text(2)?);
    tell(conn, run, &tenant, seq, now, events).await
}

/// Writes events down behind number `seq`, and what goes out of them.
async fn tell(conn: &mut Conn, run: &str, tenant: &str, mut seq: u64, now: i64, events: Vec<NewEvent>) -> Result<(), EngineError> {
    let mut outgoing = Vec::new();
    for batch in events.chunks(ROWS) {
        let mut row = Vec::with_capacity(batch.len() * 8);
        for event in batch {
            seq += 1;
            if goes_out(&event.kind) {
                outgoing.extend(params![tenant, run, seq, &event.kind]);
            }
            row.extend(params![run, seq, now, &event.kind, event.level as u32, &event.component, clean(&event.message), event.details.to_string()]);
        }
        let sql = format!("INSERT INTO event (run, seq, at, kind, level, component, message, details) VALUES {}", values(batch.len(), 8));
        conn.run(&sql, row).await?;
    }
    for batch in outgoing.chunks(ROWS * 4) {
        let sql = format!("INSERT INTO outbox (tenant, run, seq, kind) VALUES {}", values(batch.len() / 4, 4));
        conn.run(&sql, batch.to_vec()).await?;
    }
    if conn.is_postgres() {
        conn.rows("SELECT pg_notify($1, $2)", params![crate::postgres::CHANNEL, run]).await?;
    }
    conn.told = true;
    Ok(())
}

/// Whether people outside may want to be told of such an event: the life of a run and its steps, and how far it is.
fn goes_out(kind: &str) -> bool {
    kind.starts_with("run.") || kind.starts_with("step.") || kind == "progress"
}

/// PostgreSQL's text knows no NUL.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Puts a run into a state: times, lease and wishes follow from it.
async fn enter(conn: &mut Conn, run: &str, state: RunState) -> Result<(), EngineError> {
    let rest = if state.is_active() {
        "started_at = COALESCE(started_at, {now}), ended_at = NULL, bytes_moved = 0, lease_until = CASE WHEN owner IS NULL THEN {now} ELSE lease_until END"
    } else if state.is_end() {
        "owner = NULL, lease_until = NULL, ended_at = {now}, \
         bytes_moved = (SELECT CAST(COALESCE(SUM(bytes_done), 0) AS BIGINT) FROM ledger WHERE ledger.run = run.id)"
    } else {
        "owner = NULL, lease_until = NULL, ended_at = NULL"
    };
    conn.run(&format!("UPDATE run SET state = $2, wanted = NULL, {rest} WHERE id = $1"), params![run, state.word()]).await?;
    Ok(())
}

const RUN: &str = "id, tenant, kind, state, labels, error, created_at, started_at, ended_at, {now}, owner, epoch, sample, last_event, options, wanted, by_itself, holds, stance, final_at, final_by, \
                   pinned_to, CAST(CASE WHEN owner IS NOT NULL AND lease_until > {now} THEN 1 ELSE 0 END AS BIGINT), \
                   CAST(CASE WHEN state IN ('running', 'rolling_back') AND epoch > 0 AND (lease_until IS NULL OR lease_until < {now} - 5000000) THEN 1 ELSE 0 END AS BIGINT)";

/// One run with its steps and ledger totals.
async fn view(conn: &mut Conn, tenant: &str, id: &str) -> Result<RunView, EngineError> {
    let row = conn.row(&format!("SELECT {RUN} FROM run WHERE id = $1 AND tenant = $2"), params![id, tenant]).await?;
    let row = row.ok_or_else(|| EngineError::NotFound(id.to_owned()))?;
    let mut views = vec![run_of(&row)?];
    complete(conn, &mut views, true).await?;
    views.pop().ok_or_else(|| EngineError::NotFound(id.to_owned()))
}

/// The ledgers of some runs, by run.
async fn ledgers_of(conn: &mut Conn, runs: Vec<Param>) -> Result<BTreeMap<String, Vec<(String, LedgerTotals)>>, EngineError> {
    let sql = format!("SELECT run, name, {TOTALS} FROM ledger WHERE run IN ({}) ORDER BY run, name", marks(1, runs.len()));
    let mut ledgers: BTreeMap<String, Vec<(String, LedgerTotals)>> = BTreeMap::new();
    for row in conn.rows(&sql, runs).await? {
        ledgers.entry(row.text(0)?).or_default().push((row.text(1)?, totals_of(&row, 2)?));
    }
    Ok(ledgers)
}

/// Adds steps (with their outputs or without) and ledgers, two statements for all runs.
async fn complete(conn: &mut Conn, views: &mut [RunView], outputs: bool) -> Result<(), EngineError> {
    for page in views.chunks_mut(ROWS) {
        let ids: Vec<Param> = page.iter().map(|v| Param::from(&v.id)).collect();
        let marks = marks(1, ids.len());
        let output = if outputs { "output" } else { "CAST(NULL AS TEXT)" };
        let sql = format!(
            "SELECT run, idx, name, title, version, state, attempts, {output}, error, started_at, ended_at FROM step WHERE run IN ({marks}) ORDER BY run, idx"
        );
        let mut steps: BTreeMap<String, Vec<StepView>> = BTreeMap::new();
        for row in conn.rows(&sql, ids.clone()).await? {
            steps.entry(row.text(0)?).or_default().push(step_of(&row)?);
        }
        let mut ledgers = ledgers_of(conn, ids).await?;
        for view in page {
            view.steps = steps.remove(&view.id).unwrap_or_default();
            view.ledgers = ledgers.remove(&view.id).unwrap_or_default();
        }
    }
    Ok(())
}

const TOTALS: &str = "chunks, chunks_done, items, items_done, bytes, bytes_done, sealed";

fn totals_of(row: &Row, from: usize) -> Result<LedgerTotals, EngineError> {
    Ok(LedgerTotals {
        chunks: row.count(from)?,
        chunks_done: row.count(from + 1)?,
        items: row.count(from + 2)?,
        items_done: row.count(from + 3)?,
        bytes: row.count(from + 4)?,
        bytes_done: row.count(from + 5)?,
        sealed: row.int(from + 6)? != 0,
    })
}

fn run_of(row: &Row) -> Result<RunView, EngineError> {
    Ok(RunView {
        id: row.text(0)?,
        tenant: row.text(1)?,
        kind: row.text(2)?,
        state: state_of(&row.text(3)?)?,
        labels: json(&row.text(4)?)?,
        steps: Vec::new(),
        error: row.maybe_text(5)?.map(|t| json::<StepError>(&t)).transpose()?,
        created_at: time(row.int(6)?)?,
        started_at: row.maybe_int(7)?.map(time).transpose()?,
        ended_at: row.maybe_int(8)?.map(time).transpose()?,
        now: time(row.int(9)?)?,
        owner: row.maybe_text(10)?,
        epoch: row.count(11)?,
        ledgers: Vec::new(),
        sample: row.maybe_text(12)?.map(|t| json::<Sample>(&t)).transpose()?,
        last_event: row.count(13)?,
        trace: Trace::of_options(&json::<Value>(&row.text(14)?)?),
        rolls_back_by_itself: row.int(16)? != 0,
        holds: row.maybe_text(17)?,
        stance: row.maybe_text(18)?.as_deref().and_then(Stance::parse),
        finalized: holds::finalized(row.maybe_int(19)?, row.maybe_text(20)?)?,
        pinned_to: row.maybe_text(21)?,
        held: row.int(22)? != 0,
        is_interrupted: row.int(23)? != 0,
    })
}

fn step_of(row: &Row) -> Result<StepView, EngineError> {
    Ok(StepView {
        index: row.int(1)? as u32,
        name: row.text(2)?,
        title: row.text(3)?,
        version: row.int(4)? as u32,
        state: step_state_of(&row.text(5)?)?,
        attempts: row.int(6)? as u32,
        output: row.maybe_text(7)?.map(|t| json::<Value>(&t)).transpose()?,
        error: row.maybe_text(8)?.map(|t| json::<StepError>(&t)).transpose()?,
        started_at: row.maybe_int(9)?.map(time).transpose()?,
        ended_at: row.maybe_int(10)?.map(time).transpose()?,
    })
}

fn state_of(word: &str) -> Result<RunState, EngineError> {
    RunState::parse(word).ok_or_else(|| EngineError::Internal(format!("the database holds a run in the unknown state '{word}'")))
}

fn step_state_of(word: &str) -> Result<StepState, EngineError> {
    StepState::parse(word).ok_or_else(|| EngineError::Internal(format!("the database holds a step in the unknown state '{word}'")))
}

/// Text of an error for a column.
fn error_text(error: &StepError) -> Result<String, EngineError> {
    serde_json::to_string(error).map_err(|e| EngineError::Internal(format!("an error could not be written down: {e}")))
}
