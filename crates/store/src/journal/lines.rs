//! Runs as lines of lists. What lists show of the steps stands in the run's own row, so that a page is one statement, and a second one for
//! the ledgers of those that are at work.

use super::{ledgers_of, state_of};
use crate::records::{json, time};
use crate::sql::{Conn, Param, Row, params};
use engine::line::{AtWork, RunLine};
use engine::{EngineError, RunFilter};

pub(super) const LINE: &str = "id, kind, state, labels, by_itself, created_at, started_at, ended_at, steps, steps_done, at_work, CASE WHEN at_work IS NULL THEN NULL ELSE sample END, \
     CAST(CASE WHEN state IN ('running', 'rolling_back') AND epoch > 0 AND (lease_until IS NULL OR lease_until < {now} - 5000000) THEN 1 ELSE 0 END AS BIGINT)";

/// Counts a run's steps anew, after some have changed.
pub(super) async fn tally(conn: &mut Conn, run: &str) -> Result<(), EngineError> {
    let sql = "UPDATE run SET steps = (SELECT count(*) FROM step WHERE run = $1), \
               steps_done = (SELECT count(*) FROM step WHERE run = $1 AND state = 'done'), \
               at_work = (SELECT name FROM step WHERE run = $1 AND state = 'begun' ORDER BY idx LIMIT 1) WHERE id = $1";
    conn.run(sql, params![run]).await.map(drop)
}

/// The statement of a page with these columns, and its values.
pub(super) fn page(columns: &str, tenant: &str, filter: &RunFilter) -> (String, Vec<Param>) {
    let (mut wheres, mut values) = filtered(tenant, filter);
    if let Some((created, id)) = &filter.after {
        wheres.push_str(&format!(" AND (created_at, id) < (${}, ${})", values.len() + 1, values.len() + 2));
        values.extend(params![created.as_microsecond(), id]);
    }
    let limit = if filter.limit == 0 { i64::MAX } else { filter.limit.into() };
    let at = values.len();
    values.extend(params![limit, filter.offset]);
    (format!("SELECT {columns} FROM run WHERE {wheres} ORDER BY created_at DESC, id DESC LIMIT ${} OFFSET ${}", at + 1, at + 2), values)
}

/// The condition of a filter, and its values.
pub(super) fn filtered(tenant: &str, filter: &RunFilter) -> (String, Vec<Param>) {
    let mut wheres = "tenant = $1".to_owned();
    let mut values = params![tenant];
    if !filter.states.is_empty() {
        let marks = crate::sql::marks(values.len() + 1, filter.states.len());
        wheres.push_str(&format!(" AND state IN ({marks})"));
        values.extend(filter.states.iter().map(|s| Param::from(s.word())));
    }
    if let Some(by_itself) = filter.rolled_back_by_itself {
        wheres.push_str(&format!(" AND (state <> 'rolled_back' OR by_itself = ${})", values.len() + 1));
        values.push(by_itself.into());
    }
    if let Some(kind) = &filter.kind {
        let at = values.len() + 1;
        let bound = format!("{kind}@");
        wheres.push_str(&format!(" AND (kind = ${at} OR substr(kind, 1, {}) = ${})", bound.chars().count(), at + 1));
        values.extend(params![kind, bound]);
    }
    if let Some(held) = &filter.holds {
        wheres.push_str(&format!(" AND holds = ${}", values.len() + 1));
        values.push(held.into());
    }
    (wheres, values)
}

/// The lines of a page.
pub(super) async fn read(conn: &mut Conn, (sql, values): (String, Vec<Param>)) -> Result<Vec<RunLine>, EngineError> {
    let rows = conn.rows(&sql, values).await?;
    let mut lines = rows.into_iter().map(line_of).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<Param> = lines.iter().filter(|l| l.at_work.is_some()).map(|l| Param::from(&l.id)).collect();
    for page in ids.chunks(super::ROWS) {
        let mut ledgers = ledgers_of(conn, page.to_vec()).await?;
        for line in &mut lines {
            if let (Some(at_work), Some(found)) = (&mut line.at_work, ledgers.remove(&line.id)) {
                at_work.ledgers = found;
            }
        }
    }
    Ok(lines)
}

fn line_of(mut row: Row) -> Result<RunLine, EngineError> {
    let sample = row.maybe_text(11)?.map(|t| json(&t)).transpose()?;
    let at_work = row.maybe_text(10)?.map(|step| AtWork { step, ledgers: Vec::new(), sample });
    Ok(RunLine {
        id: row.take_text(0)?,
        kind: row.take_text(1)?,
        state: state_of(&row.take_text(2)?)?,
        labels: row.take_text(3)?,
        rolls_back_by_itself: row.int(4)? != 0,
        is_interrupted: row.int(12)? != 0,
        created_at: time(row.int(5)?)?,
        started_at: row.maybe_int(6)?.map(time).transpose()?,
        ended_at: row.maybe_int(7)?.map(time).transpose()?,
        steps: row.count(8)? as usize,
        steps_completed: row.count(9)? as usize,
        at_work,
    })
}
