//! Writing: objects and rows of a destination.

use super::ddl::adapt::{self, Dialect};
use super::ddl::lexer::Mode;
use super::ddl::table::TableDefinition;
use super::errors::failure;
use super::fingerprint;
use super::load;
use super::pool::{Lease, Pool};
use super::programs::{self, Definition};
use super::quote::{ident, text};
use super::ranges::{condition, key_columns};
use super::server::{Server, Use};
use super::values::{Form, form};
use super::{Loading, create, dependents, rehearsal};
use futures::stream::BoxStream;
use mysql_async::prelude::Queryable;
use ports::databases::{
    Applied, Fingerprint, KeyRange, ObjectKind, RowBlock, RowFormat, RowTarget, Schema, SchemaObject, Table, Terms, Unmovable, foreign_rows, is_expected,
    not_as_sent,
};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::OnceCell;

#[derive(Debug)]
pub(super) struct MySqlTarget {
    pool: Arc<Pool>,
    dialect: OnceCell<Dialect>,
    loading: Loading,
}

impl MySqlTarget {
    pub fn new(pool: Arc<Pool>, loading: Loading) -> Self {
        Self { pool, dialect: OnceCell::new(), loading }
    }

    pub(super) fn server(&self) -> &Arc<Server> {
        self.pool.server()
    }

    pub(super) async fn dialect(&self) -> Result<&Dialect> {
        self.dialect.get_or_try_init(|| create::read_dialect(self.server())).await
    }

    /// Empties the range. `expected`: what may stand there; `None`: anything.
    async fn empty(&self, lease: &mut Lease, subject: &str, table: &Table, range: &KeyRange, expected: Option<&[Fingerprint]>) -> Result<()> {
        let failed = |e| failure("replace rows of", subject, e);
        let (name, condition) = (ident(&table.name.name), condition(table, range));
        match expected {
            // No locks: those of an empty range would keep the neighbours from writing.
            Some([]) => {
                let there: Option<u8> = lease.query_first(format!("SELECT 1 FROM {name} WHERE {condition} LIMIT 1")).await.map_err(failed)?;
                return if there.is_none() { Ok(()) } else { Err(foreign_rows(subject)) };
            }
            Some(expected) => {
                let found = fingerprint::of_locked_range(lease, table, range).await.map_err(|e| e.into_error("compare rows of", subject.to_owned()))?;
                if !is_expected(&found, expected) {
                    return Err(foreign_rows(subject));
                }
            }
            None => {}
        }
        lease.query_drop(format!("DELETE FROM {name} WHERE {condition}")).await.map_err(failed)
    }

    async fn fill(
        &self,
        lease: &mut Lease,
        subject: &str,
        table: &Table,
        range: &KeyRange,
        Terms { expected, proof }: Terms<'_>,
        rows: BoxStream<'static, Result<RowBlock>>,
    ) -> Result<u64> {
        let info = self.server().info().await?;
        let failed = |e| failure("replace rows of", subject, e);
        lease.query_drop("START TRANSACTION").await.map_err(failed)?;
        self.empty(lease, subject, table, range, expected).await?;
        let count = if info.local_infile && self.loading == Loading::Automatic {
            load::infile(lease, subject, table, rows).await?
        } else {
            load::inserts(lease, subject, table, info.max_allowed_packet, rows).await?
        };
        if let Some(proof) = proof {
            let found = fingerprint::of_range(lease, table, range).await.map_err(|e| e.into_error("compare rows of", subject.to_owned()))?;
            if found != *proof {
                return Err(not_as_sent(subject));
            }
        }
        lease.query_drop("COMMIT").await.map_err(failed)?;
        Ok(count)
    }

    /// Refuses what could not be done without side effects.
    async fn check_table(&self, lease: &mut Lease, subject: &str, table: &Table, range: &KeyRange) -> Result<()> {
        let failed = |e| failure("look at", subject, e);
        let name = text(&table.name.name);
        let sql = format!("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA=DATABASE() AND EVENT_OBJECT_TABLE={name} LIMIT 1");
        if let Some(trigger) = lease.query_first::<String, _>(sql).await.map_err(failed)? {
            let reason = format!("its trigger '{trigger}' would act on every row");
            return Err(
                ConnectorError::new(ErrorKind::Unsupported, "replace rows of", subject, reason).advice("Drop the trigger first; make it again afterwards")
            );
        }
        let bounded = range.lower.is_some() || range.upper.is_some();
        for column in key_columns(table).into_iter().filter(|c| bounded && form(c) == Form::Text) {
            let sql = format!(
                "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME={name} AND COLUMN_NAME={}",
                text(&column.name)
            );
            let here: Option<Option<String>> = lease.query_first(sql).await.map_err(failed)?;
            let here = here.flatten();
            if here.is_some() && column.collation.is_some() && here != column.collation {
                let (from, to) = (column.collation.as_deref().unwrap_or(""), here.as_deref().unwrap_or(""));
                let reason = format!("the key column {} is ordered by {to} here but by {from} at the source, so a part of it means other rows", column.name);
                let advice = "Copy this table in one piece (raise the number of rows per range)";
                return Err(ConnectorError::new(ErrorKind::Unsupported, "replace a range of", subject, reason).advice(advice));
            }
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl RowTarget for MySqlTarget {
    fn format(&self) -> RowFormat {
        RowFormat::MySqlText
    }

    async fn prepare(&self, like: &Schema) -> Result<Option<Applied>> {
        let server = self.server();
        let dialect = self.dialect().await?;
        let mut conn = server.session_without_database(Use::Write).await?;
        let failed = |e| server.failed("make", e);
        let sql = format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME={}", text(server.database()));
        let there: Option<u64> = conn.query_first(sql).await.map_err(failed)?;
        let (making, mut notes) = adapt::statement(&like.making, Mode::default(), dialect);
        let making = match making.split_once(" COMMENT = ") {
            Some((rest, _)) if !dialect.mariadb => {
                notes.push("the database's comment left out: only MariaDB has them".to_owned());
                rest.to_owned()
            }
            _ => making,
        };
        if there == Some(0) {
            conn.query_drop(format!("CREATE DATABASE IF NOT EXISTS {} {making}", ident(server.database()))).await.map_err(failed)?;
        }
        conn.disconnect().await.ok();
        Ok((there == Some(0)).then_some(create::told(notes)))
    }

    async fn dependents(&self, objects: &[SchemaObject]) -> Result<Vec<Unmovable>> {
        let server = self.server();
        let mut conn = server.session(Use::Write).await?;
        let found = dependents::read(&mut conn, server.database(), objects).await;
        let found = found.map_err(|e| server.failed("look for what depends on objects of", e))?;
        conn.disconnect().await.ok();
        Ok(found)
    }

    async fn rehearse(&self, schema: &Schema, replaced: &[SchemaObject]) -> Result<Vec<Unmovable>> {
        rehearsal::rehearse(self.server(), schema, replaced).await
    }

    async fn create(&self, object: &SchemaObject) -> Result<Applied> {
        create::create(self, object).await
    }

    /// A part of a table means the same rows only where its key is ordered alike.
    async fn takes_ranges(&self, table: &Table) -> Result<bool> {
        let dialect = self.dialect().await?;
        let known = |collation: &String| dialect.collations.contains_key(collation);
        Ok(key_columns(table).iter().all(|c| form(c) != Form::Text || c.collation.as_ref().is_none_or(known)))
    }

    async fn enable(&self, schema: &Schema) -> Result<()> {
        let server = self.server();
        let (dialect, identity) = (self.dialect().await?, &server.info().await?.identity);
        for object in schema.objects.iter().filter(|o| o.kind == ObjectKind::Event) {
            let mut conn = server.session(Use::Write).await?;
            let source = Definition::of(object, server, identity);
            programs::enable(&mut conn, object, &source, dialect)
                .await
                .map_err(|e| failure("enable", format!("event {} in {}", object.name, server.location()), e))?;
            conn.disconnect().await.ok();
        }
        Ok(())
    }

    fn tables_apart(&self) -> bool {
        true
    }

    async fn remove(&self, object: &SchemaObject) -> Result<()> {
        create::remove(self.server(), object).await
    }

    async fn replace_where(&self, table: &Table, range: &KeyRange, terms: Terms<'_>, rows: BoxStream<'static, Result<RowBlock>>) -> Result<u64> {
        let subject = super::source::subject(&self.pool, table);
        let mut lease = self.pool.lease().await?;
        lease.begin();
        self.check_table(&mut lease, &subject, table, range).await?;
        let outcome = self.fill(&mut lease, &subject, table, range, terms, rows).await;
        // A broken connection stays `busy` and is thrown away; the server then rolls back by itself.
        if outcome.is_ok() || lease.query_drop("ROLLBACK").await.is_ok() {
            lease.calm();
        }
        outcome
    }

    async fn remove_table_if(&self, object: &SchemaObject, table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool> {
        create::remove_table_if(self.server(), object, table, expected).await
    }

    async fn finish(&self, schema: &Schema) -> Result<()> {
        let server = self.server();
        let info = server.info().await?;
        let mut conn = server.session(Use::Write).await?;
        let failed = |e| server.failed("finish", e);
        for object in &schema.objects {
            let statement = match (object.kind, object.statements.as_slice()) {
                (ObjectKind::Sequence, [_, position]) if info.mariadb => Some(position.clone()),
                (ObjectKind::Table, [.., create]) => position(create),
                _ => None,
            };
            if let Some(statement) = statement
                && create::exists(&mut conn, &object.name.name).await.map_err(failed)?
            {
                conn.query_drop(statement).await.map_err(failed)?;
            }
        }
        let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE='BASE TABLE'";
        let there: Vec<String> = conn.query(sql).await.map_err(failed)?;
        for table in there.into_iter().filter(|name| schema.tables.iter().any(|t| t.name.name == *name)) {
            conn.query_drop(format!("ANALYZE NO_WRITE_TO_BINLOG TABLE {}", ident(&table))).await.map_err(failed)?;
        }
        conn.disconnect().await.ok();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.pool.close().await;
        Ok(())
    }
}

/// The statement that moves a table's counter to where the source's was.
fn position(create: &str) -> Option<String> {
    let table = TableDefinition::parse(create)?;
    let words = super::ddl::lexer::words(&table.options);
    let at = words.iter().position(|t| t.is("AUTO_INCREMENT"))?;
    let number: u64 = words.get(at + 2)?.text.parse().ok()?;
    Some(format!("ALTER TABLE {} AUTO_INCREMENT = {number}", ident(&table.name)))
}
