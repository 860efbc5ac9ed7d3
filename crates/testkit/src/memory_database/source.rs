//! Reading a database in memory.

use super::{Content, MemoryDatabase, Rows, table, table_object};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use ports::Result;
use ports::databases::{Fingerprint, Key, KeyPart, KeyRange, RowBlock, RowFormat, RowSource, Schema, Table};

/// Rows of one block.
const BLOCK: usize = 2;

pub(super) struct Source {
    pub database: MemoryDatabase,
    /// What a snapshot shows.
    pub frozen: Option<Content>,
}

fn integer(key: &Key) -> i64 {
    match key.0.first() {
        Some(KeyPart::Int(value)) => *value,
        _ => 0,
    }
}

/// Whether the key of a row lies in the range.
pub(super) fn holds(range: &KeyRange, key: i64) -> bool {
    range.lower.as_ref().is_none_or(|lower| key >= integer(lower)) && range.upper.as_ref().is_none_or(|upper| key < integer(upper))
}

fn key(value: i64) -> Key {
    Key(vec![KeyPart::Int(value)])
}

fn hash(key: i64, text: &str) -> String {
    blake3::hash(format!("{key}\t{text}").as_bytes()).to_hex()[..16].to_owned()
}

/// Of the rows in a range.
pub(super) fn fingerprint_of(rows: &Rows, range: &KeyRange) -> Fingerprint {
    let hashes: Vec<String> = rows.iter().filter(|(key, _)| holds(range, **key)).map(|(key, text)| hash(*key, text)).collect();
    Fingerprint { rows: hashes.len() as u64, hash: blake3::hash(hashes.concat().as_bytes()).to_hex()[..16].to_owned() }
}

/// One row a line.
pub(super) fn encode(rows: &[(i64, String)]) -> RowBlock {
    let mut lines: Vec<String> = rows.iter().map(|(key, text)| format!("{key}\t{text}")).collect();
    lines.push(String::new());
    let text = lines.join("\n");
    RowBlock { rows: rows.len() as u64, data: Bytes::from(text) }
}

impl Source {
    fn content<T>(&self, look: impl FnOnce(&Content) -> T) -> T {
        match &self.frozen {
            Some(content) => look(content),
            None => look(&self.database.lock()),
        }
    }

    fn in_range(&self, table: &Table, range: &KeyRange) -> Result<Rows> {
        let name = &table.name.name;
        let found = self.content(|content| content.tables.get(name).cloned());
        let mut rows = found.ok_or_else(|| self.database.missing("read", name))?;
        rows.retain(|key, _| holds(range, *key));
        Ok(rows)
    }
}

#[async_trait::async_trait]
impl RowSource for Source {
    fn format(&self) -> RowFormat {
        RowFormat::MySqlText
    }

    async fn schema(&self) -> Result<Schema> {
        self.database.pass("schema", "").await?;
        Ok(self.content(|content| {
            let mut objects: Vec<_> = content.tables.keys().map(|name| table_object(name)).collect();
            objects.extend(content.objects.values().cloned());
            let tables = content.tables.iter().map(|(name, rows)| table(name, rows)).collect();
            Schema { tables, objects, server: "Memory 1.0.0".to_owned(), ..Schema::default() }
        }))
    }

    async fn split(&self, table: &Table, _rows: u64) -> Result<Vec<KeyRange>> {
        self.database.pass("split", &table.name.name).await?;
        let keys: Vec<i64> = self.in_range(table, &KeyRange::default())?.into_keys().collect();
        let cuts: Vec<Key> = keys.chunks(self.database.rows_per_range).skip(1).map(|some| key(some[0])).collect();
        let lower = std::iter::once(None).chain(cuts.iter().cloned().map(Some));
        let upper = cuts.iter().cloned().map(Some).chain(std::iter::once(None));
        Ok(lower.zip(upper).map(|(lower, upper)| KeyRange { lower, upper }).collect())
    }

    fn rows(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<RowBlock>> {
        let rows = self.in_range(table, range).map(|rows| rows.into_iter().collect::<Vec<_>>());
        let blocks = rows.map(|rows| rows.chunks(BLOCK).map(encode).collect::<Vec<_>>());
        let (database, name) = (self.database.clone(), table.name.name.clone());
        futures::stream::once(async move { blocks.map(|blocks| futures::stream::iter(blocks.into_iter().map(Ok))) })
            .try_flatten()
            .and_then(move |block| {
                let (database, name) = (database.clone(), name.clone());
                async move { database.pass("rows", &name).await.map(|()| block) }
            })
            .boxed()
    }

    async fn fingerprint(&self, table: &Table, range: &KeyRange) -> Result<Fingerprint> {
        self.database.pass("fingerprint", &table.name.name).await?;
        Ok(fingerprint_of(&self.in_range(table, range)?, &KeyRange::default()))
    }

    fn row_hashes(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<(Key, String)>> {
        let found = self.in_range(table, range);
        let hashes = found.map(|rows| rows.into_iter().map(|(row, text)| Ok((key(row), hash(row, &text)))).collect::<Vec<_>>());
        futures::stream::iter(hashes.unwrap_or_else(|error| vec![Err(error)])).boxed()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
