//! PostgreSQL 15 and 18 of the rig: the suite, and what is peculiar to PostgreSQL.

#[path = "postgres_dumps.rs"]
mod dumps;
#[path = "postgres_kinds.rs"]
mod kinds;
#[path = "postgres_made.rs"]
mod made;
#[path = "postgres_passing.rs"]
mod passing;

use crate::moving::{changed, differing, latest};
use crate::suite::{self, Fixture, assert_equal, copy, table};
use domain::Secret;
use domain::spec::{DatabaseAt, DatabaseEngine, TlsMode};
use futures::TryStreamExt;
use ports::databases::{Applied, Database, Key, KeyPart, KeyRange, ObjectKind, RowBlock, View};
use ports::{ErrorKind, Role};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::rig::{self, Server};
use tokio_postgres::{NoTls, SimpleQueryMessage};

const NASTY: &str = include_str!("postgres_nasty.sql");

/// A throwaway database of one of the servers; gone when dropped.
struct Throwaway {
    server: Server,
    name: String,
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("ma_it_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn direct(server: &Server, database: &str) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host(&server.host).port(server.port).user(&server.user).password(&server.password).dbname(database);
    let (client, wire) = config.connect(NoTls).await.unwrap_or_else(|e| panic!("the rig's PostgreSQL: {e}"));
    tokio::spawn(wire);
    client
}

impl Throwaway {
    /// Not there yet.
    fn absent(server: Server) -> Self {
        Self { server, name: fresh_name() }
    }

    async fn new(server: Server) -> Self {
        let made = Self::absent(server);
        made.on_server(&format!("CREATE DATABASE {}", made.name)).await;
        made
    }

    async fn on_server(&self, sql: &str) {
        direct(&self.server, "postgres").await.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    fn at(&self) -> DatabaseAt {
        DatabaseAt {
            engine: DatabaseEngine::PostgreSql,
            type_name: "postgresql".to_owned(),
            host: self.server.host.clone(),
            port: self.server.port,
            username: self.server.user.clone(),
            password: Some(Secret::new(self.server.password.as_str())),
            database: self.name.clone(),
            tls: TlsMode::Prefer,
            ca: None,
        }
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { direct(&server, "postgres").await.batch_execute(&sql).await })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("database {} is left behind", self.name);
        }
    }
}

#[async_trait::async_trait]
impl Fixture for Throwaway {
    async fn open(&self) -> Arc<dyn Database> {
        open(&self.at()).await
    }

    async fn run(&self, statements: &[&str]) {
        let client = direct(&self.server, &self.name).await;
        for statement in statements {
            client.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
        }
    }

    async fn value(&self, sql: &str) -> String {
        let answer = direct(&self.server, &self.name).await.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let row = answer.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
        row.unwrap_or_default().to_owned()
    }

    fn items(&self, rows: u32) -> Vec<String> {
        vec![
            "CREATE TABLE items (id integer PRIMARY KEY, body text)".to_owned(),
            format!("INSERT INTO items SELECT i, 'body ' || i FROM generate_series(1, {rows}) AS i"),
        ]
    }

    fn keyless(&self) -> Vec<String> {
        vec!["CREATE TABLE keyless (body text)".to_owned(), "INSERT INTO keyless VALUES ('a'), ('a'), (NULL)".to_owned()]
    }
}

async fn open(at: &DatabaseAt) -> Arc<dyn Database> {
    connectors_databases::open(at, 4).await.expect("a door")
}

#[tokio::test]
async fn ranges_and_differences() {
    suite::ranges_and_differences(&Throwaway::new(rig::postgres15()).await, &Throwaway::absent(rig::postgres18())).await;
}

#[tokio::test]
async fn broken_rows_change_nothing() {
    suite::broken_rows_change_nothing(&Throwaway::new(rig::postgres18()).await).await;
}

#[tokio::test]
async fn snapshot_is_one_moment() {
    suite::snapshot_is_one_moment(&Throwaway::new(rig::postgres15()).await).await;
}

#[tokio::test]
async fn cells_are_found_and_changed() {
    suite::cells_are_found_and_changed(&Throwaway::new(rig::postgres18()).await).await;
}

#[tokio::test]
async fn dropping_is_repeatable() {
    suite::dropping_is_repeatable(&Throwaway::new(rig::postgres15()).await, &Throwaway::absent(rig::postgres18())).await;
}

#[tokio::test]
async fn checks_pass() {
    suite::checks_pass(&Throwaway::new(rig::postgres18()).await).await;
}

/// The nasty schema from one server to another, and what came of it.
async fn nasty(from: Server, to: Server) -> (Throwaway, Throwaway) {
    let (source, destination) = (Throwaway::new(from).await, Throwaway::absent(to));
    source.run(&[NASTY]).await;
    let (a, b) = (source.open().await, destination.open().await);
    let copied = copy(&*a, &*b, 40).await;
    assert_eq!(changed(&copied), Vec::<String>::new());
    let left: Vec<&str> = copied.schema.unmovable.iter().map(|u| u.kind.as_str()).collect();
    assert_eq!(left, ["large objects"]);
    assert_equal(&*a, &*b, &[]).await;
    // The destination says of itself what the source says; only the bodies of views are worded differently by other versions.
    let same_version = a.version().await.unwrap() == b.version().await.unwrap();
    let again = latest(&b).await.schema().await.expect("the copy's schema");
    for object in &copied.schema.objects {
        let copy = again.objects.iter().find(|o| o.kind == object.kind && o.name == object.name && o.table == object.table);
        let Some(copy) = copy else { panic!("{:?} {} is missing", object.kind, object.name) };
        // A newer version words views otherwise, and names what is not null, of domains too.
        if same_version || !matches!(object.kind, ObjectKind::View | ObjectKind::Table | ObjectKind::Type) {
            assert_eq!(copy, object);
        }
    }
    assert_eq!(again.objects.len(), copied.schema.objects.len());
    assert_eq!(again.tables.len(), copied.schema.tables.len());
    (source, destination)
}

#[tokio::test]
async fn a_nasty_schema_moves_from_15_to_18() {
    let (source, copy) = nasty(rig::postgres15(), rig::postgres18()).await;
    for question in [
        "SELECT string_agg(id::text, ',') FROM kinds",
        "SELECT sum(value)::text FROM shop.measure",
        "SELECT count(*)::text FROM shop.from_view()",
        "SELECT n::text || price FROM shop.totals",
        "SELECT nextval('shop.lonely')::text || nextval('shop.simple_id_seq')",
        "SELECT shop.product(id)::text FROM shop.a",
        "SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT count(*)::text FROM pg_inherits",
        "SELECT string_agg(conname || convalidated::text || condeferrable::text, ',' ORDER BY conrelid::regclass::text, conname) FROM pg_constraint \
         WHERE contype <> 'n' AND connamespace >= 16384 AND (contype <> 'f' OR conparentid = 0)",
        "SELECT string_agg(i::regclass::text || v::text, ',' ORDER BY i::regclass::text) FROM (SELECT indexrelid AS i, indisvalid AS v FROM pg_index x \
         JOIN pg_class c ON c.oid = x.indexrelid WHERE c.relnamespace >= 2200 AND x.indrelid >= 16384) AS q",
        "SELECT replace(relacl::text, 'tm', 't') || (SELECT attacl::text FROM pg_attribute WHERE attrelid = c.oid AND attname = 'price') FROM pg_class c WHERE oid = 'shop.simple'::regclass",
        "SELECT obj_description('shop'::regnamespace) || col_description('kinds'::regclass, 13)",
    ] {
        let (before, after) = (source.value(question).await, copy.value(question).await);
        assert_eq!(before, after, "{question}");
        assert!(!after.is_empty(), "{question}");
    }
    assert_eq!(
        copy.value("INSERT INTO kinds (an_int) VALUES (5) RETURNING id || '/' || doubled").await,
        "1030/10",
        "identity goes on, computed columns compute"
    );
}

#[tokio::test]
async fn a_nasty_schema_moves_from_18_to_18() {
    nasty(rig::postgres18(), rig::postgres18()).await;
}

#[tokio::test]
async fn every_object_can_be_removed_and_others_are_respected() {
    let source = Throwaway::new(rig::postgres18()).await;
    source.run(&[NASTY]).await;
    let database = source.open().await;
    let schema = latest(&database).await.schema().await.unwrap();
    source.run(&["CREATE VIEW public.theirs AS SELECT * FROM shop.keyless", "CREATE TABLE shop.theirs_too ()"]).await;
    let target = database.write().await.unwrap();
    let mut refused = Vec::new();
    for object in schema.objects.iter().rev() {
        for _ in 0..2 {
            if let Err(error) = target.remove(object).await {
                assert!(error.reason.contains("public.theirs"), "{error}");
                refused.push(object.name.to_string());
            }
        }
    }
    assert_eq!(refused, ["shop.keyless", "shop.keyless"], "what others built upon stays");
    let left = latest(&database).await.schema().await.unwrap();
    let left: Vec<String> = left.objects.iter().map(|o| o.name.to_string()).collect();
    assert_eq!(left, ["shop", "shop.keyless", "shop.theirs_too", "public.theirs", "comment on schema shop", "shop.keep"]);
}

#[tokio::test]
async fn an_edit_is_found_and_named_in_every_kind_of_key() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::absent(rig::postgres18()));
    source.run(&[NASTY]).await;
    let (a, b) = (source.open().await, destination.open().await);
    let schema = copy(&*a, &*b, 40).await.schema;
    destination
        .run(&[
            "SET session_replication_role = replica",
            "UPDATE shop.unique_only SET n = n + 1 WHERE code = 'code42'",
            "UPDATE \"odd \"\"schema\"\" ü\".\"select\" SET \"ü\" = '2024-03-01' WHERE \"from\" = 'Z2'",
            "DELETE FROM shop.measure WHERE at = '2019-12-05' AND place = 2",
        ])
        .await;
    let text = |t: &str| KeyPart::Text(t.to_owned());
    assert_eq!(differing(&a, &b, table(&schema, "unique_only")).await, [Key(vec![text("code42")])]);
    assert_eq!(differing(&a, &b, table(&schema, "select")).await, [Key(vec![text("Z2"), text("00000000-0000-0000-0000-000000003dde")])]);
    assert_eq!(differing(&a, &b, table(&schema, "measure_old")).await, [Key(vec![text("2019-12-05"), KeyPart::Int(2)])]);
}

/// As a rollback does it: tables take their keys, indexes and properties along, in whatever order they point at each other.
#[tokio::test]
async fn tables_go_with_the_foreign_keys_that_point_at_them() {
    let source = Throwaway::new(rig::postgres15()).await;
    source.run(&[NASTY]).await;
    let database = source.open().await;
    let schema = latest(&database).await.schema().await.unwrap();
    let target = database.write().await.unwrap();
    let with_table = [ObjectKind::Index, ObjectKind::ForeignKey, ObjectKind::Constraint, ObjectKind::Property, ObjectKind::Extension];
    for object in schema.objects.iter().rev().filter(|o| !with_table.contains(&o.kind)) {
        target.remove(object).await.unwrap_or_else(|e| panic!("{e}"));
    }
    let left = latest(&database).await.schema().await.unwrap();
    let left: Vec<String> = left.objects.iter().map(|o| o.name.to_string()).collect();
    assert_eq!(left, ["shop", "pg_trgm", "comment on schema shop"], "the extension keeps its schema");
}

/// A sequence that nobody owns moves on while the source lives: the end puts it where it stands then.
#[tokio::test]
async fn positions_are_set_to_where_the_source_stands_at_the_end() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::absent(rig::postgres18()));
    source.run(&["CREATE SEQUENCE lonely; SELECT nextval('lonely'); CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t VALUES (70)"]).await;
    let (a, b) = (source.open().await, destination.open().await);
    copy(&*a, &*b, 10).await;
    assert_eq!(destination.value("SELECT nextval('lonely') || '/' || nextval('t_id_seq')").await, "2/1");
    source.run(&["SELECT setval('lonely', 500)"]).await;
    let now = latest(&a).await.schema().await.unwrap();
    b.write().await.unwrap().finish(&now).await.unwrap();
    assert_eq!(destination.value("SELECT nextval('lonely') || '/' || nextval('t_id_seq')").await, "501/1");
}

/// Differences that compare as equal in SQL are differences all the same.
#[tokio::test]
async fn a_fingerprint_sees_what_equality_does_not() {
    let one = Throwaway::new(rig::postgres15()).await;
    one.run(&["CREATE TABLE t (id integer PRIMARY KEY, n numeric, f double precision, i interval, j jsonb, c character(3), e text)"]).await;
    one.run(&["INSERT INTO t VALUES (1, 1.0, 0, '1 day', '1.0', 'a', NULL)"]).await;
    let database = one.open().await;
    let view = latest(&database).await;
    let schema = view.schema().await.unwrap();
    let t = table(&schema, "t");
    let mut seen = vec![view.fingerprint(t, &KeyRange::default()).await.unwrap().hash];
    for edit in ["n = 1.00", "f = '-0'", "i = '24 hours'", "j = '1.00'", "c = 'b'", "e = ''"] {
        one.run(&[&format!("UPDATE t SET {edit}")]).await;
        let hash = view.fingerprint(t, &KeyRange::default()).await.unwrap().hash;
        assert!(!seen.contains(&hash), "{edit}");
        seen.push(hash);
    }
}

/// Tables large enough to be cut by a sample, with keys that have holes, and sorted by another collation.
#[tokio::test]
async fn large_tables_are_cut_into_even_ranges() {
    let one = Throwaway::new(rig::postgres15()).await;
    one.run(&[
        "CREATE TABLE big (id bigint PRIMARY KEY, pad text)",
        "INSERT INTO big SELECT CASE WHEN i % 2 = 0 THEN i ELSE i::bigint * 1000000 END, repeat('x', 300) FROM generate_series(1, 120000) AS i",
        "ANALYZE big",
        "CREATE TABLE words (word text COLLATE \"en-x-icu\" PRIMARY KEY)",
        "INSERT INTO words SELECT CASE WHEN i % 2 = 0 THEN 'a' ELSE 'B' END || i FROM generate_series(1, 300) AS i",
    ])
    .await;
    let database = one.open().await;
    let view = latest(&database).await;
    let schema = view.schema().await.unwrap();
    for (name, rows, total, most) in [("big", 10_000, 120_000, 40_000), ("words", 10, 300, 60)] {
        let ranges = view.split(table(&schema, name), rows).await.unwrap();
        assert!(ranges.len() >= 6, "{name}: {} ranges", ranges.len());
        let mut sum = 0;
        for range in &ranges {
            let count = view.fingerprint(table(&schema, name), range).await.unwrap().rows;
            assert!(count <= most, "{name}: {count} rows in one range");
            sum += count;
        }
        assert_eq!(sum, total, "{name}");
    }
    let blocks: Vec<RowBlock> = view.rows(table(&schema, "big"), &KeyRange::default()).try_collect().await.unwrap();
    assert!(blocks.len() > 30 && blocks.iter().all(|b| b.data.len() <= 1 << 20), "blocks of up to 1 MiB");
    assert_eq!(blocks.iter().map(|b| b.rows).sum::<u64>(), 120_000);
}

/// Not every user is a superuser: the destination works with an ordinary owner.
#[tokio::test]
async fn an_ordinary_user_can_be_the_destination() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::new(rig::postgres18()).await);
    let role = format!("{}_role", destination.name);
    destination.on_server(&format!("CREATE ROLE {role} LOGIN PASSWORD 'plain'; ALTER DATABASE {} OWNER TO {role}", destination.name)).await;
    source.run(&["CREATE TABLE t (id serial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'v' || i FROM generate_series(1, 10) i"]).await;
    let at = DatabaseAt { username: role.clone(), password: Some(Secret::new("plain")), ..destination.at() };
    let (a, b) = (source.open().await, open(&at).await);
    let copied = copy(&*a, &*b, 4).await;
    let kinds = suite::failing_kinds(&*b, Role::Destination).await;
    let view = latest(&b).await;
    let equal = view.fingerprint(copied.table("t"), &KeyRange::default()).await.unwrap()
        == latest(&a).await.fingerprint(copied.table("t"), &KeyRange::default()).await.unwrap();
    view.close().await.unwrap();
    destination.run(&[&format!("REASSIGN OWNED BY {role} TO postgres")]).await;
    destination.on_server(&format!("ALTER DATABASE {} OWNER TO postgres", destination.name)).await;
    destination.run(&[&format!("DROP OWNED BY {role}")]).await;
    destination.on_server(&format!("DROP ROLE {role}")).await;
    assert!(equal && kinds.is_empty(), "{kinds:?}");
}

#[tokio::test]
async fn what_the_destination_refuses_is_told() {
    let (source, destination) = (Throwaway::new(rig::postgres15()).await, Throwaway::absent(rig::postgres18()));
    let role = format!("{}_reader", source.name);
    source.on_server(&format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role}")).await;
    source.run(&["CREATE TABLE t (id integer PRIMARY KEY)", &format!("GRANT SELECT ON t TO {role}")]).await;
    let (a, b) = (source.open().await, destination.open().await);
    let copied = copy(&*a, &*b, 10).await;
    source.run(&[&format!("DROP OWNED BY {role}"), &format!("DROP ROLE {role}")]).await;
    let Applied::Refused(why) = copied.applied(ObjectKind::Property, "rights on TABLE public.t") else { panic!("{:?}", changed(&copied)) };
    assert!(why.contains(&format!("role \"{role}\" does not exist")), "{why}");
}

#[tokio::test]
async fn failures_have_their_kind_and_no_secret() {
    let one = Throwaway::absent(rig::postgres18());
    let wrong = DatabaseAt { password: Some(Secret::new("wr0ng-s3cret")), ..one.at() };
    let nobody = DatabaseAt { port: 1, ..one.at() };
    let tls = DatabaseAt { tls: TlsMode::VerifyFull, ..one.at() };
    for (at, kind) in [(wrong, ErrorKind::Authentication), (one.at(), ErrorKind::NotFound), (nobody, ErrorKind::Unreachable), (tls, ErrorKind::Unsupported)] {
        let Err(error) = open(&at).await.read(View::Latest { connections: 1 }).await else { panic!("{kind:?} expected") };
        assert_eq!(error.kind, kind, "{error}");
        assert!(!error.advice.is_empty() || kind == ErrorKind::NotFound || kind == ErrorKind::Unsupported, "{error}");
        assert!(!format!("{error} {error:?}").contains("wr0ng-s3cret"));
        assert!(suite::failing_kinds(&*open(&at).await, Role::Source).await.contains(&format!("{kind:?}")));
    }
}
