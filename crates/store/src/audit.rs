//! The audit log in SQL.

use crate::Store;
use crate::reach::{self, Reach};
use crate::records::{failed, json, time};
use crate::sql::{Conn, Param, Row, params};
use engine::EngineError;
use ports::records::{Audit, AuditEntry, AuditFilter, AuditRow, RecordsError};

/// Appends an entry to the transaction of `conn`.
pub(crate) async fn append(conn: &mut Conn, e: &AuditEntry) -> Result<(), EngineError> {
    reach::move_on(conn, &Reach::of(&e.tenant)).await?;
    let values = params![&e.tenant, &e.actor, &e.proof, &e.action, &e.target, &e.source, &e.request_id, &e.result, e.details.to_string()];
    let sql =
        "INSERT INTO audit (at, tenant, actor, proof, action, target, source, request_id, result, details) VALUES ({now}, $1, $2, $3, $4, $5, $6, $7, $8, $9)";
    conn.run(sql, values).await.map(|_| ())
}

#[async_trait::async_trait]
impl Audit for Store {
    async fn note(&self, entry: AuditEntry) -> Result<(), RecordsError> {
        let tenant = entry.tenant.clone();
        let written = self.writers.write(&tenant, Reach::of(&tenant), move |conn| Box::pin(async move { append(conn, &entry).await }));
        written.await.map_err(failed)
    }

    async fn entries(&self, tenant: &str, filter: &AuditFilter) -> Result<Vec<AuditRow>, RecordsError> {
        let (wheres, mut values) = filtered(tenant, filter);
        let limit = if filter.limit == 0 { i64::MAX } else { filter.limit.into() };
        let at = values.len();
        values.extend(params![limit, filter.offset]);
        let sql = format!(
            "SELECT id, at, tenant, actor, proof, action, target, source, request_id, result, details FROM audit WHERE {wheres} ORDER BY id DESC LIMIT ${} OFFSET ${}",
            at + 1,
            at + 2
        );
        let read = self.read_much(Reach::of(tenant), move |conn| Box::pin(async move { conn.rows(&sql, values).await?.iter().map(row_of).collect() }));
        read.await.map_err(failed)
    }
}

fn filtered(tenant: &str, filter: &AuditFilter) -> (String, Vec<Param>) {
    let mut wheres = "tenant = $1".to_owned();
    let mut values = params![tenant];
    let texts = [("actor", &filter.actor), ("action", &filter.action), ("target", &filter.target), ("result", &filter.result)];
    for (column, value) in texts.into_iter().filter_map(|(c, v)| Some((c, v.as_ref()?))) {
        let at = values.len() + 1;
        match value.strip_suffix('*').filter(|_| column == "target") {
            Some(prefix) => {
                wheres.push_str(&format!(" AND substr(target, 1, length(${at})) = ${at}"));
                values.push(prefix.into());
            }
            None => {
                wheres.push_str(&format!(" AND {column} = ${at}"));
                values.push(value.into());
            }
        }
    }
    let times = [("at >=", filter.since), ("at <", filter.until)];
    for (condition, at) in times.into_iter().filter_map(|(c, v)| Some((c, v?))) {
        wheres.push_str(&format!(" AND {condition} ${}", values.len() + 1));
        values.push(at.as_microsecond().into());
    }
    if let Some(before) = filter.before {
        wheres.push_str(&format!(" AND id < ${}", values.len() + 1));
        values.push(before.into());
    }
    (wheres, values)
}

fn row_of(row: &Row) -> Result<AuditRow, EngineError> {
    Ok(AuditRow {
        id: row.count(0)?,
        at: time(row.int(1)?)?,
        entry: AuditEntry {
            tenant: row.text(2)?,
            actor: row.text(3)?,
            proof: row.text(4)?,
            action: row.text(5)?,
            target: row.text(6)?,
            source: row.text(7)?,
            request_id: row.text(8)?,
            result: row.text(9)?,
            details: json(&row.text(10)?)?,
        },
    })
}
