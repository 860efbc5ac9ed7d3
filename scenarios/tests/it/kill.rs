//! A supervisor sends SIGKILL to the running server at random moments and starts it again until the migration is done.
//!
//! `MA_KILLS` sets the number of kills (50 by default). The source lives on meanwhile, the destination holds an older copy and things of its own that
//! are backed up. In the end the destination must equal the source, and rolled back what it was before. Work must go on within 5 s of a restart, and a
//! kill may cost at most the chunks in flight: a file that is sent again gets a new inode, so re-sent files are counted at the destination.

use crate::plan::fingerprint;
use crate::product::Product;
use crate::tree;
use rand::Rng;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What may be in flight at the moment of a kill: the parallel transfers' batches and parts, with room for a group of results not yet recorded.
const IN_FLIGHT_BYTES: u64 = 64 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn any_moment_may_be_the_last() {
    let wanted: u32 = std::env::var("MA_KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(50);
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("source");
    std::fs::create_dir_all(source.join("media")).expect("a directory");
    tree::make(&source, 4000);
    tree::make_large(&source.join("media/film.bin"), 192 << 20);
    make_database(&dir.path().join("shop.db"), 120_000);
    let shop = rusqlite::Connection::open(dir.path().join("shop.db")).expect("the shop");
    shop.pragma_update(None, "journal_mode", "wal").expect("readers and writers side by side");
    drop(shop);
    let mut product = Product::start(&dir.path().join("data"), &[dir.path()]).await;
    let (mut kills, mut round) = (0, 0);
    while kills < wanted {
        round += 1;
        kills += one_migration(&mut product, dir.path(), round, wanted - kills).await;
    }
    println!("{kills} kills in {round} migrations");
}

/// Runs one migration under fire; gives the number of kills it took.
async fn one_migration(product: &mut Product, dir: &Path, round: u32, budget: u32) -> u32 {
    let (source, to) = (dir.join("source"), dir.join(format!("to-{round}")));
    let database = dir.join(format!("shop-{round}.db"));
    lay_out_older(&source, &to, &database);
    let before = (listing(&to), fingerprint::sqlite(&database));
    let id = product.begin(spec(dir, round)).await;
    let (mut kills, mut resent) = (0, 0);
    let mut seen = HashMap::new();
    while kills < budget {
        live_on(dir, u64::from(round) << 32 | u64::from(kills));
        let moment = Duration::from_millis(rand::rng().random_range(5..400));
        tokio::time::sleep(moment).await;
        let last = last_event(product, &id).await;
        product.kill();
        kills += 1;
        resent += note_inodes(&to, &mut seen);
        product.restart().await;
        if !works_again(product, &id, last).await {
            break;
        }
    }
    let paused = pause(product, &id).await;
    live_on(dir, u64::MAX);
    if paused {
        let (code, answer) = product.post(&format!("/migrations/{id}/resume"), json!({})).await;
        assert_eq!(code, 200, "{answer:#}");
    }
    let status = product.settle(&id).await;
    assert_eq!(status["status"], "completed", "after {kills} kills: {status:#}");
    resent += note_inodes(&to, &mut seen);
    assert!(resent <= u64::from(kills) * IN_FLIGHT_BYTES, "{resent} bytes were sent again after {kills} kills");
    if paused {
        assert_eq!(differences(&source, &to), "Only in TO: of the destination alone", "the destination equals the source");
        assert_eq!(rows(&dir.join("shop.db")), rows(&database), "the database equals the source's");
    }
    let (code, answer) = product.post(&format!("/migrations/{id}/rollback"), json!({})).await;
    assert_eq!(code, 200, "{answer:#}");
    let status = product.settle(&id).await;
    assert_eq!(status["status"], "rolled_back", "after {kills} kills: {status:#}");
    assert_eq!(listing(&to), before.0, "the destination's files are as they were");
    assert_eq!(fingerprint::sqlite(&database), before.1, "the destination's database is as it was");
    std::fs::remove_dir_all(&to).expect("make room for the next round");
    kills
}

/// An older copy of some of the source, and something that is the destination's alone.
fn lay_out_older(source: &Path, to: &Path, database: &Path) {
    // Files that `live_on` spares.
    for n in (98..4000).step_by(100) {
        let name = format!("d{:03}/f{n:05}.bin", n / 100);
        std::fs::create_dir_all(to.join(&name).parent().expect("a parent")).expect("a directory");
        let older: Vec<u8> = std::fs::read(source.join(&name)).expect("a file").iter().map(|byte| !byte).collect();
        std::fs::write(to.join(&name), older).expect("a file");
    }
    std::fs::write(to.join("of the destination alone"), "stays").expect("a file");
    let _none = std::fs::remove_file(database);
    rusqlite::Connection::open(database)
        .expect("a database")
        .execute_batch("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO item VALUES (1, 'older'); CREATE TABLE own(x); INSERT INTO own VALUES ('stays');")
        .expect("an older database");
}

/// What the source's users do: one file and one row change without another size, one file goes, one comes.
fn live_on(dir: &Path, n: u64) {
    let at = |n: u64| dir.join("source").join(format!("d{:03}/f{:05}.bin", n % 40, (n % 40) * 100 + n % 97));
    if let Ok(mut bytes) = std::fs::read(at(n)) {
        for byte in &mut bytes {
            *byte = byte.wrapping_add(1);
        }
        std::fs::write(at(n), bytes).expect("an edit");
    }
    let _gone_already = std::fs::remove_file(at(n.wrapping_add(7)));
    std::fs::write(dir.join("source/media").join(format!("new-{}", n % 100)), n.to_string()).expect("a new file");
    let shop = rusqlite::Connection::open(dir.join("shop.db")).expect("the shop");
    shop.busy_timeout(Duration::from_secs(20)).expect("patience");
    shop.execute("UPDATE item SET name = 'edited' || ?1 WHERE id % 1000 = ?2", (n.to_string(), i64::try_from(n % 1000).expect("small"))).expect("an edit");
}

/// Pauses the migration, unless it has come to its end meanwhile.
async fn pause(product: &Product, id: &str) -> bool {
    let _refused_at_the_end = product.post(&format!("/migrations/{id}/pause"), json!({})).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let (_, status) = product.get(&format!("/migrations/{id}/status")).await;
        match status["status"].as_str() {
            Some("paused") => return true,
            Some("running" | "interrupted") => assert!(Instant::now() < deadline, "it does not pause: {status:#}"),
            _ => return false,
        }
        tokio::task::yield_now().await;
    }
}

/// Names, kinds, modes, times and contents of a tree.
fn listing(dir: &Path) -> String {
    let script = "cd \"$0\" && find . -mindepth 1 -printf '%P %y %m %T@ %l\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum";
    let output = std::process::Command::new("bash").args(["-c", script]).arg(dir).output().expect("find");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn spec(dir: &Path, round: u32) -> Value {
    json!({
        "name": format!("under fire {round}"),
        "source": {"type": "static", "paths": {"web_root": dir.join("source")}, "database": {"type": "sqlite", "database": dir.join("shop.db")}},
        "destination": {"type": "static", "paths": {"web_root": dir.join(format!("to-{round}"))},
            "database": {"type": "sqlite", "database": dir.join(format!("shop-{round}.db"))}},
        "transfer": {"options": {"parallel_transfers": 4, "chunk_size": "5MB"}},
    })
}

async fn last_event(product: &Product, id: &str) -> u64 {
    let (_, page) = product.get(&format!("/migrations/{id}/events?limit=1")).await;
    page["last_event"].as_u64().expect("the number of the newest event")
}

/// Waits for a new event of the run; false when the run is at rest already.
async fn works_again(product: &Product, id: &str, last: u64) -> bool {
    let begun = Instant::now();
    loop {
        let (_, status) = product.get(&format!("/migrations/{id}/status")).await;
        if !matches!(status["status"].as_str(), Some("running" | "interrupted")) {
            return false;
        }
        let (_, page) = product.get(&format!("/migrations/{id}/events?after={last}&wait=1")).await;
        if page["events"].as_array().is_some_and(|e| !e.is_empty()) {
            assert!(begun.elapsed() < Duration::from_secs(5), "work went on only after {:?}", begun.elapsed());
            return true;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no sign of work within 5 s of the restart: {status:#}");
    }
}

/// Remembers every finished file's inode; gives the bytes of files whose inode changed since the last look.
fn note_inodes(dir: &Path, seen: &mut HashMap<std::path::PathBuf, u64>) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let mut resent = 0;
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            resent += note_inodes(&path, seen);
        } else if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            let before = seen.insert(path, meta.ino());
            resent += if before.is_some_and(|ino| ino != meta.ino()) { meta.len() } else { 0 };
        }
    }
    resent
}

/// What differs between two trees, by name, kind, mode, size and content; empty when nothing does.
fn differences(left: &Path, right: &Path) -> String {
    // A directory that ever held more names (staging ones) may stay larger.
    let list = "find . -type d -printf '%P %y %m\\n' -o -printf '%P %y %m %s %l\\n' | sort";
    let script = format!("diff <(cd \"$0\" && {list}) <(cd \"$1\" && {list}); diff -rq --no-dereference \"$0\" \"$1\"");
    let output = std::process::Command::new("bash").args(["-c", &script]).args([left, right]).output().expect("diff");
    let told = String::from_utf8_lossy(&output.stdout).replace(&*right.to_string_lossy(), "TO");
    let own = |line: &&str| !line.starts_with(|c: char| c.is_ascii_digit()) && !line.starts_with("> of the destination alone");
    told.lines().filter(own).take(40).collect::<Vec<_>>().join("\n")
}

pub fn make_database(path: &Path, rows: u64) {
    let db = rusqlite::Connection::open(path).expect("a database");
    db.execute_batch("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL, data BLOB); CREATE INDEX by_name ON item(name); CREATE VIEW cheap AS SELECT * FROM item WHERE price < 10;")
        .expect("the schema");
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) INSERT INTO item SELECT i, 'name ' || i, i / 7.0, randomblob(60) FROM n",
        [i64::try_from(rows).expect("few enough")],
    )
    .expect("the rows");
}

/// All rows as one hash, and the number of them.
fn rows(path: &Path) -> (u64, String) {
    let db = rusqlite::Connection::open(path).expect("the database");
    let mut query = db.prepare("SELECT id, name, price, data FROM item ORDER BY id").expect("a query");
    let mut hasher = blake3::Hasher::new();
    let mut count = 0;
    let mut found = query.query([]).expect("rows");
    while let Some(row) = found.next().expect("a row") {
        count += 1;
        for column in 0..4 {
            hasher.update(format!("{:?}", row.get_ref(column).expect("a cell")).as_bytes());
        }
    }
    (count, hasher.finalize().to_hex().to_string())
}
