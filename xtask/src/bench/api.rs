//! Our REST interface beside the same endpoints as small FastAPI, Flask and Django REST programs (`benches/peers`), on copies of the same
//! database: processor time per request and the slowest answers with 32 clients; and what ours needs when nobody asks.
//!
//! Everybody verifies a signed token, keeps to the caller's tenant, and writes an entry into the audit log with every change.

mod load;
mod servers;

use super::{Bench, MIB, remove};
use crate::{rig, workspace};
use anyhow::{Context, Result, ensure};
use load::Request;
use serde_json::{Value, json};
use servers::{Secrets, Server, environment};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CLIENTS: usize = 32;
/// Migrations that are there before anybody is measured.
const SEEDED: usize = 200;
/// Requests of one run. Ours gets more: its time would else be too short to be measured.
const PEER_REQUESTS: usize = 1_000;
const OUR_REQUESTS: usize = 8_000;
/// The most that ours may need of memory when nobody asks.
const MOST_IDLE: u64 = 40 * MIB;
/// How long after its start a server counts as idle.
const SETTLED: Duration = Duration::from_secs(3);

/// A measured endpoint.
struct Case {
    name: &'static str,
    /// How many times less processor time than FastAPI we want to need.
    aim: f64,
    expected: u16,
    requests: fn(&Known) -> Vec<Request>,
}

/// What requests are made from.
struct Known {
    token: String,
    ids: Vec<String>,
    body: String,
}

#[derive(Clone, Copy)]
struct Cost {
    /// Seconds of processor time for one request.
    cpu: f64,
    /// Seconds that 99 of 100 requests were faster than.
    p99: f64,
}

const CASES: [Case; 4] = [
    Case { name: "list of 20", aim: 10.0, expected: 200, requests: |k| vec![Request::get("/migrations/?limit=20", &k.token)] },
    Case { name: "one migration", aim: 10.0, expected: 200, requests: |k| each(k, "") },
    Case { name: "its status", aim: 10.0, expected: 200, requests: |k| each(k, "/status") },
    Case { name: "a new migration", aim: 8.0, expected: 201, requests: |k| vec![Request::post("/migrations/", &k.token, &k.body)] },
];

fn each(known: &Known, rest: &str) -> Vec<Request> {
    known.ids.iter().map(|id| Request::get(&format!("/migrations/{id}{rest}"), &known.token)).collect()
}

pub fn compare(bench: &Bench) -> Result<()> {
    servers::install()?;
    let dir = bench.dir.join("api");
    remove(&dir)?;
    std::fs::create_dir_all(dir.join("ours"))?;
    let secrets = Secrets { signing: random()?, password: random()? };
    let ours = Server::ours(&dir.join("ours"), &secrets)?;
    std::thread::sleep(SETTLED);
    let idle = ours.resident();
    println!("  idle: {:.1} MiB (aim: at most {} MiB{})", idle as f64 / MIB as f64, MOST_IDLE / MIB, if idle > MOST_IDLE { ", MISSED" } else { "" });
    let known = seed(&ours, &secrets)?;
    // The copies are taken from a closed database.
    drop(ours);
    let copies = copy(&dir, &secrets, &known)?;
    let servers = [
        Server::ours(&dir.join("ours"), &secrets)?,
        Server::fastapi(&copies[0], &secrets)?,
        Server::flask(&copies[1], &secrets)?,
        Server::django(&copies[2], &secrets)?,
    ];
    same_answers(&servers, &known)?;
    for case in &CASES {
        measure(bench, case, &servers, &known)?;
    }
    drop(servers);
    remove(&dir)
}

/// Logs in and creates the migrations that everybody will show.
fn seed(ours: &Server, secrets: &Secrets) -> Result<Known> {
    let login = json!({"username": "admin", "password": secrets.password}).to_string();
    let (status, answer) = load::ask(ours.port, &Request::post("/auth/token", "", &login))?;
    ensure!(status == 200, "logging in was answered with {status}: {answer}");
    let token = answer["access_token"].as_str().context("no access token")?.to_owned();
    let body = document().to_string();
    load::run(ours.port, vec![Request::post("/migrations/", &token, &body)], 201, CLIENTS, SEEDED)?;
    let (_, list) = load::ask(ours.port, &Request::get(&format!("/migrations/?limit={SEEDED}"), &token))?;
    let ids: Vec<String> = list.as_array().into_iter().flatten().filter_map(|m| m["id"].as_str().map(str::to_owned)).collect();
    ensure!(ids.len() == SEEDED, "{} of {SEEDED} migrations are listed", ids.len());
    Ok(Known { token, ids, body })
}

/// A copy of our database for each peer, with inputs that it can read.
fn copy(dir: &Path, secrets: &Secrets, known: &Known) -> Result<Vec<std::path::PathBuf>> {
    let document = dir.join("document.json");
    std::fs::write(&document, &known.body)?;
    ["fastapi", "flask", "django"]
        .into_iter()
        .map(|name| {
            let database = dir.join(format!("{name}.db"));
            std::fs::copy(dir.join("ours/migration-assistant.db"), &database)?;
            let mut unseal = Command::new(rig::venv().join("bin/python"));
            environment(&mut unseal, &database, secrets);
            workspace::run(unseal.arg("shared.py").arg(&document))?;
            Ok(database)
        })
        .collect()
}

/// Nobody is measured who answers something else than we do.
fn same_answers(servers: &[Server], known: &Known) -> Result<()> {
    for path in ["/migrations/?limit=20".to_owned(), format!("/migrations/{}", known.ids[7]), format!("/migrations/{}/status", known.ids[7])] {
        let request = Request::get(&path, &known.token);
        let (_, ours) = load::ask(servers[0].port, &request)?;
        for peer in &servers[1..] {
            let (_, theirs) = load::ask(peer.port, &request)?;
            ensure!(theirs == ours, "{} answers something else at {path}: {theirs} instead of {ours}", peer.name);
        }
    }
    Ok(())
}

/// Runs a case with every server in turns, and prints the medians.
fn measure(bench: &Bench, case: &Case, servers: &[Server], known: &Known) -> Result<()> {
    let mut found: Vec<Vec<Cost>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..bench.runs {
        for (n, (server, costs)) in servers.iter().zip(&mut found).enumerate() {
            let count = if n == 0 { OUR_REQUESTS } else { PEER_REQUESTS };
            costs.push(one(case, server, known, count).with_context(|| format!("{}: {}", case.name, server.name))?);
        }
    }
    println!("  {}", case.name);
    let medians: Vec<Cost> = found.iter().map(|costs| median(costs)).collect();
    for (n, (server, cost)) in servers.iter().zip(&medians).enumerate() {
        let ratio = cost.cpu / medians[0].cpu;
        let aim = if n == 1 { format!(" (aim {:.0}×{})", case.aim, if ratio >= case.aim { "" } else { ", MISSED" }) } else { String::new() };
        let verdict = if n == 0 { String::new() } else { format!("   {ratio:.1}× our processor time{aim}") };
        println!("    {:<34} {:>7.0} µs of processor   p99 {:>7.2} ms{verdict}", server.name, cost.cpu * 1e6, cost.p99 * 1e3);
    }
    Ok(())
}

fn one(case: &Case, server: &Server, known: &Known, count: usize) -> Result<Cost> {
    // Warm: connections, caches, the worker processes' first imports.
    load::run(server.port, (case.requests)(known), case.expected, CLIENTS, CLIENTS * 4)?;
    let before = server.cpu();
    let took = load::run(server.port, (case.requests)(known), case.expected, CLIENTS, count)?;
    let cpu = (server.cpu() - before) / count as f64;
    let p99 = took.get(took.len() * 99 / 100).context("nothing was measured")?.as_secs_f64();
    Ok(Cost { cpu, p99 })
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |value: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { cpu: middle(|c| c.cpu), p99: middle(|c| c.p99) }
}

/// Document 3's sample of a new migration, without its notifications.
fn document() -> Value {
    json!({
        "name": "WordPress to AWS Migration", "description": "Migrating company website to AWS infrastructure",
        "source": {
            "type": "wordpress", "host": "old-server.com", "port": 22, "username": "user", "password": "secure_password",
            "paths": {"web_root": "/var/www/html", "uploads": "/var/www/html/wp-content/uploads"},
            "database": {"type": "mysql", "host": "old-server.com", "port": 3306, "username": "wp_user", "password": "wp_password", "database": "wordpress_db"}
        },
        "destination": {
            "type": "aws-s3", "region": "us-east-1", "bucket": "my-new-website",
            "database": {"type": "aurora-mysql", "cluster": "my-website-cluster", "username": "admin", "password": "admin_password"}
        },
        "transfer": {"method": "hybrid_sync", "options": {"compression": true, "parallel_transfers": 4, "chunk_size": "10MB", "resume_on_failure": true, "verify_checksums": true}},
        "safety": {"backup_before": true, "backup_retention_days": 30, "rollback_on_failure": true, "verify_after": true, "maintenance_mode": true}
    })
}

fn random() -> Result<String> {
    let mut bytes = [0_u8; 24];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|d| char::from_digit(d.into(), 16)).collect())
}
