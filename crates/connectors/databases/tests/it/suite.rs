//! The conformance suite of the database doors. An engine brings a [`Fixture`] and calls these functions; rows are moved the way
//! the mover moves them: schema, objects of the first phase, ranges, indexes, the rest.

use futures::TryStreamExt;
use ports::ErrorKind;
use ports::databases::{Applied, Cells, Database, Key, KeyRange, ObjectKind, Phase, RowSource, RowTarget, Schema, SchemaObject, Table, View};
use ports::{CheckOutcome, Role};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One throwaway database.
#[async_trait::async_trait]
pub trait Fixture: Send + Sync {
    /// Through the connector under test.
    async fn open(&self) -> Arc<dyn Database>;

    /// Runs statements directly, past the connector.
    async fn run(&self, statements: &[&str]);

    /// The first value of a query as text, directly; empty for NULL.
    async fn value(&self, sql: &str) -> String;

    /// Statements for a table `items` (`id` integer primary key from 1, `body` text that may be NULL) with `rows` rows.
    fn items(&self, rows: u32) -> Vec<String>;

    /// The table without a key: `keyless` (`body` text), with some rows, two of them alike.
    fn keyless(&self) -> Vec<String>;
}

pub async fn run_all(fixture: &dyn Fixture, statements: &[String]) {
    let all: Vec<&str> = statements.iter().map(String::as_str).collect();
    fixture.run(&all).await;
}

/// What a whole copy did.
pub struct Copied {
    pub schema: Schema,
    pub applied: Vec<(SchemaObject, Applied)>,
    pub rows: u64,
}

impl Copied {
    /// The fate of one object.
    pub fn applied(&self, kind: ObjectKind, name: &str) -> &Applied {
        let found = self.applied.iter().find(|(o, _)| o.kind == kind && o.name.name == name);
        &found.unwrap_or_else(|| panic!("no {kind:?} '{name}' was made; there are: {:?}", self.applied.iter().map(|(o, _)| &o.name.name).collect::<Vec<_>>())).1
    }

    pub fn table(&self, name: &str) -> &Table {
        table(&self.schema, name)
    }
}

pub fn table<'s>(schema: &'s Schema, name: &str) -> &'s Table {
    schema.tables.iter().find(|t| t.name.name == name).unwrap_or_else(|| panic!("no table '{name}'"))
}

/// Copies everything in ranges of `rows` rows, twice per phase, so that every call proves to be repeatable.
pub async fn copy(source: &dyn Database, destination: &dyn Database, rows: u64) -> Copied {
    let from = source.read(View::Snapshot { connections: 3 }).await.expect("open the snapshot");
    let to = destination.write().await.expect("open the destination");
    let schema = from.schema().await.expect("read the schema");
    to.prepare(&schema).await.expect("prepare");
    assert!(to.prepare(&schema).await.expect("prepare again").is_none(), "the second call makes nothing");
    let mut copied = Copied { schema: schema.clone(), applied: Vec::new(), rows: 0 };
    make(&*to, &schema, Phase::BeforeRows, &mut copied).await;
    let refused: BTreeSet<_> = copied.applied.iter().filter(|(_, a)| matches!(a, Applied::Refused(_))).map(|(o, _)| o.name.clone()).collect();
    for table in schema.tables.iter().filter(|t| !refused.contains(&t.name)) {
        let parts = to.takes_ranges(table).await.expect("ask for ranges");
        let ranges = if parts { from.split(table, rows).await.expect("split") } else { vec![KeyRange::default()] };
        for range in ranges {
            for _ in 0..2 {
                let count = to.replace(table, &range, from.rows(table, &range)).await.unwrap_or_else(|e| panic!("{e}"));
                copied.rows += count;
            }
        }
    }
    copied.rows /= 2;
    make(&*to, &schema, Phase::Keys, &mut copied).await;
    make(&*to, &schema, Phase::AfterRows, &mut copied).await;
    make(&*to, &schema, Phase::AtTheEnd, &mut copied).await;
    to.finish(&schema).await.expect("finish");
    to.finish(&schema).await.expect("finish again");
    for _ in 0..2 {
        to.enable(&schema).await.expect("enable");
    }
    to.close().await.expect("close");
    from.close().await.expect("close");
    copied
}

async fn make(to: &dyn RowTarget, schema: &Schema, phase: Phase, copied: &mut Copied) {
    for object in schema.objects.iter().filter(|o| o.phase == phase) {
        let first = to.create(object).await.unwrap_or_else(|e| panic!("{e}"));
        let again = to.create(object).await.unwrap_or_else(|e| panic!("again: {e}"));
        assert_eq!(first, again, "making {:?} {} twice gives the same", object.kind, object.name);
        copied.applied.push((object.clone(), first));
    }
}

/// Every table of the source has the same fingerprint at the destination, whole and range by range.
pub async fn assert_equal(source: &dyn Database, destination: &dyn Database, except: &[&str]) {
    let from = source.read(View::Latest { connections: 1 }).await.expect("read the source");
    let to = destination.read(View::Latest { connections: 1 }).await.expect("read the destination");
    let schema = from.schema().await.expect("schema");
    for table in schema.tables.iter().filter(|t| !except.contains(&t.name.name.as_str())) {
        for range in from.split(table, 5).await.expect("split") {
            let (a, b) = (from.fingerprint(table, &range).await.expect("fingerprint"), to.fingerprint(table, &range).await.expect("fingerprint"));
            if a != b && !table.key.is_empty() {
                let (a, b) = (hashes(&*from, table, &range).await, hashes(&*to, table, &range).await);
                let differing: Vec<_> = a.iter().filter(|x| !b.contains(x)).collect();
                panic!("{} differs in {range:?}: {differing:?}", table.name);
            }
            assert_eq!(a, b, "{} in {range:?}", table.name);
        }
    }
}

pub async fn hashes(source: &dyn RowSource, table: &Table, range: &KeyRange) -> Vec<(Key, String)> {
    source.row_hashes(table, range).try_collect().await.unwrap_or_else(|e| panic!("{e}"))
}

/// Replacing a range touches that range alone; a one-letter edit shows in the fingerprint of its range and is named by its key.
pub async fn ranges_and_differences(source: &dyn Fixture, destination: &dyn Fixture) {
    run_all(source, &source.items(100)).await;
    run_all(source, &source.keyless()).await;
    let (a, b) = (source.open().await, destination.open().await);
    let copied = copy(&*a, &*b, 30).await;
    assert_equal(&*a, &*b, &[]).await;
    let items = copied.table("items");
    let from = a.read(View::Latest { connections: 2 }).await.expect("read");
    let to = b.read(View::Latest { connections: 2 }).await.expect("read");
    let ranges = from.split(items, 30).await.expect("split");
    assert!(ranges.len() >= 3, "{} ranges", ranges.len());
    assert!(ranges[0].lower.is_none() && ranges[ranges.len() - 1].upper.is_none(), "open at both ends");
    assert!(ranges.windows(2).all(|w| w[0].upper.is_some() && w[0].upper == w[1].lower), "without gap or overlap");

    destination.run(&["UPDATE items SET body = 'changed' WHERE id = 45", "UPDATE items SET body = 'changed too' WHERE id = 99"]).await;
    let mut differing = Vec::new();
    for (at, range) in ranges.iter().enumerate() {
        if from.fingerprint(items, range).await.expect("fingerprint") != to.fingerprint(items, range).await.expect("fingerprint") {
            differing.push(at);
            let (theirs, ours) = (hashes(&*from, items, range).await, hashes(&*to, items, range).await);
            assert_eq!(theirs.len(), ours.len());
            let keys: Vec<_> = theirs.iter().zip(&ours).filter(|(x, y)| x != y).map(|(x, _)| x.0.clone()).collect();
            assert_eq!(keys.len(), 1, "exactly the edited row: {keys:?}");
        }
    }
    assert_eq!(differing.len(), 2, "two ranges were edited");

    let writer = b.write().await.expect("write");
    let range = &ranges[differing[0]];
    writer.replace(items, range, from.rows(items, range)).await.unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(destination.value("SELECT body FROM items WHERE id = 45").await, "changed", "the range was repaired");
    assert_eq!(destination.value("SELECT body FROM items WHERE id = 99").await, "changed too", "the other range was left alone");
    assert_eq!(destination.value("SELECT COUNT(*) FROM items").await, "100");

    let keyless = copied.table("keyless");
    assert!(keyless.key.is_empty());
    assert_eq!(from.split(keyless, 1).await.expect("split"), [KeyRange::default()], "one range");
    let refused = from.row_hashes(keyless, &KeyRange::default()).try_collect::<Vec<_>>().await.expect_err("rows without a key cannot be named");
    assert_eq!(refused.kind, ErrorKind::Unsupported);
    assert_equal(&*a, &*b, &["items"]).await;
}

/// Rows that end with an error leave what was there.
pub async fn broken_rows_change_nothing(fixture: &dyn Fixture) {
    run_all(fixture, &fixture.items(20)).await;
    let database = fixture.open().await;
    let reader = database.read(View::Latest { connections: 1 }).await.expect("read");
    let schema = reader.schema().await.expect("schema");
    let items = table(&schema, "items");
    let before = reader.fingerprint(items, &KeyRange::default()).await.expect("fingerprint");
    let good: Vec<_> = reader.rows(items, &KeyRange::default()).try_collect().await.expect("rows");
    let broken = ports::ConnectorError::new(ErrorKind::Interrupted, "read", "the source", "cut off on purpose");
    let rows = futures::stream::iter(good.into_iter().map(Ok).chain([Err(broken)]));
    let writer = database.write().await.expect("write");
    let error = writer.replace(items, &KeyRange::default(), Box::pin(rows)).await.expect_err("the rows broke off");
    assert_eq!((error.kind, error.reason.as_str()), (ErrorKind::Interrupted, "cut off on purpose"));
    assert_eq!(reader.fingerprint(items, &KeyRange::default()).await.expect("fingerprint"), before);
}

/// All connections of a snapshot see one moment.
pub async fn snapshot_is_one_moment(fixture: &dyn Fixture) {
    run_all(fixture, &fixture.items(10)).await;
    let database = fixture.open().await;
    let view = database.read(View::Snapshot { connections: 3 }).await.expect("open");
    let schema = view.schema().await.expect("schema");
    let items = table(&schema, "items");
    let before = view.fingerprint(items, &KeyRange::default()).await.expect("fingerprint");
    fixture.run(&["UPDATE items SET body = 'later' WHERE id = 3", "DELETE FROM items WHERE id = 7"]).await;
    let whole = KeyRange::default();
    let three = futures::future::join_all((0..3).map(|_| view.fingerprint(items, &whole))).await;
    for seen in three {
        assert_eq!(seen.expect("fingerprint"), before);
    }
    let rows: u64 = view.rows(items, &whole).try_fold(0, |n, block| async move { Ok(n + block.rows) }).await.expect("rows");
    assert_eq!(rows, 10);
    drop(view.rows(items, &whole));
    view.close().await.expect("close");
    let latest = database.read(View::Latest { connections: 1 }).await.expect("read");
    assert_eq!(latest.fingerprint(items, &whole).await.expect("fingerprint").rows, 9);
}

/// Finding, fetching and changing single cells.
pub async fn cells_are_found_and_changed(fixture: &dyn Fixture) {
    run_all(fixture, &fixture.items(5)).await;
    fixture
        .run(&[
            "UPDATE items SET body = 'see http://old.example/a and \\\\ 100%' WHERE id = 2",
            "UPDATE items SET body = 'HTTP://OLD.EXAMPLE' WHERE id = 3",
            "UPDATE items SET body = NULL WHERE id = 4",
        ])
        .await;
    let database = fixture.open().await;
    let editor = database.cells().expect("it has cells");
    let schema = database.read(View::Latest { connections: 1 }).await.expect("read").schema().await.expect("schema");
    let items = table(&schema, "items");
    let columns = ["body".to_owned()];
    let found: Vec<Cells> = editor.containing(items, &columns, &["old.example".to_owned(), "%".to_owned()]).try_collect().await.expect("search");
    assert_eq!(found.len(), 1, "case matters, % is a letter: {found:?}");
    let mut changed = found.clone();
    changed[0].values[0] = Some("new \u{1f600}\0'".as_bytes().iter().copied().filter(|b| *b != 0).collect());
    for _ in 0..2 {
        editor.update(items, &columns, &changed).await.unwrap_or_else(|e| panic!("{e}"));
    }
    assert_eq!(editor.fetch(items, &columns, &[found[0].key.clone()]).await.expect("fetch"), changed);
    let gone = hashes_keys(&*database, items, "DELETE FROM items WHERE id = 4", fixture).await;
    let left = editor.fetch(items, &columns, &gone).await.expect("fetch");
    assert_eq!(left.len(), 4, "a missing row is left out");
    let none: Vec<Cells> = editor.containing(items, &columns, &["old.example".to_owned()]).try_collect().await.expect("search");
    assert!(none.is_empty());
}

async fn hashes_keys(database: &dyn Database, items: &Table, then: &str, fixture: &dyn Fixture) -> Vec<Key> {
    let view = database.read(View::Latest { connections: 1 }).await.expect("read");
    let keys = hashes(&*view, items, &KeyRange::default()).await.into_iter().map(|(k, _)| k).collect();
    fixture.run(&[then]).await;
    keys
}

/// Objects can be dropped, also twice; the database itself too.
pub async fn dropping_is_repeatable(source: &dyn Fixture, destination: &dyn Fixture) {
    run_all(source, &source.items(3)).await;
    let (a, b) = (source.open().await, destination.open().await);
    let copied = copy(&*a, &*b, 30).await;
    let writer = b.write().await.expect("write");
    for object in copied.schema.objects.iter().rev() {
        for _ in 0..2 {
            writer.remove(object).await.unwrap_or_else(|e| panic!("{e}"));
        }
    }
    let left = b.read(View::Latest { connections: 1 }).await.expect("read").schema().await.expect("schema");
    assert!(left.tables.is_empty());
    let name = ports::databases::ObjectName { schema: String::new(), name: b.name() };
    let database = SchemaObject { kind: ObjectKind::Schema, phase: Phase::BeforeRows, name, table: None, statements: Vec::new() };
    for _ in 0..2 {
        writer.remove(&database).await.unwrap_or_else(|e| panic!("{e}"));
    }
    writer.close().await.expect("close");
    let gone = match b.read(View::Latest { connections: 1 }).await {
        Ok(view) => view.schema().await.map(|_| ()),
        Err(e) => Err(e),
    };
    assert_eq!(gone.expect_err("the database is gone").kind, ErrorKind::NotFound);
    let again = b.write().await.expect("write");
    assert!(again.prepare(&Schema::default()).await.expect("prepare").is_some(), "made anew");
}

/// A good database passes every check, and the checks leave nothing behind.
pub async fn checks_pass(fixture: &dyn Fixture) {
    run_all(fixture, &fixture.items(3)).await;
    let database = fixture.open().await;
    let view = database.read(View::Latest { connections: 1 }).await.expect("read");
    let before = view.schema().await.expect("schema");
    for role in [Role::Source, Role::Destination] {
        for check in database.checks(role) {
            let outcome = check.run.await;
            assert!(!matches!(outcome, CheckOutcome::Failed { .. }), "{role:?} {}: {outcome:?}", check.name);
        }
    }
    let after = view.schema().await.expect("schema");
    assert_eq!(before.objects, after.objects);
}

/// The worst outcome of the checks, by kind.
pub async fn failing_kinds(database: &dyn Database, role: Role) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for check in database.checks(role) {
        if let CheckOutcome::Failed { kind, finding } = check.run.await {
            assert!(!finding.issue.is_empty() && !finding.field.is_empty());
            kinds.insert(format!("{kind:?}"));
        }
    }
    kinds
}
