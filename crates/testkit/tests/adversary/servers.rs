//! The rig's servers: SFTP and S3 for files, MariaDB to MySQL and PostgreSQL 15 to 18 for rows. People use the servers' own clients.

use super::hooked::{HookedDatabase, HookedFiles};
use super::local::Directory;
use super::places::{FilePlace, Files, Place, RowPlace, Tables};
use super::scenario::{Documents, FOREIGN_TABLE, Scenario, Side, TABLES};
use super::stage::Calls;
use super::world::Systems;
use bytes::Bytes;
use domain::spec::{DatabaseAt, FilesAt, MigrationSpec};
use futures::{StreamExt, TryStreamExt};
use ports::databases::Database;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::rig::{self, Server};

/// A database through its server's own client.
#[derive(Clone)]
struct Client {
    postgres: bool,
    server: Server,
    database: String,
}

impl Client {
    fn ask(&self, database: &str, sql: &str) -> Option<String> {
        let port = self.server.port.to_string();
        let mut command = Command::new(if self.postgres { "psql" } else { "mariadb" });
        if self.postgres {
            command.args(["-h127.0.0.1", "-p", &port, "-U", &self.server.user, "-qAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql, database]);
            command.env("PGPASSWORD", &self.server.password);
        } else {
            command.args(["-h127.0.0.1", "-P", &port, "-u", &self.server.user, "-N", "-e", sql, database]).env("MYSQL_PWD", &self.server.password);
        }
        let output = command.output().expect("the engine's client");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn administer(&self, sql: &str) {
        let database = if self.postgres { "postgres" } else { "" };
        assert!(self.ask(database, sql).is_some(), "{sql}");
    }

    fn make(&self, tables: &[&str], view: &str) {
        self.administer(&format!("CREATE DATABASE {}", self.database));
        let make = |name: &&str| format!("CREATE TABLE {name} (id BIGINT PRIMARY KEY, value VARCHAR(100));");
        let sql = format!("{} CREATE VIEW {view} AS SELECT * FROM {};", tables.iter().map(make).collect::<String>(), tables[tables.len() - 1]);
        assert!(self.ask(&self.database, &sql).is_some(), "{sql}");
    }

    fn drop(&self) {
        let force = if self.postgres { " WITH (FORCE)" } else { "" };
        let database = if self.postgres { "postgres" } else { "" };
        let _gone = self.ask(database, &format!("DROP DATABASE IF EXISTS {}{force}", self.database));
    }
}

#[async_trait::async_trait]
impl RowPlace for Client {
    async fn write(&self, table: &str, key: i64, text: &str) -> bool {
        let sql = if self.postgres {
            format!("INSERT INTO {table} VALUES ({key}, '{text}') ON CONFLICT (id) DO UPDATE SET value = '{text}'")
        } else {
            format!("REPLACE INTO {table} VALUES ({key}, '{text}')")
        };
        self.ask(&self.database, &sql).is_some()
    }

    async fn remove(&self, table: &str, key: i64) {
        let _no_such_table = self.ask(&self.database, &format!("DELETE FROM {table} WHERE id = {key}"));
    }

    async fn tables(&self) -> Tables {
        let read = |table: &str| {
            let text = self.ask(&self.database, &format!("SELECT id, value FROM {table} ORDER BY id"))?;
            let row = |line: &str| line.split_once('\t').and_then(|(key, text)| Some((key.parse().ok()?, text.to_owned())));
            Some((table.to_owned(), text.lines().filter_map(row).collect()))
        };
        TABLES.into_iter().chain([FOREIGN_TABLE]).filter_map(read).collect()
    }

    async fn state(&self) -> Vec<String> {
        let schema = if self.postgres { "table_schema = 'public'" } else { "table_schema = database()" };
        let sql = format!("SELECT table_name, table_type FROM information_schema.tables WHERE {schema} ORDER BY 1");
        let Some(names) = self.ask(&self.database, &sql) else { return vec!["database exists: false".to_owned()] };
        let mut lines: Vec<String> = names.lines().map(str::to_owned).collect();
        for (table, rows) in self.tables().await {
            lines.extend(rows.iter().map(|(key, text)| format!("{table} {key} {text}")));
        }
        lines
    }
}

/// A bucket as its owner sees it, through the connector.
struct Bucket(Arc<dyn FileTarget>);

#[async_trait::async_trait]
impl FilePlace for Bucket {
    async fn read(&self, path: &str) -> Option<String> {
        let body = self.0.open(&FilePath::from(path), None).await.ok()?.body;
        let pieces: Vec<Bytes> = body.try_collect().await.ok()?;
        Some(String::from_utf8_lossy(&pieces.concat()).into_owned())
    }

    async fn write(&self, path: &str, text: &str) {
        let kind = EntryKind::File { size: text.len() as u64 };
        let entry = Entry::new(FilePath::from(path), kind);
        self.0.prepare().await.expect("a bucket");
        let body = futures::stream::iter([Ok(Bytes::from(text.to_owned()))]).boxed();
        self.0.put(&entry, "people", body).await.expect("an object");
    }

    async fn remove(&self, path: &str) {
        self.0.remove(&FilePath::from(path)).await.expect("an object goes");
    }

    async fn files(&self) -> Files {
        let entries: Vec<Entry> = self.0.list().try_collect().await.unwrap_or_default();
        let mut files = Files::new();
        for path in entries.iter().filter(|entry| entry.kind != EntryKind::Directory).map(|entry| entry.path.to_string()) {
            if let Some(text) = self.read(&path).await {
                files.insert(path, text);
            }
        }
        files
    }

    async fn state(&self) -> Vec<String> {
        self.files().await.into_iter().map(|(path, text)| format!("{path} {text}")).collect()
    }
}

pub struct ServerSystems {
    /// Directories of the SSH user.
    home: PathBuf,
    bucket: Option<(FilesAt, Value)>,
    from: Client,
    to: Client,
}

impl ServerSystems {
    pub fn new(scenario: &Scenario) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("suite_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let home = rig::ssh().home.join(&tag);
        for side in ["from", "to"] {
            std::fs::create_dir_all(home.join(side)).expect("a directory of the SSH user");
        }
        own(&home);
        let postgres = scenario.seed.is_multiple_of(2);
        let servers = if postgres { (rig::postgres15(), rig::postgres18()) } else { (rig::mariadb(), rig::mysql()) };
        let (from, to) =
            (Client { postgres, server: servers.0, database: format!("{tag}_from") }, Client { postgres, server: servers.1, database: format!("{tag}_to") });
        from.make(&TABLES, "recent");
        if scenario.occupied {
            to.make(&[TABLES[1], FOREIGN_TABLE], "of_theirs");
        }
        let bucket = scenario.objects.then(|| bucket(&tag.replace('_', "-")));
        Self { home, bucket, from, to }
    }

    fn files_document(&self, side: &str) -> Value {
        let ssh = rig::ssh();
        json!({"type": "static", "host": ssh.host, "port": ssh.port, "username": ssh.user, "password": ssh.password, "host_key": ssh.host_key(),
            "paths": {"web_root": self.home.join(side)}})
    }
}

/// The user's processes must be able to write there.
fn own(home: &std::path::Path) {
    let ssh = rig::ssh();
    let owned = Command::new("chown").args(["-R", &ssh.user]).arg(home).status().expect("chown");
    assert!(owned.success(), "{} belongs to the SSH user", home.display());
}

fn bucket(name: &str) -> (FilesAt, Value) {
    let s3 = rig::s3();
    let document =
        json!({"type": "aws-s3", "bucket": name, "endpoint": s3.endpoint, "access_key_id": s3.access_key_id, "secret_access_key": s3.secret_access_key});
    let whole = json!({"name": "x", "source": {"type": "static", "paths": {"web_root": "/x"}}, "destination": document});
    let at = MigrationSpec::decode(&whole).expect("a document").destination.files.expect("files");
    (at, document)
}

/// A directory whose new files belong to the SSH user.
struct OwnedDirectory(Directory, PathBuf);

#[async_trait::async_trait]
impl FilePlace for OwnedDirectory {
    async fn read(&self, path: &str) -> Option<String> {
        self.0.read(path).await
    }

    async fn write(&self, path: &str, text: &str) {
        self.0.write(path, text).await;
        own(&self.1);
    }

    async fn remove(&self, path: &str) {
        self.0.remove(path).await;
    }

    async fn files(&self) -> Files {
        self.0.files().await
    }

    async fn state(&self) -> Vec<String> {
        self.0.state().await
    }
}

#[async_trait::async_trait]
impl Systems for ServerSystems {
    async fn place(&self, side: Side) -> Place {
        let (name, rows) = if side == Side::Source { ("from", &self.from) } else { ("to", &self.to) };
        let root = self.home.join(name);
        let rows = Arc::new(rows.clone());
        match self.bucket.as_ref().filter(|_| side == Side::Destination) {
            Some((at, _)) => Place { files: Arc::new(Bucket(connectors_files::open(at, 2).await.expect("a bucket"))), rows },
            None => Place { files: Arc::new(OwnedDirectory(Directory::new(&root).in_seconds(), root)), rows },
        }
    }

    fn documents(&self, _scenario: &Scenario) -> Documents {
        let database = |client: &Client| {
            let (kind, server) = (if client.postgres { "postgresql" } else { "mysql" }, &client.server);
            json!({"type": kind, "host": server.host, "port": server.port, "username": server.user, "password": server.password, "database": client.database})
        };
        Documents {
            source_files: self.files_document("from"),
            source_database: database(&self.from),
            destination_files: self.bucket.as_ref().map_or_else(|| self.files_document("to"), |(_, document)| document.clone()),
            destination_database: database(&self.to),
        }
    }

    async fn files(&self, at: &FilesAt, calls: &Arc<Calls>) -> ports::Result<Option<Arc<dyn FileTarget>>> {
        let name = match at {
            FilesAt::Sftp { root, .. } if self.home.join("from").to_str() == Some(root) => "from",
            FilesAt::Sftp { .. } | FilesAt::S3(_) => "to",
            _ => return Ok(None),
        };
        let inner = connectors_files::open(at, 2).await?;
        Ok(Some(Arc::new(HookedFiles { name, inner, calls: calls.clone() })))
    }

    async fn database(&self, at: &DatabaseAt, calls: &Arc<Calls>) -> ports::Result<Arc<dyn Database>> {
        let inner = connectors_databases::open(at, 2).await?;
        let name = if at.database == self.from.database { "from" } else { "to" };
        Ok(Arc::new(HookedDatabase { name, inner, calls: calls.clone() }))
    }

    async fn clean(&self) {
        self.from.drop();
        self.to.drop();
        std::fs::remove_dir_all(&self.home).expect("the directories go");
        let Some((at, _)) = &self.bucket else { return };
        let bucket = Bucket(connectors_files::open(at, 2).await.expect("the bucket"));
        for path in bucket.files().await.into_keys() {
            bucket.remove(&path).await;
        }
        let _gone = bucket.0.remove(&FilePath::default()).await;
    }
}
