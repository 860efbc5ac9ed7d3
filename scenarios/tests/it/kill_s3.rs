//! One large file on its way into a bucket, and a server that is killed again and again: the upload goes on under its id, and no part
//! that was done is sent again. What was sent is counted in front of the store, what was done is read from the journal.

use crate::bucket::Bucket;
use crate::kill_proxy::{Passed, Proxy};
use crate::product::Product;
use crate::tree;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const SIZE: u64 = 1 << 30;
const KILLS: u64 = 5;
const PARALLEL: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlives_its_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let site = dir.path().join("site");
    std::fs::create_dir(&site).expect("a directory");
    let sent = tree::make_huge(&site.join("film.bin"), SIZE);
    let bucket = Bucket::strict("kill");
    let proxy = Proxy::before(bucket.port()).await;
    let mut product = Product::start(&dir.path().join("data"), &[dir.path()]).await;

    proxy.hold_the_next_begin();
    let migration = product.begin(spec(&site, &bucket, proxy.port)).await;
    proxy.held().await;
    let orphan = bucket.uploads();
    assert_eq!(orphan.len(), 1, "begun, and nobody has written it down");
    product.kill();
    proxy.silent().await;
    product.restart().await;

    let (mut upload, mut lives) = (None, Vec::new());
    for _ in 0..KILLS {
        proxy.reached(proxy.part_bytes() + SIZE / (KILLS + 1)).await;
        product.kill();
        lives.push(Life { passed: proxy.silent().await, done: parts_done(&product.data) });
        let open = bucket.uploads();
        assert_eq!(open.len(), 1, "one upload and no other: {open:?}");
        assert_ne!(open, orphan, "the one that nobody knew of is gone");
        assert_eq!(upload.get_or_insert(open.clone()), &open, "the same goes on");
        product.restart().await;
    }
    let status = product.settle(&migration).await;
    assert_eq!(status["status"], "completed", "{status:#}");
    assert_eq!(bucket.uploads(), Vec::<String>::new(), "nothing unfinished is left");
    assert_eq!(bucket.hash("film.bin"), sent, "what is stored is what was read");
    check_thrift(&lives, &proxy.passed());
    bucket.remove(&["film.bin"]).await;
}

/// How things stood when the server had been killed.
struct Life {
    /// All requests since the beginning.
    passed: Vec<Passed>,
    /// Number and size of the parts that the journal calls done.
    done: BTreeMap<u64, u64>,
}

/// Every part that was done at a kill is never sent again, so that beyond the file only what was in flight at the kills went through.
fn check_thrift(lives: &[Life], all: &[Passed]) {
    let part_size = lives.iter().flat_map(|l| l.done.values()).max().copied().expect("parts were done");
    let mut in_flight = 0;
    let mut before = Life { passed: Vec::new(), done: BTreeMap::new() };
    for life in lives {
        let sent = &life.passed[before.passed.len()..];
        assert!(life.done.len() > before.done.len(), "work went on between two kills");
        let lost: u64 = sent.iter().filter(|r| r.part().is_some_and(|n| !life.done.contains_key(&n))).map(|r| r.bytes).sum();
        assert!(lost <= 2 * PARALLEL * part_size, "{lost} bytes were in flight, or their being done was not written down in time");
        in_flight += lost;
        let again: Vec<&Passed> = all[life.passed.len()..].iter().filter(|r| r.part().is_some_and(|n| life.done.contains_key(&n))).collect();
        assert!(again.is_empty(), "done and sent again: {again:?}");
        before = Life { passed: life.passed.clone(), done: life.done.clone() };
    }
    let sent: u64 = all.iter().filter(|r| r.part().is_some()).map(|r| r.bytes).sum();
    assert_eq!(sent, SIZE + in_flight, "the file once, and what was in flight");
    let done: Vec<usize> = lives.iter().map(|l| l.done.len()).collect();
    println!("{} kills; parts done at each: {done:?} of {}; {in_flight} bytes were in flight in all", lives.len(), SIZE.div_ceil(part_size));
}

fn spec(site: &Path, bucket: &Bucket, port: u16) -> Value {
    json!({
        "name": "a film under fire",
        "source": {"type": "static", "paths": {"web_root": site}},
        "destination": bucket.destination(&format!("http://127.0.0.1:{port}")),
        "transfer": {"options": {"parallel_transfers": PARALLEL, "chunk_size": "16MB"}},
        "safety": {"backup_before": false},
    })
}

/// Number and size of the parts that are done, as the journal of a dead server tells. (The only file there is begins with chunk 0.)
fn parts_done(data: &Path) -> BTreeMap<u64, u64> {
    let journal = rusqlite::Connection::open(data.join("migration-assistant.db")).expect("the journal");
    let mut query = journal
        .prepare("SELECT chunk.seq & 4294967295, chunk.bytes FROM chunk JOIN ledger ON ledger.id = chunk.ledger WHERE ledger.name = 'files' AND chunk.bytes > 0 AND chunk.result IS NOT NULL")
        .expect("a query");
    let rows = query.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).expect("rows");
    rows.map(|row| row.expect("a row")).map(|(place, bytes)| (place as u64 + 1, bytes as u64)).collect()
}
