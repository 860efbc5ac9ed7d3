//! The event stream of a run.

use super::{json, time};
use crate::Store;
use crate::reach::Reach;
use crate::sql::{Conn, Param, Row, params};
use engine::journal::{EventFilter, Events, Level};
use engine::{EngineError, Event};
use tokio::sync::watch;

#[async_trait::async_trait]
impl Events for Store {
    async fn events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<Vec<Event>, EngineError> {
        let (wheres, mut values) = filtered(id, filter);
        let at = values.len();
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        let limit = if filter.limit == 0 { i64::MAX } else { filter.limit.into() };
        values.extend(params![limit, filter.offset]);
        let sql = format!(
            "SELECT run, seq, at, kind, level, component, message, details FROM event WHERE {wheres} ORDER BY seq {order} LIMIT ${} OFFSET ${}",
            at + 1,
            at + 2
        );
        let (reach, tenant, id) = (Reach::of(tenant), tenant.to_owned(), id.to_owned());
        self.read(reach, move |conn| {
            Box::pin(async move {
                exists(conn, &tenant, &id).await?;
                conn.rows(&sql, values).await?.iter().map(event_of).collect()
            })
        })
        .await
    }

    async fn count_events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<u64, EngineError> {
        let (wheres, values) = filtered(id, filter);
        let sql = format!("SELECT count(*) FROM event WHERE {wheres}");
        let (reach, tenant, id) = (Reach::of(tenant), tenant.to_owned(), id.to_owned());
        self.read(reach, move |conn| {
            Box::pin(async move {
                exists(conn, &tenant, &id).await?;
                conn.row(&sql, values).await?.map_or(Ok(0), |row| row.count(0))
            })
        })
        .await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

async fn exists(conn: &mut Conn, tenant: &str, id: &str) -> Result<(), EngineError> {
    let row = conn.row("SELECT epoch FROM run WHERE id = $1 AND tenant = $2", params![id, tenant]).await?;
    row.map(|_| ()).ok_or_else(|| EngineError::NotFound(id.to_owned()))
}

/// The condition of a filter, and its values.
fn filtered(run: &str, filter: &EventFilter) -> (String, Vec<Param>) {
    let mut wheres = "run = $1 AND seq > $2".to_owned();
    let mut values = params![run, filter.after];
    let mut and = |text: &str, more: Vec<Param>| {
        let mut text = text.to_owned();
        for (number, value) in more.into_iter().enumerate() {
            values.push(value);
            text = text.replace(&format!("?{number}"), &format!("${}", values.len()));
        }
        text
    };
    if !filter.kinds.is_empty() {
        let kinds: Vec<_> = filter
            .kinds
            .iter()
            .map(|kind| match kind.strip_suffix('*') {
                Some(prefix) => and("substr(kind, 1, length(?0)) = ?0", params![prefix]),
                None => and("kind = ?0", params![kind]),
            })
            .collect();
        wheres.push_str(&format!(" AND ({})", kinds.join(" OR ")));
    }
    if let Some(least) = filter.min_level {
        wheres.push_str(&and(" AND level >= ?0", params![least as u32]));
    }
    if let Some(exact) = filter.level {
        wheres.push_str(&and(" AND level = ?0", params![exact as u32]));
    }
    if let Some(since) = filter.since {
        wheres.push_str(&and(" AND at >= ?0", params![since.as_microsecond()]));
    }
    (wheres, values)
}

fn event_of(row: &Row) -> Result<Event, EngineError> {
    let level = Level::ALL.get(row.int(4)? as usize).copied().unwrap_or(Level::Info);
    Ok(Event {
        run: row.text(0)?,
        seq: row.count(1)?,
        at: time(row.int(2)?)?,
        kind: row.text(3)?,
        level: level.word().to_owned(),
        component: row.text(5)?,
        message: row.text(6)?,
        details: json(&row.text(7)?)?,
    })
}
