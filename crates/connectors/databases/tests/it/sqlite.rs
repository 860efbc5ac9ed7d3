//! SQLite files.

#[path = "sqlite_dumps.rs"]
mod dumps;
#[path = "sqlite_others.rs"]
mod others;

use crate::moving::{changed, differing, latest};
use crate::suite::{self, Fixture, assert_equal, copy, table};
use domain::spec::{DatabaseAt, DatabaseEngine, TlsMode};
use futures::TryStreamExt;
use ports::ErrorKind;
use ports::check::{CheckOutcome, Role};
use ports::databases::{Applied, Cells, Database, Key, KeyPart, KeyRange, ObjectKind, ObjectName, Schema, SchemaObject, View};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const NASTY: &str = r#"
PRAGMA page_size = 8192; PRAGMA auto_vacuum = 1; PRAGMA user_version = 7; PRAGMA application_id = 4242;
CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT NOT NULL DEFAULT 'x', big INT, price REAL, raw BLOB, twice INT AS (big * 2) STORED, lazy TEXT AS (note || '!'));
INSERT INTO plain (id, note, big, price, raw) VALUES (-9223372036854775808, '', -9223372036854775808 / 2, 1e308, x''), (1, 'tab' || char(9) || 'nul' || char(0) || 'end', 9223372036854775807 / 2, -0.0, x'00ff');
INSERT INTO plain (note, big) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT 'row ' || i, i FROM n;
DELETE FROM plain WHERE id > 490;
CREATE TABLE "odd ""name"" ü" ("select" TEXT, "a b" ANY, UNIQUE ("select"));
INSERT INTO "odd ""name"" ü" VALUES ('a', 1), ('b', 1.5), (NULL, x'41'), (NULL, 'text'), ('c', CAST(x'c3280041' AS TEXT));
DELETE FROM "odd ""name"" ü" WHERE "select" = 'b';
CREATE TABLE words (word TEXT COLLATE NOCASE, lang TEXT, n REAL, PRIMARY KEY (word, lang)) WITHOUT ROWID;
INSERT INTO words WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT CASE WHEN i % 2 THEN 'Word' ELSE 'wORD' END || i, 'de', i / 7.0 FROM n;
CREATE TABLE strict_one (id TEXT PRIMARY KEY, n INTEGER, a ANY) STRICT;
INSERT INTO strict_one VALUES ('k1', 1, '01'), ('k2', 2, 1), ('k3', NULL, x'00');
CREATE TABLE hidden (rowid TEXT, v INT);
INSERT INTO hidden VALUES ('a', 1), ('a', 1), (NULL, 2);
CREATE TABLE hidden_all (rowid TEXT, _rowid_ INT, oid INT);
INSERT INTO hidden_all VALUES ('a', 1, 1), ('a', 1, 1), (NULL, 2, 2);
CREATE TABLE empty_one (a, b);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INT REFERENCES plain (id) ON DELETE CASCADE, partner INT REFERENCES child (id), CHECK (id > 0));
INSERT INTO child VALUES (1, 1, 2), (2, 1, 1);
CREATE INDEX by_note ON plain (note COLLATE NOCASE DESC) WHERE big IS NOT NULL;
CREATE UNIQUE INDEX by_lower ON words (lower(word), lang);
CREATE VIEW second AS SELECT * FROM "first";
CREATE VIEW "first" AS SELECT id, note FROM plain;
CREATE TABLE log (what TEXT);
CREATE TRIGGER tell AFTER INSERT ON plain BEGIN INSERT INTO log VALUES (new.note); END;
CREATE TRIGGER through INSTEAD OF INSERT ON "first" BEGIN INSERT INTO plain (note) VALUES (new.note); END;
CREATE VIRTUAL TABLE search USING fts5 (title, body);
INSERT INTO search VALUES ('hello', 'the quick brown fox'), ('other', 'lazy dog');
CREATE VIRTUAL TABLE places USING rtree (id, x0, x1);
INSERT INTO places VALUES (1, 0.5, 1.5), (2, 2, 3);
"#;

/// A file that a program has open, in WAL mode, as a living site's is.
struct Living {
    directory: TempDir,
    program: Mutex<Option<Connection>>,
}

impl Living {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), program: Mutex::new(None) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("living.db")
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        let mut program = self.program.lock().unwrap();
        work(program.get_or_insert_with(|| make(&self.path(), "PRAGMA journal_mode = wal; PRAGMA busy_timeout = 5000")))
    }
}

#[async_trait::async_trait]
impl Fixture for Living {
    async fn open(&self) -> Arc<dyn Database> {
        door(&self.path()).await
    }

    async fn run(&self, statements: &[&str]) {
        self.with(|c| statements.iter().for_each(|s| c.execute_batch(s).unwrap_or_else(|e| panic!("{s}: {e}"))));
    }

    async fn value(&self, sql: &str) -> String {
        self.with(|c| {
            c.query_row(sql, [], |row| row.get_ref(0).map(|v| v.as_str().map_or_else(|_| v.as_i64().map_or(String::new(), |n| n.to_string()), str::to_owned)))
        })
        .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    fn items(&self, rows: u32) -> Vec<String> {
        vec![
            "CREATE TABLE items (id INTEGER PRIMARY KEY, body TEXT)".to_owned(),
            format!("INSERT INTO items WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i, 'body ' || i FROM n"),
        ]
    }

    fn keyless(&self) -> Vec<String> {
        // Its own columns hide the row id by all of its names.
        let values = "INSERT INTO keyless VALUES ('a', 1, 1, 1), ('a', 1, 1, 1), (NULL, NULL, NULL, NULL)";
        vec!["CREATE TABLE keyless (body TEXT, rowid INT, _rowid_ INT, OID INT)".to_owned(), values.to_owned()]
    }
}

#[tokio::test]
async fn ranges_and_differences() {
    suite::ranges_and_differences(&Living::new(), &Living::new()).await;
}

#[tokio::test]
async fn broken_rows_change_nothing() {
    suite::broken_rows_change_nothing(&Living::new()).await;
}

#[tokio::test]
async fn snapshot_is_one_moment() {
    suite::snapshot_is_one_moment(&Living::new()).await;
}

#[tokio::test]
async fn cells_are_found_and_changed() {
    suite::cells_are_found_and_changed(&Living::new()).await;
}

#[tokio::test]
async fn dropping_is_repeatable() {
    suite::dropping_is_repeatable(&Living::new(), &Living::new()).await;
}

#[tokio::test]
async fn checks_pass() {
    suite::checks_pass(&Living::new()).await;
}

fn at(path: &Path) -> DatabaseAt {
    DatabaseAt {
        engine: DatabaseEngine::Sqlite,
        type_name: "sqlite".to_owned(),
        host: String::new(),
        port: 0,
        username: String::new(),
        password: None,
        database: path.display().to_string(),
        tls: TlsMode::Prefer,
        ca: None,
    }
}

async fn door(path: &Path) -> Arc<dyn Database> {
    connectors_databases::open(&at(path), 4).await.expect("a door")
}

fn make(path: &Path, sql: &str) -> Connection {
    let connection = Connection::open(path).expect("a file");
    connection.execute_batch(sql).expect("the fixture");
    connection
}

/// A directory with `source.db` of this content.
async fn pair(sql: &str) -> (TempDir, Arc<dyn Database>, Arc<dyn Database>) {
    let directory = tempfile::tempdir().expect("a directory");
    drop(make(&directory.path().join("source.db"), sql));
    let (from, to) = (door(&directory.path().join("source.db")).await, door(&directory.path().join("copy.db")).await);
    (directory, from, to)
}

fn dump(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).expect("the file");
    let mut lines = Vec::new();
    for query in [
        "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY 1",
        "SELECT name || '=' || seq FROM sqlite_sequence ORDER BY 1",
    ] {
        let mut statement = connection.prepare(query).expect("a query");
        lines.extend(statement.query_map([], |row| row.get::<_, String>(0)).expect("rows").map(|r| r.expect("a row")));
    }
    for pragma in ["page_size", "auto_vacuum", "user_version", "application_id", "encoding"] {
        let value: rusqlite::types::Value = connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).expect("a pragma");
        lines.push(format!("{pragma}={value:?}"));
    }
    lines
}

#[tokio::test]
async fn a_nasty_file_arrives_as_it_is() {
    let (directory, from, to) = pair(NASTY).await;
    let before = std::fs::read(directory.path().join("source.db")).expect("the file");
    let copied = copy(&*from, &*to, 50).await;
    assert_eq!(changed(&copied), Vec::<String>::new());
    assert_eq!(copied.schema.unmovable, []);
    assert_equal(&*from, &*to, &[]).await;
    assert_eq!(dump(&directory.path().join("source.db")), dump(&directory.path().join("copy.db")));
    assert_eq!(before, std::fs::read(directory.path().join("source.db")).expect("the file"), "the source is not written");
    let copy = Connection::open(directory.path().join("copy.db")).expect("the copy");
    let ask = |query: &str| copy.query_row(query, [], |row| row.get::<_, String>(0)).expect("an answer");
    assert_eq!(ask("PRAGMA integrity_check"), "ok");
    assert_eq!(ask("SELECT title FROM search WHERE search MATCH 'quick'"), "hello", "full text search works in the copy");
    assert_eq!(ask("SELECT group_concat(id) FROM places WHERE x0 > 1"), "2");
    assert_eq!(ask("SELECT hex(CAST(\"a b\" AS BLOB)) FROM \"odd \"\"name\"\" ü\" WHERE \"select\" = 'c'"), "C3280041");
    assert_eq!(ask("SELECT count(*) || '' FROM log"), "0", "triggers did not act");
}

#[tokio::test]
async fn an_edit_is_found_named_and_repaired_by_its_range_alone() {
    let (directory, from, to) = pair(NASTY).await;
    let schema = copy(&*from, &*to, 50).await.schema;
    let copy = Connection::open(directory.path().join("copy.db")).expect("the copy");
    copy.execute_batch(
        "UPDATE plain SET note = 'Row 77' WHERE note = 'row 77'; UPDATE words SET n = n + 1 WHERE word = 'word9'; DELETE FROM plain WHERE note = 'row 3'",
    )
    .expect("edits");
    let key = |sql: &str| Connection::open(directory.path().join("source.db")).unwrap().query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    let (third, edited) = (key("SELECT id FROM plain WHERE note = 'row 3'"), key("SELECT id FROM plain WHERE note = 'row 77'"));
    let plain = table(&schema, "plain");
    let keys = differing(&from, &to, plain).await;
    assert_eq!(keys, [Key(vec![KeyPart::Int(third)]), Key(vec![KeyPart::Int(edited)])]);
    let words = differing(&from, &to, table(&schema, "words")).await;
    assert_eq!(words, [Key(vec![KeyPart::Text("Word9".to_owned()), KeyPart::Text("de".to_owned())])]);
    let source = from.read(View::Snapshot { connections: 1 }).await.unwrap();
    let range = KeyRange { lower: Some(keys[1].clone()), upper: Some(Key(vec![KeyPart::Int(edited + 1)])) };
    let target = to.write().await.unwrap();
    assert_eq!(target.replace(plain, &range, source.rows(plain, &range)).await.unwrap(), 1);
    assert_eq!(differing(&from, &to, plain).await, [Key(vec![KeyPart::Int(third)])], "other ranges are left alone");
}

#[tokio::test]
async fn a_file_in_use_is_read_at_one_moment_and_stays_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("busy.db");
    let writer = make(&path, "PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1), (2, 2)");
    let from = door(&path).await;
    let source = from.read(View::Snapshot { connections: 3 }).await.unwrap();
    let schema = source.schema().await.unwrap();
    let t = table(&schema, "t");
    let before = source.fingerprint(t, &KeyRange::default()).await.unwrap();
    writer.execute_batch("INSERT INTO t VALUES (3, 3)").unwrap();
    for _ in 0..4 {
        assert_eq!(source.fingerprint(t, &KeyRange::default()).await.unwrap(), before, "all readers see the same moment");
    }
    source.close().await.unwrap();
    assert_eq!(latest(&from).await.fingerprint(t, &KeyRange::default()).await.unwrap().rows, 3);
}

#[tokio::test]
async fn a_resting_file_gets_no_companions_and_a_writer_that_wakes_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resting.db");
    drop(make(&path, "PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)"));
    let from = door(&path).await;
    let source = from.read(View::Snapshot { connections: 2 }).await.unwrap();
    let schema = source.schema().await.unwrap();
    let names = || std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(latest(&from).await.fingerprint(table(&schema, "t"), &KeyRange::default()).await.unwrap().rows, 1);
    assert_eq!(names(), 1, "no -wal and no -shm beside the source");
    drop(make(&path, "INSERT INTO t VALUES (2, 2); PRAGMA wal_checkpoint(TRUNCATE)"));
    let rows: Result<Vec<_>, _> = source.rows(table(&schema, "t"), &KeyRange::default()).try_collect().await;
    let error = rows.expect_err("the file was written");
    assert_eq!((error.kind, error.temporary), (ErrorKind::Changed, true));
}

/// A writer that was killed in a transaction leaves a journal that has to be played back before anybody can read.
#[tokio::test]
async fn a_destination_is_read_after_its_writer_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (path, killed) = (directory.path().join("alive.db"), directory.path().join("killed.db"));
    let writer = make(&path, "PRAGMA cache_size = 2; CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one')");
    let rows = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO t SELECT i, hex(randomblob(100)) FROM n";
    writer.execute_batch(&format!("BEGIN; UPDATE t SET v = 'changed'; {rows}")).unwrap();
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(directory.path().join("alive.db-journal"), directory.path().join("killed.db-journal")).unwrap();
    let there = door(&killed).await;
    let read = there.read(View::Destination { connections: 1 }).await.unwrap();
    let schema = read.schema().await.unwrap();
    assert_eq!(read.fingerprint(table(&schema, "t"), &KeyRange::default()).await.unwrap().rows, 1);
    assert!(!directory.path().join("killed.db-journal").exists());
}

#[tokio::test]
async fn cells_keep_their_type() {
    let sql = "CREATE TABLE site (slug TEXT PRIMARY KEY, body TEXT, raw BLOB, n INT); \
        INSERT INTO site VALUES ('a', 'see http://old.example/x', NULL, 1), ('b', NULL, CAST('http://old.example' AS BLOB), 2), ('c', 'HTTP://OLD.EXAMPLE', NULL, 3)";
    let (directory, from, _) = pair(sql).await;
    let schema = latest(&from).await.schema().await.unwrap();
    let (site, editor) = (table(&schema, "site"), from.cells().unwrap());
    let columns = ["body".to_owned(), "raw".to_owned()];
    let found: Vec<Cells> = editor.containing(site, &columns, &["http://old.example".to_owned()]).try_collect().await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].values, [Some(b"see http://old.example/x".to_vec()), None]);
    let changed: Vec<Cells> = found
        .iter()
        .map(|row| {
            let swap = |v: &Vec<u8>| String::from_utf8(v.clone()).unwrap().replace("old.example", "new.example").into_bytes();
            Cells { key: row.key.clone(), values: row.values.iter().map(|v| v.as_ref().map(swap)).collect() }
        })
        .collect();
    editor.update(site, &columns, &changed).await.unwrap();
    editor.update(site, &columns, &changed).await.unwrap();
    let keys: Vec<Key> = found.iter().map(|c| c.key.clone()).chain([Key(vec![KeyPart::Int(99)])]).collect();
    assert_eq!(editor.fetch(site, &columns, &keys).await.unwrap(), changed);
    let types: String = Connection::open(directory.path().join("source.db"))
        .unwrap()
        .query_row("SELECT group_concat(typeof(body) || typeof(raw)) FROM site", [], |row| row.get(0))
        .unwrap();
    assert_eq!(types, "textnull,nullblob,textnull");
}

#[tokio::test]
async fn the_file_is_made_private_and_removed_whole() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, from, to) = pair(NASTY).await;
    let target = to.write().await.unwrap();
    assert!(target.prepare(&Schema::default()).await.unwrap().is_some());
    let file = directory.path().join("copy.db");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let schema = copy(&*from, &*to, 100).await.schema;
    for object in schema.objects.iter().rev() {
        target.remove(object).await.unwrap();
        target.remove(object).await.unwrap();
    }
    let left: i64 = Connection::open(&file).unwrap().query_row("SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'", [], |r| r.get(0)).unwrap();
    assert_eq!(left, 0, "every object that was made can be removed");
    let whole = SchemaObject {
        kind: ObjectKind::Schema,
        phase: ports::databases::Phase::BeforeRows,
        name: ObjectName { schema: String::new(), name: to.name() },
        table: None,
        statements: vec![],
    };
    target.remove(&whole).await.unwrap();
    target.remove(&whole).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "only the source is left");
}

#[tokio::test]
async fn what_cannot_be_kept_is_said() {
    let (directory, from, to) = pair("PRAGMA page_size = 16384; CREATE TABLE t (a)").await;
    drop(make(&directory.path().join("copy.db"), "CREATE TABLE mine (a)"));
    let copied = copy(&*from, &*to, 10).await;
    let Applied::Adapted(words) = copied.applied(ObjectKind::Property, "file settings") else { panic!("{:?}", changed(&copied)) };
    assert!(words.contains("page_size stays 4096"), "{words}");
    let target = to.write().await.unwrap();
    let object = |sql: &str| SchemaObject {
        kind: ObjectKind::Table,
        phase: ports::databases::Phase::BeforeRows,
        name: ObjectName { schema: String::new(), name: "mine".to_owned() },
        table: None,
        statements: vec![sql.to_owned()],
    };
    assert_eq!(target.create(&object("CREATE TABLE mine (a)")).await.unwrap(), Applied::AsIs);
    assert_eq!(target.create(&object("CREATE TABLE mine (b)")).await.unwrap_err().kind, ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn checks_and_errors_say_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let missing = door(&directory.path().join("none.db")).await;
    let Err(error) = missing.read(View::Snapshot { connections: 1 }).await else { panic!("there is no file") };
    assert_eq!(error.kind, ErrorKind::NotFound);
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is not a database, however long it may be, and it goes on").unwrap();
    for (which, role, good) in [(&missing, Role::Source, false), (&missing, Role::Destination, true), (&door(&text).await, Role::Source, false)] {
        let mut outcomes = Vec::new();
        for check in which.checks(role) {
            outcomes.push(check.run.await);
        }
        assert_eq!(outcomes.iter().all(|o| matches!(o, CheckOutcome::Passed(_))), good, "{outcomes:?}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "checks leave nothing behind");
}
