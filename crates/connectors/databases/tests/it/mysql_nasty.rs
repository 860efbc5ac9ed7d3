//! A database that tries to break its mover: every type with its edges, odd names, every kind of object.

use super::Throwaway;
use crate::suite::Fixture;
use ports::databases::{Applied, SchemaObject};

const LONG: &str = "a_name_of_64_letters_which_is_all_that_mysql_allows_for_tables_x";

/// The tables. `mariadb`: with what only MariaDB has.
pub fn tables(mariadb: bool) -> Vec<String> {
    let all_bytes = hex::encode((0..=255).collect::<Vec<u8>>());
    let mut sql = vec![
        "CREATE TABLE numbers_of_all_kinds (id INT PRIMARY KEY, t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, m MEDIUMINT, i INT, b BIGINT, bu BIGINT UNSIGNED, z INT(8) ZEROFILL, \
         d DECIMAL(65,30), d0 DECIMAL(10,0), f FLOAT, f2 FLOAT(10,3), g DOUBLE, g2 DOUBLE(20,4), y YEAR, bo BOOL)"
            .to_owned(),
        "INSERT INTO numbers_of_all_kinds VALUES \
         (1,-128,0,-32768,-8388608,-2147483648,-9223372036854775808,0,0,-99999999999999999999999999999999999.999999999999999999999999999999,-9999999999,-3.402823466e38,-0.001,-1.7976931348623157e308,-1.5,1901,0),\
         (2,127,255,32767,8388607,2147483647,9223372036854775807,18446744073709551615,42,99999999999999999999999999999999999.999999999999999999999999999999,9999999999,1.17549435e-38,1234567.875,5e-324,12345678901.1234,2155,1),\
         (3,0,0,0,0,0,0,0,0,0.000000000000000000000000000001,0,'-0',0,'-0',0,0,NULL),\
         (4,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),(5,1,1,1,1,1,1,1,1,1,1,0.1,0.1,0.1,0.1,2000,1)"
            .to_owned(),
        "CREATE TABLE times (d DATE, t TIME, t6 TIME(6), dt DATETIME, dt6 DATETIME(6), ts TIMESTAMP NULL, ts6 TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), \
         z DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00', KEY (dt), PRIMARY KEY (dt6))"
            .to_owned(),
        "INSERT INTO times VALUES ('0000-00-00','-838:59:59','-838:59:59.000000','0000-00-00 00:00:00','0000-00-00 00:00:00','0000-00-00 00:00:00','0000-00-00 00:00:00','0000-00-00'),\
         ('9999-12-31','838:59:59','00:00:00.000001','9999-12-31 23:59:59','9999-12-31 23:59:59.999999','2038-01-19 03:14:07','2038-01-19 03:14:07.999999','2024-02-29'),\
         ('2023-02-31','-00:00:01','-00:00:00.5','2023-00-10 01:02:03','2023-01-00 00:00:00.1','1970-01-01 00:00:01','1970-01-01 00:00:01.5','2000-01-01'),\
         (NULL,NULL,NULL,NULL,'1000-01-01',NULL,NULL,'1999-01-01')"
            .to_owned(),
        "CREATE TABLE bits (id INT PRIMARY KEY, b1 BIT(1), b8 BIT(8) DEFAULT b'101', b33 BIT(33), b64 BIT(64))".to_owned(),
        "INSERT INTO bits VALUES (1,b'1',b'11111111',b'100000000000000000000000000000001',0xFFFFFFFFFFFFFFFF),(2,b'0',b'0',b'0',b'0'),(3,NULL,NULL,NULL,NULL),(4,b'1',b'01011100',b'1001',0x5C00090A00000000)".to_owned(),
        "CREATE TABLE texts (id INT PRIMARY KEY, c CHAR(10), v VARCHAR(300) CHARACTER SET utf8mb4, l VARCHAR(300) CHARACTER SET latin1, u VARCHAR(20) CHARACTER SET utf16, u3 VARCHAR(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci, \
         t TINYTEXT, lt LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, e ENUM('','a','é','x,y','it''s'), s SET('a','b','c d'), j JSON)"
            .to_owned(),
        "INSERT INTO texts VALUES (1,'','','','','','','','','',NULL),(2,'pad  ','  tab\\tnl\\ncr\\rbs\\\\ \\\\N \\0 q''\\\"','é','é😀','é','\\\\N',REPEAT('😀ä',40000),'é','a,c d','{\"a\": [1, null, \"\\\\u00e9\\\\n\"]}'),\
         (3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),(4,'N','\\\\','ÿ','\\n','ß','\\t','\\n','it''s','a,b,c d','[]'),(5,'a','\u{1f600}','a','a','a','a','a','x,y','b','\"\"')"
            .to_owned(),
        "CREATE TABLE blobs (k VARBINARY(300) PRIMARY KEY, f BINARY(4), b BLOB, l LONGBLOB)".to_owned(),
        format!("INSERT INTO blobs VALUES (UNHEX('{all_bytes}'),UNHEX('00'),UNHEX('{all_bytes}'),REPEAT(UNHEX('00095C0A'),300000)),('','','',''),(UNHEX('FF'),NULL,NULL,NULL),(UNHEX('00'),UNHEX('5C4E0A09'),'\\\\N','N'),('a','b','c','d')"),
        "CREATE TABLE shapes (id INT PRIMARY KEY, g GEOMETRY NOT NULL, p POINT, m MULTIPOLYGON, SPATIAL KEY shape_index (g))".to_owned(),
        "INSERT INTO shapes VALUES (1,ST_GeomFromText('POINT(1 2)'),ST_GeomFromText('POINT(-1.5 1e100)'),NULL),(2,ST_GeomFromText('LINESTRING(0 0,1 1,2 3)'),NULL,ST_GeomFromText('MULTIPOLYGON(((0 0,0 3,3 3,3 0,0 0)))')),\
         (3,ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,9 9))'),NULL,NULL)"
            .to_owned(),
        "CREATE TABLE `a b` (`sel``ect` INT AUTO_INCREMENT, `ü` VARCHAR(40) COLLATE utf8mb4_general_ci NOT NULL, `select` INT NOT NULL, PRIMARY KEY (`ü`,`select`), KEY `count ``er` (`sel``ect`), UNIQUE KEY `order` (`select`,`ü`(5))) \
         AUTO_INCREMENT=77 DEFAULT CHARSET=utf8mb4 COMMENT='a; b '' \\\\ ü'"
            .to_owned(),
        "INSERT INTO `a b` (`ü`,`select`) VALUES ('Ä',1),('a',2),('B',3),('é''\\\\',4),('',5),('zzz',6),('a',7),('_',8)".to_owned(),
        format!("CREATE TABLE `{LONG}` (id BIGINT UNSIGNED PRIMARY KEY)"),
        format!("INSERT INTO `{LONG}` VALUES (0),(1),(9223372036854775808),(18446744073709551615)"),
        "CREATE TABLE one_column (t VARCHAR(10))".to_owned(),
        "INSERT INTO one_column VALUES (''),(NULL),(''),('\\\\N'),('x')".to_owned(),
        "CREATE TABLE unique_only (a INT NOT NULL, b DECIMAL(10,2) NOT NULL, c VARCHAR(10), n INT NULL, UNIQUE KEY two (a,b), UNIQUE KEY maybe (n))".to_owned(),
        "INSERT INTO unique_only VALUES (1,1.10,'a',NULL),(1,1.20,'b',NULL),(2,-1,'c',1),(-3,0,'d',2),(1,1.15,'e',3)".to_owned(),
        "CREATE TABLE made (id INT PRIMARY KEY, a INT, v INT GENERATED ALWAYS AS (a * 2) VIRTUAL, s VARCHAR(40) GENERATED ALWAYS AS (CONCAT('x-', a, '-é')) STORED, d VARCHAR(50) DEFAULT (CONCAT('a', 'b')), \
         w DATETIME DEFAULT CURRENT_TIMESTAMP, KEY virtual_key (v), CONSTRAINT positive CHECK (id > 0))"
            .to_owned(),
        "INSERT INTO made (id, a, w) VALUES (1,5,'2020-01-01'),(2,NULL,'2020-01-02'),(3,-7,NULL),(4,8,'2020-01-04')".to_owned(),
        "CREATE TABLE parent (id INT PRIMARY KEY, child INT, name VARCHAR(30), FULLTEXT KEY words (name))".to_owned(),
        "CREATE TABLE child (id INT AUTO_INCREMENT PRIMARY KEY, parent INT, CONSTRAINT up FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL)".to_owned(),
        "ALTER TABLE parent ADD CONSTRAINT down FOREIGN KEY (child) REFERENCES child (id)".to_owned(),
        "INSERT INTO parent VALUES (1,2,'a word'),(2,1,'another word'),(3,NULL,'')".to_owned(),
        "INSERT INTO child VALUES (1,1),(2,2),(3,NULL)".to_owned(),
        "CREATE TABLE parts (id INT, y INT, PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)".to_owned(),
        "INSERT INTO parts VALUES (1,1),(1,10),(2,5),(2,500),(3,7)".to_owned(),
        "CREATE TABLE choices (id INT PRIMARY KEY, e ENUM('a','b'), s SET('x'))".to_owned(),
        // The value that ENUM keeps for what it did not know.
        "INSERT INTO choices VALUES (1,'',''),(2,'a','x'),(3,'nonsense',NULL),(4,NULL,'x'),(5,'b','')".to_owned(),
        "CREATE TABLE empty_one (id INT PRIMARY KEY)".to_owned(),
        "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, said VARCHAR(100))".to_owned(),
        "CREATE TABLE old_engine (id INT PRIMARY KEY, v VARCHAR(10)) ENGINE=MyISAM".to_owned(),
        "INSERT INTO old_engine VALUES (1,'a'),(2,'b')".to_owned(),
    ];
    if mariadb {
        sql.extend(
            [
                "CREATE TABLE aria (id INT PRIMARY KEY, v VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci, t TEXT DEFAULT 'words') ENGINE=Aria PAGE_CHECKSUM=1 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_ai_ci",
                "INSERT INTO aria VALUES (1,'é','x'),(2,'E',NULL)",
                "CREATE TABLE `only mariadb` (id UUID PRIMARY KEY DEFAULT UUID(), a INET6)",
                "INSERT INTO `only mariadb` VALUES ('123e4567-e89b-12d3-a456-426655440000','::1'),('00000000-0000-0000-0000-000000000000',NULL)",
                "CREATE SEQUENCE tickets START WITH 100 INCREMENT BY 5 CACHE 10",
                "SELECT NEXTVAL(tickets)",
            ]
            .map(str::to_owned),
        );
    }
    sql
}

/// Views, routines, triggers, events.
pub fn programs() -> Vec<String> {
    [
        "CREATE VIEW a_view_on_a_view AS SELECT n + 1 AS m FROM z_view",
        "CREATE OR REPLACE VIEW z_view AS SELECT id AS n FROM parent UNION ALL SELECT `sel``ect` FROM `a b`",
        "CREATE OR REPLACE VIEW a_view_on_a_view AS SELECT n + 1 AS m, 'it''s `z_view`' AS t FROM z_view",
        "CREATE DEFINER=`nobody here`@`%` SQL SECURITY INVOKER VIEW orphan AS SELECT 1 AS one",
        "CREATE PROCEDURE say(IN what VARCHAR(50) CHARACTER SET utf8mb4, OUT n INT) COMMENT 'é' BEGIN INSERT INTO log (said) VALUES (CONCAT(what, ' – ü')); SELECT COUNT(*) INTO n FROM log; END",
        "CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n * 2",
        "CREATE TRIGGER parent_said BEFORE INSERT ON parent FOR EACH ROW INSERT INTO log (said) VALUES (CONCAT('new ', NEW.id))",
        "CREATE TRIGGER parent_too BEFORE INSERT ON parent FOR EACH ROW FOLLOWS parent_said SET NEW.name = CONCAT(NEW.name, '!')",
        "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'é' DO DELETE FROM log WHERE id < 0",
    ]
    .iter()
    .filter(|sql| !sql.starts_with("CREATE VIEW a_view"))
    .map(|sql| (*sql).to_owned())
    .collect()
}

/// What must become of an object. `crossing`: from MariaDB to MySQL.
pub fn fate(object: &SchemaObject, crossing: bool) -> fn(&Applied) -> bool {
    match object.name.name.as_str() {
        "aria" if crossing => {
            |a| matches!(a, Applied::Adapted(why) if why.contains("Aria → InnoDB") && why.contains("uca1400_ai_ci → utf8mb4_0900_ai_ci") && why.contains("PAGE_CHECKSUM"))
        }
        "only mariadb" if crossing => |a| matches!(a, Applied::Refused(why) if why.contains("uuid")),
        "tickets" if crossing => |a| matches!(a, Applied::Refused(why) if why.contains("sequences")),
        "orphan" => |a| matches!(a, Applied::Adapted(why) if why.contains("nobody here")),
        _ => |a| *a == Applied::AsIs,
    }
}

/// What arrived works: keys, checks, triggers, routines, counters, views.
pub async fn assert_alive(a: &Throwaway, b: &Throwaway) {
    for sql in [
        "SELECT GROUP_CONCAT(m ORDER BY m) FROM a_view_on_a_view",
        "SELECT twice(21)",
        "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() AND EVENT_COMMENT='é' AND STATUS='DISABLED'",
        "SELECT GROUP_CONCAT(CONCAT(INDEX_NAME, COLUMN_NAME, SEQ_IN_INDEX, NON_UNIQUE, INDEX_TYPE) ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME NOT IN ('aria','only mariadb','tickets')",
        "SELECT GROUP_CONCAT(CONCAT(CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME, REPLACE(DELETE_RULE, 'NO ACTION', 'RESTRICT')) ORDER BY CONSTRAINT_NAME) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA=DATABASE()",
        "SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='a b'",
        "SELECT GROUP_CONCAT(PARTITION_NAME ORDER BY PARTITION_NAME) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='parts'",
        "SELECT CHARACTER_SET_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='texts' AND COLUMN_NAME='u'",
        "SELECT GROUP_CONCAT(HEX(k) ORDER BY k) FROM blobs",
        "SELECT GROUP_CONCAT(HEX(e) ORDER BY id) FROM texts",
        "SELECT GROUP_CONCAT(CONCAT(dt6, '|', z, '|', IFNULL(t6,'')) ORDER BY dt6) FROM times",
        "SELECT GROUP_CONCAT(CONCAT_WS('/', HEX(b1), HEX(b33), HEX(b64)) ORDER BY id) FROM bits",
        "SELECT GROUP_CONCAT(CONCAT_WS('/', tu, bu, z, d, y) ORDER BY id) FROM numbers_of_all_kinds",
    ] {
        assert_eq!(b.value(sql).await, a.value(sql).await, "{sql}");
    }
    b.run(&[
        "SET foreign_key_checks=1",
        "CALL say('hello', @n)",
        "INSERT INTO parent VALUES (9,NULL,'x')",
        "INSERT INTO `a b` (`ü`,`select`) VALUES ('new',99)",
    ])
    .await;
    assert_eq!(
        b.value("SELECT CONCAT(name, (SELECT COUNT(*) FROM log WHERE said='new 9'), (SELECT COUNT(*) FROM log WHERE said='hello – ü')) FROM parent WHERE id=9")
            .await,
        "x!11"
    );
    assert_eq!(b.value("SELECT `sel``ect` FROM `a b` WHERE `ü`='new'").await, "85", "the counter goes on where the source's was (77 and eight rows)");
    assert_eq!(b.value("SELECT COUNT(*) FROM parent WHERE MATCH (name) AGAINST ('another')").await, "1");
    let refused = tokio::spawn({
        let at = b.at();
        async move { insert_is_refused(&at, "INSERT INTO made (id) VALUES (-1)").await && insert_is_refused(&at, "INSERT INTO child (parent) VALUES (12345)").await }
    });
    assert!(refused.await.expect("the attempt"), "checks and foreign keys hold");
}

async fn insert_is_refused(at: &domain::spec::DatabaseAt, sql: &str) -> bool {
    use mysql_async::prelude::Queryable;
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(at.host.clone())
        .tcp_port(at.port)
        .user(Some(at.username.clone()))
        .pass(at.password.as_ref().map(|p| p.expose().to_owned()))
        .db_name(Some(at.database.clone()))
        .prefer_socket(false);
    let mut conn = mysql_async::Conn::new(options).await.expect("connect");
    matches!(conn.query_drop(sql).await, Err(mysql_async::Error::Server(_)))
}

/// Some two thousand doubles and floats over the whole range, each with its exact text.
pub fn numbers() -> Vec<String> {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let edges = [
        0.0,
        1.0,
        -1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        1e33,
        1e34,
        1e-12,
        9.999e-13,
        1e15,
        1e16,
        1e17,
        1e22,
        0.1,
        1.0 / 3.0,
        123_456_789.125,
        2f64.powi(100),
        2f64.powi(-1074),
        2f64.powi(1000),
    ];
    let doubles = edges.into_iter().chain((0..2000).map(|n| {
        let bits = random();
        let any = f64::from_bits(bits);
        if n % 2 == 0 && any.is_finite() { any } else { (bits as i64 as f64) / 1e6 }
    }));
    let rows: Vec<_> = doubles
        .enumerate()
        .map(|(id, d)| {
            let float = f32::from_bits(((d.to_bits() >> 17) as u32).wrapping_mul(2_654_435_761));
            let float = if float.is_finite() { f64::from(float) } else { f64::from(d as f32 as i16) };
            format!("({id},{d:e},{float:e},'{d:e}','{float:e}')")
        })
        .collect();
    let mut sql = vec!["CREATE TABLE numbers (id INT PRIMARY KEY, d DOUBLE, f FLOAT, t VARCHAR(40), ft VARCHAR(40))".to_owned()];
    sql.extend(rows.chunks(500).map(|some| format!("INSERT INTO numbers VALUES {}", some.join(","))));
    sql
}
