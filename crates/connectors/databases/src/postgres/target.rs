//! Writing: each range in one transaction, first emptied, then filled by COPY.
//!
//! A table without its key yet has no index that finds a range's old rows. So a table that was empty when this target first looked
//! at it is not searched for rows of a range that this target has not written before.
//!
//! Foreign keys, triggers and rules are made after the rows; where they are already there (a restore), they are kept from
//! acting if this user may say so (`session_replication_role`).

use super::connection::{Lease, Pool, Server, text_of};
use super::error::tried;
use super::guard::Guards;
use super::objects;
use super::rehearsal;
use super::schema;
use super::source::{fingerprint_of, fingerprint_query};
use super::sql::{self, Text};
use bytes::Bytes;
use futures::SinkExt;
use futures::stream::{BoxStream, StreamExt};
use ports::databases::{
    Applied, Fingerprint, KeyRange, ObjectName, RowBlock, RowFormat, RowTarget, Schema, SchemaObject, Table, Terms, Unmovable, foreign_rows, is_expected,
    not_as_sent,
};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::OnceCell;

/// Writers do the DELETE of a range through the key's index, also before the planner knows the table. They wait for somebody
/// else's lock for a while, not for ever. One helper per index: with two, an index of five million rows took a third longer on two processors.
const OPENING: &str = "SET enable_seqscan = off; SET lock_timeout = '2min'; SET max_parallel_maintenance_workers = 1; SET maintenance_work_mem = '256MB'";
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: &[u8] = &[0xff, 0xff];

pub struct Target {
    server: Arc<Server>,
    pool: Arc<Pool>,
    /// Facts about the destination, asked once.
    facts: OnceCell<Facts>,
    /// The tables that were written to.
    loads: Mutex<HashMap<ObjectName, Arc<Load>>>,
    guards: Guards,
}

/// What this target knows of a table that it fills.
#[derive(Default)]
struct Load {
    /// Whether it had no row before this target's first one.
    was_empty: OnceCell<bool>,
    /// Ranges that were begun, as conditions.
    begun: Mutex<HashSet<String>>,
}

#[derive(Clone, Copy)]
struct Facts {
    text: Text,
    /// May switch triggers and foreign keys off for a transaction.
    silences: bool,
}

impl Target {
    pub fn new(server: Arc<Server>, parallel: usize) -> Self {
        let pool = Pool::new(server.clone(), parallel, OPENING);
        let guards = Guards::new(server.clone());
        Self { server, pool, facts: OnceCell::new(), loads: Mutex::default(), guards }
    }

    async fn facts(&self, lease: &Lease) -> Result<Facts> {
        let ask = async {
            let t = tried("write to", &self.server.location);
            let text = text_of(lease.client()).await.map_err(|e| t.failed(e))?;
            let silences = lease.client().batch_execute("BEGIN; SET LOCAL session_replication_role = 'replica'").await.is_ok();
            lease.client().batch_execute("ROLLBACK").await.map_err(|e| t.failed(e))?;
            Ok(Facts { text, silences })
        };
        self.facts.get_or_try_init(|| ask).await.copied()
    }

    /// Whether rows of this range may be there. From now on they may.
    async fn may_hold_rows(&self, lease: &Lease, table: &Table, condition: &str) -> Result<bool> {
        let load = locked(&self.loads).entry(table.name.clone()).or_default().clone();
        let ask = async {
            let query = format!("SELECT NOT EXISTS (SELECT FROM ONLY {})", sql::qualified(&table.name));
            let row = lease.client().query_one(&query, &[]).await.map_err(|e| tried("write to", &self.server.location).failed(e))?;
            Ok(row.get(0))
        };
        let was_empty = *load.was_empty.get_or_try_init(|| ask).await?;
        if was_empty {
            self.guards.hold(table).await;
        }
        let first = locked(&load.begun).insert(condition.to_owned());
        Ok(!(was_empty && first))
    }

    /// What empties the range; nothing when it surely is empty. The whole table is truncated unless a foreign key points at it. `expected`: what may
    /// stand there; `None`: anything.
    async fn emptying(&self, lease: &Lease, table: &Table, range: &KeyRange, expected: Option<&[Fingerprint]>, facts: Facts) -> Result<String> {
        let name = sql::qualified(&table.name);
        let condition = sql::where_range(table, range, facts.text);
        if !self.may_hold_rows(lease, table, &condition).await? {
            return Ok(String::new());
        }
        if expected.is_some_and(<[_]>::is_empty) {
            let t = tried("write to", &self.server.location);
            let query = format!("SELECT EXISTS (SELECT FROM ONLY {name}{condition})");
            let there: bool = lease.client().query_one(&query, &[]).await.map_err(|e| t.failed(e))?.get(0);
            return if there { Err(foreign_rows(format!("table {}", table.name))) } else { Ok(String::new()) };
        }
        if range.lower.is_none() && range.upper.is_none() {
            let t = tried("write to", &self.server.location);
            let query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1::text::regclass)";
            let referenced: bool = lease.client().query_one(query, &[&name]).await.map_err(|e| t.failed(e))?.get(0);
            if !referenced {
                self.guards.release(&table.name).await;
                return Ok(format!("; TRUNCATE TABLE ONLY {name}"));
            }
        }
        Ok(format!("; DELETE FROM ONLY {name}{condition}"))
    }

    /// Keeps other writers off the table for the transaction, and compares what stands in the range.
    async fn lock_expected(&self, lease: &Lease, table: &Table, range: &KeyRange, expected: &[Fingerprint], facts: Facts) -> Result<()> {
        let t = tried("write to", &self.server.location);
        self.guards.release(&table.name).await;
        let lock = format!("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE", sql::qualified(&table.name));
        lease.client().batch_execute(&lock).await.map_err(|e| t.failed(e))?;
        let query = fingerprint_query(table, range, facts.text);
        let found = fingerprint_of(&lease.client().query_one(&query, &[]).await.map_err(|e| t.failed(e))?);
        if is_expected(&found, expected) { Ok(()) } else { Err(foreign_rows(format!("table {}", table.name))) }
    }

    async fn replace_on(
        &self,
        lease: &Lease,
        table: &Table,
        range: &KeyRange,
        Terms { expected, proof }: Terms<'_>,
        mut rows: BoxStream<'static, Result<RowBlock>>,
    ) -> Result<u64> {
        let subject = format!("table {} of {}", table.name, self.server.location);
        let t = tried("write", &subject);
        let facts = self.facts(lease).await?;
        let silence = if facts.silences { "; SET LOCAL session_replication_role = 'replica'" } else { "" };
        let raw = if facts.text.unknown { "; SET LOCAL client_encoding = 'SQL_ASCII'" } else { "" };
        let emptying = self.emptying(lease, table, range, expected, facts).await?;
        let mut begin = format!("BEGIN{silence}{raw}{emptying}");
        if let Some(expected) = expected.filter(|e| !e.is_empty() && !emptying.is_empty()) {
            lease.client().batch_execute(&format!("BEGIN{silence}{raw}")).await.map_err(|e| t.failed(e))?;
            self.lock_expected(lease, table, range, expected, facts).await?;
            begin = emptying.trim_start_matches("; ").to_owned();
        }
        lease.client().batch_execute(&begin).await.map_err(|e| t.failed(e))?;
        let binary = sql::travels_binary(table);
        let columns: Vec<String> = sql::written(table).map(|c| sql::ident(&c.name)).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let copy = format!("COPY {}{columns} FROM STDIN (FORMAT {})", sql::qualified(&table.name), if binary { "binary" } else { "text" });
        let sink = lease.client().copy_in::<_, Bytes>(&copy).await.map_err(|e| t.failed(e))?;
        let mut sink = Box::pin(sink);
        if binary {
            sink.send(Bytes::from_static(HEADER)).await.map_err(|e| t.failed(e))?;
        }
        let mut announced = 0;
        while let Some(block) = rows.next().await {
            let block = block?;
            announced += block.rows;
            if let Err(broken) = sink.send(block.data).await {
                // The server said why before it stopped listening; that is the better reason.
                return Err(refused_row(t.failed(sink.as_mut().finish().await.err().unwrap_or(broken))));
            }
        }
        if binary {
            sink.send(Bytes::from_static(TRAILER)).await.map_err(|e| t.failed(e))?;
        }
        let written = sink.as_mut().finish().await.map_err(|e| refused_row(t.failed(e)))?;
        if written != announced {
            let words = format!("{announced} rows were sent and {written} arrived");
            return Err(t.error(ErrorKind::Corrupt, words));
        }
        if let Some(proof) = proof {
            let query = fingerprint_query(table, range, facts.text);
            if fingerprint_of(&lease.client().query_one(&query, &[]).await.map_err(|e| t.failed(e))?) != *proof {
                return Err(not_as_sent(subject.clone()));
            }
        }
        lease.client().batch_execute("COMMIT").await.map_err(|e| t.failed(e))?;
        Ok(written)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row that meets its twin in another range has moved at the source: once that range is replaced too, the same call succeeds.
fn refused_row(mut error: ConnectorError) -> ConnectorError {
    if error.reason.contains("[SQLSTATE 23505]") {
        error.kind = ErrorKind::Changed;
        error.temporary = true;
        return error.advice("Another range still holds the value; replace that range too, then try again");
    }
    error
}

#[async_trait::async_trait]
impl RowTarget for Target {
    fn format(&self) -> RowFormat {
        super::FORMAT
    }

    async fn prepare(&self, like: &Schema) -> Result<Option<Applied>> {
        match self.pool.lease().await {
            Ok(lease) => {
                lease.give_back();
                Ok(None)
            }
            Err(e) if e.kind == ErrorKind::NotFound => objects::create_database(&self.server, &like.making).await,
            Err(e) => Err(e),
        }
    }

    async fn create(&self, object: &SchemaObject) -> Result<Applied> {
        self.guards.release(object.table.as_ref().unwrap_or(&object.name)).await;
        let lease = self.pool.lease().await?;
        let applied = objects::create(&lease, &self.server.location, object).await?;
        lease.give_back();
        Ok(applied)
    }

    async fn rehearse(&self, schema: &Schema, _replaced: &[SchemaObject]) -> Result<Vec<Unmovable>> {
        let lease = match self.pool.lease().await {
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let refused = rehearsal::rehearse(&lease, &self.server.location, schema).await?;
        lease.give_back();
        Ok(refused)
    }

    async fn remove(&self, object: &SchemaObject) -> Result<()> {
        if objects::is_database(object) {
            self.guards.release_all().await;
            self.pool.forget_idle();
            return objects::drop_database(&self.server).await;
        }
        self.guards.release(object.table.as_ref().unwrap_or(&object.name)).await;
        let lease = match self.pool.lease().await {
            // No database, no object.
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        objects::remove(&lease, &self.server.location, object).await?;
        lease.give_back();
        Ok(())
    }

    async fn replace_where(&self, table: &Table, range: &KeyRange, terms: Terms<'_>, rows: BoxStream<'static, Result<RowBlock>>) -> Result<u64> {
        let lease = self.pool.lease().await?;
        // On an error the lease is dropped, which cuts the connection and so rolls back.
        let written = self.replace_on(&lease, table, range, terms, rows).await?;
        lease.give_back();
        Ok(written)
    }

    async fn remove_table_if(&self, object: &SchemaObject, table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool> {
        self.guards.release(&object.name).await;
        let lease = match self.pool.lease().await {
            Err(e) if e.kind == ErrorKind::NotFound => return Ok(true),
            other => other?,
        };
        let text = self.facts(&lease).await?.text;
        let removed = objects::remove_table_if(&lease, &self.server.location, object, table, expected, text).await?;
        lease.give_back();
        Ok(removed)
    }

    /// Statistics for the planner, and sequences where `schema` says they stand.
    async fn finish(&self, schema: &Schema) -> Result<()> {
        self.guards.release_all().await;
        let lease = self.pool.lease().await?;
        for table in &schema.tables {
            let subject = format!("table {} of {}", table.name, self.server.location);
            let analyze = format!("ANALYZE {}", sql::qualified(&table.name));
            lease.client().batch_execute(&analyze).await.map_err(|e| tried("gather statistics of", &subject).failed(e))?;
        }
        for object in schema.objects.iter().filter(|o| schema::is_position(o)) {
            if let Applied::Refused(reason) = objects::create(&lease, &self.server.location, object).await? {
                return Err(tried("set", &object.name.to_string()).error(ErrorKind::Invalid, reason));
            }
        }
        lease.give_back();
        Ok(())
    }

    async fn enable(&self, schema: &Schema) -> Result<()> {
        let lease = self.pool.lease().await?;
        for object in schema.objects.iter().filter(|o| objects::acts(o)) {
            objects::enable(&lease, &self.server.location, object).await?;
        }
        lease.give_back();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.guards.release_all().await;
        self.pool.close();
        Ok(())
    }
}
