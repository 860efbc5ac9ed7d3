//! Directories and SQLite databases of this machine.

use super::hooked::{HookedDatabase, HookedFiles};
use super::places::{FilePlace, Files, Place, RowPlace, Tables};
use super::scenario::{Documents, FOREIGN_TABLE, Scenario, Side, TABLES};
use super::stage::Calls;
use super::world::Systems;
use domain::spec::{DatabaseAt, FilesAt};
use ports::databases::Database;
use ports::files::FileTarget;
use rusqlite::Connection;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A directory as its owner sees it.
pub struct Directory {
    root: PathBuf,
    /// Times count in whole seconds, as a protocol shows them.
    seconds: bool,
}

/// Everything below a directory, deepest last.
fn walk(root: &Path, below: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        into.push(path.strip_prefix(root).expect("below the root").to_owned());
        if path.is_dir() && !path.is_symlink() {
            walk(root, &path, into);
        }
    }
}

impl Directory {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), seconds: false }
    }

    #[must_use]
    pub fn in_seconds(mut self) -> Self {
        self.seconds = true;
        self
    }

    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        walk(&self.root, &self.root, &mut paths);
        paths
    }
}

#[async_trait::async_trait]
impl FilePlace for Directory {
    async fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }

    async fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    async fn remove(&self, path: &str) {
        let _missing = std::fs::remove_file(self.root.join(path));
    }

    async fn files(&self) -> Files {
        let texts =
            self.paths().into_iter().filter_map(|path| Some((path.to_string_lossy().into_owned(), std::fs::read_to_string(self.root.join(path)).ok()?)));
        texts.collect()
    }

    async fn state(&self) -> Vec<String> {
        let describe = |path: PathBuf| {
            let meta = std::fs::symlink_metadata(self.root.join(&path)).ok()?;
            let text = if meta.is_file() { std::fs::read_to_string(self.root.join(&path)).unwrap_or_default() } else { String::new() };
            let fraction = if self.seconds { 0 } else { meta.mtime_nsec() };
            Some(format!("{} {:o} {}.{fraction:09} {text}", path.display(), meta.mode(), meta.mtime()))
        };
        self.paths().into_iter().filter_map(describe).collect()
    }
}

/// A database as its application sees it.
pub struct SqliteFile {
    path: PathBuf,
}

impl SqliteFile {
    /// `None` when there is none: people make no database by looking.
    fn open(&self) -> Option<Connection> {
        if !self.path.exists() {
            return None;
        }
        let connection = Connection::open(&self.path).ok()?;
        connection.busy_timeout(Duration::from_secs(5)).ok()?;
        Some(connection)
    }

    fn objects(&self) -> Vec<String> {
        let mut lines = vec![format!("database exists: {}", self.path.exists())];
        let Some(connection) = self.open() else { return lines };
        let mut query = connection.prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1").expect("a query");
        let found = query.query_map([], |row| row.get::<_, String>(0)).expect("objects");
        lines.extend(found.map(|line| line.expect("an object")));
        lines
    }

    fn names(connection: &Connection) -> Vec<String> {
        let mut query = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name").expect("a query");
        let names = query.query_map([], |row| row.get(0)).expect("names");
        names.map(|name| name.expect("a name")).collect()
    }
}

#[async_trait::async_trait]
impl RowPlace for SqliteFile {
    async fn write(&self, table: &str, key: i64, text: &str) -> bool {
        let Some(connection) = self.open() else { return false };
        connection.execute(&format!("INSERT OR REPLACE INTO {table} VALUES (?1, ?2)"), (key, text)).is_ok()
    }

    async fn remove(&self, table: &str, key: i64) {
        if let Some(connection) = self.open() {
            let _no_such_table = connection.execute(&format!("DELETE FROM {table} WHERE id = ?1"), [key]);
        }
    }

    async fn tables(&self) -> Tables {
        let Some(connection) = self.open() else { return Tables::new() };
        let read = |table: String| {
            let mut query = connection.prepare(&format!("SELECT id, value FROM {table}")).ok()?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
            Some((table, rows.collect::<Result<_, _>>().ok()?))
        };
        Self::names(&connection).into_iter().filter_map(read).collect()
    }

    async fn state(&self) -> Vec<String> {
        let mut lines = self.objects();
        for (table, rows) in self.tables().await {
            lines.extend(rows.iter().map(|(key, text)| format!("{table} {key} {text}")));
        }
        lines
    }
}

pub struct LocalSystems {
    dir: PathBuf,
}

impl LocalSystems {
    pub fn new(scenario: &Scenario, dir: &Path) -> Self {
        let made = Self { dir: dir.to_owned() };
        for side in ["from", "to"] {
            if scenario.occupied || side == "from" {
                std::fs::create_dir_all(made.root(side)).expect("a directory");
            }
        }
        let tables = |names: &[&str], view: &str| {
            let make = |name: &&str| format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, value TEXT);");
            format!("{} CREATE VIEW {view} AS SELECT * FROM {};", names.iter().map(make).collect::<String>(), names[names.len() - 1])
        };
        made.sql("from", &tables(&TABLES, "recent"));
        if scenario.occupied {
            made.sql("to", &tables(&[TABLES[1], FOREIGN_TABLE], "of_theirs"));
        }
        made
    }

    fn sql(&self, side: &str, sql: &str) {
        Connection::open(self.database_path(side)).expect("a database").execute_batch(sql).expect("SQL");
    }

    fn root(&self, side: &str) -> PathBuf {
        self.dir.join("sites").join(side)
    }

    fn database_path(&self, side: &str) -> PathBuf {
        self.dir.join(format!("{side}.db"))
    }
}

#[async_trait::async_trait]
impl Systems for LocalSystems {
    async fn place(&self, side: Side) -> Place {
        let side = if side == Side::Source { "from" } else { "to" };
        Place { files: Arc::new(Directory::new(&self.root(side))), rows: Arc::new(SqliteFile { path: self.database_path(side) }) }
    }

    fn documents(&self, _scenario: &Scenario) -> Documents {
        let files = |side: &str| json!({"type": "static", "paths": {"web_root": self.root(side)}});
        let database = |side: &str| json!({"type": "sqlite", "database": self.database_path(side)});
        Documents { source_files: files("from"), source_database: database("from"), destination_files: files("to"), destination_database: database("to") }
    }

    async fn files(&self, at: &FilesAt, calls: &Arc<Calls>) -> ports::Result<Option<Arc<dyn FileTarget>>> {
        let FilesAt::Local { root } = at else { return Ok(None) };
        let Some(name) = ["from", "to"].into_iter().find(|side| Path::new(root) == self.root(side)) else { return Ok(None) };
        let inner = connectors_files::open(at, 2).await?;
        Ok(Some(Arc::new(HookedFiles { name, inner, calls: calls.clone() })))
    }

    async fn database(&self, at: &DatabaseAt, calls: &Arc<Calls>) -> ports::Result<Arc<dyn Database>> {
        let inner = connectors_databases::open(at, 2).await?;
        let name = if Path::new(&at.database) == self.database_path("from") { "from" } else { "to" };
        Ok(Arc::new(HookedDatabase { name, inner, calls: calls.clone() }))
    }
}
