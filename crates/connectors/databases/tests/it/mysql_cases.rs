//! Ways in which something of a MySQL or MariaDB database could be left out, changed or made to act unseen, one test each.

use super::{Throwaway, each_pair, each_server};
use crate::suite::{self, Fixture};
use connectors_databases as databases;
use connectors_databases::mysql::Loading;
use domain::Secret;
use domain::spec::DatabaseAt;
use futures::TryStreamExt;
use mysql_async::prelude::Queryable;
use ports::check::CheckOutcome;
use ports::databases::{Applied, Database, KeyRange, ObjectKind, Phase, Schema, View};
use ports::{ErrorKind, Role};
use std::sync::Arc;
use std::time::Duration;
use testkit::rig;

async fn schema(database: &Arc<dyn Database>) -> Schema {
    let view = database.read(View::Latest { connections: 1 }).await.expect("read");
    view.schema().await.unwrap_or_else(|e| panic!("{e}"))
}

fn unmovable(schema: &Schema) -> Vec<String> {
    schema.unmovable.iter().map(|u| format!("{} {}", u.kind, u.name)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_default_that_is_no_utf8_arrives_with_its_table() {
    each_pair(|a, b| async move {
        a.run(&[
            "CREATE TABLE tokens (id INT PRIMARY KEY, k BINARY(4) NOT NULL DEFAULT 0x00FF2702, v VARBINARY(9) DEFAULT 0xFE5C COMMENT 'é')",
            "INSERT INTO tokens (id) VALUES (1),(2),(3)",
            "CREATE TABLE fkt (id INT PRIMARY KEY, t INT, FOREIGN KEY (t) REFERENCES tokens (id))",
            "INSERT INTO fkt VALUES (1,1)",
        ])
        .await;
        let (source, destination) = (a.open().await, b.open().await);
        let copied = suite::copy(&*source, &*destination, 100).await;
        assert_eq!(copied.schema.unmovable, []);
        assert_eq!(copied.schema.tables.len(), 2);
        suite::assert_equal(&*source, &*destination, &[]).await;
        b.run(&["INSERT INTO tokens (id) VALUES (9)"]).await;
        assert_eq!(b.value("SELECT CONCAT(HEX(k), HEX(v)) FROM tokens WHERE id = 9").await, "00FF2702FE5C", "the default is the same");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_may_not_see_is_named() {
    each_server(|one| async move {
        one.run(&[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "CREATE TABLE secret (id INT PRIMARY KEY)",
            "CREATE TRIGGER trg BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v + 1",
            "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM t WHERE v > 9",
            "CREATE PROCEDURE p() SELECT 1",
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 2",
        ])
        .await;
        let all = format!("`{}`.*", one.name);
        let table = format!("`{}`.t", one.name);
        let cases: [(&str, &str, &[&str]); 3] = [
            ("SELECT, SHOW VIEW, TRIGGER, EVENT", &all, &["routines *"]),
            ("SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE", &all, &["function f", "procedure p"]),
            ("SELECT", &table, &["tables *", "routines *", "triggers *", "events *"]),
        ];
        for (number, (rights, on, expected)) in cases.into_iter().enumerate() {
            let user = format!("{}_{number}", one.name);
            one.run(&[&format!("CREATE USER `{user}`@'%' IDENTIFIED BY 'small-rights'"), &format!("GRANT {rights} ON {on} TO `{user}`@'%'")]).await;
            let at = DatabaseAt { username: user.clone(), password: Some(Secret::new("small-rights")), ..one.at() };
            let database = databases::open(&at, 2).await.expect("open");
            let found = schema(&database).await;
            let named: Vec<String> = unmovable(&found).iter().map(|n| n.replace(&format!("{}.", one.name), "")).collect();
            assert_eq!(named, expected, "{rights}");
            if number == 0 {
                let check = database.checks(Role::Source).into_iter().find(|c| c.name == "permissions").expect("the check").run.await;
                assert!(matches!(&check, CheckOutcome::Warning(f) if f.issue.contains("routines") && f.suggestion.contains("EXECUTE")), "{check:?}");
            }
            one.run(&[&format!("DROP USER `{user}`@'%'")]).await;
        }
    })
    .await;
}

/// A geometry of 35 MB (in hexadecimal more than the server takes) and 40 MB of bytes that all need an escape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_near_the_packet_limit_arrive() {
    for (from, to, loading) in [
        (rig::mariadb(), rig::mysql(), Loading::Automatic),
        (rig::mysql(), rig::mariadb(), Loading::Automatic),
        (rig::mariadb(), rig::mariadb(), Loading::Inserts),
    ] {
        let (a, b) = (Throwaway::new(from).await, Throwaway::new(to).await);
        a.run(&[
            "CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY, l LONGBLOB, t VARCHAR(20) CHARACTER SET latin1)",
            "INSERT INTO shapes SELECT 1, CONCAT(UNHEX('000000000102000000C0912100'), REPEAT(UNHEX('000000000000F03F0000000000000040'), 1100000), \
             REPEAT(UNHEX('00000000000008400000000000001040'), 1100000)), NULL, 'é'",
            "INSERT INTO shapes VALUES (2, POINT(1,2), REPEAT(UNHEX('00095C0A'), 10000000), 'ÿ'), (3, NULL, NULL, NULL)",
        ])
        .await;
        let (source, destination) = (a.open().await, databases::mysql::open_with(&b.at(), 2, loading).expect("open"));
        suite::copy(&*source, &*destination, 100).await;
        suite::assert_equal(&*source, &*destination, &[]).await;
        let sql = "SELECT GROUP_CONCAT(CONCAT_WS(' ', id, LENGTH(g), ST_NumPoints(g), SHA2(g,256), SHA2(l,256), HEX(t)) ORDER BY id) FROM shapes";
        let (wanted, found) = (a.value(sql).await, b.value(sql).await);
        assert!(wanted.contains("35200013") && wanted == found, "{wanted}\n{found}");
        a.remove().await;
        b.remove().await;
    }
}

/// A row that the server cannot hash is an error, never a fingerprint without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_without_a_hash_is_an_error() {
    let one = Throwaway::new(rig::mariadb()).await;
    let columns: Vec<_> = (0..1100).map(|n| format!("c{n} TEXT")).collect();
    let names: Vec<_> = (0..1100).map(|n| format!("c{n} = REPEAT('x', 65000)")).collect();
    one.run(&[&format!("CREATE TABLE wide (id INT PRIMARY KEY, {}) ENGINE=MyISAM", columns.join(",")), "INSERT INTO wide (id) VALUES (1)"]).await;
    one.run(&[&format!("UPDATE wide SET {}", names.join(","))]).await;
    let database = one.open().await;
    let view = database.read(View::Latest { connections: 1 }).await.expect("read");
    let schema = view.schema().await.expect("schema");
    let error = view.fingerprint(suite::table(&schema, "wide"), &Default::default()).await.expect_err("71 MB in one string");
    assert!(error.kind == ErrorKind::Invalid && error.advice.contains("max_allowed_packet"), "{error}");
    one.remove().await;
}

/// Comments, quotes around names, backslashes that are none, accounts that are not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_mean_the_database_they_are_in() {
    each_pair(|a, b| async move {
        let old = a.name.clone();
        a.run(&[
            &format!("CREATE TABLE stock (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(100), {old} INT DEFAULT 7)"),
            "INSERT INTO stock (note) VALUES ('a'),('b')",
            "CREATE TABLE audit (id INT PRIMARY KEY AUTO_INCREMENT, msg VARCHAR(200))",
            &format!("CREATE PROCEDURE p_comment() BEGIN\n-- don't count twice\nINSERT INTO {old}.audit (msg) VALUES ('see {old}.audit');\n# it's done\nUPDATE {old}.stock SET note = 'x' WHERE id = 1; END"),
            &format!("CREATE TRIGGER trg AFTER UPDATE ON stock FOR EACH ROW BEGIN\n-- it's the customer's wish\nINSERT INTO {old}.audit (msg) VALUES (CONCAT('upd {old}.stock ', NEW.id)); END"),
            "SET sql_mode='ANSI_QUOTES'",
            &format!("CREATE PROCEDURE \"p_ansi\"() BEGIN INSERT INTO \"{old}\".\"audit\"(\"msg\") VALUES ('ansi'); END"),
            &format!("CREATE DEFINER=`nobody`@`nowhere` PROCEDURE \"p_orphan\"() BEGIN INSERT INTO \"{old}\".\"audit\"(\"msg\") VALUES ('orphan'); END"),
            "SET sql_mode='NO_BACKSLASH_ESCAPES'",
            &format!("CREATE PROCEDURE p_nbe() BEGIN INSERT INTO {old}.audit (msg) VALUES ('C:\\'), ('{old}.audit \\'); INSERT INTO {old}.audit (msg) SELECT 'z' FROM {old}.stock LIMIT 1; END"),
            "SET sql_mode=''",
            &format!("CREATE PROCEDURE p_dynamic() BEGIN SET @s = 'DELETE FROM {old}.audit'; PREPARE x FROM @s; EXECUTE x; END"),
            &format!("CREATE VIEW v_col AS SELECT s.id, s.{old} FROM {old}.stock s"),
        ])
        .await;
        let (source, destination) = (a.open().await, b.open().await);
        let copied = suite::copy(&*source, &*destination, 100).await;
        assert!(matches!(copied.applied(ObjectKind::Routine, "p_orphan"), Applied::Adapted(why) if why.contains("nobody@nowhere")));
        assert!(matches!(copied.applied(ObjectKind::Routine, "p_dynamic"), Applied::Adapted(why) if why.contains(&old)));
        for name in ["p_comment", "p_ansi", "p_nbe"] {
            assert_eq!(copied.applied(ObjectKind::Routine, name), &Applied::AsIs, "{name}");
        }
        assert_eq!(copied.applied(ObjectKind::View, "v_col"), &Applied::AsIs);
        b.run(&["CALL p_comment()", "CALL p_ansi()", "CALL p_orphan()", "CALL p_nbe()"]).await;
        let wrote = format!("see {old}.audit|upd {old}.stock 1|ansi|orphan|C:\\|{old}.audit \\|z");
        assert_eq!(b.value("SELECT GROUP_CONCAT(msg ORDER BY id SEPARATOR '|') FROM audit").await, wrote);
        assert_eq!(b.value("SELECT COUNT(*) FROM v_col").await, "2");
        assert_eq!(a.value("SELECT COUNT(*) FROM audit").await, "0", "nothing was written into the old database");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_from_a_sequence_means_the_new_database() {
    let (a, b) = (Throwaway::new(rig::mariadb()).await, Throwaway::absent(rig::mariadb()));
    a.run(&["CREATE SEQUENCE numbers", "CREATE TABLE t (id INT DEFAULT NEXTVAL(numbers), v INT)", "INSERT INTO t (v) VALUES (1),(2)"]).await;
    let (source, destination) = (a.open().await, b.open().await);
    suite::copy(&*source, &*destination, 100).await;
    let before = a.value("SELECT next_not_cached_value FROM numbers").await;
    b.run(&["INSERT INTO t (v) VALUES (3)"]).await;
    assert_eq!(a.value("SELECT next_not_cached_value FROM numbers").await, before, "the old sequence was not asked");
    assert!(b.value("SELECT COUNT(DISTINCT id) FROM t").await == "3");
    a.remove().await;
    b.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_checks_indexes_and_text_keys_reach_mariadb() {
    let (a, b) = (Throwaway::new(rig::mysql()).await, Throwaway::absent(rig::mariadb()));
    let rows: Vec<_> = (1..=40).map(|n| format!("('key {n}', {n})")).collect();
    a.run(&[
        "CREATE TABLE ne (id INT PRIMARY KEY, v INT, CONSTRAINT c1 CHECK (v > 0) NOT ENFORCED)",
        "INSERT INTO ne VALUES (1,-5),(2,5)",
        "CREATE TABLE fi (id INT PRIMARY KEY, s VARCHAR(40), inv INT DEFAULT 4 INVISIBLE, KEY lo ((LOWER(s))), KEY ds (s DESC), KEY iv (inv) INVISIBLE)",
        "INSERT INTO fi (id, s, inv) VALUES (1,'Ab',9)",
        "CREATE TABLE keyed (k VARCHAR(20) PRIMARY KEY, v INT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
        &format!("INSERT INTO keyed VALUES {}", rows.join(",")),
    ])
    .await;
    let (source, destination) = (a.open().await, b.open().await);
    let copied = suite::copy(&*source, &*destination, 10).await;
    let writer = destination.write().await.expect("write");
    assert!(!writer.takes_ranges(copied.table("keyed")).await.expect("ask"));
    assert!(matches!(copied.applied(ObjectKind::Table, "ne"), Applied::Adapted(why) if why.contains("NOT ENFORCED")));
    let Applied::Refused(why) = copied.applied(ObjectKind::Index, "lo") else { panic!("MariaDB has no such index") };
    assert!(why.contains("expressions"), "{why}");
    assert_eq!(b.value("SELECT GROUP_CONCAT(v ORDER BY id) FROM ne").await, "-5,5");
    assert_eq!(b.value("SELECT CONCAT(COUNT(*), ' ', SUM(v)) FROM keyed").await, "40 820");
    let hidden = "SELECT CONCAT((SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND EXTRA LIKE '%INVISIBLE%'), \
                  (SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=DATABASE() AND IGNORED='YES'))";
    assert_eq!(b.value(hidden).await, "11");
    a.remove().await;
    b.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_that_must_change_is_told_before_and_arrives() {
    let (a, b) = (Throwaway::new(rig::mariadb()).await, Throwaway::absent(rig::mysql()));
    a.run(&[
        "CREATE TABLE long_unique (body TEXT NOT NULL, n INT, UNIQUE KEY u (body)) CHARACTER SET utf8mb4",
        "INSERT INTO long_unique VALUES ('a',1),(REPEAT('b',5000),2)",
        "CREATE TABLE ids (id UUID PRIMARY KEY)",
    ])
    .await;
    let (source, destination) = (a.open().await, b.open().await);
    let found = schema(&source).await;
    let writer = destination.write().await.expect("write");
    let table = |name: &str| found.objects.iter().find(|o| o.kind == ObjectKind::Table && o.name.name == name).expect("the table");
    let would = destination.would_create(&[table("long_unique").clone(), table("ids").clone()]).await.expect("ask");
    assert!(matches!(&would[0], Applied::Adapted(why) if why.contains("unique key u")), "{would:?}");
    assert!(matches!(&would[1], Applied::Refused(why) if why.contains("uuid")), "{would:?}");
    writer.prepare(&found).await.expect("prepare");
    assert_eq!(
        writer.create(table("long_unique")).await.expect("create"),
        Applied::Adapted("unique key u over the whole of body exists only in MariaDB, left out".to_owned())
    );
    a.remove().await;
    b.remove().await;
}

/// While the locked snapshot is open, nobody writes to a table without transactions; the other tables go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_without_transactions_are_held_or_named() {
    each_server(|one| async move {
        one.run(&["CREATE TABLE plain (id INT PRIMARY KEY) ENGINE=MyISAM", "CREATE TABLE inno (id INT PRIMARY KEY)", "INSERT INTO plain VALUES (1)"]).await;
        let database = one.open().await;
        let view = database.read(View::Snapshot { connections: 2 }).await.expect("read");
        assert_eq!(view.outside_snapshot().iter().map(ToString::to_string).collect::<Vec<_>>(), ["plain"]);
        one.run(&["INSERT INTO plain VALUES (2)"]).await;
        view.close().await.expect("close");
        let view = database.read_locked(2).await.expect("read");
        assert_eq!(view.outside_snapshot(), []);
        let mut writer = one.plain().await;
        writer.query_drop(format!("USE `{}`", one.name)).await.expect("use");
        writer.query_drop("SET SESSION lock_wait_timeout=1").await.expect("set");
        assert!(writer.query_drop("INSERT INTO plain VALUES (3)").await.is_err(), "it is locked");
        writer.query_drop("INSERT INTO inno VALUES (3)").await.expect("it is not locked");
        let schema = view.schema().await.expect("schema");
        let plain = suite::table(&schema, "plain");
        writer.query_drop("SET SESSION lock_wait_timeout=600").await.expect("set");
        let waiting = tokio::spawn(async move { (writer.query_drop("INSERT INTO plain VALUES (3)").await, writer) });
        let waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB=DATABASE() AND STATE LIKE 'Waiting for table%lock'";
        while one.value(waits).await != "1" {
            tokio::task::yield_now().await;
        }
        let range = KeyRange::default();
        let whole = async {
            assert_eq!(view.split(plain, 1).await.expect("cut").len(), 2);
            assert_eq!(view.fingerprint(plain, &range).await.expect("fingerprint").rows, 2);
            assert_eq!(view.row_hashes(plain, &range).try_collect::<Vec<_>>().await.expect("hashes").len(), 2);
            let blocks = view.rows(plain, &range).try_collect::<Vec<_>>().await.expect("rows");
            assert_eq!(blocks.iter().map(|block| block.rows).sum::<u64>(), 2);
        };
        tokio::time::timeout(Duration::from_secs(10), whole).await.expect("who waits to write does not hold up our reading");
        let other = one.open().await;
        tokio::time::timeout(Duration::from_mins(1), other.read(View::Snapshot { connections: 2 })).await.expect("in time").expect("a second view");
        view.close().await.expect("close");
        let (written, writer) = waiting.await.expect("the writer");
        written.expect("free again");
        writer.disconnect().await.expect("bye");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_act_only_when_enabled() {
    each_pair(|a, b| async move {
        a.run(&[
            "CREATE TABLE ticks (id BIGINT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(50))",
            "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' COMMENT 'ENABLE' DO INSERT INTO ticks (body) VALUES ('event')",
            "CREATE EVENT off ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' DISABLE DO INSERT INTO ticks (body) VALUES ('event')",
        ])
        .await;
        let (source, destination) = (a.open().await, b.open().await);
        let found = schema(&source).await;
        let writer = destination.write().await.expect("write");
        writer.prepare(&found).await.expect("prepare");
        for phase in [Phase::BeforeRows, Phase::AtTheEnd] {
            for object in found.objects.iter().filter(|o| o.phase == phase) {
                writer.create(object).await.unwrap_or_else(|e| panic!("{e}"));
            }
        }
        let states = "SELECT GROUP_CONCAT(CONCAT(EVENT_NAME, ' ', STATUS) ORDER BY EVENT_NAME) FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()";
        assert_eq!(b.value(states).await, "ev DISABLED,off DISABLED");
        let text = "SELECT CONCAT_WS('|', DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, STARTS, EVENT_COMMENT) FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() AND EVENT_NAME='ev'";
        let before = b.value(text).await;
        writer.enable(&found).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(b.value(states).await, "ev ENABLED,off DISABLED");
        assert_eq!(b.value(text).await, before);
    })
    .await;
}

/// A database that is made takes the source's defaults; one that was there keeps its own, and that is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_defaults_are_taken_or_told() {
    let a = Throwaway::new(rig::mariadb()).await;
    a.run(&[&format!("ALTER DATABASE `{}` CHARACTER SET latin1 COLLATE latin1_german1_ci", a.name), "CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let defaults = "SELECT DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME=DATABASE()";
    let source = a.open().await;
    let absent = Throwaway::absent(rig::mysql());
    suite::copy(&*source, &*absent.open().await, 10).await;
    assert_eq!(absent.value(defaults).await, "latin1_german1_ci");
    let there = Throwaway::new(rig::mysql()).await;
    let before = there.value(defaults).await;
    let copied = suite::copy(&*source, &*there.open().await, 10).await;
    assert_eq!(there.value(defaults).await, before);
    assert!(matches!(copied.applied(ObjectKind::Property, "default character set"), Applied::Adapted(why) if why.contains(&before)));
    for one in [a, absent, there] {
        one.remove().await;
    }
}
