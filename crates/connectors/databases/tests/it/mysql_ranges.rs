//! Key ranges and fingerprints of MySQL and MariaDB.

use super::{Throwaway, each_pair, each_server, nasty, rig};
use crate::suite::{self, Fixture};
use futures::TryStreamExt;
use ports::databases::{KeyRange, Reading, RowSource, Table, View};

/// The fingerprint of the only table.
async fn fingerprint_of(one: &Throwaway) -> String {
    let view = one.open().await.read(View::Latest { connections: 1 }).await.expect("read");
    let schema = view.schema().await.expect("schema");
    view.fingerprint(&schema.tables[0], &KeyRange::default()).await.expect("fingerprint").hash
}

/// All blocks in one piece, and what came behind them.
async fn read_whole(view: &dyn RowSource, table: &Table, range: &KeyRange) -> (Vec<u8>, ports::databases::Fingerprint) {
    let parts: Vec<Reading> = view.rows_with_fingerprint(table, range).expect("both at once").try_collect().await.expect("rows");
    let (mut data, mut end) = (Vec::new(), None);
    for part in parts {
        match part {
            Reading::Rows(block) => data.extend_from_slice(&block.data),
            Reading::Fingerprint(fingerprint) => assert_eq!(end.replace(fingerprint), None),
        }
    }
    (data, end.expect("a fingerprint at the end"))
}

/// Rows that are read with their fingerprint are the same rows and have the same fingerprint, whatever their types.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_with_their_fingerprint() {
    each_server(|one| async move {
        suite::run_all(&*one, &nasty::tables(one.server.port == rig::mariadb().port)).await;
        suite::run_all(&*one, &one.keyless()).await;
        let view = one.open().await.read(View::Snapshot { connections: 2 }).await.expect("read");
        for table in &view.schema().await.expect("schema").tables {
            for range in view.split(table, 3).await.expect("split") {
                let blocks: Vec<_> = view.rows(table, &range).try_collect().await.expect("rows");
                let rows: Vec<u8> = blocks.iter().flat_map(|b| b.data.to_vec()).collect();
                let expected = (rows, view.fingerprint(table, &range).await.expect("fingerprint"));
                assert_eq!(read_whole(&*view, table, &range).await, expected, "{} {range:?}", table.name);
            }
        }
    })
    .await;
}

/// Every edit changes the fingerprint, and every state has its own: same size, NULL or empty, a value moved to its neighbour, and
/// long values that do not fit into one string together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_edit_is_overlooked() {
    let edits = [
        "UPDATE t SET a='axc'",
        "UPDATE t SET a=''",
        "UPDATE t SET a='N'",
        "UPDATE t SET a=NULL",
        "UPDATE t SET a=NULL, b='abc'",
        "UPDATE t SET a='3,abc', b=''",
        "UPDATE t SET n=7",
        "UPDATE t SET n=NULL",
        "UPDATE t SET n=NULL, x=CONCAT(REPEAT('x', 8999999), 'y')",
        "UPDATE t SET x='', y=CONCAT(REPEAT('x', 8999999), 'y')",
        "UPDATE t SET x=REPEAT('x', 9000000), y=CONCAT(REPEAT('y', 8999999), 'x')",
        "UPDATE t SET x=REPEAT('x', 9000000), y=REPEAT('y', 9000000)",
        "INSERT INTO t SELECT 2, a, b, n, m, x, y FROM t",
    ];
    each_server(|one| async move {
        one.run(&[
            "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(20) NOT NULL, n INT, m INT NOT NULL, x LONGTEXT NOT NULL, y LONGBLOB)",
            "INSERT INTO t VALUES (1, 'abc', '', 5, 5, '', NULL)",
        ])
        .await;
        let mut seen = vec![fingerprint_of(&one).await];
        for edit in edits {
            one.run(&[edit]).await;
            let now = fingerprint_of(&one).await;
            assert!(!seen.contains(&now), "after {edit}");
            seen.push(now);
        }
    })
    .await;
}

/// Ranges written side by side neither block nor disturb each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_are_written_side_by_side() {
    each_pair(|a, b| async move {
        suite::run_all(&*a, &a.items(2000)).await;
        let (source, destination) = (a.open().await, b.open().await);
        suite::copy(&*source, &*destination, 10_000).await;
        b.run(&["DELETE FROM items"]).await;
        let view = source.read(View::Snapshot { connections: 4 }).await.expect("read");
        let writer = destination.write().await.expect("write");
        let schema = view.schema().await.expect("schema");
        let items = suite::table(&schema, "items");
        let ranges = view.split(items, 50).await.expect("split");
        let work = ranges.iter().map(|range| writer.replace(items, range, view.rows(items, range)));
        let counts = futures::future::try_join_all(work).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(counts.iter().sum::<u64>(), 2000);
        suite::assert_equal(&*source, &*destination, &[]).await;
    })
    .await;
}

/// A stream that is dropped in the middle leaves its session usable: a snapshot with one connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_stream_does_not_cost_the_snapshot() {
    each_server(|one| async move {
        one.run(&["CREATE TABLE wide (id INT PRIMARY KEY, body LONGTEXT)"]).await;
        for id in 0..8 {
            one.run(&[&format!("INSERT INTO wide VALUES ({id}, REPEAT('x', 900000))")]).await;
        }
        let view = one.open().await.read(View::Snapshot { connections: 1 }).await.expect("read");
        let schema = view.schema().await.expect("schema");
        let wide = suite::table(&schema, "wide");
        let mut rows = view.rows(wide, &KeyRange::default());
        assert!(rows.try_next().await.expect("rows").is_some_and(|block| block.rows < 8), "blocks are about 1 MiB");
        drop(rows);
        assert_eq!(view.fingerprint(wide, &KeyRange::default()).await.expect("the snapshot lives").rows, 8);
    })
    .await;
}

/// A copy that is given up in the middle changes nothing and holds nothing up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_given_up_in_the_middle_leaves_no_trace() {
    each_server(|one| async move {
        suite::run_all(&*one, &one.items(20)).await;
        let database = one.open().await;
        let view = database.read(View::Latest { connections: 1 }).await.expect("read");
        let schema = view.schema().await.expect("schema");
        let items = suite::table(&schema, "items");
        let whole = KeyRange::default();
        let before = view.fingerprint(items, &whole).await.expect("fingerprint");
        let writer = database.write().await.expect("write");
        let (sent, first_block_sent) = tokio::sync::oneshot::channel();
        let first = view.rows(items, &whole).try_next().await.expect("rows");
        let rows = futures::stream::unfold((first, Some(sent)), |(block, sent)| async move {
            let Some(block) = block else {
                sent.expect("asked only once more").send(()).expect("the test listens");
                return futures::future::pending().await;
            };
            Some((Ok(block), (None, sent)))
        });
        tokio::select! {
            outcome = writer.replace(items, &whole, Box::pin(rows)) => panic!("the rows never end: {outcome:?}"),
            seen = first_block_sent => seen.expect("the first block was taken"),
        }
        assert_eq!(view.fingerprint(items, &whole).await.expect("fingerprint"), before);
        let count = writer.replace(items, &whole, view.rows(items, &whole)).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((count, view.fingerprint(items, &whole).await.expect("fingerprint")), (20, before));
    })
    .await;
}

/// Large tables with a numeric key are cut by estimates; the ranges still follow each other without gap, and none is far too large.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_tables_are_cut_by_estimates() {
    each_server(|one| async move {
        one.run(&["CREATE TABLE big (id BIGINT PRIMARY KEY)"]).await;
        // Dense, then a hole, then sparse.
        let ids: Vec<_> = (0..3000_i64).map(|n| if n < 2000 { n - 500 } else { 1_000_000_000 + n * 1_000_003 }).map(|id| format!("({id})")).collect();
        one.run(&[&format!("INSERT INTO big VALUES {}", ids.join(",")), "ANALYZE TABLE big"]).await;
        let view = one.open().await.read(View::Latest { connections: 1 }).await.expect("read");
        let schema = view.schema().await.expect("schema");
        let mut big = suite::table(&schema, "big").clone();
        big.bytes = 1 << 40;
        big.rows = 3000;
        let ranges = view.split(&big, 200).await.expect("split");
        assert!((8..=40).contains(&ranges.len()), "{} ranges", ranges.len());
        assert!(ranges[0].lower.is_none() && ranges.windows(2).all(|w| w[0].upper.is_some() && w[0].upper == w[1].lower));
        let mut total = 0;
        for range in &ranges {
            let rows = view.fingerprint(&big, range).await.expect("fingerprint").rows;
            assert!(rows <= 800, "{rows} rows in {range:?}");
            total += rows;
        }
        assert_eq!(total, 3000);
    })
    .await;
}
