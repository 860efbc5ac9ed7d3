//! Chunk ledgers: rows in bulk, totals kept beside them.

use super::{ROWS, TOTALS, fence, totals_of};
use crate::Store;
use crate::reach::Reach;
use crate::sql::{Conn, Param, Row, marks, params, values};
use engine::journal::{Chunk, ChunkDone, Chunks, NewChunk, Token};
use engine::{EngineError, LedgerTotals};
use std::collections::{BTreeMap, BTreeSet};

#[async_trait::async_trait]
impl Chunks for Store {
    async fn plan(&self, token: &Token, ledger: &str, chunks: Vec<NewChunk>) -> Result<(), EngineError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let (held, name) = (token.clone(), ledger.to_owned());
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| Box::pin(plan(conn, held, name, chunks))).await
    }

    async fn seal(&self, token: &Token, ledger: &str) -> Result<(), EngineError> {
        let (held, name) = (token.clone(), ledger.to_owned());
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| {
            Box::pin(async move {
                fence(conn, &held).await?;
                let id = made(conn, &held.run, &name).await?;
                conn.run("UPDATE ledger SET sealed = 1 WHERE id = $1", params![id]).await?;
                Ok(())
            })
        })
        .await
    }

    async fn pending(&self, token: &Token, ledger: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError> {
        let (held, name) = (token.clone(), ledger.to_owned());
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| Box::pin(pending(conn, held, name, after, limit))).await
    }

    async fn done(&self, token: &Token, ledger: &str, chunks: Vec<ChunkDone>) -> Result<(), EngineError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let (held, name) = (token.clone(), ledger.to_owned());
        self.commit(&token.run, Reach::of(&token.tenant), move |conn| Box::pin(done(conn, held, name, chunks))).await
    }

    async fn all(&self, tenant: &str, run: &str, ledger: &str, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError> {
        let values = params![tenant, run, ledger, from(after), limit as u64];
        self.read(Reach::of(tenant), move |conn| {
            Box::pin(async move {
                let sql = "SELECT c.seq, c.spec, c.items, c.bytes, c.attempts, c.result FROM chunk c WHERE c.ledger = \
                           (SELECT l.id FROM ledger l JOIN run r ON r.id = l.run WHERE r.tenant = $1 AND r.id = $2 AND l.name = $3) \
                           AND c.seq > $4 ORDER BY c.seq LIMIT $5";
                conn.rows(sql, values).await?.iter().map(chunk_of).collect()
            })
        })
        .await
    }

    async fn totals(&self, tenant: &str, run: &str, ledger: &str) -> Result<LedgerTotals, EngineError> {
        let values = params![tenant, run, ledger];
        let sql = format!("SELECT {TOTALS} FROM ledger WHERE run = (SELECT id FROM run WHERE tenant = $1 AND id = $2) AND name = $3");
        self.read(Reach::of(tenant), move |conn| {
            Box::pin(async move { conn.row(&sql, values).await?.map_or_else(|| Ok(LedgerTotals::default()), |row| totals_of(&row, 0)) })
        })
        .await
    }
}

/// The bound of `seq > …`.
fn from(after: Option<u64>) -> i64 {
    after.map_or(-1, |seq| i64::try_from(seq).unwrap_or(i64::MAX))
}

fn chunk_of(row: &Row) -> Result<Chunk, EngineError> {
    Ok(Chunk { seq: row.count(0)?, spec: row.blob(1)?, items: row.count(2)?, bytes: row.count(3)?, attempts: row.int(4)? as u32, result: row.maybe_blob(5)? })
}

async fn found(conn: &mut Conn, run: &str, name: &str) -> Result<Option<i64>, EngineError> {
    conn.row("SELECT id FROM ledger WHERE run = $1 AND name = $2", params![run, name]).await?.map(|r| r.int(0)).transpose()
}

/// The ledger's number; makes the ledger.
async fn made(conn: &mut Conn, run: &str, name: &str) -> Result<i64, EngineError> {
    if let Some(id) = found(conn, run, name).await? {
        return Ok(id);
    }
    let row = conn.row("INSERT INTO ledger (run, name) VALUES ($1, $2) RETURNING id", params![run, name]).await?;
    row.ok_or_else(|| EngineError::Internal("a ledger was not made".to_owned()))?.int(0)
}

async fn plan(conn: &mut Conn, token: Token, name: String, mut chunks: Vec<NewChunk>) -> Result<(), EngineError> {
    fence(conn, &token).await?;
    let id = made(conn, &token.run, &name).await?;
    chunks.sort_by_key(|c| c.seq);
    chunks.dedup_by_key(|c| c.seq);
    let (low, high) = (chunks.first().map_or(0, |c| c.seq), chunks.last().map_or(0, |c| c.seq));
    if i64::try_from(high).is_err() {
        return Err(EngineError::Invalid(format!("chunk number {high} of ledger {name} is too large")));
    }
    let known = conn.rows("SELECT seq FROM chunk WHERE ledger = $1 AND seq BETWEEN $2 AND $3", params![id, low, high]).await?;
    if !known.is_empty() {
        let known: BTreeSet<u64> = known.iter().map(|r| r.count(0)).collect::<Result<_, _>>()?;
        chunks.retain(|c| !known.contains(&c.seq));
    }
    let added = (chunks.len() as u64, chunks.iter().map(|c| c.items).sum::<u64>(), chunks.iter().map(|c| c.bytes).sum::<u64>());
    let mut left = chunks.into_iter().peekable();
    while left.peek().is_some() {
        let batch: Vec<_> = left.by_ref().take(ROWS).collect();
        let sql = format!("INSERT INTO chunk (ledger, seq, spec, items, bytes) VALUES {}", values(batch.len(), 5));
        let row = batch.into_iter().flat_map(|c| params![id, c.seq, c.spec, c.items, c.bytes]).collect();
        conn.run(&sql, row).await?;
    }
    let sql = "UPDATE ledger SET chunks = chunks + $2, items = items + $3, bytes = bytes + $4 WHERE id = $1";
    conn.run(sql, params![id, added.0, added.1, added.2]).await?;
    Ok(())
}

async fn pending(conn: &mut Conn, token: Token, name: String, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, EngineError> {
    fence(conn, &token).await?;
    let Some(id) = found(conn, &token.run, &name).await? else { return Ok(Vec::new()) };
    let sql = "SELECT seq, spec, items, bytes, attempts + 1, result FROM chunk WHERE ledger = $1 AND seq > $2 AND result IS NULL ORDER BY seq LIMIT $3";
    let chunks: Vec<Chunk> = conn.rows(sql, params![id, from(after), limit as u64]).await?.iter().map(chunk_of).collect::<Result<_, _>>()?;
    if let (Some(first), Some(last)) = (chunks.first(), chunks.last()) {
        let sql = "UPDATE chunk SET attempts = attempts + 1 WHERE ledger = $1 AND seq BETWEEN $2 AND $3 AND result IS NULL";
        conn.run(sql, params![id, first.seq, last.seq]).await?;
    }
    Ok(chunks)
}

async fn done(conn: &mut Conn, token: Token, name: String, chunks: Vec<ChunkDone>) -> Result<(), EngineError> {
    fence(conn, &token).await?;
    let unknown = |seq: u64| EngineError::Invalid(format!("ledger {name} has no chunk {seq}"));
    let first = chunks.first().map_or(0, |c| c.seq);
    let id = found(conn, &token.run, &name).await?.ok_or_else(|| unknown(first))?;
    let mut sum = Sum::default();
    for batch in chunks.chunks(ROWS) {
        let planned = planned(conn, id, batch).await?;
        let mut seen = BTreeSet::new();
        for chunk in batch {
            let (items, bytes, is_done) = *planned.get(&chunk.seq).ok_or_else(|| unknown(chunk.seq))?;
            if is_done || !seen.insert(chunk.seq) {
                continue;
            }
            let sql = "UPDATE chunk SET result = $3, items = $4, bytes = $5 WHERE ledger = $1 AND seq = $2";
            conn.run(sql, params![id, chunk.seq, chunk.result.clone(), chunk.items, chunk.bytes]).await?;
            sum.add(chunk, items, bytes);
        }
    }
    let sql = "UPDATE ledger SET chunks_done = chunks_done + $2, items = items + $3, bytes = bytes + $4, items_done = items_done + $5, bytes_done = bytes_done + $6 WHERE id = $1";
    conn.run(sql, params![id, sum.chunks, sum.items_off, sum.bytes_off, sum.items, sum.bytes]).await?;
    Ok(())
}

/// What a batch of results changes in the totals.
#[derive(Default)]
struct Sum {
    chunks: u64,
    items: u64,
    bytes: u64,
    /// By how much the plan was wrong.
    items_off: i64,
    bytes_off: i64,
}

impl Sum {
    fn add(&mut self, chunk: &ChunkDone, items: u64, bytes: u64) {
        self.chunks += 1;
        self.items += chunk.items;
        self.bytes += chunk.bytes;
        self.items_off += chunk.items as i64 - items as i64;
        self.bytes_off += chunk.bytes as i64 - bytes as i64;
    }
}

/// Items and bytes as planned, and whether it is done, by `seq`.
async fn planned(conn: &mut Conn, ledger: i64, batch: &[ChunkDone]) -> Result<BTreeMap<u64, (u64, u64, bool)>, EngineError> {
    let mut values = vec![Param::from(ledger)];
    values.extend(batch.iter().map(|c| Param::from(c.seq)));
    let sql = format!(
        "SELECT seq, items, bytes, CAST(CASE WHEN result IS NULL THEN 0 ELSE 1 END AS BIGINT) FROM chunk WHERE ledger = $1 AND seq IN ({})",
        marks(2, batch.len())
    );
    let rows = conn.rows(&sql, values).await?;
    rows.iter().map(|r| Ok((r.count(0)?, (r.count(1)?, r.count(2)?, r.int(3)? != 0)))).collect()
}
