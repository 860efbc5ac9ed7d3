//! The control plane's records in SQL. Secrets are sealed for their tenant, kind and id.

use crate::Store;
use crate::keys::Keyring;
use crate::reach::{self, Reach};
use crate::set_aside::{self, not_set_aside};
use crate::sql::{Conn, Param, Row, marks, params};
use engine::EngineError;
use jiff::Timestamp;
use ports::records::{Fields, Record, RecordFilter, Records, RecordsError, Untold, Write};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const COLUMNS: &str = "tenant, kind, id, version, key, parent, state, due_at, body, CASE WHEN secret IS NULL THEN 0 ELSE 1 END, created_at, updated_at";

#[async_trait::async_trait]
impl Records for Store {
    async fn get(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Record>, RecordsError> {
        self.one(tenant, "id = $3", params![tenant, kind, id]).await
    }

    async fn find(&self, tenant: &str, kind: &str, key: &str) -> Result<Option<Record>, RecordsError> {
        self.one(tenant, "key = $3", params![tenant, kind, key]).await
    }

    async fn list(&self, tenant: &str, kind: &str, filter: &RecordFilter) -> Result<Vec<Record>, RecordsError> {
        let (mut wheres, mut values) = filtered(tenant, kind, filter);
        let (order, behind) = if filter.newest_first { ("DESC", "<") } else { ("ASC", ">") };
        if let Some(after) = &filter.after {
            wheres.push_str(&format!(" AND id {behind} ${}", values.len() + 1));
            values.push(after.into());
        }
        let limit = if filter.limit == 0 { i64::MAX } else { filter.limit.into() };
        let at = values.len();
        values.extend(params![limit, filter.offset]);
        let sql = format!("SELECT {COLUMNS} FROM record WHERE {wheres} ORDER BY id {order} LIMIT ${} OFFSET ${}", at + 1, at + 2);
        let read = self.read(Reach::of(tenant), move |conn| Box::pin(async move { conn.rows(&sql, values).await?.iter().map(record_of).collect() }));
        read.await.map_err(failed)
    }

    async fn count(&self, tenant: &str, kind: &str, filter: &RecordFilter) -> Result<u64, RecordsError> {
        let (wheres, values) = filtered(tenant, kind, filter);
        let sql = format!("SELECT count(*) FROM record WHERE {wheres}");
        let read = self.read_much(Reach::of(tenant), move |conn| Box::pin(async move { conn.row(&sql, values).await?.map_or(Ok(0), |row| row.count(0)) }));
        read.await.map_err(failed)
    }

    async fn secret(&self, tenant: &str, kind: &str, id: &str) -> Result<Option<Value>, RecordsError> {
        let values = params![tenant, kind, id];
        let sql = "SELECT secret FROM record WHERE tenant = $1 AND kind = $2 AND id = $3";
        let sealed = self.read(Reach::of(tenant), move |conn| Box::pin(async move { conn.row(sql, values).await?.map(|r| r.maybe_blob(0)).transpose() }));
        let Some(Some(sealed)) = sealed.await.map_err(failed)? else { return Ok(None) };
        let text = self.keys.unseal(tenant, &place(kind, id), &sealed).map_err(failed)?;
        serde_json::from_slice(&text).map(Some).map_err(|e| RecordsError::Internal(format!("the secret of {kind} {id} cannot be read: {e}")))
    }

    async fn apply(&self, writes: Vec<Write>) -> Result<Vec<Record>, RecordsError> {
        let keys = self.keys.clone();
        let queue = writes.first().map_or("", |w| match w {
            Write::Insert { id, .. } | Write::Update { id, .. } | Write::Delete { id, .. } => id,
            Write::Told { .. } => "outbox",
            Write::Limit { tenant, .. } => tenant,
        });
        let (queue, first) = (queue.to_owned(), writes.first().map_or(Reach::All, reach_of));
        // The caller's own word for a refusal; the engine's errors know no records.
        let (tell, told) = tokio::sync::oneshot::channel();
        let done = self.commit(&queue, first, move |conn| {
            Box::pin(async move {
                match apply(conn, &keys, writes).await {
                    Ok(records) => Ok(records),
                    Err(Refused::Engine(error)) => Err(error),
                    Err(Refused::Record(error)) => {
                        let text = error.to_string();
                        // Nobody may wait for it any more.
                        let _gone = tell.send(error);
                        Err(EngineError::Invalid(text))
                    }
                }
            })
        });
        match done.await {
            Ok(records) => Ok(records),
            Err(error) => Err(told.await.unwrap_or_else(|_| failed(error))),
        }
    }

    async fn take_due(&self, kind: &str, limit: u32, hold: Duration, now: Option<Timestamp>) -> Result<Vec<Record>, RecordsError> {
        let kind = kind.to_owned();
        // Looked for first: most of the time nothing is due, and a write would sync the disk for nothing.
        let (due, at) = (kind.clone(), now.map(Timestamp::as_microsecond));
        let (node, own) = (self.node(), self.node());
        let readable = not_set_aside("record.kind", "record.id", "record.tenant", 3);
        let sql = format!("SELECT 1 FROM record WHERE kind = $1 AND due_at <= COALESCE($2, {{now}}) AND {readable} LIMIT 1");
        let some =
            self.read(Reach::All, move |conn| Box::pin(async move { Ok(conn.row(&sql, params![due, at, own]).await?.is_some()) })).await.map_err(failed)?;
        if !some {
            return Ok(Vec::new());
        }
        let key = kind.clone();
        let hold = i64::try_from(hold.as_micros()).unwrap_or(i64::MAX);
        let taken = self.writers.write(&key, Reach::All, move |conn| Box::pin(async move { take_due(conn, &kind, limit, hold, at, &node).await }));
        taken.await.map_err(failed)
    }

    async fn take_permits(&self, key: &str, count: u32, interval: i64, burst: u32) -> Result<Option<ports::records::Permits>, RecordsError> {
        self.take_from_bucket(key, count, interval, burst).await
    }

    async fn untold(&self, limit: u32) -> Result<Vec<Untold>, RecordsError> {
        let node = self.node();
        let readable = not_set_aside("'event'", "CAST(outbox.id AS TEXT)", "outbox.tenant", 2);
        let sql = format!("SELECT id, tenant, run, seq, kind FROM outbox WHERE {readable} ORDER BY id LIMIT $1");
        let read = self.read(Reach::All, move |conn| {
            Box::pin(async move {
                let rows = conn.rows(&sql, params![limit, node]).await?;
                rows.iter().map(|r| Ok(Untold { id: r.count(0)?, tenant: r.text(1)?, run: r.text(2)?, seq: r.count(3)?, kind: r.text(4)? })).collect()
            })
        });
        read.await.map_err(failed)
    }
}

impl Store {
    async fn one(&self, tenant: &str, condition: &str, values: Vec<Param>) -> Result<Option<Record>, RecordsError> {
        let sql = format!("SELECT {COLUMNS} FROM record WHERE tenant = $1 AND kind = $2 AND {condition}");
        let read = self.read(Reach::of(tenant), move |conn| Box::pin(async move { conn.row(&sql, values).await?.as_ref().map(record_of).transpose() }));
        read.await.map_err(failed)
    }
}

/// Whose rows a write may touch.
fn reach_of(write: &Write) -> Reach {
    match write {
        Write::Insert { tenant, .. } | Write::Update { tenant, .. } | Write::Delete { tenant, .. } | Write::Limit { tenant, .. } => Reach::of(tenant),
        Write::Told { .. } => Reach::All,
    }
}

enum Refused {
    Engine(EngineError),
    Record(RecordsError),
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// What a sealed secret is bound to, beside its tenant.
pub(crate) fn place(kind: &str, id: &str) -> String {
    format!("{kind}/{id}")
}

fn filtered(tenant: &str, kind: &str, filter: &RecordFilter) -> (String, Vec<Param>) {
    let mut wheres = "tenant = $1 AND kind = $2".to_owned();
    let mut values = params![tenant, kind];
    if let Some(parent) = &filter.parent {
        wheres.push_str(&format!(" AND parent = ${}", values.len() + 1));
        values.push(parent.into());
    }
    if !filter.states.is_empty() {
        wheres.push_str(&format!(" AND state IN ({})", marks(values.len() + 1, filter.states.len())));
        values.extend(filter.states.iter().map(Param::from));
    }
    (wheres, values)
}

async fn apply(conn: &mut Conn, keys: &Arc<Keyring>, writes: Vec<Write>) -> Result<Vec<Record>, Refused> {
    let mut records = Vec::with_capacity(writes.len());
    for write in writes {
        reach::move_on(conn, &reach_of(&write)).await?;
        match write {
            Write::Insert { tenant, kind, id, fields } => records.push(insert(conn, keys, &tenant, &kind, &id, fields).await?),
            Write::Update { tenant, kind, id, version, fields } => records.push(update(conn, keys, &tenant, &kind, &id, version, fields).await?),
            Write::Delete { tenant, kind, id, version } => {
                let (condition, values) = versioned(params![&tenant, &kind, &id], version);
                let gone = conn.run(&format!("DELETE FROM record WHERE tenant = $1 AND kind = $2 AND id = $3{condition}"), values).await?;
                if gone == 0 {
                    return Err(missed(conn, &tenant, kind, id).await?);
                }
            }
            Write::Told { ids } => told(conn, &ids).await?,
            Write::Limit { tenant, active } => crate::journal::limit(conn, &tenant, active).await?,
        }
    }
    Ok(records)
}

async fn insert(conn: &mut Conn, keys: &Keyring, tenant: &str, kind: &str, id: &str, fields: Fields) -> Result<Record, Refused> {
    let sealed = fields.secret.flatten().map(|s| keys.seal(tenant, &place(kind, id), s.to_string().as_bytes())).transpose()?;
    let key = fields.key.flatten();
    let due = fields.due_at.flatten().map(Timestamp::as_microsecond);
    let body = fields.body.unwrap_or(Value::Null).to_string();
    let values = vec![
        tenant.into(),
        kind.into(),
        id.into(),
        key.clone().into(),
        fields.parent.flatten().into(),
        fields.state.flatten().into(),
        due.into(),
        body.into(),
        Param::Blob(sealed),
    ];
    let sql = format!(
        "INSERT INTO record (tenant, kind, id, key, parent, state, due_at, body, secret, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {{now}}, {{now}}) \
         ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
    );
    match conn.row(&sql, values).await? {
        Some(row) => Ok(record_of(&row)?),
        None => Err(Refused::Record(RecordsError::Taken { kind: kind.to_owned(), key: key.unwrap_or_else(|| id.to_owned()) })),
    }
}

async fn update(conn: &mut Conn, keys: &Keyring, tenant: &str, kind: &str, id: &str, version: Option<u64>, fields: Fields) -> Result<Record, Refused> {
    let (condition, mut values) = versioned(params![tenant, kind, id], version);
    let mut sets = vec!["version = version + 1".to_owned(), "updated_at = {now}".to_owned()];
    let mut set = |column: &str, value: Option<Param>| {
        if let Some(value) = value {
            values.push(value);
            sets.push(format!("{column} = ${}", values.len()));
        }
    };
    let key = fields.key.clone().flatten();
    set("key", fields.key.map(Param::from));
    set("parent", fields.parent.map(Param::from));
    set("state", fields.state.map(Param::from));
    set("due_at", fields.due_at.map(|at| at.map(Timestamp::as_microsecond).into()));
    set("body", fields.body.map(|b| b.to_string().into()));
    if let Some(secret) = fields.secret {
        let sealed = secret.map(|s| keys.seal(tenant, &place(kind, id), s.to_string().as_bytes())).transpose()?;
        set("secret", Some(Param::Blob(sealed)));
    }
    if let Some(key) = key {
        let sql = "SELECT 1 FROM record WHERE tenant = $1 AND kind = $2 AND key = $4 AND id <> $3";
        if conn.row(sql, params![tenant, kind, id, &key]).await?.is_some() {
            return Err(Refused::Record(RecordsError::Taken { kind: kind.to_owned(), key }));
        }
    }
    let sql = format!("UPDATE record SET {} WHERE tenant = $1 AND kind = $2 AND id = $3{condition} RETURNING {COLUMNS}", sets.join(", "));
    match conn.row(&sql, values).await? {
        Some(row) => Ok(record_of(&row)?),
        None => Err(missed(conn, tenant, kind.to_owned(), id.to_owned()).await?),
    }
}

/// The condition on the stored version, as `$4`.
fn versioned(mut values: Vec<Param>, version: Option<u64>) -> (&'static str, Vec<Param>) {
    match version {
        Some(version) => {
            values.push(version.into());
            (" AND version = $4", values)
        }
        None => ("", values),
    }
}

/// Why a write met no row.
async fn missed(conn: &mut Conn, tenant: &str, kind: String, id: String) -> Result<Refused, EngineError> {
    let there = conn.row("SELECT 1 FROM record WHERE tenant = $1 AND kind = $2 AND id = $3", params![tenant, &kind, &id]).await?;
    Ok(Refused::Record(if there.is_some() { RecordsError::Changed { kind, id } } else { RecordsError::NotFound { kind, id } }))
}

async fn told(conn: &mut Conn, ids: &[u64]) -> Result<(), Refused> {
    let mut gone = 0;
    for page in ids.chunks(200) {
        let sql = format!("DELETE FROM outbox WHERE id IN ({})", marks(1, page.len()));
        gone += conn.run(&sql, page.iter().map(|id| Param::from(*id)).collect()).await?;
    }
    if gone == ids.len() as u64 {
        return Ok(());
    }
    Err(Refused::Record(RecordsError::Changed { kind: "outbox".to_owned(), id: "event".to_owned() }))
}

/// What is due and readable here. What cannot be read is set aside.
async fn take_due(conn: &mut Conn, kind: &str, limit: u32, hold: i64, now: Option<i64>, node: &str) -> Result<Vec<Record>, EngineError> {
    let readable = not_set_aside("record.kind", "record.id", "record.tenant", 4);
    let found =
        format!("SELECT tenant, id FROM record WHERE kind = $1 AND due_at <= COALESCE($2, {{now}}) AND {readable} ORDER BY due_at, id LIMIT $3 {{skip}}");
    let mut taken = Vec::new();
    for row in conn.rows(&found, params![kind, now, limit, node]).await? {
        let (tenant, id) = (row.text(0)?, row.text(1)?);
        let sql = format!(
            "UPDATE record SET version = version + 1, due_at = COALESCE($4, {{now}}) + $5 WHERE tenant = $1 AND kind = $2 AND id = $3 RETURNING {COLUMNS}"
        );
        match conn.row(&sql, params![&tenant, kind, &id, now, hold]).await?.as_ref().map(record_of) {
            Some(Ok(record)) => taken.push(record),
            Some(Err(error)) => {
                let reason = error.to_string();
                tracing::error!(kind, tenant, id, reason, "set aside: it cannot be read, and is tried again in some minutes");
                set_aside::note(conn, &set_aside::Item { kind, tenant: &tenant, id: &id, node, reason: &reason }).await?;
                reach::move_on(conn, &Reach::All).await?;
            }
            None => {}
        }
    }
    Ok(taken)
}

fn record_of(row: &Row) -> Result<Record, EngineError> {
    Ok(Record {
        tenant: row.text(0)?,
        kind: row.text(1)?,
        id: row.text(2)?,
        version: row.count(3)?,
        key: row.maybe_text(4)?,
        parent: row.maybe_text(5)?,
        state: row.maybe_text(6)?,
        due_at: row.maybe_int(7)?.map(time).transpose()?,
        body: json(&row.text(8)?)?,
        has_secret: row.flag(9)?,
        created_at: time(row.int(10)?)?,
        updated_at: time(row.int(11)?)?,
    })
}

pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, EngineError> {
    serde_json::from_str(text).map_err(|e| EngineError::Internal(format!("the database holds JSON that cannot be read: {e}")))
}

pub(crate) fn time(micros: i64) -> Result<Timestamp, EngineError> {
    Timestamp::from_microsecond(micros).map_err(|e| EngineError::Internal(format!("the database holds a time that cannot be: {e}")))
}

pub(crate) fn failed(error: EngineError) -> RecordsError {
    match error {
        EngineError::Unavailable(text) => RecordsError::Unavailable(text),
        other => RecordsError::Internal(other.to_string()),
    }
}
