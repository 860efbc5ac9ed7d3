//! The site of `cargo xtask demo`: makes it, and tells in one line what a directory and a database hold.
//!
//! `demo-site make DIR` writes `site/` and `shop.db` (the source), and `live/` and `live.db` (what the destination has before).
//! `demo-site fingerprint DIR FILE` prints hashes and counts of a tree and of a SQLite database.

use anyhow::{Context, Result, bail};
use rusqlite::Connection;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const PAGES: usize = 2400;
const PICTURES: usize = 600;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", dir] => make(Path::new(dir)),
        ["fingerprint", dir, database] => fingerprint(Path::new(dir), Path::new(database)),
        _ => bail!("demo-site make DIR | demo-site fingerprint DIR FILE"),
    }
}

fn make(dir: &Path) -> Result<()> {
    let site = dir.join("site");
    for n in 0..PAGES {
        let body = format!("<h1>Product {n}</h1>\n").repeat(n % 90 + 1);
        write(&site.join(format!("products/{:02}/product-{n}.html", n % 40)), body.as_bytes())?;
    }
    for n in 0..PICTURES {
        write(&site.join(format!("pictures/{:02}/{n}.png", n % 12)), &noise(n, 20_000 + n * 40))?;
    }
    write(&site.join("film.mp4"), &noise(PICTURES, 160 << 20))?;
    write(&site.join("index.html"), b"<!doctype html><title>Shop</title><h1>The new shop</h1>")?;
    write(&site.join("empty.txt"), b"")?;
    shop(&dir.join("shop.db"), 150_000)?;
    // What is live at the destination, and must come back after the undo.
    let live = dir.join("live");
    write(&live.join("index.html"), b"<!doctype html><title>Shop</title><h1>The old shop</h1>")?;
    write(&live.join("only-here.txt"), b"This file is not the migration's business.")?;
    shop(&dir.join("live.db"), 10)
}

fn write(path: &Path, body: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file lies in a directory")?;
    std::fs::create_dir_all(parent)?;
    std::fs::write(path, body).with_context(|| format!("write {}", path.display()))
}

/// Bytes that do not compress, the same in every run.
fn noise(seed: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn shop(path: &Path, orders: u32) -> Result<()> {
    let db = Connection::open(path)?;
    db.execute_batch(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, note TEXT);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer(id), cents INTEGER NOT NULL, stamp BLOB,
             euros REAL GENERATED ALWAYS AS (cents / 100.0) STORED);
         CREATE INDEX orders_by_customer ON orders (customer, cents DESC);
         CREATE VIEW revenue AS SELECT c.name, sum(o.cents) AS cents FROM orders o JOIN customer c ON c.id = o.customer GROUP BY c.name;
         CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
         CREATE TRIGGER orders_removed AFTER DELETE ON orders BEGIN INSERT INTO audit (what) VALUES ('order ' || old.id || ' removed'); END;",
    )?;
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO customer SELECT i, 'Customer ' || i || ' é', NULL FROM n",
        [orders / 10 + 1],
    )?;
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO orders (id, customer, cents, stamp) SELECT i, i % (?1 / 10) + 1, i * 37 % 100000, zeroblob(i % 50) FROM n",
        [orders],
    )?;
    Ok(())
}

fn fingerprint(dir: &Path, database: &Path) -> Result<()> {
    let mut line = String::new();
    if dir.exists() {
        let (mut hasher, mut files) = (blake3::Hasher::new(), 0);
        walk(dir, dir, &mut hasher, &mut files)?;
        write!(line, "{files} files {}", &hasher.finalize().to_hex()[..16])?;
    } else {
        line.push_str("no files");
    }
    if database.exists() {
        let (rows, hash) = contents(database)?;
        write!(line, ", {rows} rows {hash}")?;
    } else {
        line.push_str(", no database");
    }
    println!("{line}");
    Ok(())
}

fn walk(root: &Path, dir: &Path, hasher: &mut blake3::Hasher, files: &mut u64) -> Result<()> {
    let mut entries = std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for path in entries {
        let meta = std::fs::symlink_metadata(&path)?;
        hasher.update(path.strip_prefix(root)?.as_os_str().as_encoded_bytes());
        hasher.update(&(meta.permissions().mode() & 0o777).to_le_bytes());
        if meta.is_dir() {
            walk(root, &path, hasher, files)?;
        } else {
            *files += 1;
            hasher.update(&meta.len().to_le_bytes());
            hasher.update_reader(std::fs::File::open(&path)?)?;
        }
    }
    Ok(())
}

/// Every object's definition and every row, in an order of its own; how the file lies on the disk does not matter.
fn contents(database: &Path) -> Result<(u64, String)> {
    let db = Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut hasher = blake3::Hasher::new();
    let objects = "SELECT type, name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name";
    let mut tables = Vec::new();
    for row in db.prepare(objects)?.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?)))? {
        let (kind, name, sql) = row?;
        hasher.update(format!("{kind} {name} {sql}\n").as_bytes());
        if kind == "table" {
            tables.push(name);
        }
    }
    let mut count = 0;
    for table in tables {
        let mut query = db.prepare(&format!("SELECT * FROM \"{}\" ORDER BY 1", table.replace('"', "\"\"")))?;
        let columns = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            count += 1;
            for column in 0..columns {
                hasher.update(format!("{:?}|", row.get_ref(column)?).as_bytes());
            }
        }
    }
    Ok((count, hasher.finalize().to_hex()[..16].to_owned()))
}
