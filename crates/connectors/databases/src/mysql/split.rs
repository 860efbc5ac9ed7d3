//! Cutting a table into ranges of about equal size, along its key.
//!
//! Small and middle-sized tables are walked along the index, which is exact. For large tables with a numeric key the bounds are
//! interpolated and checked against the optimiser's estimates, so that planning does not read the whole table.

use super::quote::ident;
use super::ranges::{SELECT, condition, key_columns, key_expression, key_part, splittable};
use super::source::cells;
use super::values::{Form, form};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row, Value};
use ports::databases::{Key, KeyPart, KeyRange, Table};

/// From this size on the bounds are interpolated.
const LARGE: u64 = 2 << 30;
/// How often a slice that turned out too full is halved again.
const DEPTH: u32 = 64;

pub(super) async fn split(conn: &mut Conn, table: &Table, rows: u64) -> Result<Vec<KeyRange>, Error> {
    let columns = splittable(table);
    if columns == 0 {
        return Ok(vec![KeyRange::default()]);
    }
    let numeric = key_columns(table).first().is_some_and(|c| form(c) == Form::Integer);
    let cuts = if table.bytes >= LARGE && numeric { interpolate(conn, table, rows).await? } else { walk(conn, table, columns, rows).await? };
    Ok(ranges(cuts))
}

fn ranges(cuts: Vec<Key>) -> Vec<KeyRange> {
    let mut lower = None;
    let mut out = Vec::with_capacity(cuts.len() + 1);
    for cut in cuts {
        out.push(KeyRange { lower: lower.replace(cut.clone()), upper: Some(cut) });
    }
    out.push(KeyRange { lower, upper: None });
    out
}

/// Steps of `rows` entries along the index, on the first `columns` columns of the key.
async fn walk(conn: &mut Conn, table: &Table, columns: usize, rows: u64) -> Result<Vec<Key>, Error> {
    let key: Vec<_> = key_columns(table).into_iter().take(columns).collect();
    let expressions: Vec<_> = key.iter().map(|c| key_expression(c)).collect();
    let order: Vec<_> = key.iter().map(|c| ident(&c.name)).collect();
    let mut cuts: Vec<Key> = Vec::new();
    loop {
        let behind = KeyRange { lower: cuts.last().cloned(), upper: None };
        let sql = format!(
            "{SELECT} {} FROM {} WHERE {} ORDER BY {} LIMIT 1 OFFSET {rows}",
            expressions.join(","),
            ident(&table.name.name),
            condition(table, &behind),
            order.join(",")
        );
        let Some(row) = conn.query_first::<Row, _>(sql).await? else { return Ok(cuts) };
        let cut = Key(key.iter().zip(cells(row)).map(|(c, v)| key_part(c, v)).collect());
        // A shorter key may stand still when many rows share it.
        if cuts.last() == Some(&cut) {
            return Ok(cuts);
        }
        cuts.push(cut);
    }
}

async fn interpolate(conn: &mut Conn, table: &Table, rows: u64) -> Result<Vec<Key>, Error> {
    let Some(first) = key_columns(table).first().copied() else { return Ok(Vec::new()) };
    let sql = format!("{SELECT} MIN({0}), MAX({0}) FROM {1}", ident(&first.name), ident(&table.name.name));
    let ends = conn.query_first::<Row, _>(sql).await?.map(cells).unwrap_or_default();
    let ends: Vec<_> = ends.into_iter().map(|v| number(&key_part(first, v))).collect();
    let [Some(low), Some(high)] = ends[..] else { return Ok(Vec::new()) };
    let unsigned = first.type_name.contains("unsigned");
    let slices = i128::from((table.rows / rows).clamp(1, 100_000));
    let mut cuts = Vec::new();
    let mut held = 0;
    let at = |slice: i128| low + (high - low + 1) * slice / slices;
    let mut open: Vec<(i128, i128, u32)> = (0..slices).rev().map(|s| (at(s), at(s + 1), 0)).collect();
    while let Some((from, to, depth)) = open.pop() {
        if to <= from {
            continue;
        }
        let estimate = estimate(conn, table, &key(from, unsigned), &key(to, unsigned)).await?;
        if estimate > rows * 2 && depth < DEPTH && to - from > 1 {
            let middle = from + (to - from) / 2;
            open.extend([(middle, to, depth + 1), (from, middle, depth + 1)]);
            continue;
        }
        if held > 0 && held + estimate > rows && from > low {
            cuts.push(key(from, unsigned));
            held = 0;
        }
        held += estimate;
    }
    Ok(cuts)
}

/// The optimiser's estimate for `from <= key < to`.
async fn estimate(conn: &mut Conn, table: &Table, from: &Key, to: &Key) -> Result<u64, Error> {
    let range = KeyRange { lower: Some(from.clone()), upper: Some(to.clone()) };
    let sql = format!("EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM {} WHERE {}", ident(&table.name.name), condition(table, &range));
    let row: Option<Row> = conn.query_first(sql).await?;
    let Some(row) = row else { return Ok(0) };
    let value = row.columns_ref().iter().position(|c| c.name_str() == "rows").and_then(|at| row.as_ref(at).cloned());
    Ok(match value {
        Some(Value::Bytes(text)) => String::from_utf8_lossy(&text).parse().unwrap_or(0),
        _ => 0,
    })
}

fn number(part: &KeyPart) -> Option<i128> {
    match part {
        KeyPart::Int(n) => Some(i128::from(*n)),
        KeyPart::UInt(n) => Some(i128::from(*n)),
        _ => None,
    }
}

fn key(number: i128, unsigned: bool) -> Key {
    Key(vec![if unsigned { KeyPart::UInt(u64::try_from(number.max(0)).unwrap_or(u64::MAX)) } else { KeyPart::Int(i64::try_from(number).unwrap_or(i64::MAX)) }])
}
