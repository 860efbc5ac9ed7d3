//! A migration over a destination, taken back, leaves a native dump that equals the one from before.

use super::Throwaway;
use crate::suite::Fixture;
use movers::databases::{DatabaseMover, DatabaseOptions, back_up, restore};
use mysql_async::prelude::Queryable;
use ports::databases::ObjectName;
use std::process::Command;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use testkit::rig::{self, Server};
use tokio_util::sync::CancellationToken;

/// What the server's own client writes, the database's defaults and the rights on its routines.
async fn dump(one: &Throwaway) -> String {
    let port = one.server.port.to_string();
    let output = Command::new("mariadb-dump")
        .args(["-h", &one.server.host, "-P", &port, "-u", &one.server.user, "--ssl=0", "--routines", "--triggers", "--events"])
        .args(["--skip-dump-date", "--hex-blob", "--order-by-primary", "--databases", &one.name])
        .env("MYSQL_PWD", &one.server.password)
        .output()
        .expect("the client is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut conn = one.plain().await;
    let grants = format!("SELECT CONCAT_WS(' ', Host, User, Routine_name, Routine_type, Proc_priv) FROM mysql.procs_priv WHERE Db='{}' ORDER BY 1", one.name);
    let grants: Vec<String> = conn.query(grants).await.expect("read the rights");
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), grants.join("\n"))
}

struct Case {
    name: &'static str,
    /// The source, and the destination before the migration.
    source: &'static [&'static str],
    before: &'static [&'static str],
}

const ZOO: [Case; 4] = [
    Case {
        name: "counters, comments, engines",
        source: &[
            "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT)",
            "INSERT INTO a VALUES (1),(2)",
            "CREATE TABLE m (id INT PRIMARY KEY)",
            "CREATE TABLE child (id INT PRIMARY KEY)",
            "CREATE TABLE bin (id INT PRIMARY KEY)",
        ],
        before: &[
            "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT COMMENT 'é', v VARCHAR(20) COMMENT 'it''s', KEY later (v) COMMENT 'k') AUTO_INCREMENT=5000 COMMENT='important; ü'",
            "INSERT INTO a VALUES (1,'x'),(7,'y')",
            "CREATE TABLE m (id INT NOT NULL AUTO_INCREMENT, g INT NOT NULL, PRIMARY KEY (g, id)) ENGINE=MyISAM AUTO_INCREMENT=40 ROW_FORMAT=DYNAMIC CHECKSUM=1",
            "INSERT INTO m (g) VALUES (1),(1),(2)",
            "CREATE TABLE child (id INT PRIMARY KEY, a INT, CONSTRAINT up FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE, CONSTRAINT chk CHECK (id > 0))",
            "INSERT INTO child VALUES (1,7)",
            "CREATE TABLE theirs (id INT PRIMARY KEY, a INT)",
            "INSERT INTO theirs VALUES (1,1)",
            "CREATE TABLE bin (id INT PRIMARY KEY, k BINARY(4) NOT NULL DEFAULT 0x00FF2702, g INT AS (id * 2) VIRTUAL)",
        ],
    },
    Case {
        name: "programs",
        source: &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "CREATE PROCEDURE p() SELECT 'the source'",
            "CREATE PROCEDURE quoted() SELECT 'the source'",
            "CREATE PROCEDURE plain() SELECT 'the source'",
            "CREATE PROCEDURE old() SELECT 'the source'",
            "CREATE VIEW v AS SELECT 1 AS one",
            "CREATE EVENT ev ON SCHEDULE EVERY 2 DAY DO SELECT 1",
            "CREATE EVENT off ON SCHEDULE EVERY 2 DAY DO SELECT 1",
            "CREATE TRIGGER trg BEFORE DELETE ON t FOR EACH ROW SET @x = 1",
        ],
        before: &[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1,1)",
            "CREATE DEFINER=`nobody`@`nowhere` PROCEDURE p(a VARCHAR(9)) COMMENT 'é' BEGIN\n-- don't {db}.t\nINSERT INTO {db}.t VALUES (2, '{db}.t'); # it's\nEND",
            "SET sql_mode='ANSI_QUOTES,STRICT_ALL_TABLES'",
            "CREATE PROCEDURE \"quoted\"() BEGIN INSERT INTO \"{db}\".\"t\"(\"id\") VALUES (1); END",
            "SET sql_mode='NO_BACKSLASH_ESCAPES'",
            "CREATE PROCEDURE plain() SELECT 'C:\\', '{db}.t \\'",
            "SET sql_mode=''",
            "SET NAMES latin1",
            "CREATE PROCEDURE old() SELECT 'latin'",
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
            "CREATE DEFINER=`nobody`@`nowhere` SQL SECURITY INVOKER VIEW v AS SELECT t.id, 'é' AS e FROM {db}.t",
            "CREATE TRIGGER trg BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v + 1",
            "CREATE TRIGGER also BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v + 2",
            "SET time_zone='+02:00'",
            "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' ON COMPLETION PRESERVE COMMENT 'ENABLE' DO DELETE FROM {db}.t WHERE id < 0",
            "CREATE EVENT off ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' DISABLE DO DELETE FROM t WHERE id < 0",
            "GRANT EXECUTE ON PROCEDURE {db}.p TO `{user}`@`%`",
        ],
    },
    Case {
        name: "another character set",
        source: &["CREATE TABLE t (id INT PRIMARY KEY)"],
        before: &[
            "ALTER DATABASE {db} CHARACTER SET latin1 COLLATE latin1_german1_ci",
            "CREATE TABLE t (v VARCHAR(20) DEFAULT 'ü')",
            "INSERT INTO t VALUES ('é')",
        ],
    },
    Case { name: "nothing there", source: &["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT 1 AS one"], before: &[] },
];

async fn fill(one: &Throwaway, statements: &[&str]) {
    let named: Vec<String> = statements.iter().map(|sql| sql.replace("{db}", &one.name).replace("{user}", &format!("u_{}", one.name))).collect();
    let all: Vec<&str> = named.iter().map(String::as_str).collect();
    one.run(&all).await;
}

async fn comes_back(server: Server, case: &Case) {
    let (a, b) = (Throwaway::new(server.clone()).await, Throwaway::new(server).await);
    let user = format!("`u_{}`@`%`", b.name);
    b.run(&[&format!("CREATE USER {user}")]).await;
    fill(&a, case.source).await;
    fill(&b, case.before).await;
    let before = dump(&b).await;
    let (source, destination) = (a.open().await, b.open().await);
    let (ledger, observer, stop) = (MemoryLedger::default(), MemoryObserver::default(), CancellationToken::new());
    let mover = DatabaseMover::new(source, destination.clone(), DatabaseOptions { parallel: 2, ..DatabaseOptions::default() });
    let plan = mover.survey().await.unwrap_or_else(|e| panic!("{e}"));
    let dir = tempfile::tempdir().expect("a directory");
    let standing = mover.standing(&plan, &ledger).await.unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<ObjectName> = standing.iter().map(|o| o.name.clone()).collect();
    back_up(&destination, Some(&names), dir.path(), &observer, &stop).await.unwrap_or_else(|e| panic!("{e}"));
    mover.prepare(&plan, &standing, None, &ledger, &observer, &stop).await.unwrap_or_else(|e| panic!("{e}"));
    mover.copy(&plan, &ledger, 1, &observer, &stop).await.unwrap_or_else(|e| panic!("{e}"));
    // Twice, as after a pause: what the first one made stands in the way of no row.
    mover.final_pass(&plan, &ledger, 1, &observer, &stop).await.unwrap_or_else(|e| panic!("{e}"));
    mover.final_pass(&plan, &ledger, 2, &observer, &stop).await.unwrap_or_else(|e| panic!("{e}"));
    mover.enable(&plan, &ledger).await.unwrap_or_else(|e| panic!("{e}"));
    assert_ne!(dump(&b).await, before, "{}: the migration changed it", case.name);
    mover.undo(&plan, &ledger, None, &observer).await.unwrap_or_else(|e| panic!("{e}"));
    restore(&destination, dir.path(), None, None, &observer, &stop).await.unwrap_or_else(|e| panic!("{e}"));
    let after = dump(&b).await;
    let lines: Vec<_> = before.lines().filter(|l| !after.lines().any(|m| m == *l)).collect();
    assert!(after == before, "{}: these lines differ: {lines:#?}\n{after}", case.name);
    b.run(&[&format!("DROP USER {user}")]).await;
    a.remove().await;
    b.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_taken_back_leaves_the_same_dump() {
    for server in [rig::mariadb(), rig::mysql()] {
        for case in &ZOO {
            comes_back(server.clone(), case).await;
        }
    }
}

/// What only MariaDB has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_come_back_where_they_stood() {
    let case = Case {
        name: "sequences",
        source: &["CREATE SEQUENCE s", "CREATE TABLE t (id INT DEFAULT NEXTVAL(s))"],
        before: &[
            "ALTER DATABASE {db} COMMENT 'theirs'",
            "CREATE SEQUENCE s START WITH 100 INCREMENT BY 5 CACHE 10",
            "SELECT NEXTVAL(s)",
            "CREATE TABLE t (id INT DEFAULT NEXTVAL({db}.s), v INT INVISIBLE DEFAULT 3)",
            "INSERT INTO t VALUES ()",
        ],
    };
    comes_back(rig::mariadb(), &case).await;
}
