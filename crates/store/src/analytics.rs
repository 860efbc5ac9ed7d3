//! Adding up runs in SQL.

use crate::Store;
use crate::reach::Reach;
use crate::records::failed;
use crate::sql::{Param, Row, params};
use engine::EngineError;
use jiff::{ToSpan, civil};
use ports::records::analytics::{DayTotals, Period};
use ports::records::{Analytics, RecordsError};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

#[async_trait::async_trait]
impl Analytics for Store {
    async fn days(&self, period: &Period) -> Result<Vec<DayTotals>, RecordsError> {
        let mut values = params![&period.tenant, period.from.as_microsecond(), period.until.as_microsecond(), period.label];
        let ledgers: Vec<String> = (1..=period.ledgers.len()).map(|i| format!("name LIKE ${}", values.len() + i)).collect();
        let ledgers = ledgers.join(" OR ");
        values.extend(period.ledgers.iter().map(|l| Param::from(format!("{l}%"))));
        let read = self.read_much(Reach::of(&period.tenant), move |conn| {
            Box::pin(async move {
                let label = if conn.is_postgres() { "labels::json ->> CAST($4 AS TEXT)" } else { "json_extract(labels, '$.' || $4)" };
                conn.rows(&statement(label, &ledgers), values).await?.iter().map(day_of).collect()
            })
        });
        read.await.map_err(failed)
    }
}

/// The ledgers are looked up once for each run of the period; everything else is one pass.
fn statement(label: &str, ledgers: &str) -> String {
    let sum = |what: &str| format!("CAST(SUM({what}) AS BIGINT)");
    let ended = "done + failed > 0";
    let columns = ["done", "failed", "cancelled", "taken_back"].map(sum).join(", ");
    let times = sum(&format!("CASE WHEN {ended} THEN ended_at - started_at ELSE 0 END"));
    let moved = [sum(&format!("CASE WHEN {ended} THEN bytes ELSE 0 END")), sum("bytes")].join(", ");
    format!(
        "SELECT day, label, count(*), {columns}, {times}, {moved} FROM (\
         SELECT started_at / {DAY} AS day, COALESCE({label}, '') AS label, started_at, ended_at, \
         CASE WHEN state = 'completed' THEN 1 ELSE 0 END AS done, \
         CASE WHEN state IN ('failed', 'stuck') OR (state = 'rolled_back' AND by_itself = 1) THEN 1 ELSE 0 END AS failed, \
         CASE WHEN state = 'cancelled' THEN 1 ELSE 0 END AS cancelled, \
         CASE WHEN state = 'rolled_back' AND by_itself = 0 THEN 1 ELSE 0 END AS taken_back, \
         (SELECT COALESCE(SUM(bytes_done), 0) FROM ledger WHERE ledger.run = run.id AND ({ledgers})) AS bytes \
         FROM run WHERE tenant = $1 AND started_at >= $2 AND started_at <= $3) AS each_run GROUP BY day, label ORDER BY day, label"
    )
}

fn day_of(row: &Row) -> Result<DayTotals, EngineError> {
    let day = civil::date(1970, 1, 1).checked_add(row.int(0)?.days());
    Ok(DayTotals {
        day: day.map_err(|e| EngineError::Internal(format!("the database holds a day that cannot be: {e}")))?,
        label: row.text(1)?,
        runs: row.count(2)?,
        completed: row.count(3)?,
        failed: row.count(4)?,
        cancelled: row.count(5)?,
        rolled_back: row.count(6)?,
        microseconds: row.count(7)?,
        bytes_ended: row.count(8)?,
        bytes: row.count(9)?,
    })
}
