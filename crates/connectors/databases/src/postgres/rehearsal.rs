//! Making every object in one transaction that is rolled back: rights, names, types and whatever else the server may refuse are known before
//! anything moves. Nothing stays, and nobody else waits: only new names are locked.

use super::connection::Lease;
use super::error::tried;
use super::objects;
use super::schema::is_position;
use super::sql;
use ports::databases::{ObjectKind, ObjectName, Schema, Unmovable};
use ports::{ErrorKind, Result};
use std::collections::BTreeSet;

/// A rehearsal is short, or it is none.
const OPENING: &str = "BEGIN; SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = '20s'";

/// What the server refuses. Nothing where objects of these names are there already: trying would keep their users waiting.
pub async fn rehearse(lease: &Lease, location: &str, schema: &Schema) -> Result<Vec<Unmovable>> {
    let t = tried("rehearse the making of objects in", location);
    let names: Vec<String> = schema.objects.iter().filter(|o| has_place(o.kind)).map(|o| sql::qualified(&o.name)).collect();
    let query = "SELECT EXISTS (SELECT FROM pg_catalog.unnest($1::text[]) AS n WHERE pg_catalog.to_regclass(n) IS NOT NULL)";
    let taken: bool = lease.client().query_one(query, &[&names]).await.map_err(|e| t.failed(e))?.get(0);
    if taken {
        return Ok(Vec::new());
    }
    lease.client().batch_execute(OPENING).await.map_err(|e| t.failed(e))?;
    let mut refused = Vec::new();
    let mut missing: BTreeSet<&ObjectName> = BTreeSet::new();
    for object in schema.objects.iter().filter(|o| !is_position(o)) {
        if object.table.as_ref().is_some_and(|table| missing.contains(table)) {
            continue;
        }
        lease.client().batch_execute("SAVEPOINT object").await.map_err(|e| t.failed(e))?;
        let Err(error) = objects::attempt(lease, location, object).await else { continue };
        if error.temporary && error.kind != ErrorKind::Throttled {
            return Err(error);
        }
        lease.client().batch_execute("ROLLBACK TO SAVEPOINT object").await.map_err(|e| t.failed(e))?;
        if has_place(object.kind) {
            missing.insert(&object.name);
        }
        let kind = format!("{:?}", object.kind).to_lowercase();
        refused.push(Unmovable { kind, name: object.name.to_string(), reason: objects::refusal(&error) });
    }
    lease.client().batch_execute("ROLLBACK").await.map_err(|e| t.failed(e))?;
    Ok(refused)
}

fn has_place(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence)
}
