//! A database in memory behind the traits of `ports`: tables with an integer key and a text, snapshots, transactions, fingerprints.
//!
//! It keeps what real ones promise: a snapshot shows one moment, a range is replaced wholly or not at all. A call passes the [`Hook`]
//! before it takes effect, and so does every block of rows.

mod source;
mod target;

use crate::hook::{Call, Hook};
use domain::spec::DatabaseEngine;
use ports::databases::{CellEditor, Column, Database, ObjectKind, ObjectName, Phase, RowSource, RowTarget, SchemaObject, Table, View};
use ports::{Check, ConnectorError, ErrorKind, Examine, Result, Role};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rows by key.
pub type Rows = BTreeMap<i64, String>;

/// Names of a table's columns.
const KEY: &str = "id";
const TEXT: &str = "value";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    exists: bool,
    tables: BTreeMap<String, Rows>,
    /// What is no table, by name: its statement.
    objects: BTreeMap<String, SchemaObject>,
}

/// Cheap to clone; all clones are one database.
#[derive(Clone)]
pub struct MemoryDatabase {
    name: String,
    rows_per_range: usize,
    hook: Option<Arc<dyn Hook>>,
    content: Arc<Mutex<Content>>,
}

impl MemoryDatabase {
    /// One that does not exist until somebody makes it.
    pub fn absent(name: &str) -> Self {
        Self { name: name.to_owned(), rows_per_range: 3, hook: None, content: Arc::default() }
    }

    pub fn new(name: &str) -> Self {
        let database = Self::absent(name);
        database.make();
        database
    }

    /// Makes it, unless it is there.
    pub fn make(&self) -> &Self {
        self.lock().exists = true;
        self
    }

    /// The same database, as seen by a caller whose calls pass `hook`.
    #[must_use]
    pub fn with_hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hook = Some(hook);
        self
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an empty table, unless it is there.
    pub fn table(&self, table: &str) -> &Self {
        self.lock().tables.entry(table.to_owned()).or_default();
        self
    }

    /// Adds a view of a table, for something beside tables.
    pub fn view(&self, name: &str, table: &str) -> &Self {
        self.lock().objects.insert(name.to_owned(), view(name, table));
        self
    }

    /// Writes one row; false when there is no such table.
    pub fn write_row(&self, table: &str, key: i64, text: &str) -> bool {
        self.lock().tables.get_mut(table).map(|rows| rows.insert(key, text.to_owned())).is_some()
    }

    pub fn delete_row(&self, table: &str, key: i64) {
        if let Some(rows) = self.lock().tables.get_mut(table) {
            rows.remove(&key);
        }
    }

    /// All rows by table.
    pub fn rows(&self) -> BTreeMap<String, Rows> {
        self.lock().tables.clone()
    }

    /// Everything that it holds, one line each: for comparing states.
    pub fn state(&self) -> Vec<String> {
        let content = self.lock();
        let mut lines = vec![format!("database exists: {}", content.exists)];
        for (table, rows) in &content.tables {
            lines.push(format!("table {table}"));
            lines.extend(rows.iter().map(|(key, text)| format!("  {key} {text}")));
        }
        lines.extend(content.objects.values().map(|o| format!("{:?} {} {:?}", o.kind, o.name, o.statements)));
        lines
    }

    async fn pass(&self, operation: &str, subject: &str) -> Result<()> {
        tokio::task::yield_now().await;
        match &self.hook {
            Some(hook) => hook.before(&Call { system: &self.name, operation, subject }).await,
            None => Ok(()),
        }
    }

    fn error(&self, kind: ErrorKind, operation: &str, subject: &str, reason: &str) -> ConnectorError {
        ConnectorError::new(kind, operation, format!("{}/{subject}", self.location()), reason)
    }

    fn missing(&self, operation: &str, subject: &str) -> ConnectorError {
        self.error(ErrorKind::NotFound, operation, subject, "it does not exist").permanent()
    }
}

fn view(name: &str, table: &str) -> SchemaObject {
    SchemaObject {
        kind: ObjectKind::View,
        phase: Phase::AtTheEnd,
        name: object_name(name),
        table: None,
        statements: vec![format!("CREATE VIEW {name} AS SELECT * FROM {table}")],
    }
}

fn object_name(name: &str) -> ObjectName {
    ObjectName { schema: String::new(), name: name.to_owned() }
}

fn table_object(name: &str) -> SchemaObject {
    let statements = vec![format!("CREATE TABLE {name} ({KEY} BIGINT PRIMARY KEY, {TEXT} TEXT)")];
    SchemaObject { kind: ObjectKind::Table, phase: Phase::BeforeRows, name: object_name(name), table: None, statements }
}

fn table(name: &str, rows: &Rows) -> Table {
    let column =
        |name: &str, type_name: &str| Column { name: name.to_owned(), type_name: type_name.to_owned(), nullable: false, generated: false, collation: None };
    Table {
        name: object_name(name),
        columns: vec![column(KEY, "bigint"), column(TEXT, "text")],
        key: vec![KEY.to_owned()],
        rows: rows.len() as u64,
        bytes: rows.values().map(|text| text.len() as u64 + 8).sum(),
    }
}

impl Examine for MemoryDatabase {
    fn checks(&self, _role: Role) -> Vec<Check<'_>> {
        Vec::new()
    }
}

#[async_trait::async_trait]
impl Database for MemoryDatabase {
    fn engine(&self) -> DatabaseEngine {
        DatabaseEngine::MySql
    }

    fn location(&self) -> String {
        format!("memory://{}", self.name)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn version(&self) -> Result<String> {
        Ok("Memory 1.0.0".to_owned())
    }

    async fn read(&self, view: View) -> Result<Arc<dyn RowSource>> {
        self.pass("read", "").await?;
        let content = self.lock();
        if !content.exists {
            return Err(self.missing("read", ""));
        }
        let frozen = matches!(view, View::Snapshot { .. }).then(|| content.clone());
        drop(content);
        Ok(Arc::new(source::Source { database: self.clone(), frozen }))
    }

    async fn write(&self) -> Result<Arc<dyn RowTarget>> {
        self.pass("write", "").await?;
        Ok(Arc::new(target::Target { database: self.clone() }))
    }

    fn cells(&self) -> Option<Arc<dyn CellEditor>> {
        None
    }
}
