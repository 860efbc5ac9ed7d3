//! Real systems whose calls pass the stage, as those in memory do.

use super::stage::Calls;
use futures::StreamExt;
use futures::stream::BoxStream;
use ports::check::{Check, Role};
use ports::databases::{
    Applied, CellEditor, Database, Fingerprint, Key, KeyRange, Reading, RowBlock, RowFormat, RowSource, RowTarget, Schema, SchemaObject, Table, Terms, View,
};
use ports::files::{Body, Digest, Entry, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, PosixTree, Prune, WebsiteTarget};
use ports::{ConnectorError, Examine, Result};
use std::ops::Range;
use std::sync::Arc;
use testkit::hook::{Call, Hook};

/// Files of a real system.
#[derive(Clone)]
pub struct HookedFiles {
    pub name: &'static str,
    pub inner: Arc<dyn FileTarget>,
    pub calls: Arc<Calls>,
}

impl HookedFiles {
    async fn pass(&self, operation: &str, path: &FilePath) -> Result<()> {
        self.calls.before(&Call { system: self.name, operation, subject: &path.to_string() }).await
    }
}

impl Examine for HookedFiles {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.inner.checks(role)
    }
}

#[async_trait::async_trait]
impl FileSource for HookedFiles {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn traits(&self) -> FileTraits {
        self.inner.traits()
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        let begin = async { self.pass("list", &FilePath::default()).await.map(|()| self.inner.list()) };
        futures::stream::once(begin).flat_map(|listed| listed.unwrap_or_else(|error| futures::stream::iter([Err(error)]).boxed())).boxed()
    }

    fn list_pruned(&self, prune: Prune) -> BoxStream<'_, Result<Entry>> {
        let begin = async { self.pass("list", &FilePath::default()).await.map(|()| self.inner.list_pruned(prune)) };
        futures::stream::once(begin).flat_map(|listed| listed.unwrap_or_else(|error| futures::stream::iter([Err(error)]).boxed())).boxed()
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.pass("stat", path).await?;
        self.inner.stat(path).await
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        self.pass("open", path).await?;
        self.inner.open(path, range).await
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        self.pass("resolve", path).await?;
        self.inner.resolve(path).await
    }
}

#[async_trait::async_trait]
impl FileTarget for HookedFiles {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        self.inner.accepts(path)
    }

    async fn prepare(&self) -> Result<bool> {
        self.pass("prepare", &FilePath::default()).await?;
        self.inner.prepare().await
    }

    async fn put(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.pass("put", &entry.path).await?;
        self.inner.put(entry, staging, body).await
    }

    async fn put_new(&self, entry: &Entry, staging: &str, body: Body) -> Result<Option<Digest>> {
        self.pass("put", &entry.path).await?;
        self.inner.put_new(entry, staging, body).await
    }

    async fn put_replacing(&self, entry: &Entry, staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        self.pass("put", &entry.path).await?;
        self.inner.put_replacing(entry, staging, body, expected).await
    }

    async fn remove_if(&self, path: &FilePath, expected: &Entry) -> Result<()> {
        self.pass("remove", path).await?;
        self.inner.remove_if(path, expected).await
    }

    async fn settle(&self) -> Result<()> {
        self.pass("settle", &FilePath::default()).await?;
        self.inner.settle().await
    }

    fn keeps_object_metadata(&self) -> bool {
        self.inner.keeps_object_metadata()
    }

    fn unkept(&self, entry: &Entry) -> Vec<String> {
        self.inner.unkept(entry)
    }

    async fn make(&self, entry: &Entry) -> Result<()> {
        self.pass("make", &entry.path).await?;
        self.inner.make(entry).await
    }

    async fn remove(&self, path: &FilePath) -> Result<()> {
        self.pass("remove", path).await?;
        self.inner.remove(path).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        self.pass("sweep", &FilePath::default()).await?;
        self.inner.sweep(staging).await
    }

    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
        self.pass("digest", path).await?;
        self.inner.stored_digest(path, part_size).await
    }

    fn listed_digest(&self, entry: &Entry) -> Option<Digest> {
        self.inner.listed_digest(entry)
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.inner.free_space().await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        self.inner.parts()
    }

    async fn posix(&self) -> Result<std::result::Result<Arc<dyn PosixTree>, String>> {
        self.inner.posix().await
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        self.inner.website()
    }
}

/// Rows of a real system.
#[derive(Clone)]
pub struct HookedDatabase {
    pub name: &'static str,
    pub inner: Arc<dyn Database>,
    pub calls: Arc<Calls>,
}

impl HookedDatabase {
    async fn pass(&self, operation: &str, subject: &str) -> Result<()> {
        self.calls.before(&Call { system: self.name, operation, subject }).await
    }
}

impl Examine for HookedDatabase {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.inner.checks(role)
    }
}

#[async_trait::async_trait]
impl Database for HookedDatabase {
    fn engine(&self) -> domain::spec::DatabaseEngine {
        self.inner.engine()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    async fn version(&self) -> Result<String> {
        self.inner.version().await
    }

    async fn read(&self, view: View) -> Result<Arc<dyn RowSource>> {
        self.pass("read", "").await?;
        Ok(Arc::new(HookedRows { inner: self.inner.read(view).await?, of: self.clone() }))
    }

    async fn write(&self) -> Result<Arc<dyn RowTarget>> {
        self.pass("write", "").await?;
        Ok(Arc::new(HookedTarget { inner: self.inner.write().await?, of: self.clone() }))
    }

    fn cells(&self) -> Option<Arc<dyn CellEditor>> {
        self.inner.cells()
    }
}

struct HookedRows {
    inner: Arc<dyn RowSource>,
    of: HookedDatabase,
}

#[async_trait::async_trait]
impl RowSource for HookedRows {
    fn format(&self) -> RowFormat {
        self.inner.format()
    }

    async fn schema(&self) -> Result<Schema> {
        self.of.pass("schema", "").await?;
        self.inner.schema().await
    }

    async fn split(&self, table: &Table, rows: u64) -> Result<Vec<KeyRange>> {
        self.of.pass("split", &table.name.name).await?;
        self.inner.split(table, rows).await
    }

    fn rows(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<RowBlock>> {
        self.inner.rows(table, range)
    }

    async fn fingerprint(&self, table: &Table, range: &KeyRange) -> Result<Fingerprint> {
        self.of.pass("fingerprint", &table.name.name).await?;
        self.inner.fingerprint(table, range).await
    }

    fn rows_with_fingerprint(&self, table: &Table, range: &KeyRange) -> Option<BoxStream<'static, Result<Reading>>> {
        self.inner.rows_with_fingerprint(table, range)
    }

    fn row_hashes(&self, table: &Table, range: &KeyRange) -> BoxStream<'static, Result<(Key, String)>> {
        self.inner.row_hashes(table, range)
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct HookedTarget {
    inner: Arc<dyn RowTarget>,
    of: HookedDatabase,
}

#[async_trait::async_trait]
impl RowTarget for HookedTarget {
    fn format(&self) -> RowFormat {
        self.inner.format()
    }

    async fn prepare(&self, like: &Schema) -> Result<Option<Applied>> {
        self.of.pass("prepare", "").await?;
        self.inner.prepare(like).await
    }

    async fn create(&self, object: &SchemaObject) -> Result<Applied> {
        self.of.pass("create", &object.name.name).await?;
        self.inner.create(object).await
    }

    fn tables_apart(&self) -> bool {
        self.inner.tables_apart()
    }

    async fn remove(&self, object: &SchemaObject) -> Result<()> {
        self.of.pass("remove", &object.name.name).await?;
        self.inner.remove(object).await
    }

    async fn replace_where(&self, table: &Table, range: &KeyRange, terms: Terms<'_>, rows: BoxStream<'static, Result<RowBlock>>) -> Result<u64> {
        self.of.pass("replace", &table.name.name).await?;
        self.inner.replace_where(table, range, terms, rows).await
    }

    async fn remove_table_if(&self, object: &SchemaObject, table: &Table, expected: &[(KeyRange, Vec<Fingerprint>)]) -> Result<bool> {
        self.of.pass("remove", &object.name.name).await?;
        self.inner.remove_table_if(object, table, expected).await
    }

    async fn finish(&self, schema: &Schema) -> Result<()> {
        self.of.pass("finish", "").await?;
        self.inner.finish(schema).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
