//! The walls between tenants that PostgreSQL holds even when a statement forgets its tenant.

use crate::postgres::database;
use engine::journal::{Change, Chunks, ClaimRequest, Leases, NewChunk, Record, Runs, StepPin};
use engine::state::Request;
use engine::{Journal, NewRun, RunFilter, RunLine};
use ports::records::{Audit, AuditEntry, Fields, Records, Write};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::time::Duration;
use store::Store;

/// Every table that has rows of tenants.
const WALLED: [&str; 9] = ["run", "step", "event", "memo", "ledger", "chunk", "record", "audit", "outbox"];

/// A row in every table.
async fn fill(store: &Store, tenant: &str) {
    let run = NewRun {
        id: format!("run of {tenant}"),
        tenant: tenant.to_owned(),
        kind: tenant.to_owned(),
        input: json!({"password": "hunter2"}),
        labels: json!({}),
        holds: None,
    };
    let journal: &dyn Journal = store;
    journal.create(&run, &[StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 }]).await.expect("created");
    store.request(tenant, &run.id, &Request::Start { options: Value::Null }).await.expect("started");
    let claim = ClaimRequest { owner: "w".to_owned(), kinds: vec![tenant.to_owned()], except: Vec::new(), lease: Duration::from_mins(1), node: None };
    let token = store.claim(&claim).await.expect("asked").expect("a run").token;
    let memo = Change::Memo { scope: String::new(), key: "k".to_owned(), value: Some(json!("m")) };
    Record::write(store, &token, vec![memo], Vec::new()).await.expect("written");
    store.plan(&token, "files", vec![NewChunk { seq: 0, spec: vec![1], items: 1, bytes: 1 }]).await.expect("planned");
    store.apply(vec![Write::insert(tenant, "preset", "p", Fields::body(json!({"of": tenant})))]).await.expect("inserted");
    store.note(AuditEntry { tenant: tenant.to_owned(), ..AuditEntry::default() }).await.expect("noted");
}

struct Raw(PgConnection);

impl Raw {
    async fn open(url: &str) -> Self {
        Self(PgConnection::connect(url).await.expect("a connection"))
    }

    async fn run(&mut self, sql: &str) -> Result<u64, String> {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.map(|d| d.rows_affected()).map_err(|e| e.to_string())
    }

    async fn rows(&mut self, sql: &str) -> Vec<PgRow> {
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.0).await.expect(sql)
    }

    async fn tenants(&mut self, table: &str) -> Vec<String> {
        self.rows(&format!("SELECT DISTINCT tenant FROM {table} ORDER BY tenant")).await.iter().map(|r| r.get(0)).collect()
    }

    async fn reach(&mut self, tenant: &str) {
        self.run(&format!("SET migration_assistant.tenant = '{tenant}'")).await.expect("a setting");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_without_a_condition_finds_nothing_of_others() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    let store = Store::open(&database.url(), dir.path()).await.unwrap();
    for tenant in ["a", "b"] {
        fill(&store, tenant).await;
    }
    let mut raw = Raw::open(&database.url()).await;
    for table in WALLED {
        assert!(raw.tenants(table).await.is_empty(), "{table}: a connection that says nothing sees nothing");
        raw.reach("a").await;
        assert_eq!(raw.tenants(table).await, ["a"], "{table}");
        raw.reach("*").await;
        assert_eq!(raw.tenants(table).await, ["a", "b"], "{table}: what a server does for all sees all");
        raw.run("RESET migration_assistant.tenant").await.unwrap();
    }
    raw.reach("a").await;
    let plain = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT relforcerowsecurity ORDER BY 1";
    let plain: Vec<String> = raw.rows(plain).await.iter().map(|r| r.get(0)).collect();
    // Of no tenant: names of nodes, numbers of ledgers, and sums over everybody.
    assert_eq!(plain, ["bucket", "dropped_ledger", "node", "schema_version", "step_time"], "every other table has walls");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_others_is_written() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    let store = Store::open(&database.url(), dir.path()).await.unwrap();
    for tenant in ["a", "b"] {
        fill(&store, tenant).await;
    }
    let mut raw = Raw::open(&database.url()).await;
    raw.reach("a").await;
    for table in WALLED.into_iter().filter(|t| *t != "audit") {
        // The condition on the own tenant is missing, and one on the other's is there.
        assert_eq!(raw.run(&format!("UPDATE {table} SET tenant = tenant WHERE tenant = 'b'")).await, Ok(0), "{table}");
        assert_eq!(raw.run(&format!("DELETE FROM {table} WHERE tenant = 'b'")).await, Ok(0), "{table}");
        let moved = raw.run(&format!("UPDATE {table} SET tenant = 'b'")).await.unwrap_err();
        assert!(moved.contains("row-level security"), "{table}: {moved}");
    }
    for insert in [
        "INSERT INTO record (tenant, kind, id, body, created_at, updated_at) VALUES ('b', 'preset', 'q', '{}', 0, 0)",
        "INSERT INTO run (id, tenant, kind, state, labels, input, options, created_at) VALUES ('q', 'b', 'k', 'created', '{}', '', 'null', 0)",
        "INSERT INTO audit (at, tenant, actor, proof, action, target, source, request_id, result, details) VALUES (0, 'b', '', '', '', '', '', '', '', '')",
        "INSERT INTO outbox (tenant, run, seq, kind) VALUES ('b', 'q', 1, 'run.created')",
        "INSERT INTO step (run, idx, name, title, version, tenant) VALUES ('run of b', 9, 'n', 't', 1, 'b')",
        "INSERT INTO event (run, seq, at, kind, level, component, message, details, tenant) VALUES ('run of b', 99, 0, 'k', 1, '', '', '{}', 'b')",
    ] {
        let refused = raw.run(insert).await.unwrap_err();
        assert!(refused.contains("row-level security"), "{insert}: {refused}");
    }
    // What hangs on a run belongs to whoever writes it; nobody writes for all.
    raw.reach("*").await;
    let nobody = raw.run("INSERT INTO step (run, idx, name, title, version) VALUES ('run of b', 9, 'n', 't', 1)").await.unwrap_err();
    assert!(nobody.contains("step_tenant"), "{nobody}");
    assert_eq!(store.view("b", "run of b").await.unwrap().steps.len(), 1, "all of it is as it was");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_a_wall_that_is_gone_and_a_role_that_needs_none() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    Store::open(&database.url(), dir.path()).await.unwrap().close().await;
    let found = store::check(&database.url(), dir.path()).await.unwrap();
    assert!(found.is_good() && !found.passes_walls, "{found:?}");
    let mut raw = Raw::open(&database.url()).await;
    raw.run("ALTER TABLE memo NO FORCE ROW LEVEL SECURITY").await.unwrap();
    raw.run("DROP POLICY own_tenant ON record").await.unwrap();
    let found = store::check(&database.superuser_url(), dir.path()).await.unwrap();
    assert_eq!((found.is_good(), found.passes_walls, found.without_walls), (false, true, vec!["memo".to_owned(), "record".to_owned()]));
}

/// The words of the schema's steps as PostgreSQL knows them.
fn of_postgres(step: &str) -> String {
    step.replace("{blob}", "BYTEA").replace("{identity}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_from_before_the_walls_gets_them() {
    let (database, dir) = (database(), tempfile::tempdir().unwrap());
    let mut raw = Raw::open(&database.url()).await;
    let steps = [
        include_str!("../../src/schema/0001.sql"),
        include_str!("../../src/schema/0002.sql"),
        include_str!("../../src/schema/0002_append_only_postgres.sql"),
        include_str!("../../src/schema/0003.sql"),
        include_str!("../../src/schema/0004.sql"),
        include_str!("../../src/schema/0005.sql"),
        "CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (5);
         INSERT INTO run (id, tenant, kind, state, labels, input, options, created_at) VALUES ('r1', 'a', 'k', 'created', '{}', '', 'null', 1), ('r2', 'b', 'k', 'created', '{}', '', 'null', 2);
         INSERT INTO step (run, idx, name, title, version) VALUES ('r1', 0, 'n', 't', 1), ('r2', 0, 'n', 't', 1);
         INSERT INTO event (run, seq, at, kind, level, component, message, details) VALUES ('r2', 1, 1, 'k', 1, 'c', 'm', '{}'), ('gone', 1, 1, 'k', 1, 'c', 'm', '{}');
         INSERT INTO ledger (run, name) VALUES ('r1', 'files'), ('r2', 'files');
         INSERT INTO chunk (ledger, seq, spec, items, bytes) SELECT id, 7, '', 1, 1 FROM ledger;
         INSERT INTO audit (at, tenant, actor, proof, action, target, source, request_id, result, details) VALUES (0, 'a', '', '', '', '', '', '', '', '{}');",
    ];
    for step in steps {
        sqlx::raw_sql(AssertSqlSafe(of_postgres(step))).execute(&mut raw.0).await.expect("an old schema");
    }
    let store = Store::open(&database.url(), dir.path()).await.unwrap();
    let view = store.view("b", "r2").await.unwrap();
    assert_eq!(view.steps.len(), 1);
    assert_eq!(store.lines("b", &RunFilter::default()).await.unwrap(), [RunLine::from(&view)], "steps of old runs are counted");
    assert_eq!(store.all("b", "r2", "files", None, 9).await.unwrap().len(), 1);
    raw.reach("*").await;
    for (table, tenants) in [("step", vec!["a", "b"]), ("event", vec!["b"]), ("chunk", vec!["a", "b"]), ("audit", vec!["a"])] {
        assert_eq!(raw.tenants(table).await, tenants, "{table}");
    }
    store.close().await;
    assert!(store::check(&database.url(), dir.path()).await.unwrap().without_walls.is_empty());
}
