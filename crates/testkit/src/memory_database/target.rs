//! Writing a database in memory.

use super::source::{fingerprint_of, holds};
use super::{MemoryDatabase, Rows, table_object};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use ports::databases::{
    Applied, Fingerprint, KeyRange, ObjectKind, RowBlock, RowFormat, RowTarget, Schema, SchemaObject, Table, Terms, foreign_rows, is_expected, not_as_sent,
};
use ports::{ErrorKind, Result};

pub(super) struct Target {
    pub database: MemoryDatabase,
}

impl Target {
    fn decode(&self, table: &str, block: &RowBlock) -> Result<Rows> {
        let damaged = || self.database.error(ErrorKind::Corrupt, "write", table, "a row cannot be read");
        let text = std::str::from_utf8(&block.data).map_err(|_| damaged())?;
        let row = |line: &str| {
            let (key, text) = line.split_once('\t')?;
            Some((key.parse().ok()?, text.to_owned()))
        };
        text.lines().map(|line| row(line).ok_or_else(damaged)).collect()
    }
}

#[async_trait::async_trait]
impl RowTarget for Target {
    fn format(&self) -> RowFormat {
        RowFormat::MySqlText
    }

    async fn prepare(&self, _like: &Schema) -> Result<Option<Applied>> {
        self.database.pass("prepare", "").await?;
        let existed = std::mem::replace(&mut self.database.lock().exists, true);
        Ok((!existed).then_some(Applied::AsIs))
    }

    async fn create(&self, object: &SchemaObject) -> Result<Applied> {
        let name = &object.name.name;
        self.database.pass("create", name).await?;
        let mut content = self.database.lock();
        if !content.exists {
            return Err(self.database.missing("create", name));
        }
        if object.kind == ObjectKind::Table {
            content.tables.entry(name.clone()).or_default();
            return Ok(if *object == table_object(name) { Applied::AsIs } else { Applied::Adapted("another definition".to_owned()) });
        }
        match content.objects.get(name) {
            Some(there) if there != object => Err(self.database.error(ErrorKind::AlreadyExists, "create", name, "something else has its name").permanent()),
            _ => {
                content.objects.insert(name.clone(), object.clone());
                Ok(Applied::AsIs)
            }
        }
    }

    async fn remove(&self, object: &SchemaObject) -> Result<()> {
        let name = &object.name.name;
        self.database.pass("remove", name).await?;
        let mut content = self.database.lock();
        match object.kind {
            ObjectKind::Schema if *name == self.database.name => *content = super::Content::default(),
            ObjectKind::Table => drop(content.tables.remove(name)),
            _ => drop(content.objects.remove(name)),
        }
        Ok(())
    }

    async fn replace_where(
        &self,
        table: &Table,
        range: &KeyRange,
        Terms { expected, proof }: Terms<'_>,
        mut rows: BoxStream<'static, Result<RowBlock>>,
    ) -> Result<u64> {
        let name = &table.name.name;
        self.database.pass("replace", name).await?;
        let mut new = Rows::new();
        while let Some(block) = rows.try_next().await? {
            new.extend(self.decode(name, &block)?);
        }
        self.database.pass("commit", name).await?;
        let mut content = self.database.lock();
        let Some(stored) = content.tables.get_mut(name) else { return Err(self.database.missing("write", name)) };
        if expected.is_some_and(|expected| !is_expected(&fingerprint_of(stored, range), expected)) {
            return Err(foreign_rows(format!("table {name}")));
        }
        if proof.is_some_and(|proof| fingerprint_of(&new, range) != *proof) {
            return Err(not_as_sent(format!("table {name}")));
        }
        stored.retain(|key, _| !holds(range, *key));
        let count = new.len() as u64;
        stored.extend(new);
        Ok(count)
    }

    async fn remove_table_if(&self, object: &SchemaObject, _table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool> {
        let name = &object.name.name;
        self.database.pass("remove", name).await?;
        let mut content = self.database.lock();
        let Some(rows) = content.tables.get(name) else { return Ok(true) };
        let same = expected.iter().all(|(range, fingerprints)| is_expected(&fingerprint_of(rows, range), fingerprints));
        if same {
            content.tables.remove(name);
        }
        Ok(same)
    }

    async fn finish(&self, _schema: &Schema) -> Result<()> {
        self.database.pass("finish", "").await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl Target {}
