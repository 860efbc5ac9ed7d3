//! `db migrate` with the real program: a database of the first schema comes up to date with what is in it, one of a newer program is refused.

use crate::product::{Product, binary};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params_from_iter};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The schema of the first release.
const FIRST: &str = include_str!("../../../crates/store/src/schema/0001.sql");
/// Tables of the first release that hold something once a migration was created.
const TABLES: [&str; 3] = ["run", "step", "event"];

/// Exit code, and the one JSON result on stdout.
fn db(data: &Path, what: &str) -> (i32, Value) {
    let out = Command::new(binary()).args(["--json", "db", what, "--data-dir"]).arg(data).output().expect("the program");
    let result = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stdout)));
    (out.status.code().expect("an exit code"), result)
}

fn columns(database: &Connection, table: &str) -> Vec<String> {
    let mut query = database.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).expect("a query");
    query.query_map([], |row| row.get(0)).expect("rows").map(|name| name.expect("a name")).collect()
}

/// Brings what both know of a table from the new database to the old one.
fn copy(new: &Connection, old: &Connection, table: &str) {
    let names = columns(old, table);
    let marks = vec!["?"; names.len()].join(", ");
    let mut query = new.prepare(&format!("SELECT {} FROM {table}", names.join(", "))).expect("a query");
    let mut rows = query.query([]).expect("rows");
    while let Some(row) = rows.next().expect("a row") {
        let cells: Vec<Cell> = (0..names.len()).map(|i| row.get(i).expect("a cell")).collect();
        old.execute(&format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(", ")), params_from_iter(cells)).expect("inserted");
    }
}

/// Makes the database of a data directory as the first release would have made it, with the same migrations and keys.
fn age(data: &Path) {
    let (file, aside) = (data.join("migration-assistant.db"), data.join("new.db"));
    for end in ["", "-wal", "-shm"] {
        let of = |path: &Path| format!("{}{end}", path.display());
        // The two beside it are there only sometimes.
        let _maybe = std::fs::rename(of(&file), of(&aside));
    }
    let (new, old) = (Connection::open(&aside).expect("the new database"), Connection::open(&file).expect("a database"));
    let first = FIRST.replace("{blob}", "BLOB").replace("{identity}", "INTEGER PRIMARY KEY AUTOINCREMENT");
    assert!(!first.contains('{'), "another word of both databases");
    old.execute_batch(&format!("{first}; CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (1);")).expect("a schema");
    for table in TABLES {
        copy(&new, &old, table);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_database_comes_up_to_date_and_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let mut product = Product::start(&data, &[]).await;
    let (status, made) = product
        .post(
            "/migrations",
            json!({"name": "old", "source": {"type": "static", "host": "old.example", "username": "u", "password": "hidden"},
            "destination": {"type": "aws-s3", "bucket": "new-site", "access_key_id": "AK", "secret_access_key": "hidden"}}),
        )
        .await;
    assert_eq!(status, 201, "{made:#}");
    let id = made["id"].as_str().expect("an id").to_owned();
    product.end();
    let (_, now) = db(&data, "check");
    age(&data);
    let (exit, checked) = db(&data, "check");
    assert_eq!((exit, &checked["schema"], &checked["needs"]), (1, &json!(1), &now["needs"]), "{checked:#}");

    assert_eq!(db(&data, "migrate").0, 0);
    let (exit, checked) = db(&data, "check");
    assert_eq!((exit, &checked["schema"], &checked["secrets"], &checked["unreadable"]), (0, &now["needs"], &json!(1), &json!(0)), "{checked:#}");
    product.restart().await;
    let (status, shown) = product.get(&format!("/migrations/{id}")).await;
    assert_eq!((status, &shown["name"]), (200, &json!("old")), "{shown:#}");
    product.end();

    let database = Connection::open(data.join("migration-assistant.db")).expect("the database");
    database.execute("UPDATE schema_version SET version = 9999", []).expect("a newer schema");
    let (exit, refused) = db(&data, "migrate");
    assert_eq!(exit, 1, "{refused:#}");
    assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains("schema version 9999") && m.contains("newer program")), "{refused:#}");
    let version: i64 = database.query_row("SELECT version FROM schema_version", [], |row| row.get(0)).expect("a version");
    assert_eq!(version, 9999, "a refusal changes nothing");
}
