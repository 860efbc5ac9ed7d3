//! The measured servers: ours and its peers, each a process (with children) on a port of its own.

use super::load::{self, Request};
use crate::{rig, workspace};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer for the first time, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ticks of a second in /proc, on every Linux that we measure on.
const TICKS: f64 = 100.0;

/// A running server. Stopped when dropped.
pub struct Server {
    pub name: String,
    pub port: u16,
    child: Child,
}

/// Secrets of one measurement, thrown away with its data.
pub struct Secrets {
    pub signing: String,
    pub password: String,
}

impl Server {
    pub fn ours(data: &Path, secrets: &Secrets) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(workspace::target().join("release/migration-assistant"));
        command.args(["serve", "--auth-enabled", "--token-minutes", "1440", "--port", &port.to_string(), "--data-dir"]).arg(data);
        // As the peers are started: no line in the log for every request.
        command.env("RUST_LOG", "warn");
        command.env("MIGRATION_ASSISTANT_JWT_SECRET", &secrets.signing).env("MIGRATION_ASSISTANT_ADMIN_PASSWORD", &secrets.password);
        // As for the others: no line for each request.
        command.env("RUST_LOG", "warn");
        Self::start("migration-assistant", port, &mut command, &data.join("serve.log"))
    }

    /// uvicorn with one worker a core, as FastAPI's page on deployment says.
    pub fn fastapi(database: &Path, secrets: &Secrets) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(rig::venv().join("bin/uvicorn"));
        command.args(["fastapi_peer:app", "--workers", "2", "--no-access-log", "--log-level", "warning", "--port", &port.to_string()]);
        Self::peer("FastAPI, uvicorn, 2 workers", port, command, database, secrets)
    }

    /// gunicorn with one worker a core and threads, so that connections are kept.
    pub fn flask(database: &Path, secrets: &Secrets) -> Result<Self> {
        Self::gunicorn("Flask, gunicorn, 2 workers", "flask_peer:app", database, secrets)
    }

    pub fn django(database: &Path, secrets: &Secrets) -> Result<Self> {
        Self::gunicorn("Django REST, gunicorn, 2 workers", "django_peer:app", database, secrets)
    }

    fn gunicorn(name: &str, program: &str, database: &Path, secrets: &Secrets) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(rig::venv().join("bin/gunicorn"));
        command.args([program, "--workers", "2", "--threads", "16", "--keep-alive", "30", "--log-level", "warning"]);
        command.args(["--bind", &format!("127.0.0.1:{port}")]);
        Self::peer(name, port, command, database, secrets)
    }

    fn peer(name: &str, port: u16, mut command: Command, database: &Path, secrets: &Secrets) -> Result<Self> {
        environment(&mut command, database, secrets);
        Self::start(name, port, &mut command, &database.with_extension("log"))
    }

    fn start(name: &str, port: u16, command: &mut Command, log: &Path) -> Result<Self> {
        let log_file = std::fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let mut server = Self { name: name.to_owned(), port, child };
        let deadline = Instant::now() + PATIENCE;
        while !load::ask(port, &Request::get("/health", "")).is_ok_and(|(status, _)| status == 200) {
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("{name} does not answer: {}", std::fs::read_to_string(log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Seconds of processor time, user and system, that all its processes have used so far.
    pub fn cpu(&self) -> f64 {
        let ticks: u64 = self.family().into_iter().filter_map(ticks).sum();
        ticks as f64 / TICKS
    }

    /// Resident bytes of all its processes right now.
    pub fn resident(&self) -> u64 {
        let kib = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        };
        self.family().into_iter().filter_map(kib).sum::<u64>() * 1024
    }

    /// The process and all below it.
    fn family(&self) -> BTreeSet<u32> {
        let (mut family, mut todo) = (BTreeSet::new(), vec![self.child.id()]);
        while let Some(pid) = todo.pop() {
            if family.insert(pid) {
                let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
                let children = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
                todo.extend(children.flat_map(|c| c.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<u32>>()));
            }
        }
        family
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// What a peer, or a command on its data, has to know.
pub fn environment(command: &mut Command, database: &Path, secrets: &Secrets) {
    command.current_dir(workspace::root().join("benches/peers")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("BENCH_DATABASE", database).env("BENCH_SECRET", &secrets.signing);
}

/// Installs what the peers import, unless it is there.
pub fn install() -> Result<()> {
    let venv = rig::venv();
    let imports = "import django, fastapi, flask, gunicorn, jwt, rest_framework, uvicorn";
    let there = Command::new(venv.join("bin/python")).args(["-c", imports]).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if there {
        return Ok(());
    }
    if !venv.join("bin/pip").exists() {
        workspace::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    workspace::run(Command::new(venv.join("bin/pip")).args(["-q", "install", "-r", "benches/peers/requirements.txt"]).current_dir(workspace::root()))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Clock ticks of one process: fields 14 and 15, counted after the name in parentheses, which may hold anything.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
