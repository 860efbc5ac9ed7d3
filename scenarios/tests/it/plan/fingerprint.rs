//! The state of a tree and of databases as text, so that a difference can be read.

use mysql_async::prelude::Queryable;
use rusqlite::types::Value;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// One line for each thing below `root`: path, mode, target or hash. `names` differ from world to world and count as one.
pub fn tree(root: &Path, names: &[&str]) -> String {
    let mut out = String::new();
    if root.exists() {
        walk(root, root, names, &mut out);
    } else {
        out.push_str("absent\n");
    }
    out
}

fn walk(root: &Path, dir: &Path, names: &[&str], out: &mut String) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.strip_prefix(root).expect("below the root").display().to_string();
        let meta = std::fs::symlink_metadata(&path).expect("its metadata");
        if meta.is_symlink() {
            writeln!(out, "{name} -> {}", std::fs::read_link(&path).expect("a target").display()).expect("text");
        } else if meta.is_dir() {
            writeln!(out, "{name}/ {:o}", meta.permissions().mode() & 0o7777).expect("text");
            walk(root, &path, names, out);
        } else if path.extension().is_some_and(|e| e == "db") {
            writeln!(out, "{name}").expect("text");
        } else {
            let content = String::from_utf8_lossy(&std::fs::read(&path).expect("its bytes")).into_owned();
            let content = names.iter().fold(content, |text, name| text.replace(name, "NAME"));
            let hash = blake3::hash(content.as_bytes()).to_hex();
            writeln!(out, "{name} {:o} {hash}", meta.permissions().mode() & 0o7777).expect("text");
        }
    }
}

/// Every object and every row of a SQLite file.
pub fn sqlite(path: &Path) -> String {
    if !path.exists() {
        return "absent\n".to_owned();
    }
    let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    let mut objects =
        db.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name").expect("the schema");
    let objects: Vec<(String, String, String)> =
        objects.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).expect("objects").map(|r| r.expect("one")).collect();
    let mut out = String::new();
    for (kind, name, sql) in objects {
        writeln!(out, "{kind} {name}: {}", sql.split_whitespace().collect::<Vec<_>>().join(" ")).expect("text");
        if kind == "table" {
            let mut rows = db.prepare(&format!("SELECT * FROM \"{name}\" ORDER BY rowid")).expect("a table");
            let width = rows.column_count();
            let lines = rows.query_map([], |r| (0..width).map(|i| r.get::<_, Value>(i)).collect::<Result<Vec<_>, _>>()).expect("rows");
            for line in lines {
                writeln!(out, "  {:?}", line.expect("a row")).expect("text");
            }
        }
    }
    out
}

/// Every table's definition and rows of a MySQL or MariaDB database; `name` itself is left out of the text.
pub async fn mysql(db: &mut mysql_async::Conn, name: &str) -> String {
    let exists: Option<String> = db.exec_first("SELECT schema_name FROM information_schema.schemata WHERE schema_name = ?", (name,)).await.expect("ask");
    if exists.is_none() {
        return "absent\n".to_owned();
    }
    let tables: Vec<String> =
        db.exec("SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name", (name,)).await.expect("the tables");
    let mut out = String::new();
    for table in tables {
        writeln!(out, "table {table}").expect("text");
        let rows: Vec<mysql_async::Row> = db.query(format!("SELECT * FROM `{name}`.`{table}` ORDER BY 1")).await.expect("rows");
        for row in rows {
            writeln!(out, "  {:?}", row.unwrap()).expect("text");
        }
    }
    out
}
