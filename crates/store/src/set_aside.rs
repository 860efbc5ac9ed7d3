//! What a node could not read: see [`ports::records::set_aside`].

use crate::Store;
use crate::reach::{self, Reach};
use crate::records::{failed, time};
use crate::sql::{Conn, Row, params};
use engine::EngineError;
use ports::records::set_aside::{EVENT, RUN};
use ports::records::{RecordsError, SetAside};

/// After so many microseconds a node tries again what it has set aside.
pub(crate) const AGAIN: i64 = 5 * 60 * 1_000_000;
/// What was not set aside again for so long was read since, or is gone.
const OVER: i64 = 3 * AGAIN;

/// The condition that a row is not set aside for the node in `$node`. `kind` and `id` are columns or quoted words, `tenant` a column.
pub(crate) fn not_set_aside(kind: &str, id: &str, tenant: &str, node: usize) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM set_aside a WHERE a.kind = {kind} AND a.id = {id} AND a.tenant = {tenant} AND a.node = ${node} AND a.at > {{now}} - {AGAIN})"
    )
}

/// Something that is set aside by a node.
pub(crate) struct Item<'a> {
    pub kind: &'a str,
    pub tenant: &'a str,
    pub id: &'a str,
    pub node: &'a str,
    pub reason: &'a str,
}

/// Sets it aside. True when it was not set aside before.
pub(crate) async fn note(conn: &mut Conn, item: &Item<'_>) -> Result<bool, EngineError> {
    reach::move_on(conn, &Reach::of(item.tenant)).await?;
    let Item { kind, tenant, id, node, reason } = *item;
    let key = params![kind, tenant, id, node];
    let known = conn.row("SELECT 1 FROM set_aside WHERE kind = $1 AND tenant = $2 AND id = $3 AND node = $4", key).await?.is_some();
    let sql = "INSERT INTO set_aside (kind, tenant, id, node, reason, at) VALUES ($1, $2, $3, $4, $5, {now}) \
               ON CONFLICT (kind, id, tenant, node) DO UPDATE SET reason = excluded.reason, at = excluded.at";
    conn.run(sql, params![kind, tenant, id, node, reason]).await?;
    Ok(!known)
}

/// Set aside lately, and not done elsewhere since.
fn still() -> String {
    format!(
        "at > {{now}} - {OVER} \
         AND (kind <> '{RUN}' OR EXISTS (SELECT 1 FROM run r WHERE r.id = set_aside.id AND r.state IN ('running', 'rolling_back', 'scheduled'))) \
         AND (kind <> '{EVENT}' OR EXISTS (SELECT 1 FROM outbox o WHERE CAST(o.id AS TEXT) = set_aside.id))"
    )
}

/// What is set aside, of all tenants.
pub(crate) async fn all(conn: &mut Conn) -> Result<Vec<SetAside>, EngineError> {
    let sql = format!(
        "SELECT kind, tenant, id, CASE WHEN node = '' THEN reason ELSE reason || ' (node ' || node || ')' END, at \
         FROM set_aside WHERE {} ORDER BY at, kind, id",
        still()
    );
    let item = |row: &Row| Ok(SetAside { kind: row.text(0)?, tenant: row.text(1)?, id: row.text(2)?, reason: row.text(3)?, at: time(row.int(4)?)? });
    conn.rows(&sql, params![]).await?.iter().map(item).collect()
}

/// How many things are set aside, per kind.
pub(crate) async fn count(conn: &mut Conn) -> Result<Vec<(String, u64)>, EngineError> {
    let sql = format!("SELECT kind, count(DISTINCT tenant || '/' || id) FROM set_aside WHERE {} GROUP BY kind ORDER BY kind", still());
    conn.rows(&sql, params![]).await?.iter().map(|row| Ok((row.text(0)?, row.count(1)?))).collect()
}

impl Store {
    /// Names the node that this process is on; the first call counts. What it cannot read is set aside under that name.
    pub fn on_node(&self, node: Option<&str>) {
        if let Some(node) = node {
            self.node.get_or_init(|| node.to_owned());
        }
    }

    pub(crate) fn node(&self) -> String {
        self.node.get().cloned().unwrap_or_default()
    }

    pub(crate) async fn put_aside(&self, kind: &str, tenant: &str, id: &str, reason: &str) -> Result<(), RecordsError> {
        tracing::error!(kind, tenant, id, reason, "set aside: it cannot be read here, and is tried again in some minutes");
        let node = self.node();
        let [kind, tenant, id, reason] = [kind, tenant, id, reason].map(str::to_owned);
        let key = id.clone();
        let written = self.writers.write(&key, Reach::of(&tenant.clone()), move |conn| {
            Box::pin(async move {
                note(conn, &Item { kind: &kind, tenant: &tenant, id: &id, node: &node, reason: &reason }).await?;
                if kind != RUN && kind != EVENT {
                    let sql = "UPDATE record SET due_at = {now}, version = version + 1 WHERE tenant = $1 AND kind = $2 AND id = $3 AND due_at IS NOT NULL";
                    conn.run(sql, params![&tenant, &kind, &id]).await?;
                }
                Ok(())
            })
        });
        written.await.map_err(failed)
    }
}
